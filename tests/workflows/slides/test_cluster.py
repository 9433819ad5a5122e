"""The engine of many machines: the bits of one, also where workers and nodes are lost; faults in a sentence."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drawn_slide import DrawnSource, DrawnView, SlowView
from lpdseg.errors import SettingsError
from lpdseg.segmenting.loading import load_segmenter
from lpdseg.segmenting.slides.engine import Job, LocalEngine, Strip
from lpdseg.segmenting.slides.plan import plan_segments
from lpdseg.slides.grid import Grid
from lpdseg.slides.slide import SlideError
from lpdseg.workflows.slides.cluster import RayEngine

ray = pytest.importorskip("ray", reason="needs the extra cluster")
WINDOW = 32
pytestmark = pytest.mark.filterwarnings(
    # Ray 2.48 and those before leave the logs of their nodes, or /dev/null in their place, open.
    r"ignore:[\s\S]*unclosed file[\s\S]*(/ray/session_|name='/dev/null'):pytest.PytestUnraisableExceptionWarning",
    "ignore:unclosed file.*(/ray/session_|name='/dev/null'):ResourceWarning",
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with a processor each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        # Nodes hand their environment on to the workers, which need the drawn slides.
        patch.setenv(
            "PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        )
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        made.add_node(num_cpus=1)
        yield made
        made.shutdown()


def job_of(source: Any) -> Job:
    grid = Grid(source.view.size, WINDOW, 16)
    return Job(source, plan_segments(grid, lambda *_: True, 3), WINDOW, grid.weights(), prototypes=True)


def equal(found: list[Strip], wanted: list[Strip]) -> bool:
    return [strip.segment for strip in found] == [strip.segment for strip in wanted] and all(
        np.array_equal(strip.values, same.values) and np.array_equal(strip.winners, same.winners)  # type: ignore[arg-type]
        for strip, same in zip(found, wanted, strict=True)
    )


def test_no_cluster_answers(small_run: Path) -> None:
    with (
        pytest.raises(SettingsError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 .*ray start --head"),
        RayEngine(partial(load_segmenter, small_run), address="127.0.0.1:1"),
    ):
        pass
    assert not ray.is_initialized()


def test_a_cluster_without_gpus_says_so(cluster: Any, small_run: Path) -> None:
    with (
        pytest.raises(SettingsError, match="the Ray cluster has no GPU; use --device cpu"),
        RayEngine(partial(load_segmenter, small_run), address=cluster.address, gpu=True),
    ):
        pass
    assert not ray.is_initialized()


def test_a_run_that_a_node_cannot_read_is_told(cluster: Any, tmp_path: Path) -> None:
    load, told = (
        partial(load_segmenter, tmp_path / "none"),
        r"cannot load the model: .*none is no folder.* every node",
    )
    with (
        RayEngine(load, address=cluster.address, workers=1) as engine,
        pytest.raises(SettingsError, match=told),
    ):
        next(engine.strips(job_of(DrawnSource(DrawnView((40, 40), 0)))))


def test_a_cluster_gives_the_bits_of_one_machine_whatever_is_lost(cluster: Any, prototype_run: Path) -> None:
    """A damaged slide does not stop the workers; nor does a worker that is killed, nor a node that is lost."""
    load = partial(load_segmenter, prototype_run.absolute(), device="cpu")
    view = DrawnView((260, 200), 5)
    job = job_of(DrawnSource(SlowView(**vars(view))))
    with LocalEngine(load(), 0) as here:
        plain = list(here.strips(job_of(DrawnSource(view))))
    assert all(strip.winners is not None for strip in plain)
    found: list[Strip] = []
    with RayEngine(load, address=cluster.address) as engine:
        with pytest.raises(SlideError, match=r"drawn\.svs cannot be read at x 0, y 48"):
            list(engine.strips(job_of(DrawnSource(DrawnView((260, 200), 5, damaged=79)))))
        for strip in engine.strips(job):
            found.append(strip)
            if len(found) == 3:
                ray.kill(engine._slots[0].actor)
            if len(found) == 6:
                cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    assert equal(found, plain)
    assert not ray.is_initialized()
