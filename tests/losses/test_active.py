import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lpdseg.losses.active import active_by_share, active_prototypes, draw_pairs
from lpdseg.model.prototypes import PrototypeBank
from no_waiting import as_on_a_gpu

COUNTS = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@given(COUNTS, st.integers(1, 4), st.integers(0, 10**6))
def test_active_are_those_of_present_classes_at_or_above_the_mean_of_their_class(
    counts: tuple[int, ...], batch: int, seed: int
) -> None:
    torch.manual_seed(seed)
    bank = PrototypeBank(counts, 3)
    logits = torch.randn(batch, sum(counts))
    labels = torch.randint(2, (batch, len(counts))).float()
    active = active_prototypes(logits, labels, bank.class_of, bank.slots, bank.real)
    for i in range(batch):
        first = 0
        for c, count in enumerate(counts):
            own = [float(logits[i, first + j]) for j in range(count)]
            for j in range(count):
                above = count == 1 or own[j] > sum(own) / count
                assert bool(active[i, first + j]) == (above and bool(labels[i, c]))
            first += count


def test_equal_logits_leave_every_prototype_of_a_present_class_active() -> None:
    bank = PrototypeBank((2, 2), 3)
    active = active_prototypes(
        torch.full((1, 4), 0.25), torch.tensor([[1.0, 0.0]]), bank.class_of, bank.slots, bank.real
    )
    assert active.tolist() == [[True, True, False, False]]


def test_all_active_pairs_are_drawn_when_there_is_no_limit() -> None:
    active = torch.tensor([[True, False, True], [False, False, False], [False, True, False]])
    pairs = draw_pairs(active, None)
    assert list(zip(pairs.images.tolist(), pairs.prototypes.tolist(), strict=True)) == [(0, 0), (0, 2), (2, 1)]
    assert pairs.weights.tolist() == [1, 1, 1]


@pytest.mark.parametrize(("share", "length"), [(0.0, 0), (0.3, 16), (0.7, 32), (1.0, 36)])
def test_where_the_device_runs_ahead_pairs_without_weight_fill_up(
    share: float, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = torch.zeros(36, dtype=torch.bool)
    chosen[torch.randperm(36, generator=torch.Generator().manual_seed(0))[: round(share * 36)]] = True
    exact = draw_pairs(chosen.view(4, 9), None)
    as_on_a_gpu(monkeypatch)
    pairs, number = draw_pairs(chosen.view(4, 9), None), len(exact)
    assert number == round(share * 36) and len(pairs) == length
    assert pairs.images[:number].equal(exact.images) and pairs.prototypes[:number].equal(exact.prototypes)
    assert pairs.weights.tolist() == [1.0] * number + [0.0] * (length - number)


@given(st.integers(1, 6), st.integers(0, 10**6))
def test_a_limit_holds_per_image_and_draws_only_active_prototypes(limit: int, seed: int) -> None:
    torch.manual_seed(seed)
    active = torch.rand(4, 5) < 0.5
    pairs = draw_pairs(active, limit)
    assert bool(active[pairs.images, pairs.prototypes].all())
    drawn = torch.bincount(pairs.images, minlength=4).tolist()
    assert drawn == [min(limit, int(row.sum())) for row in active]
    stood_for = torch.bincount(pairs.images, pairs.weights, minlength=4)
    torch.testing.assert_close(stood_for.float(), active.sum(1).float())


def test_a_limit_draws_every_active_prototype_sooner_or_later() -> None:
    torch.manual_seed(0)
    active = torch.tensor([[True, False, True, True]])
    assert {int(draw_pairs(active, 1).prototypes) for _ in range(50)} == {0, 2, 3}


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_weighted_sum_over_drawn_pairs_is_unbiased(limit: int) -> None:
    torch.manual_seed(0)
    active = torch.tensor([[True, False, True, True], [False, True, False, False]])
    values = torch.tensor([[3.0, 50.0, -1.0, 2.0], [50.0, 7.0, 50.0, 50.0]])
    drawn = [draw_pairs(active, limit) for _ in range(4000)]
    sums = torch.stack([(pairs.weights * values[pairs.images, pairs.prototypes]).sum() for pairs in drawn])
    exact = float(values[active].sum())
    assert float(sums.mean()) == pytest.approx(exact, abs=max(4 * float(sums.std()) / 4000**0.5, 1e-4))


def test_a_prototype_is_active_above_an_equal_share_of_its_class() -> None:
    slots_of = torch.tensor([0, 0, 0, 1, 2])
    live = torch.tensor([True, True, False, True, True])
    share = torch.tensor([[0.3, 0.1, 0.0, 0.4, 0.2], [0.05, 0.25, 0.0, 0.4, 0.3]])
    probability = share[..., None, None].expand(2, 5, 3, 3)
    labels = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    found = active_by_share(probability, labels, slots_of, live)
    assert found.tolist() == [[True, False, False, True, False], [False, True, False, False, True]]
