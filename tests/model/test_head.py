import torch

from lpdseg.model.head import SegmentationHead


def test_logits_stand_at_the_finest_scale_and_every_scale_matters() -> None:
    torch.manual_seed(0)
    head = SegmentationHead((4, 6), 3, 8)
    features = [torch.randn(2, 4, 8, 8, requires_grad=True), torch.randn(2, 6, 4, 4, requires_grad=True)]
    logits = head(features)
    assert logits.shape == (2, 3, 8, 8)
    logits.square().sum().backward()
    assert all(part.grad is not None and bool((part.grad != 0).any()) for part in features)


def test_images_of_a_batch_do_not_see_one_another() -> None:
    torch.manual_seed(0)
    head = SegmentationHead((4,), 2, 8)
    values = torch.randn(3, 4, 6, 6)
    torch.testing.assert_close(head([values])[1:2], head([values[1:2]]))
