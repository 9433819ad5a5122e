"""The engine of many machines: the bits of one machine, also where nodes are lost, and faults told in a sentence."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_slide import DrawnSource, DrawnView, SlowSource

from lpdseg.errors import SettingsError
from lpdseg.segment.bundle import load_segmenter
from lpdseg.segment.segmenter import Segmenter
from lpdseg.segment.slides.cluster import RayEngine
from lpdseg.segment.slides.engine import Job, LocalEngine, Strip
from lpdseg.segment.slides.plan import plan_segments
from lpdseg.slides.grid import Grid
from lpdseg.slides.slide import SlideError

ray = pytest.importorskip("ray", reason="needs the extra cluster")
WINDOW = 32


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without processors, and two nodes with one each."""
    from ray.cluster_utils import Cluster

    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1)
    yield made
    made.shutdown()
    patch.undo()


def job(source: Any) -> Job:
    grid = Grid(source.view.size, WINDOW, 16)
    return Job(source, plan_segments(grid, lambda *_: True, 3), WINDOW, grid.weights())


def strips_of(engine: Any, wanted: Job) -> list[Strip]:
    with engine:
        return list(engine.strips(wanted))


def test_a_cluster_gives_the_bits_of_one_machine_though_a_node_is_lost(cluster: Any, small_run: Path) -> None:
    load = partial(load_segmenter, small_run.absolute(), device="cpu")
    wanted = job(DrawnSource(DrawnView((300, 200), 5)))
    plain = strips_of(LocalEngine(load(), 0), wanted)
    slow = Job(SlowSource(DrawnView((300, 200), 5)), wanted.segments, WINDOW, wanted.weights)
    found: list[Strip] = []
    with RayEngine(load, address=cluster.address) as engine:
        for strip in engine.strips(slow):
            found.append(strip)
            if len(found) == 3:
                cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    assert [strip.segment for strip in found] == [strip.segment for strip in plain]
    for strip, same in zip(found, plain, strict=True):
        np.testing.assert_array_equal(strip.values, same.values)
