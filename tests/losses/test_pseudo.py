import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from lpdseg.losses.pseudo import IGNORED, candidate_loss, confident_mask, pseudo_mask_loss

LABELS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])


def probabilities(seed: int = 0) -> torch.Tensor:
    return torch.randn(3, 3, 4, 5, generator=torch.Generator().manual_seed(seed)).softmax(1)


@given(st.integers(0, 50), st.floats(0, 1))
def test_masks_hold_only_classes_of_the_label_and_only_where_they_are_sure(seed: int, confidence: float) -> None:
    given_ = probabilities(seed)
    mask = confident_mask(given_, LABELS, None, confidence)
    for image, label in enumerate(LABELS):
        for index in np.ndindex(4, 5):
            chosen = int(mask[image][index])
            allowed = [(float(given_[image, c][index]), c) for c in range(3) if label[c] > 0]
            best = max(allowed, default=(0.0, IGNORED))
            assert chosen == (best[1] if allowed and best[0] >= confidence else IGNORED)


def test_glass_teaches_nothing() -> None:
    glass = torch.zeros(3, 4, 5, dtype=torch.bool)
    glass[:, 1] = True
    mask = confident_mask(probabilities(), LABELS, glass, 0.0)
    assert bool((mask[:, 1] == IGNORED).all())
    assert bool((mask[:2, 0] != IGNORED).all())


def test_without_balance_the_loss_is_the_mean_cross_entropy() -> None:
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    mask = torch.randint(0, 3, (2, 4, 4), generator=torch.Generator().manual_seed(2))
    mask[0, 0] = IGNORED
    torch.testing.assert_close(pseudo_mask_loss(logits, mask).mean, F.cross_entropy(logits, mask))


def test_with_full_balance_every_class_weighs_the_same() -> None:
    logits = torch.randn(1, 2, 2, 4, generator=torch.Generator().manual_seed(3))
    mask = torch.tensor([[[0, 0, 0, 0], [0, 0, 1, IGNORED]]])
    single = F.cross_entropy(logits, mask, reduction="none", ignore_index=IGNORED)
    expected = (single[mask == 0].mean() + single[mask == 1].mean()) / 2
    torch.testing.assert_close(pseudo_mask_loss(logits, mask, balance=1.0).mean, expected)


def test_a_mask_that_teaches_nothing_costs_nothing() -> None:
    logits = torch.randn(1, 2, 2, 2, requires_grad=True)
    loss = pseudo_mask_loss(logits, torch.full((1, 2, 2), IGNORED), balance=1.0).mean
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().sum() == 0


def test_candidates_share_their_probability() -> None:
    logits = torch.randn(3, 3, 2, 2, generator=torch.Generator().manual_seed(4))
    where = torch.ones(3, 2, 2, dtype=torch.bool)
    where[0, 0, 0] = False
    p = logits.softmax(1)
    expected = [
        -math.log(sum(float(p[image, c, y, x]) for c in range(3) if LABELS[image, c] > 0))
        for image in (0, 1)
        for y in range(2)
        for x in range(2)
        if where[image, y, x]
    ]
    term = candidate_loss(logits, LABELS, where)
    assert term.count.item() == len(expected)
    assert term.mean.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_a_label_with_every_class_says_nothing_and_pulls_nowhere() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = candidate_loss(logits, torch.ones(1, 3), torch.ones(1, 2, 2, dtype=torch.bool)).mean
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-6
