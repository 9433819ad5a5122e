"""A slide that needs no file, and a segmenter."""

from collections.abc import Callable

import pytest
from drawn_slide import DrawnSource, DrawnView

from lpdseg.model.lpd import LPD
from lpdseg.segmenting.segmenter import Calibration, Segmenter
from lpdseg.settings import PredictSettings
from lpdseg.tissue import TissueClasses


@pytest.fixture
def drawn() -> Callable[..., DrawnSource]:
    """A builder of sources: size, and the options of `DrawnView`."""

    def build(width: int, height: int, seed: int = 0, damaged: int | None = None) -> DrawnSource:
        return DrawnSource(DrawnView((width, height), seed, damaged))

    return build


@pytest.fixture
def segmenter(tiny_lpd: Callable[..., LPD]) -> Segmenter:
    """A small network with random weights; two classes and background."""
    settings = PredictSettings(fusion=(0.0, 0.4, 0.6), refine="none", background="glass")
    classes = TissueClasses(("a", "b"), background=2)
    return Segmenter(tiny_lpd().eval(), classes, settings, Calibration.plain(2), (0.0, 0.1, 1.0), "mean")
