"""Reliability and temperature, against scikit-learn, a plain loop and another way to the minimum."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from torch.nn import functional as F

from lpdseg.evaluation.reliability import Reliability, Reported, described, fit_temperature, reported_step


def drawn(seed: int, pixels: int = 3000, sharper: float = 1.0, channels: int = 4) -> Reported:
    """Pixels whose truth is drawn from a softmax, and what is reported: the same logits times `sharper`."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(channels, pixels, generator=generator)
    truth = torch.multinomial(logits.softmax(0).T, 1, generator=generator)[:, 0]
    return Reported((logits * sharper).softmax(0), truth.to(torch.uint8))


@given(st.integers(0, 10**6), st.floats(0.3, 3), st.integers(1, 20))
def test_bins_and_ece_are_those_of_a_plain_loop(seed: int, temperature: float, bins: int) -> None:
    reported = drawn(seed, 60)
    reported.truth[::7] = 255
    found = Reliability.of(reported, temperature, 4, bins)
    held: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for s in range(60):
        if reported.truth[s] == 255:
            continue
        scaled = (reported.probabilities[:, s].double().log() / temperature).softmax(0)
        confidence = np.float32(scaled.max())
        place = max(b for b in range(bins) if b == 0 or confidence > b / bins)
        held[place].append((float(confidence), int(scaled.argmax()) == reported.truth[s]))
    total = sum(map(len, held))
    errors = [abs(np.mean([r for _, r in one]) - np.mean([c for c, _ in one])) * len(one) for one in held if one]
    assert found.pixels.sum() == total
    assert found.ece == pytest.approx(sum(errors) / total, abs=0.02 if bins > 1 else 1e-5)  # an edge may be met


def test_the_curve_is_that_of_scikit_learn() -> None:
    reported = drawn(1, sharper=2)
    found = Reliability.of(reported, 1.0, 4)
    confidence, best = reported.probabilities.max(0)
    right = (best == reported.truth).numpy()
    share, said = calibration_curve(right, confidence.double().numpy(), n_bins=15)
    filled = found.pixels > 0
    np.testing.assert_allclose((found.right / found.pixels.clip(1))[filled], share, atol=1e-6)
    np.testing.assert_allclose((found.confidence / found.pixels.clip(1))[filled], said, atol=1e-6)
    assert found.ece == pytest.approx((np.abs(share - said) * found.pixels[filled]).sum() / 3000, abs=1e-6)


@pytest.mark.parametrize("sharper", [0.4, 1.0, 2.5])
def test_the_temperature_is_what_the_logits_were_multiplied_with(sharper: float) -> None:
    reported = drawn(2, 20_000, sharper)
    temperature = fit_temperature(reported)
    assert temperature == pytest.approx(sharper, rel=0.05)
    told = described(reported, temperature, 4)
    assert told["ece"] < 2 and (sharper == 1 or told["ece_unscaled"] > 5)
    inverse = torch.ones(1, requires_grad=True)  # the same minimum by the authors' own means
    optimiser = torch.optim.LBFGS([inverse], max_iter=100, tolerance_grad=1e-9)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy((reported.probabilities.log() * inverse).T, reported.truth.long())
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    assert temperature == pytest.approx(1 / inverse.item(), rel=2e-3)


def test_pixels_that_no_temperature_can_help_say_nothing_of_it() -> None:
    reported = drawn(3, 2000, 2.0)
    worse = Reported(
        torch.cat([reported.probabilities, torch.tensor([[0.3, 0.3], [0.7, 0.7], [0, 0], [0, 0]])], 1),
        torch.cat([reported.truth, torch.tensor([2, 255], dtype=torch.uint8)]),  # closed by the gate; left out
    )
    assert fit_temperature(worse) == fit_temperature(reported)
    assert fit_temperature(Reported(worse.probabilities[:, -2:], worse.truth[-2:])) == 1
    found = Reliability.of(worse, 1.0, 4)
    assert found.pixels.sum() == 2001  # the pixel that the gate made wrong counts


def test_where_all_is_right_the_coldest_and_where_nothing_is_the_hottest_temperature_is_taken() -> None:
    probabilities = torch.tensor([[0.7, 0.7], [0.3, 0.3]])
    assert fit_temperature(Reported(probabilities, torch.zeros(2, dtype=torch.uint8))) == pytest.approx(0.1, 1e-2)
    assert fit_temperature(Reported(probabilities, torch.ones(2, dtype=torch.uint8))) == pytest.approx(10, 1e-2)


def test_a_truth_that_is_no_channel_is_wrong_where_it_counts() -> None:
    reported = Reported(torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([0, 2], dtype=torch.uint8))
    assert described(reported, 1.0, 3)["ece"] == 50 and described(reported, 1.0, 2)["ece"] == 0
    assert described(Reported(reported.probabilities, reported.truth + 100), 1.0, 3)["ece"] is None


def test_pixels_are_taken_evenly_and_their_number_is_bounded() -> None:
    truth = torch.arange(2 * 9 * 10, dtype=torch.uint8).view(2, 9, 10)
    probabilities = torch.stack([truth / 255, 1 - truth / 255], 1)
    one = Reported.of(probabilities, truth, 4)
    assert one.truth.tolist() == [b * 90 + y * 10 + x for b in (0, 1) for y in (2, 6) for x in (2, 6)]
    np.testing.assert_allclose(one.probabilities[0], one.truth / 255)
    both = Reported.joined([one, one])
    assert both.truth.tolist() == one.truth.tolist() * 2 and both.probabilities.shape == (2, 16)
    assert reported_step(100) == 4 and reported_step(10_000 * 1000 * 1000) >= 97


def test_a_record_has_bins_in_per_cent_and_nothing_of_those_without_pixels() -> None:
    first = torch.tensor([0.9, 0.9, 0.9, 0.35, 0.35, 0.35])
    reported = Reported(torch.stack([first, 1 - first]), torch.tensor([0, 0, 1, 1, 1, 1], dtype=torch.uint8))
    told = described(reported, 1.0, 2)
    assert told["bins"] == told["bins_unscaled"] and told["temperature"] == 1
    assert told["bins"]["pixels"] == [0] * 9 + [3, 0, 0, 0, 3, 0]
    assert told["bins"]["right"] == [None] * 9 + [100.0, None, None, None, 66.6667, None]
    assert told["bins"]["confidence"] == [None] * 9 + [65.0, None, None, None, 90.0, None]
    assert told["ece"] == told["ece_unscaled"] == 29.1667
