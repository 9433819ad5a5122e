"""A visit to a small run and its data, and a page's way to ask for things."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from lpdseg.view.visit import Visit

pytest.importorskip("starlette", reason="the extra view is not installed")

TOKEN = "token-of-the-tests"
HOST = "127.0.0.1:8000"


@pytest.fixture
def visit_to() -> Iterator[Callable[..., "Visit"]]:
    """A builder of visits: runs, what is looked at, and options of `SlideOptions`."""
    from lpdseg.checkpoint import read_state
    from lpdseg.tissue import TissueClasses
    from lpdseg.view.items import open_items
    from lpdseg.view.visit import Visit
    from lpdseg.workflows.slides.options import SlideOptions

    made: list[Visit] = []

    def build(runs: Path | list[Path], *sources: Path, **options: Any) -> Visit:
        folders = [runs] if isinstance(runs, Path) else runs
        classes = TissueClasses.from_dict(read_state(folders[0], "best")["classes"])
        opened = open_items(folders[0], sources, classes, named="pink,blue")
        made.append(Visit(folders, opened, SlideOptions(device="cpu", **options)))
        return made[-1]

    yield build
    for visit in made:
        visit.close()


@pytest.fixture
def visit(visit_to: Callable[..., "Visit"], prototype_run: Path, small_data: Path) -> "Visit":
    """A run whose masks are made of prototypes, and its patches."""
    return visit_to(prototype_run, small_data)


@pytest.fixture
def asking() -> Callable[["Visit"], "TestClient"]:
    """A builder of clients that know the token."""
    from starlette.testclient import TestClient

    from lpdseg.view.app import make_app

    def build(visit: "Visit", host: str = HOST) -> TestClient:
        client = TestClient(make_app(visit, [HOST, "localhost:8000"], TOKEN), f"http://{host}")
        client.headers["origin"] = f"http://{host}"
        client.cookies.set("lpdseg-8000", TOKEN)
        return client

    return build


@pytest.fixture
def client(visit: "Visit", asking: Callable[..., "TestClient"]) -> "TestClient":
    """Of `visit`."""
    return asking(visit)
