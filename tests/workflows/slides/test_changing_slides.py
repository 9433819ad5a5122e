"""A slide that is replaced, or still being copied, while it is segmented."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lpdseg import api
from lpdseg.slides.slide import SlideError
from lpdseg.workflows.slides import one


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
    slide.write_bytes(whole)
    assert [result.status for result in segment()] == ["segmented"]
    assert [result.status for result in segment()] == ["kept"]
