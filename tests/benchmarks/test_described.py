"""What descriptions would tell, beside what the map's winners tell."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from lpdseg.data.records import PatchRecord
from lpdseg.insight.survey import PatchUse
from lpdseg.model.morphologies import Described, Morphologies

CLASS_OF = np.array([0, 0, 0, 1, 1, 1])


def test_the_pixels_of_a_class_go_to_the_component_of_its_description_with_their_sub_types(
    load_benchmark: Callable[[str], ModuleType],
) -> None:
    nothing = np.full((6, 6), np.nan)
    use = PatchUse(
        PatchRecord(Path("a.png"), (1, 1), "valid", "p", None),
        np.array([4, 1, 0, 2, 2, 0]), np.ones(6), np.array([5, 4]), np.zeros(2, np.int64), np.zeros(2), nothing,
        np.array([[3, 1, 0, 0, 2, 0], [1, 0, 0, 2, 0, 0]]), np.zeros((2, 2), np.int64),
    )  # fmt: skip
    found = load_benchmark("described").given_to(use, {0: 2}, CLASS_OF)
    assert found.won.tolist() == [0, 0, 5, 2, 2, 0]  # class 1 has none given: it keeps the winners of the map
    assert found.subtype_won.tolist() == [[0, 0, 4, 0, 2, 0], [0, 0, 1, 2, 0, 0]]
    assert use.won.tolist() == [4, 1, 0, 2, 2, 0]


def test_the_likeliest_component_is_that_of_the_own_class_and_a_retired_prototype_has_none(
    load_benchmark: Callable[[str], ModuleType],
) -> None:
    rng = np.random.default_rng(0)
    centres = {0: ((-6.0, 0.0), (6.0, 0.0)), 1: ((0.0, -6.0), (0.0, 6.0))}
    values, classes = [], []
    for c, pair in centres.items():
        for centre in pair:
            values.append(rng.normal(centre, 0.3, (40, 2)))
            classes += [c] * 40
    described = Described(
        np.concatenate(values), np.arange(160), np.array(classes), tuple(f"p{n % 8}" for n in range(160)),
        np.ones(160, bool),
    )  # fmt: skip
    morphologies = Morphologies((3, 3))
    morphologies.fit(described, 160)
    assert morphologies.components == (2, 2)
    script = load_benchmark("described")
    shares = morphologies.shares.numpy()
    for row in range(0, 160, 7):
        c = int(described.classes[row])
        assert script.likeliest_component(morphologies, c, described.values[row]) == shares[row].argmax()
    mixture, live = script.mixture_of(morphologies, 1)
    assert len(mixture.weights) == 2
    assert (morphologies.weights[3 + torch.from_numpy(live)] > 0).all()
