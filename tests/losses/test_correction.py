import torch

from lpdseg.losses.correction import correction_loss
from lpdseg.losses.pseudo import IGNORED


def test_corrected_pixels_count_within_their_patch_and_patches_alike() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 5, 6)
    mask = torch.full((3, 5, 6), IGNORED)
    mask[0, 1, 2] = 3
    mask[1, :, :] = 1
    term = correction_loss(logits, mask)
    log = logits.log_softmax(1)
    first = -log[0, 3, 1, 2]
    second = -sum(log[1, 1, y, x] for y in range(5) for x in range(6)) / 30
    torch.testing.assert_close(term.total, first + second)
    assert term.count == 2  # the third has none
    torch.testing.assert_close(term.mean, (first + second) / 2)


def test_nothing_but_corrected_pixels_teaches() -> None:
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    mask = torch.full((1, 3, 3), IGNORED)
    mask[0, 0, 0] = 1
    correction_loss(logits, mask).mean.backward()
    assert logits.grad is not None
    taught = logits.grad.abs().sum(1)[0] > 0
    assert taught[0, 0] and taught.sum() == 1


def test_without_a_corrected_pixel_there_is_nothing() -> None:
    assert correction_loss(torch.randn(2, 2, 3, 3), torch.full((2, 3, 3), IGNORED)).mean == 0
