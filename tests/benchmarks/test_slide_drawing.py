from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from lpdseg.slides.at_mpp import AtMpp
from lpdseg.slides.readers import open_slide
from lpdseg.slides.slide import Mpp
from lpdseg.slides.tissue_mask import find_tissue


def test_a_drawn_slide_is_a_pyramid_whose_levels_agree(
    load_benchmark: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    drawing = load_benchmark("slide_drawing")
    drawing.draw_slide(tmp_path / "a.tif", 5000)
    with closing(open_slide(tmp_path / "a.tif")) as slide:
        assert [level.width for level in slide.facts.levels] == [5000, 1250, 312]
        assert slide.facts.mpp is not None and slide.facts.mpp.x == pytest.approx(drawing.MPP)
        view = AtMpp(slide, Mpp(0.5, 0.5, "drawn"), 0.5)
        assert AtMpp(slide, Mpp(0.5, 0.5, "drawn"), 8.0).level == 2  # levels that lie are passed over
        assert find_tissue(view).share == pytest.approx(1 / 5, abs=0.05)
    drawing.draw_slide(tmp_path / "full.tif", 1500, full=True)
    with closing(open_slide(tmp_path / "full.tif")) as slide:
        assert find_tissue(AtMpp(slide, Mpp(0.5, 0.5, "drawn"), 0.5)).share > 0.9
