"""What was moved becomes a prototype of its new class, and what nobody needs retires."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lpdseg.maps.merge import sum_parts
from lpdseg.methods.earlier import Earlier, edit_prototypes, edit_shares
from lpdseg.model.head import PrototypeHead
from lpdseg.model.lpd import LPD
from lpdseg.model.morphologies import Morphologies

Build = Callable[..., LPD]


def earlier(counts_for: tuple[int, ...], stands_in: tuple[int, ...], patches: list[tuple[int, int]]) -> Earlier:
    return Earlier(Path("before"), {}, patches, counts_for, stands_in)


def probabilities(model: LPD, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.dense(model.encoder(images)).logits.softmax(1)


def test_a_moved_prototype_takes_the_place_of_a_retired_one(tiny_lpd: Build) -> None:
    model = tiny_lpd(counts=(3, 3), head=8).eval()
    head = model.head
    assert isinstance(head, PrototypeHead)
    head.merge = "logsumexp"  # adds up over any set of prototypes
    head.live[4] = False
    morphologies = Morphologies((3, 3))
    morphologies.weights[:] = torch.tensor([0.5, 0.3, 0.2, 0.6, 0.0, 0.4])
    morphologies.means[:, 0] = torch.arange(6.0)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = sum_parts(probabilities(model, images), (0, 1, 0, 1, 1, 1), 2)  # as edits would have it
    said = earlier((0, 1, 0, 1, 1, 1), (0, 1, 2, 3, 4, 5), [])
    edit_prototypes(model, morphologies, said)
    assert said.places == {1: 4}
    assert head.live.tolist() == [True, False, True, True, True, True]
    torch.testing.assert_close(model.bank.weight[4], model.bank.weight[1])
    assert morphologies.weights.tolist() == pytest.approx([0.5, 0, 0.2, 0.6, 0.3, 0.4])
    assert morphologies.means[4, 0] == 1
    torch.testing.assert_close(sum_parts(probabilities(model, images), model.parts or (), 2), before)


def test_without_a_free_place_it_retires_and_others_learn_its_tissue(tiny_lpd: Build) -> None:
    model = tiny_lpd(counts=(3, 2), head=8)
    weights = model.bank.weight.detach().clone()
    said = earlier((1, -1, 0, 1, 1), (0, 1, 2, 3, 4), [])
    edit_prototypes(model, None, said)
    assert said.places == {}
    assert model.retired == {0, 1} and model.bank.weight.equal(weights)
    edit_prototypes(model, None, Earlier(Path("before"), {}, None))
    assert model.retired == {0, 1}


def test_responsibilities_follow(tiny_lpd: Build) -> None:
    """Classes of 3 and 3; 0 is merged into 1, 2 moves to the second class, where 5 is retired; 3 is hidden."""
    model = tiny_lpd(counts=(3, 3), head=8)
    assert isinstance(model.head, PrototypeHead)
    model.head.live[5] = False
    morphologies = Morphologies((3, 3))
    morphologies.shares = torch.tensor(
        [[0.6, 0.1, 0.3], [0.0, 0.2, 0.8], [0.2, 0.8, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    )
    said = earlier((0, 0, 1, -1, 1, 1), (1, 1, 2, 3, 4, 5), [(0, -1), (1, 2), (2, -1), (3, -1), (4, -1)])
    edit_prototypes(model, morphologies, said)
    assert said.places == {2: 5}
    edit_shares(morphologies, model, said, [0, 1, 1, 1, -1])
    wanted = [[0, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 0]]
    torch.testing.assert_close(morphologies.shares, torch.tensor(wanted).float())
