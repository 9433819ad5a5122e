"""A task minimises the weighted sum of the objectives that it names, each while it counts."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from lpdseg.losses.objective import Objective, Seen, Single
from lpdseg.methods.task import Task
from lpdseg.model.lpd import LPD


class Darkness(Single):
    """A loss in one place: its name, its title and its value."""

    titles: ClassVar[Mapping[str, str]] = {"darkness": "how dark images are"}

    def mean(self, seen: Seen) -> Tensor:
        return 1 - seen.images.mean()


class Two(Objective):
    titles: ClassVar[Mapping[str, str]] = {"first": "one", "second": "two"}

    def __call__(self, seen: Seen) -> tuple[Tensor, dict[str, Tensor]]:
        return torch.tensor(10.0), {"first": torch.tensor(4.0), "second": torch.tensor(6.0)}


class Looking(Task):
    def __init__(self, model: LPD, *objectives: Objective) -> None:
        super().__init__(model)
        self.objectives = objectives

    def look(self, batch: Mapping[str, Tensor], done: float, active: Sequence[Objective]) -> Seen:
        return Seen(batch, batch["image"] / 255, batch["labels"], done)


BATCH = {"image": torch.full((1, 3, 4, 4), 51, dtype=torch.uint8), "labels": torch.ones(1, 2)}


def test_the_loss_is_the_weighted_sum_of_what_counts(tiny_lpd: Callable[..., LPD]) -> None:
    task = Looking(tiny_lpd(), Darkness(0.5), Two(0.1, start=0.25, stop=0.75), Two(0.0))
    assert task(dict(BATCH), 0.2)["loss"].item() == pytest.approx(0.5 * 0.8)
    parts = task(dict(BATCH), 0.25)
    assert list(parts) == ["loss", "darkness", "first", "second"]
    assert parts["loss"].item() == pytest.approx(0.5 * 0.8 + 0.1 * 10)
    assert parts["darkness"].item() == pytest.approx(0.8)
    assert list(task(dict(BATCH), 0.75)) == ["loss", "darkness"]


def test_titles_are_in_the_order_of_the_objectives(tiny_lpd: Callable[..., LPD]) -> None:
    assert list(Looking(tiny_lpd(), Two(), Darkness()).titles()) == ["first", "second", "darkness"]
