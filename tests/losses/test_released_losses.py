"""The released losses against loops written from the description of the published code (docs/method.md)."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from lpdseg.losses.active import Pairs
from lpdseg.losses.contrast import contrast_loss
from lpdseg.losses.diversity import diversity_loss
from lpdseg.losses.released import released_contrast, released_diversity
from lpdseg.maps.merge import class_slots

COUNTS = st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple)


def alike(images: Tensor, prototypes: Tensor) -> Pairs:
    """Pairs each of which stands for itself."""
    return Pairs(images, prototypes, torch.ones(len(images)))


def class_of(counts: tuple[int, ...]) -> Tensor:
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def diversity_loop(
    features: Tensor, prototypes: Tensor, mask: Tensor, counts: tuple[int, ...]
) -> tuple[Tensor, int]:
    """As released: background is 0 in the mask, classes are looked up without that shift, two softmaxes."""
    published = [[[0 if c == len(counts) else c + 1 for c in row] for row in image] for image in mask.tolist()]
    values = []
    for i, image in enumerate(published):
        for c, count in enumerate(counts):
            omega = [(y, x) for y, row in enumerate(image) for x, value in enumerate(row) if value == c]
            if len(omega) < 2 or count < 2:
                continue
            own = range(sum(counts[:c]), sum(counts[: c + 1]))
            similarity = [
                torch.stack([F.cosine_similarity(features[i, :, y, x], prototypes[j], dim=0) for y, x in omega])
                for j in own
            ]
            v = [values.softmax(0).softmax(0) for values in similarity]
            pairs = [
                torch.exp(-((v[a] - v[b]) * (v[a].log() - v[b].log())).sum())
                for a in range(count)
                for b in range(a + 1, count)
            ]
            values.append(sum(pairs) / len(pairs))
    return (sum(values) / len(values) if values else features.sum() * 0), len(values)


@given(COUNTS, st.integers(1, 3), st.integers(2, 4), st.integers(0, 10**6))
def test_diversity_equals_the_loop(counts: tuple[int, ...], batch: int, side: int, seed: int) -> None:
    torch.manual_seed(seed)
    features = torch.randn(batch, 5, side, side, dtype=torch.float64, requires_grad=True)
    prototypes = torch.randn(sum(counts), 5, dtype=torch.float64, requires_grad=True)
    mask = torch.randint(len(counts) + 1, (batch, side, side))
    term = released_diversity(features, prototypes, mask, *class_slots(counts), class_of(counts))
    expected, number = diversity_loop(features, prototypes, mask, counts)
    assert int(term.count) == number
    torch.testing.assert_close(1 - term.mean, 1 - expected, rtol=1e-6, atol=1e-12, check_dtype=False)
    if number:
        found = torch.autograd.grad(term.mean, (features, prototypes))
        wanted = torch.autograd.grad(expected, (features, prototypes))
        for ours, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-12)


def test_diversity_as_released_teaches_nothing() -> None:
    """On maps of the published size: its distance from 1, and a gradient a millionth of the repaired one."""
    torch.manual_seed(0)
    counts = (10, 10)
    features = torch.randn(4, 512, 14, 14, dtype=torch.float64)
    prototypes = torch.randn(20, 512, dtype=torch.float64, requires_grad=True)
    # Class 0 and background: the shifted index measures class 0 on background, and class 1 on class 0.
    mask = torch.full((4, 14, 14), 0)
    mask[:, 7:] = 2
    slots, real = class_slots(counts)
    released = released_diversity(features, prototypes, mask, slots, real, class_of(counts)).mean
    cosine = torch.einsum("bdhw,kd->bkhw", F.normalize(features, dim=1), F.normalize(prototypes, dim=1))
    ours = diversity_loss(cosine, mask, torch.ones(4, 2), slots, real, 0.1).mean
    assert 0 < 1 - released < 1e-5 and 1 - ours > 0.1
    (nothing,) = torch.autograd.grad(released, prototypes)
    (something,) = torch.autograd.grad(ours, prototypes)
    assert 0 < nothing.norm() < 3e-6 * something.norm()


class Encode(nn.Module):
    """Not linear, so that scaled images are told apart."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.requires_grad_(False)

    def forward(self, images: Tensor, shown: Tensor | None = None) -> Tensor:
        return self.layers(images)


@given(st.integers(0, 10**6), st.sampled_from([None, 7]))
def test_contrast_equals_the_loop(seed: int, size: int | None) -> None:
    torch.manual_seed(seed)
    counts, encode = (2, 1, 3), Encode()
    images, maps = torch.rand(2, 3, 12, 12), (14 * torch.randn(2, 6, 4, 4)).requires_grad_()
    prototypes = torch.randn(6, 6)
    pairs = [(0, 1), (0, 2), (1, 5)]
    terms = released_contrast(
        images,
        maps,
        alike(torch.tensor([0, 0, 1]), torch.tensor([1, 2, 5])),
        prototypes,
        class_of(counts),
        encode,
        threshold=0.5,
        temperature=0.2,
        size=size,
    )
    foreground, background, means = [], [], []
    for i, j in pairs:
        image = images[i]
        if size is not None:
            image = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False, antialias=True)[
                i
            ]
        a = F.interpolate(maps[i, j][None, None], size=image.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
        M = (a >= 0.5 * float(maps[i].detach().max())).float()
        f_fg, f_bg = encode((M * a * image)[None])[0], encode(((1 - M) * (1 - a) * image)[None])[0]
        fg = [(F.cosine_similarity(f_fg, p, dim=0) / 0.2).exp() for p in prototypes]
        bg = [(F.cosine_similarity(f_bg, p, dim=0) / 0.2).exp() for p in prototypes]
        foreground.append(-(fg[j] / sum(fg)).log())
        background.append(-(1 - bg[j] / sum(bg)).log())
        means.append(maps[i, j].mean())
    torch.testing.assert_close(terms.foreground.mean, torch.stack(foreground).mean(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(terms.background.mean, torch.stack(background).mean(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(terms.map_mean.mean, torch.stack(means).mean(), rtol=1e-4, atol=1e-5)
    (gradient,) = torch.autograd.grad(terms.both.mean, maps)
    assert gradient.isfinite().all() and gradient.any()


def test_the_repaired_contrast_differs_where_the_map_is_no_share() -> None:
    torch.manual_seed(0)
    images, maps, prototypes = torch.rand(2, 3, 12, 12), 14 * torch.randn(2, 3, 4, 4), torch.randn(3, 6)
    pairs, encode = alike(torch.tensor([0, 1]), torch.tensor([0, 2])), Encode()
    options = {"threshold": 0.5, "temperature": 0.2}
    released = released_contrast(images, maps, pairs, prototypes, torch.arange(3), encode, **options)
    ours = contrast_loss(
        images, maps, pairs, prototypes, torch.arange(3), encode, fill="black", negatives="published", **options
    )
    assert abs(float(released.foreground.mean - ours.foreground.mean)) > 0.01
    assert 0 <= ours.map_mean.mean <= 1


def test_no_active_prototype_is_no_loss() -> None:
    none = alike(torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    maps = torch.randn(2, 3, 4, 4, requires_grad=True)
    terms = released_contrast(
        torch.rand(2, 3, 8, 8),
        maps,
        none,
        torch.randn(3, 6),
        torch.arange(3),
        Encode(),
        threshold=0.5,
        temperature=1.0,
    )
    assert terms.foreground.mean.item() == 0 == pytest.approx(terms.map_mean.mean.item())
    terms.both.mean.backward()
    assert maps.grad is not None and not maps.grad.any()
