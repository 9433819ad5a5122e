"""The mean over the batch of all processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed

from lpdseg.losses.term import Term, global_mean


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A group of one process."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize(("total", "count", "mean"), [(3.0, 1.0, 3.0), (3.0, 4.0, 0.75), (0.0, 0.0, 0.0)])
def test_a_group_of_one_process_has_the_mean_of_that_process(
    total: float, count: float, mean: float, alone: None
) -> None:
    term = Term(torch.tensor(total, requires_grad=True), torch.tensor(count))
    assert global_mean(term).item() == term.mean.item() == mean
    assert term.count.item() == count  # which the exchange leaves as it is
