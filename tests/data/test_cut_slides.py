"""What is noted of slides that patches were cut from, whatever somebody has done to the note."""

import json
from pathlib import Path
from typing import Any

import pytest

from lpdseg.data.cut_slides import SOURCES, read_sources

SLIDE: dict[str, Any] = {"path": "/a.svs", "slide": {"sha256": "0"}, "scale": [1.0, 2.0], "origin": [0, 0]}


def test_newer_and_earlier_notes_are_read(tmp_path: Path) -> None:
    earlier = {key: SLIDE[key] for key in ("path", "slide")}
    (tmp_path / SOURCES).write_text(json.dumps({"a": SLIDE, "b": earlier}))
    assert read_sources(tmp_path) == {"a": SLIDE, "b": earlier}


@pytest.mark.parametrize(
    "odd",
    [{"path": ["/a.svs"]}, {"scale": [1.0]}, {"scale": [[0], 1]}, {"origin": None}, {"scale": [1, float("inf")]}],
)
def test_a_note_of_another_shape_tells_nothing(odd: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / SOURCES).write_text(json.dumps({"a": SLIDE | odd, "b": SLIDE}))
    assert read_sources(tmp_path) == {"b": SLIDE}
