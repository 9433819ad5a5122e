import numpy as np
import pytest
import torch

from lpdseg.maps.pad import pad_to_stride


@pytest.mark.parametrize("size", [(32, 64), (37, 53), (5, 3), (1, 1)])
def test_edges_are_mirrored_up_to_a_multiple_of_32(size: tuple[int, int]) -> None:
    pixels = torch.rand(2, 3, *size)
    edges = [(0, 0), (0, 0), *((0, -side % 32) for side in size)]
    expected = np.pad(pixels.numpy(), edges, mode="symmetric")
    np.testing.assert_array_equal(pad_to_stride(pixels).numpy(), expected)
