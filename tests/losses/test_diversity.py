import math
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lpdseg.losses.diversity import diversity_loss, jeffrey_similarity
from lpdseg.maps.merge import class_slots
from processes import program

COUNTS = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


def loop(
    cosine: Tensor, mask: Tensor, labels: Tensor, counts: tuple[int, ...], temperature: float
) -> tuple[Tensor, int]:
    """L_div and how many (image, class) it is the mean of, one pixel after the other."""
    values = []
    for i in range(cosine.shape[0]):
        for c, count in enumerate(counts):
            omega = [(y, x) for y in range(mask.shape[1]) for x in range(mask.shape[2]) if int(mask[i, y, x]) == c]
            if labels[i, c] == 0 or len(omega) < 2 or count < 2:
                continue
            first = sum(counts[:c])
            v = []
            for j in range(first, first + count):
                weights = [(cosine[i, j, y, x] / temperature).exp() for y, x in omega]
                v.append([weight / sum(weights) for weight in weights])
            pairs = []
            for a in range(count):
                for b in range(a + 1, count):
                    kl_ab = sum(p * (p / q).log() for p, q in zip(v[a], v[b], strict=True))
                    kl_ba = sum(q * (q / p).log() for p, q in zip(v[a], v[b], strict=True))
                    pairs.append((-(kl_ab + kl_ba)).exp())
            values.append(sum(pairs) / len(pairs))
    return (sum(values) / len(values) if values else cosine.sum() * 0), len(values)


@given(COUNTS, st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(0, 10**6))
def test_value_and_gradient_equal_the_loop(
    counts: tuple[int, ...], batch: int, height: int, width: int, seed: int
) -> None:
    torch.manual_seed(seed)
    cosine = (torch.rand(batch, sum(counts), height, width, dtype=torch.float64) * 0.8 - 0.4).requires_grad_()
    mask = torch.randint(len(counts) + 1, (batch, height, width))
    labels = torch.randint(2, (batch, len(counts))).float()
    term = diversity_loss(cosine, mask, labels, *class_slots(counts), 0.3)
    expected, number = loop(cosine, mask, labels, counts, 0.3)
    assert int(term.count) == number
    torch.testing.assert_close(term.mean, expected, rtol=1e-9, atol=1e-12, check_dtype=False)
    (found,) = torch.autograd.grad(term.mean, cosine)
    (wanted,) = torch.autograd.grad(expected, cosine)
    torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("pixels", ["class", "image", "batch"])
def test_comparing_classes_that_an_image_lacks_changes_nothing(
    pixels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    labels = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    mask = torch.where(torch.rand(3, 5, 5) < 0.5, 2, 4)
    mask[0, 0] = 0
    mask[2] = 4
    found = []
    for ahead in (False, True):
        monkeypatch.setattr("lpdseg.losses.diversity.runs_ahead", lambda _, ahead=ahead: ahead)
        cosine = (torch.rand(3, 8, 5, 5, generator=torch.Generator().manual_seed(1)) * 2 - 1).requires_grad_()
        chosen = None if pixels == "image" else mask
        term = diversity_loss(cosine, chosen, labels, *class_slots((2, 3, 2, 1)), 0.3, pixels == "batch")
        found.append([term.count, term.mean, *torch.autograd.grad(term.mean, cosine)])
    assert found[0][0] == (2 if pixels == "batch" else 3)
    for exact, more in zip(*found, strict=True):
        torch.testing.assert_close(more, exact)


def test_a_hand_computed_pair() -> None:
    """Two pixels, u = (2/3, 1/3) and v = (1/3, 2/3): D_J = 2 · (1/3) · ln 2."""
    cosine = torch.tensor([[[[math.log(2.0), 0.0]], [[0.0, math.log(2.0)]]]])
    mask = torch.zeros(1, 1, 2, dtype=torch.long)
    loss = diversity_loss(cosine, mask, torch.ones(1, 1), *class_slots((2,)), 1.0).mean
    assert float(loss) == pytest.approx(math.exp(-2 / 3 * math.log(2)), rel=1e-5)


@given(st.integers(0, 10**6), st.floats(0.02, 2))
def test_the_loss_lies_in_0_to_1(seed: int, temperature: float) -> None:
    torch.manual_seed(seed)
    cosine = torch.rand(2, 5, 3, 3) * 2 - 1
    mask = torch.randint(3, (2, 3, 3))
    term = diversity_loss(cosine, mask, torch.ones(2, 2), *class_slots((2, 3)), temperature)
    assert 0 <= term.mean.item() <= 1


def test_equal_prototypes_cost_1_and_one_prototype_nothing() -> None:
    cosine = torch.rand(1, 1, 4, 4).expand(1, 3, 4, 4)
    mask = torch.zeros(1, 4, 4, dtype=torch.long)
    equal = diversity_loss(cosine, mask, torch.ones(1, 1), *class_slots((3,)), 0.1)
    assert (equal.mean.item(), equal.count.item()) == (pytest.approx(1, abs=1e-4), 1)
    single = diversity_loss(cosine, mask, torch.ones(1, 3), *class_slots((1, 1, 1)), 0.1)
    assert (single.mean.item(), single.count.item()) == (0, 0)


def test_background_and_absent_classes_are_not_counted_and_do_not_shift_the_index() -> None:
    torch.manual_seed(1)
    cosine = torch.rand(1, 4, 2, 4, requires_grad=True)
    background = 2
    mask = torch.tensor([[[1, 1, 1, 1], [0, 0, background, background]]])
    slots = class_slots((2, 2))
    term = diversity_loss(cosine, mask, torch.tensor([[0.0, 1.0]]), *slots, 0.1)
    assert int(term.count) == 1
    (gradient,) = torch.autograd.grad(term.mean, cosine)
    assert not gradient[0, :2].any()  # prototypes of class 0, which is not in the label
    assert not gradient[0, :, 1].any()  # pixels of class 0 and of background
    assert bool(gradient[0, 2:, 0].any(1).all())


def test_a_class_of_fewer_than_two_pixels_is_left_out() -> None:
    cosine = torch.rand(1, 2, 1, 3, requires_grad=True)
    for inside, counted in ((0, 0), (1, 0), (2, 1)):
        mask = torch.ones(1, 1, 3, dtype=torch.long)
        mask[..., :inside] = 0
        term = diversity_loss(cosine, mask, torch.ones(1, 1), *class_slots((2,)), 0.1)
        assert int(term.count) == counted
        (gradient,) = torch.autograd.grad(term.mean, cosine)
        assert bool(gradient.isfinite().all())


def features_and_prototypes(distance: float) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(1, 8, 14, 14), dim=1)
    first = torch.randn(8)
    return features, torch.stack([first, first + distance * torch.randn(8)])


def cosines(features: Tensor, prototypes: Tensor) -> Tensor:
    return torch.einsum("bchw,kc->bkhw", features, torch.nn.functional.normalize(prototypes, dim=1))


def test_gradient_steps_separate_two_nearly_equal_prototypes() -> None:
    features, start = features_and_prototypes(0.02)
    prototypes = start.clone().requires_grad_()
    mask = torch.zeros(1, 14, 14, dtype=torch.long)
    losses = []
    for _ in range(30):
        term = diversity_loss(cosines(features, prototypes), mask, torch.ones(1, 1), *class_slots((2,)), 0.1)
        losses.append(float(term.mean.detach()))
        (gradient,) = torch.autograd.grad(term.mean, prototypes)
        prototypes = (prototypes - 0.5 * gradient).detach().requires_grad_()
    assert losses[0] > 0.99
    assert losses[-1] < 0.1
    assert (prototypes[0] - prototypes[1]).norm() > 10 * (start[0] - start[1]).norm()


def test_one_softmax_has_a_gradient_where_the_published_two_have_none() -> None:
    features, start = features_and_prototypes(0.3)
    prototypes = start.requires_grad_()
    mask = torch.zeros(1, 14, 14, dtype=torch.long)
    ours = diversity_loss(cosines(features, prototypes), mask, torch.ones(1, 1), *class_slots((2,)), 0.1).mean
    u, v = cosines(features, prototypes)[0].flatten(1).softmax(1).softmax(1)
    published = (-((u - v) * (u.log() - v.log())).sum()).exp()
    (own,) = torch.autograd.grad(ours, prototypes)
    (theirs,) = torch.autograd.grad(published, prototypes)
    assert float(theirs.norm()) < 1e-4 * float(own.norm())
    assert float(own.norm()) > 0.01


def test_autocast_does_not_blur_the_divergence() -> None:
    features, prototypes = features_and_prototypes(0.05)
    cosine = cosines(features, prototypes)
    omega = torch.ones(1, 14, 14, dtype=torch.bool)
    arguments = (cosine, omega, class_slots((2,))[0], 0.1, (torch.zeros(1).long(), torch.zeros(1).long()))
    exact = jeffrey_similarity(*arguments)
    with torch.autocast("cpu", torch.bfloat16):
        found = jeffrey_similarity(*arguments)
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-7)


def test_without_a_mask_every_pixel_of_the_image_counts() -> None:
    torch.manual_seed(0)
    cosine, labels = torch.rand(2, 5, 4, 4), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    found = diversity_loss(cosine, None, labels, *class_slots((2, 3)), 0.3)
    one = diversity_loss(cosine, torch.zeros(2, 4, 4, dtype=torch.long), labels, *class_slots((2, 3)), 0.3)
    other = diversity_loss(cosine, torch.ones(2, 4, 4, dtype=torch.long), labels, *class_slots((2, 3)), 0.3)
    assert int(found.count) == 3
    torch.testing.assert_close(found.total, one.total + other.total)


def test_over_the_batch_a_class_is_measured_on_its_pixels_of_all_images() -> None:
    torch.manual_seed(2)
    cosine, mask = torch.rand(3, 5, 2, 4), torch.randint(3, (3, 2, 4))
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    slots = class_slots((2, 3))
    found = diversity_loss(cosine, mask, labels, *slots, 0.3, over_batch=True)
    side_by_side = torch.cat(list(cosine), 2)[None], torch.cat(list(mask), 1)[None]
    expected = diversity_loss(*side_by_side, torch.ones(1, 2), *slots, 0.3)
    assert int(found.count) == 2
    torch.testing.assert_close(found.mean, expected.mean)
    assert not found.mean.isclose(diversity_loss(cosine, mask, labels, *slots, 0.3).mean)
    without = diversity_loss(cosine, None, labels, *slots, 0.3)
    assert diversity_loss(cosine, None, labels, *slots, 0.3, over_batch=True).mean.equal(without.mean)


_PROCESS = """
import sys
import torch
from torch import distributed
from lpdseg.losses.diversity import diversity_loss
from lpdseg.losses.term import global_mean
from lpdseg.maps.merge import class_slots
torch.set_num_threads(1)
rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
found = []
for cosine, mask, labels, split in torch.load(f"{folder}/cases.pt", weights_only=True):
    own = slice(0, split) if rank == 0 else slice(split, None)
    cosine = cosine[own].requires_grad_()
    term = diversity_loss(cosine, mask[own], labels[own], *class_slots((2, 3, 1)), 0.1, over_batch=True)
    loss = global_mean(term)
    loss.backward()
    found.append([loss.detach(), cosine.grad])
torch.save(found, f"{folder}/{rank}.pt")
distributed.destroy_process_group()  # whose threads would abort a process that ends without
"""


def test_two_processes_give_the_loss_and_gradients_of_one_over_the_batch(tmp_path: Path) -> None:
    """Images of both; a class in those of one alone, with a single pixel there, or nowhere."""
    torch.manual_seed(5)
    cases = []
    for split in (1, 2):
        cosine, mask = torch.rand(3, 6, 3, 4) * 2 - 1, torch.randint(4, (3, 3, 4))
        cases.append((cosine, mask, torch.ones(3, 3), split))
    apart = torch.zeros(2, 3, 4, dtype=torch.long)
    apart[1] = 1
    apart[0, 0, 0] = 1
    cases.append((torch.rand(2, 6, 3, 4), apart, torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]), 1))
    glass = torch.full((2, 3, 4), 3)
    cases.append((torch.rand(2, 6, 3, 4), torch.stack([apart[1], glass[1]]), torch.eye(3)[[1, 1]], 1))
    cases.append((torch.rand(2, 6, 3, 4), glass, torch.zeros(2, 3), 1))
    torch.save(cases, tmp_path / "cases.pt")
    with ExitStack() as both_end:
        processes = [
            both_end.enter_context(
                program([sys.executable, "-c", _PROCESS, str(rank), str(tmp_path)], stderr=subprocess.PIPE)
            )
            for rank in range(2)
        ]
        for process in processes:
            _, error = process.communicate(timeout=120)
            assert process.returncode == 0, error.decode()
    both = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for (cosine, mask, labels, _), first, second in zip(cases, *both, strict=True):
        cosine.requires_grad_()
        loss = diversity_loss(cosine, mask, labels, *class_slots((2, 3, 1)), 0.1, over_batch=True).mean
        loss.backward()
        assert first[0].equal(second[0])
        torch.testing.assert_close(first[0], loss.detach())
        torch.testing.assert_close(torch.cat([first[1], second[1]]) / 2, cosine.grad, rtol=1e-4, atol=1e-7)


def test_rounding_never_makes_prototypes_more_than_equal() -> None:
    torch.manual_seed(0)
    cosine = torch.rand(1, 1, 60, 60).repeat(1, 6, 1, 1) + 1e-6 * torch.randn(1, 6, 60, 60)
    omega, where = torch.ones(1, 60, 60, dtype=torch.bool), torch.zeros(1).long()
    assert float(jeffrey_similarity(cosine, omega, class_slots((6,))[0], 0.1, (where, where)).max()) <= 1
