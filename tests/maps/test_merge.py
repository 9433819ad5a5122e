import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.choices import HeadMerge
from lpdseg.maps.merge import (
    by_class,
    class_logits,
    class_slots,
    image_logits,
    joint_logits,
    merge_prototypes,
    sum_parts,
)

COUNTS = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@given(COUNTS)
def test_slots_are_class_major_and_mark_what_is_filled(counts: tuple[int, ...]) -> None:
    slots, real = class_slots(counts)
    found = [slots[c][real[c]].tolist() for c in range(len(counts))]
    numbers = iter(range(sum(counts)))
    assert found == [[next(numbers) for _ in range(count)] for count in counts]
    assert int(slots.max()) < sum(counts)


@given(COUNTS, st.sampled_from([(), (2, 3)]), st.integers(0, 10**6))
def test_mean_and_softmax_equal_the_loop(counts: tuple[int, ...], pixels: tuple[int, ...], seed: int) -> None:
    torch.manual_seed(seed)
    values = torch.randn(2, sum(counts), *pixels, dtype=torch.float64) * 4
    slots = class_slots(counts)
    mean, soft = (merge_prototypes(values, *slots, merge) for merge in ("mean", "softmax"))
    assert mean.shape == soft.shape == (2, len(counts), *pixels)
    flat = values.flatten(2) if pixels else values[..., None]
    for b in range(2):
        for c, count in enumerate(counts):
            first = sum(counts[:c])
            for u in range(flat.shape[2]):
                z = [flat[b, first + j, u].item() for j in range(count)]
                weights = [math.exp(x) for x in z]
                wanted = sum(w * x for w, x in zip(weights, z, strict=True)) / sum(weights)
                torch.testing.assert_close(mean[b, c].reshape(-1)[u].item(), sum(z) / count)
                torch.testing.assert_close(soft[b, c].reshape(-1)[u].item(), wanted)


@given(COUNTS, st.floats(0.1, 100), st.integers(0, 10**6))
def test_softmax_lies_between_mean_and_maximum(counts: tuple[int, ...], size: float, seed: int) -> None:
    torch.manual_seed(seed)
    values = torch.randn(3, sum(counts)) * size
    slots, real = class_slots(counts)
    mean, soft = (merge_prototypes(values, slots, real, merge) for merge in ("mean", "softmax"))
    largest = by_class(values, slots).amax(2)
    slack = 1e-5 * size
    assert bool((soft >= mean - slack).all() and (soft <= largest + slack).all())


def test_the_gradient_of_a_filled_slot_is_not_counted_twice() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0, 4.0]], requires_grad=True)
    merge_prototypes(values, *class_slots((1, 3)), "mean").sum().backward()
    torch.testing.assert_close(values.grad, torch.tensor([[1.0, 1 / 3, 1 / 3, 1 / 3]]))


@pytest.mark.parametrize("merge", ["mean", "softmax", "pixel"])
def test_image_logits_equal_the_loop_of_each_merge(merge: str) -> None:
    """`pixel` merges at every pixel before it averages; `softmax` averages each prototype's map before."""
    torch.manual_seed(3)
    counts = (1, 3, 2)
    maps = torch.randn(2, 6, 2, 3, dtype=torch.float64) * 3
    found = image_logits(maps, *class_slots(counts), merge)  # type: ignore[arg-type]
    for b in range(2):
        for c, count in enumerate(counts):
            own = maps[b, sum(counts[:c]) :][:count].flatten(1)  # prototypes x pixels
            at_pixels = [float((own[:, u].softmax(0) * own[:, u]).sum()) for u in range(6)]
            averages = own.mean(1)
            wanted = {
                "mean": float(averages.mean()),
                "softmax": float((averages.softmax(0) * averages).sum()),
                "pixel": sum(at_pixels) / 6,
            }
            assert float(found[b, c]) == pytest.approx(wanted[merge])
            if count > 1:
                assert len({round(value, 6) for value in wanted.values()}) == 3


@given(counts=st.lists(st.integers(1, 4), min_size=1, max_size=4), seed=st.integers(0, 2**31), soft=st.booleans())
def test_a_class_has_the_probability_of_its_prototypes(counts: list[int], seed: int, soft: bool) -> None:
    merge: HeadMerge = "softmax" if soft else "logsumexp"
    slots, real = class_slots(tuple(counts))
    scores = torch.randn(2, sum(counts), 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 5
    joint = joint_logits(scores, slots, real, merge)
    classes = class_logits(joint, slots, real)
    parts = [c for c, count in enumerate(counts) for _ in range(count)]
    torch.testing.assert_close(sum_parts(joint.softmax(1), parts, len(counts)), classes.softmax(1))
    for c, own in enumerate(scores.split(counts, 1)):
        expected = (own.softmax(1) * own).sum(1) if soft else own.logsumexp(1)
        torch.testing.assert_close(classes[:, c], expected)
        torch.testing.assert_close(joint.split(counts, 1)[c].softmax(1), own.softmax(1))
