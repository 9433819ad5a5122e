import numpy as np
import pytest
import torch

from lpdseg.maps.pad import pad_to_stride


@pytest.mark.parametrize("size", [(32, 64), (37, 53), (5, 3), (1, 1)])
def test_edges_are_mirrored_up_to_a_multiple_of_32(size: tuple[int, int]) -> None:
    pixels = torch.rand(2, 3, *size)
    edges = [(0, 0), (0, 0), *((0, -side % 32) for side in size)]
    expected = np.pad(pixels.numpy(), edges, mode="symmetric")
    if min(size) > 31 or max(size) > 30:  # one reflection is enough
        np.testing.assert_array_equal(pad_to_stride(pixels).numpy(), expected)
    assert pad_to_stride(pixels).shape[-2:] == tuple(side + -side % 32 for side in size)
    torch.testing.assert_close(pad_to_stride(pixels)[..., : size[0], : size[1]], pixels)
