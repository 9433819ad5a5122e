import math

import pytest
import torch

from lpdseg.losses.classification import classification_loss


def test_loss_and_gradient_equal_a_loop_over_scales_images_and_classes() -> None:
    torch.manual_seed(0)
    logits = [torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(4)]
    labels = torch.randint(2, (3, 4)).float()
    weights = [0.0, 0.1, 1.0, 0.7]
    expected = 0.0
    gradients = [[[0.0] * 4 for _ in range(3)] for _ in range(4)]
    for level, weight in enumerate(weights):
        for i in range(3):
            for c in range(4):
                p = 1 / (1 + math.exp(-logits[level][i, c].item()))
                y = float(labels[i, c])
                expected -= weight * (y * math.log(p) + (1 - y) * math.log(1 - p)) / 12
                gradients[level][i][c] = weight * (p - y) / 12
    loss = classification_loss(logits, labels, weights).mean
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    for found, wanted in zip(logits, gradients, strict=True):
        torch.testing.assert_close(found.grad, torch.tensor(wanted, dtype=torch.float64), rtol=1e-4, atol=1e-7)


def test_extreme_logits_of_half_precision_give_a_finite_loss() -> None:
    logits = [torch.tensor([[300.0, -300.0]], dtype=torch.bfloat16)]
    loss = classification_loss(logits, torch.tensor([[0.0, 1.0]]), [1.0]).mean
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(300)


def test_scales_and_weights_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="shorter"):
        classification_loss([torch.zeros(1, 2)], torch.zeros(1, 2), [1.0, 1.0])
