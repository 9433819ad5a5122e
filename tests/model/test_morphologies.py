import numpy as np
import pytest
import torch

from lpdseg.choices import MorphologyFit
from lpdseg.model.morphologies import DIMENSIONS, Described, Morphologies


def fitted(seed: int = 0, fit: MorphologyFit = "mixture") -> tuple[Morphologies, np.ndarray, np.ndarray]:
    """Two classes of 30 patches each, of 70 patches; class 0 has two kinds of patches, class 1 one."""
    rng = np.random.default_rng(seed)
    classes = np.repeat([0, 1], 30)
    kind = np.where(classes == 0, np.arange(60) % 2, 2)
    values = 3 * np.eye(3)[kind] @ rng.standard_normal((3, 50)) + 0.2 * rng.standard_normal((60, 50))
    found = Morphologies((4, 3))
    found.fit(described(values, classes, 5), 70, fit)
    return found, classes, kind


def described(values: np.ndarray, classes: np.ndarray, first: int = 0) -> Described:
    number = np.arange(len(values))
    return Described(values, first + number, classes, tuple(f"p{n % 5}" for n in number), number >= 0)


def test_components_are_kinds_of_patches_and_the_rest_of_the_prototypes_have_none() -> None:
    found, _, kind = fitted()
    assert found.components == (2, 1)
    shares = found.shares[5:65].numpy()
    assert len({(int(a), int(b)) for a, b in zip(shares[:30].argmax(1), kind[:30], strict=True)}) == 2
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)
    assert not found.shares[:5].any() and not found.shares[65:].any()
    assert found.counts.tolist()[2:4] == [0, 0] and found.counts.sum().item() == 60
    assert found.counts[0] >= found.counts[1]


def test_state_lies_as_processes_can_send_it_to_each_other() -> None:
    found, *_ = fitted()
    assert all(one.is_contiguous() for one in found.buffers())


def test_patches_by_class_say_nothing_where_a_class_has_none() -> None:
    found, *_ = fitted()
    rows = found.of_patches(torch.tensor([[6, -1], [-1, 50]]))
    torch.testing.assert_close(rows[0, 0], found.shares[6])
    assert not rows[0, 1].any() and not rows[1, 0].any()


def test_state_takes_sizes_that_hang_on_the_data_with_it() -> None:
    found, *_ = fitted()
    other = Morphologies((4, 3))
    other.load_state_dict(found.state_dict())
    torch.testing.assert_close(other.shares, found.shares)
    assert other.axes.shape == (50, DIMENSIONS)
    assert other.components == (2, 1)


def test_nothing_of_it_learns() -> None:
    assert not list(Morphologies((2, 2)).parameters())


def test_clusters_are_as_many_as_prototypes_and_own_their_patches_alone() -> None:
    found, _, kind = fitted(fit="kmeans")
    assert found.components == (4, 3)
    shares = found.shares[5:65].numpy()
    assert set(np.unique(shares)) == {0, 1}
    for number in range(4):
        assert len(set(kind[:30][shares[:30].argmax(1) == number].tolist())) <= 1, "no cluster holds two kinds"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_largest_cluster_comes_first(seed: int) -> None:
    found, *_ = fitted(seed, "kmeans")
    for own in found.counts.split((4, 3)):
        assert own.tolist() == sorted(own.tolist(), reverse=True)


def test_what_is_found_anew_leaves_nothing_of_what_was() -> None:
    found, classes, _ = fitted(fit="kmeans")
    rng = np.random.default_rng(1)
    found.fit(described(rng.standard_normal((60, 50)), classes), 60)
    lives = found.weights > 0
    assert int(lives.sum()) == sum(found.components) < 7
    assert ((found.means.abs().sum(1) > 0) == lives).all() and ((found.counts > 0) == lives).all()


def test_what_is_found_anew_keeps_the_number_of_what_it_shares_most_with() -> None:
    """A third kind of class 0 has come to light, most of all in patches of several classes."""
    found, _, _ = fitted()
    before = found.shares.clone()
    classes = np.repeat([0, 1], [60, 30])
    kind = np.concatenate([np.repeat([2, 0, 1], [30, 15, 15]), np.full(30, 3)])
    kind[58:60] = 2
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((4, 50))[[0, 1, 3, 2]]
    values = 3 * directions[kind] + 0.2 * rng.standard_normal((90, 50))
    alone = np.arange(90) >= 30
    patches = np.concatenate([65 + np.arange(30), 5 + 2 * np.arange(15), 6 + 2 * np.arange(15), 35 + np.arange(30)])
    found.fit(Described(values, patches, classes, tuple(f"p{n % 5}" for n in range(90)), alone), 100)
    assert found.components == (3, 1) and int(found.looks) == found.times == 2
    again = Morphologies(found.prototypes)
    again.load_state_dict(found.state_dict())
    assert again.times == 2
    same = [n for n in range(5, 35) if n not in patches[58:60]]
    assert found.shares[same].argmax(1).equal(before[same].argmax(1)), "of the same kind, and so of the same number"
    assert not found.shares[65:].any(), "patches of several classes teach nothing"
    assert found.counts[:4].sum() == 60


def test_what_no_patch_shows_alone_is_no_morphology() -> None:
    """A third kind of class 0 is in patches of several classes, and never alone: no composite would show it."""
    classes = np.repeat([0, 1], [60, 30])
    kind = np.concatenate([np.repeat([2, 0, 1], [30, 15, 15]), np.full(30, 3)])
    rng = np.random.default_rng(0)
    values = 3 * rng.standard_normal((4, 50))[kind] + 0.2 * rng.standard_normal((90, 50))
    found = Morphologies((4, 3))
    alone = np.arange(90) >= 30
    found.fit(Described(values, np.arange(90), classes, tuple(f"p{n % 5}" for n in range(90)), alone), 90)
    assert found.components == (2, 1)
    torch.testing.assert_close(found.shares[30:60].sum(0)[:2], torch.tensor([15.0, 15.0]))
    assert found.weights[:4].sum() == pytest.approx(1)
