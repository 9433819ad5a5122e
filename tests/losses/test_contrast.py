import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from lpdseg.losses.active import Pairs, draw_pairs
from lpdseg.losses.contrast import contrast_loss, negative_set, pair_sums, split_image
from lpdseg.losses.term import Term
from lpdseg.model.prototypes import PrototypeBank


def alike(images: Tensor, prototypes: Tensor) -> Pairs:
    """Pairs each of which stands for itself."""
    return Pairs(images, prototypes, torch.ones(len(images)))


class Encode(nn.Module):
    """A small frozen encoder that remembers how it was called."""

    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(6, width)
        self.requires_grad_(False)
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor, shown: Tensor | None = None) -> Tensor:
        self.sizes.append(tuple(images.shape))
        return self.head(self.layers(images))


def loop(
    images: Tensor,
    maps: Tensor,
    pairs: list[tuple[int, int]],
    prototypes: Tensor,
    class_of: list[int],
    encode: Callable[[Tensor], Tensor],
    *,
    threshold: float,
    temperature: float,
    published: bool,
    white: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """L_FG, L_BG and the mean map, one pair after the other."""
    foreground, background, soft_maps = [], [], []
    for i, j in pairs:
        soft = (maps[i, j] - maps[i, j].min()) / (maps[i, j].max() - maps[i, j].min())
        soft_maps.append(soft)
        a = F.interpolate(soft[None, None], size=images.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
        M = (a >= threshold * a.max()).to(a)
        image = 1 - images[i] if white else images[i]
        shown = [M * a * image, (1 - M) * (1 - a) * image]
        if white:
            shown = [1 - part for part in shown]
        f_fg, f_bg = (encode(part[None])[0] for part in shown)

        def exponential(feature: Tensor, prototype: int) -> Tensor:
            p = prototypes[prototype]
            return ((feature @ p) / (feature.norm() * p.norm()) / temperature).exp()

        others = [n for n in range(len(class_of)) if (n != j if published else class_of[n] != class_of[j])]
        own = exponential(f_fg, j)
        foreground.append(-(own / (own + sum(exponential(f_fg, n) for n in others))).log())
        rest = sum(exponential(f_bg, n) for n in others)
        background.append(-(rest / (rest + exponential(f_bg, j))).log())
    return torch.stack(foreground).mean(), torch.stack(background).mean(), torch.stack(soft_maps).mean()


def scene(seed: int, counts: tuple[int, ...], batch: int = 2) -> dict[str, Any]:
    torch.manual_seed(seed)
    return {
        "images": torch.rand(batch, 3, 12, 16),
        "maps": (torch.randn(batch, sum(counts), 3, 4) * 5).requires_grad_(),
        "prototypes": torch.randn(sum(counts), 5, requires_grad=True),
        "class_of": PrototypeBank(counts, 1).class_of,
        "encode": Encode(),
    }


@given(
    st.lists(st.integers(1, 3), min_size=2, max_size=3).map(tuple),
    st.sampled_from(["other_classes", "published"]),
    st.sampled_from(["black", "white"]),
    st.sampled_from([0.0, 0.3, 0.5, 0.9]),
    st.sampled_from([1, 2, 8]),
    st.integers(0, 10**6),
)
def test_values_and_gradients_equal_the_loop(
    counts: tuple[int, ...], negatives: str, fill: str, threshold: float, chunk: int, seed: int
) -> None:
    given_ = scene(seed, counts)
    active = torch.rand(2, sum(counts)) < 0.5
    active[0, 0] = True
    pairs = alike(*active.nonzero(as_tuple=True))
    terms = contrast_loss(
        pairs=pairs, threshold=threshold, temperature=0.2, negatives=negatives, fill=fill, chunk=chunk, **given_
    )
    double = {name: given_[name].detach().double().requires_grad_() for name in ("maps", "prototypes")}
    expected = loop(
        given_["images"].double(),
        double["maps"],
        list(zip(pairs.images.tolist(), pairs.prototypes.tolist(), strict=True)),
        double["prototypes"],
        given_["class_of"].tolist(),
        copy.deepcopy(given_["encode"]).double(),
        threshold=threshold,
        temperature=0.2,
        published=negatives == "published",
        white=fill == "white",
    )
    weights = (1.0, 1.0, 0.3)
    for term, value in zip((terms.foreground, terms.background, terms.map_mean), expected, strict=True):
        torch.testing.assert_close(term.mean, value.float(), rtol=1e-4, atol=1e-5)
    total = terms.both.mean + terms.map_mean.mean * weights[2]
    found = torch.autograd.grad(total, [given_["maps"], given_["prototypes"]])
    wanted = torch.autograd.grad(
        sum(w * value for w, value in zip(weights, expected, strict=True)), [double["maps"], double["prototypes"]]
    )
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs.float(), rtol=2e-3, atol=2e-5)


def test_foreground_and_background_share_one_call_of_the_encoder() -> None:
    given_ = scene(0, (2, 2))
    pairs = alike(torch.tensor([0, 0, 1]), torch.tensor([0, 2, 3]))
    contrast_loss(pairs=pairs, threshold=0.5, temperature=0.07, **given_)
    assert given_["encode"].sizes == [(6, 3, 12, 16)]
    contrast_loss(pairs=pairs, threshold=0.5, temperature=0.07, size=8, **given_)
    assert given_["encode"].sizes[1:] == [(6, 3, 8, 8)]


def test_no_more_pairs_are_encoded_at_once_than_a_chunk_holds() -> None:
    given_ = scene(0, (2, 2))
    pairs = alike(torch.tensor([0, 0, 1]), torch.tensor([0, 2, 3]))
    whole = contrast_loss(pairs=pairs, threshold=0.5, temperature=0.07, **given_)
    terms = contrast_loss(pairs=pairs, threshold=0.5, temperature=0.07, chunk=2, **given_)
    assert given_["encode"].sizes[1:] == [(4, 3, 12, 16), (2, 3, 12, 16)]
    torch.testing.assert_close(terms.both.total, whole.both.total)
    torch.testing.assert_close(terms.both.total, terms.foreground.total + terms.background.total)


def test_nothing_is_differentiated_where_no_gradient_is_wanted() -> None:
    given_ = scene(0, (2, 2))
    pairs = alike(torch.tensor([0, 1]), torch.tensor([0, 3]))
    expected = contrast_loss(pairs=pairs, threshold=0.5, temperature=0.07, **given_).both.total
    encode = given_["encode"]

    def watched(images: Tensor, shown: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        return encode(images, shown)

    given_["encode"] = watched
    with torch.no_grad():
        found = contrast_loss(pairs=pairs, threshold=0.5, temperature=0.07, **given_).both.total
    assert not found.requires_grad
    torch.testing.assert_close(found, expected.detach())


def test_without_active_pairs_the_loss_is_0_and_the_encoder_rests() -> None:
    given_ = scene(0, (2, 2))
    nothing = torch.zeros(0, dtype=torch.long)
    terms = contrast_loss(pairs=alike(nothing, nothing), threshold=0.5, temperature=0.07, **given_)
    assert given_["encode"].sizes == []
    total = terms.both.mean + terms.map_mean.mean
    assert total.item() == 0
    total.backward()
    assert not given_["maps"].grad.any()


def test_the_gradient_reaches_maps_and_prototypes_and_no_weight_of_the_encoder() -> None:
    given_ = scene(0, (2, 2))
    pairs = alike(torch.tensor([0]), torch.tensor([1]))
    terms = contrast_loss(pairs=pairs, threshold=0.5, temperature=0.07, **given_)
    (terms.both.mean).backward()
    assert all(parameter.grad is None for parameter in given_["encode"].parameters())
    assert given_["maps"].grad[0, 1].any()
    assert given_["maps"].grad[1].count_nonzero() == given_["maps"].grad[0, [0, 2, 3]].count_nonzero() == 0
    assert bool(given_["prototypes"].grad[1:].any(1).all())
    assert not given_["prototypes"].grad[0].any()  # of the own class: no negative


def test_prototypes_of_the_own_class_are_negatives_only_as_published() -> None:
    class_of = torch.tensor([0, 0, 1, 2, 2, 2])
    prototype = torch.tensor([1, 2])
    assert negative_set(prototype, class_of, "other_classes").int().tolist() == [
        [0, 0, 1, 1, 1, 1],
        [1, 1, 0, 1, 1, 1],
    ]
    assert negative_set(prototype, class_of, "published").int().tolist() == [
        [1, 0, 1, 1, 1, 1],
        [1, 1, 0, 1, 1, 1],
    ]


def test_the_threshold_counts_from_the_maximum_of_each_pair() -> None:
    """A weak map beside a strong one still has a foreground."""
    soft = torch.tensor([[0.2, 0.09, 0.11], [1.0, 0.2, 0.6]]).view(2, 1, 1, 3)
    images = torch.ones(2, 3, 1, 3)
    foreground, background = split_image(images, soft, 0.5, "black")
    torch.testing.assert_close(foreground[:, 0, 0], torch.tensor([[0.2, 0.0, 0.11], [1.0, 0.0, 0.6]]))
    torch.testing.assert_close(background[:, 0, 0], torch.tensor([[0.0, 0.91, 0.0], [0.0, 0.8, 0.0]]))


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_black_is_the_formula_and_white_its_complement(seed: int, threshold: float) -> None:
    torch.manual_seed(seed)
    images, soft = torch.rand(2, 3, 4, 5), torch.rand(2, 1, 4, 5)
    M = (soft >= threshold * soft.amax((2, 3), keepdim=True)).float()
    foreground, background = split_image(images, soft, threshold, "black")
    torch.testing.assert_close(foreground, M * soft * images)
    torch.testing.assert_close(background, (1 - M) * (1 - soft) * images)
    white = split_image(images, soft, threshold, "white")
    for mine, inverse in zip(white, split_image(1 - images, soft, threshold, "black"), strict=True):
        torch.testing.assert_close(mine, 1 - inverse)
        assert bool(((mine >= 0) & (mine <= 1)).all())


def test_what_is_masked_out_is_glass_by_default() -> None:
    given_ = scene(0, (1, 1), batch=1)
    seen, shares = [], []
    encode = given_.pop("encode")
    maps = torch.zeros(1, 2, 3, 4)
    maps[0, 0, :, :2] = 7.0

    def spy(images: Tensor, shown: Tensor) -> Tensor:
        seen.append(images)
        shares.append(shown)
        return encode(images)

    given_["maps"] = maps
    pairs = alike(torch.tensor([0]), torch.tensor([0]))
    contrast_loss(pairs=pairs, threshold=0.5, temperature=0.07, encode=spy, **given_)
    foreground, background = seen[0]
    torch.testing.assert_close(foreground[..., :6], given_["images"][0, ..., :6])
    assert bool((foreground[..., -6:] == 1).all())
    assert bool((background[..., :6] == 1).all())
    torch.testing.assert_close(background[..., -6:], given_["images"][0, ..., -6:])
    shown = shares[0][:, 0]
    assert bool((shown[0, :, :6] == 1).all()) and bool((shown[0, :, -6:] == 0).all())
    assert bool((shown[1, :, :6] == 0).all()) and bool((shown[1, :, -6:] == 1).all())


def test_a_constant_map_gives_a_finite_loss_and_gradient() -> None:
    given_ = scene(0, (2, 2))
    given_["maps"] = torch.full((2, 4, 3, 4), 3.0, requires_grad=True)
    pairs = alike(torch.tensor([0]), torch.tensor([0]))
    terms = contrast_loss(pairs=pairs, threshold=0.5, temperature=0.07, **given_)
    (terms.both.mean + terms.map_mean.mean).backward()
    assert bool(given_["maps"].grad.isfinite().all())


def test_cosines_stay_in_float32_under_autocast() -> None:
    given_ = scene(3, (2, 2))
    given_["encode"] = lambda images, shown: images.flatten(1)[:, :5].float() - 0.5
    pairs = alike(torch.tensor([0, 1]), torch.tensor([0, 3]))
    exact = contrast_loss(pairs=pairs, threshold=0.5, temperature=0.07, **given_)
    with torch.autocast("cpu", torch.bfloat16):
        found = contrast_loss(pairs=pairs, threshold=0.5, temperature=0.07, **given_)
    assert found.foreground.mean.item() == pytest.approx(exact.foreground.mean.item(), rel=1e-5)
    assert found.background.mean.item() == pytest.approx(exact.background.mean.item(), rel=1e-5)


@pytest.mark.parametrize("per_image", [None, 1])
def test_pairs_that_fill_up_change_nothing(per_image: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    active, found = torch.tensor([[True, False, True, True], [False, True, False, False]]), []
    for ahead in (False, True):
        monkeypatch.setattr("lpdseg.losses.active.runs_ahead", lambda _, ahead=ahead: ahead)
        given_ = scene(0, (2, 2))
        torch.manual_seed(0)
        pairs = draw_pairs(active, per_image)
        terms = contrast_loss(pairs=pairs, threshold=0.5, temperature=0.07, chunk=3, **given_)
        (terms.both.mean + terms.map_mean.mean).backward()
        found.append([terms.both, terms.map_mean, given_["maps"].grad, given_["prototypes"].grad])
    for exact, filled in zip(*found, strict=True):
        parts = (
            [(exact.mean, filled.mean), (exact.count, filled.count)]
            if isinstance(exact, Term)
            else [(exact, filled)]
        )
        for one, other in parts:
            torch.testing.assert_close(other, one)


def test_pairs_count_as_often_as_they_weigh() -> None:
    """A pair of weight 2 is the same as that pair given twice: in every term and in the gradient."""
    images, prototypes = torch.tensor([0, 1]), torch.tensor([0, 3])
    twice = alike(torch.tensor([0, 1, 1]), torch.tensor([0, 3, 3]))
    found = []
    for pairs in (Pairs(images, prototypes, torch.tensor([1.0, 2.0])), twice):
        given_ = scene(0, (2, 2))
        terms = contrast_loss(pairs=pairs, threshold=0.5, temperature=0.07, **given_)
        (terms.both.mean + terms.map_mean.mean).backward()
        found.append([terms.foreground.mean, terms.background.mean, terms.map_mean.mean, given_["maps"].grad])
    for weighted, repeated in zip(*found, strict=True):
        torch.testing.assert_close(weighted, repeated)


def test_lengths_of_features_and_prototypes_mean_nothing() -> None:
    drawn = torch.Generator().manual_seed(0)
    features, prototypes = torch.randn(6, 5, generator=drawn), torch.randn(4, 5, generator=drawn)
    own, weights, class_of = torch.tensor([0, 3, 1]), torch.tensor([1.0, 0.5, 2.0]), torch.tensor([0, 0, 1, 1])
    rest = (class_of, 0.07, "other_classes")
    plain = pair_sums(features, own, weights, prototypes, *rest)
    lengths = torch.tensor([3.0, 0.2, 1.0, 7.0])[:, None]
    longer = pair_sums(features * torch.arange(1, 7)[:, None], own, weights, prototypes * lengths, *rest)
    torch.testing.assert_close(longer, plain)
