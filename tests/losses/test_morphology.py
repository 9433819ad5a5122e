import pytest
import torch

from lpdseg.losses.composite import nearest
from lpdseg.losses.morphology import meaning_loss, sibling_loss
from lpdseg.losses.pseudo import IGNORED
from lpdseg.maps.merge import class_slots, joint_logits


def test_value_equals_the_loop_over_pixels() -> None:
    torch.manual_seed(0)
    counts = (3, 2, 1)
    slots, real = class_slots(counts)
    scores = torch.randn(2, 6, 4, 5)
    joint = joint_logits(scores, slots, real, "softmax")
    mask = torch.randint(-1, 3, (2, 4, 5))
    mask[mask < 0] = IGNORED
    wanted = torch.rand(2, 3, 3) * real
    wanted = wanted / wanted.sum(2, keepdim=True)
    wanted[1, 0] = 0  # nothing is known of this patch
    term = sibling_loss(joint, mask, wanted, slots, real)
    total, count, first = 0.0, 0, (0, 3, 5)
    for b in range(2):
        for y in range(4):
            for x in range(5):
                c = int(mask[b, y, x])
                if c == IGNORED or counts[c] < 2 or (b, c) == (1, 0):
                    continue
                own = scores[b, first[c] : first[c] + counts[c], y, x].log_softmax(0)
                total -= float((wanted[b, c, : counts[c]] * own).sum())
                count += 1
    assert int(term.count) == count
    assert float(term.total) == pytest.approx(total, rel=1e-5)


def test_descent_makes_the_taught_prototype_win_and_leaves_the_class_as_it_is() -> None:
    slots, real = class_slots((2, 2))
    scores = torch.zeros(1, 4, 2, 2, requires_grad=True)
    wanted = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    mask = torch.tensor([[[0, 0], [1, 1]]])
    sibling_loss(joint_logits(scores, slots, real, "softmax"), mask, wanted, slots, real).mean.backward()
    assert scores.grad is not None
    assert bool((scores.grad[0, 1, 0] < 0).all()) and bool((scores.grad[0, 0, 0] > 0).all())
    torch.testing.assert_close(scores.grad.sum(1), torch.zeros(1, 2, 2))


def test_a_mask_at_fewer_pixels_takes_their_middles_and_keeps_what_is_ignored() -> None:
    mask = torch.arange(16).reshape(1, 4, 4)
    mask[0, 3, 3] = IGNORED
    assert nearest(mask, (2, 2)).tolist() == [[[5, 7], [13, IGNORED]]]


def test_retired_prototypes_mean_nothing_and_means_do_not_learn() -> None:
    torch.manual_seed(0)
    told, means = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4)
    live = torch.tensor([True, True, False])
    loss = meaning_loss(told, means, live)
    expected = 1 - torch.nn.functional.cosine_similarity(told[:2], means[:2]).mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert told.grad is not None and not told.grad[2].any()
