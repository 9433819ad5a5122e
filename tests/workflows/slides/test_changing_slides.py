"""A slide that is replaced, or still being copied, while it is segmented."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lpdseg import api
from lpdseg.errors import OutputError
from lpdseg.slides.slide import SlideError
from lpdseg.workflows.slides import one
from lpdseg.workflows.slides.layout import output_path


def test_a_slide_that_changes_while_it_is_segmented_is_told_and_made_again(
    small_run: Path, draw_slide: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide, out, areas = draw_slide("a.tif"), tmp_path / "out", one.class_areas
    whole = slide.read_bytes()

    def cut_short(labels: Any) -> Any:
        os.truncate(slide, len(whole) // 2)
        return areas(labels)

    def segment() -> list[api.SlideResult]:
        return api.segment_slides(small_run, [slide], out, to="csv", model_mpp=0.5, workers=0, device="cpu")

    with monkeypatch.context() as patch:
        patch.setattr(one, "class_areas", cut_short)
        with pytest.raises(SlideError, match=r"a\.tif has changed while it was read"):
            segment()
    assert json.loads((out / "states" / "a.json").read_text())["status"] == "failed"
    assert not output_path(out, "csv", "a").exists()  # it would look like a result
    slide.write_bytes(whole)
    assert [result.status for result in segment()] == ["segmented"]
    assert [result.status for result in segment()] == ["kept"]


def test_what_was_there_before_a_slide_failed_stays_where_nothing_took_its_place(
    small_run: Path, draw_slide: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide, out = draw_slide("a.tif"), tmp_path / "out"

    def segment(**changes: Any) -> list[api.SlideResult]:
        return api.segment_slides(
            small_run, [slide], out, to=("csv", "geojson"), model_mpp=0.5, workers=0, device="cpu", **changes
        )

    def fail(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    segment()
    before = {kind: output_path(out, kind, "a").read_bytes() for kind in ("csv", "geojson")}
    with monkeypatch.context() as patch:
        patch.setitem(one.KINDS, "csv", replace(one.KINDS["csv"], write=fail))
        with pytest.raises(OutputError, match="No space left"):
            segment(redo=True)
    assert not output_path(out, "geojson", "a").exists()
    assert output_path(out, "csv", "a").read_bytes() == before["csv"]
    assert [result.status for result in segment()] == ["segmented"]
    assert {kind: output_path(out, kind, "a").read_bytes() for kind in before} == before
