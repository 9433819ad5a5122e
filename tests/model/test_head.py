import pytest
import torch

from lpdseg.choices import HeadMerge
from lpdseg.model.head import PrototypeHead, SegmentationHead


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


@pytest.mark.parametrize("merge", ["softmax", "logsumexp"])
def test_class_logits_are_the_merged_scores_and_a_retired_prototype_never_wins(merge: HeadMerge) -> None:
    torch.manual_seed(0)
    head = PrototypeHead((4,), (2, 3), 8, 0.1, merge)
    prototypes = torch.randn(5, 8)
    features = [torch.randn(2, 4, 6, 6)]
    scores = head.cosine(head(features), prototypes) * head.cosine.scale
    found = head.dense(features, prototypes)
    for c, own in enumerate(scores.split((2, 3), 1)):
        expected = (own.softmax(1) * own).sum(1) if merge == "softmax" else own.logsumexp(1)
        torch.testing.assert_close(found.classes[:, c], expected)
        assert bool((found.logits.split((2, 3), 1)[c].argmax(1) == own.argmax(1)).all())
    head.live[3] = False
    fewer = head.dense(features, prototypes)
    without = PrototypeHead((4,), (2, 2), 8, 0.1, merge)
    without.load_state_dict(head.state_dict() | {"live": torch.ones(4, dtype=torch.bool)})
    torch.testing.assert_close(fewer.classes, without.dense(features, prototypes[[0, 1, 2, 4]]).classes)
    assert bool((fewer.logits.softmax(1)[:, 3] == 0).all())
