import numpy as np
import pytest
import torch

from lpdseg.maps.pad import as_pixels, pad_to_stride


@pytest.mark.parametrize("size", [(32, 64), (31, 63), (37, 53), (5, 3), (1, 1)])
def test_edges_are_mirrored_up_to_a_multiple_of_32(size: tuple[int, int]) -> None:
    pixels = torch.rand(2, 3, *size)
    edges = [(0, 0), (0, 0), *((0, -side % 32) for side in size)]
    expected = np.pad(pixels.numpy(), edges, mode="symmetric")
    np.testing.assert_array_equal(pad_to_stride(pixels).numpy(), expected)


@pytest.mark.parametrize("size", [(31, 80), (80, 31), (5, 40), (32, 33), (48, 90)])
def test_only_images_with_a_side_below_32_are_padded(size: tuple[int, int]) -> None:
    images = torch.randint(256, (1, 3, *size), dtype=torch.uint8)
    found = as_pixels(images)
    plain = images.float() / 255
    torch.testing.assert_close(found, pad_to_stride(plain) if min(size) < 32 else plain, rtol=0, atol=0)
    assert (found.shape[-2:] == size) == (min(size) >= 32)
