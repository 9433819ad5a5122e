"""A trace of some steps, for the viewers of PyTorch's profiler."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

from lpdseg.files import replacing
from lpdseg.training.progress import Reporter

TRACE = "trace.json"
_SETTLED, _TRACED = 50, 10
"""Steps before those that are traced, in which libraries choose their algorithms, and traced ones."""

Batch = TypeVar("Batch")


def traced(batches: Iterator[Batch], run: Path, step: int, total: int, reporter: Reporter) -> Iterator[Batch]:
    """The same batches; beside the tenth after fifty, or the last of a run that is shorter, lies `trace.json`.

    It holds ten steps as Chrome's trace events: what this thread and the device do, waiting for batches included,
    and a validation where one falls into them. A run that ends within them leaves none.

    **Arguments:**

    - `step`, `total`: steps that are done, and of how many.

    **Raises:** `OutputError` where the trace cannot be written.
    """
    last = min(step + _SETTLED + _TRACED, total)
    first = max(step, last - _TRACED)
    yield from islice(batches, first - step)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it would write to standard error
    from torch.profiler import profile, supported_activities

    with profile(activities=supported_activities()) as profiler:
        yield from islice(batches, last - first)
    path = run / TRACE
    with replacing(path) as temporary:
        profiler.export_chrome_trace(str(temporary))
    reporter.note(f"steps {first + 1} to {last} are traced in {path}; look at it in https://ui.perfetto.dev")
    yield from batches
