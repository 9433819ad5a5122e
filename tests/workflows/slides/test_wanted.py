from pathlib import Path

import pytest

from lpdseg.errors import SettingsError
from lpdseg.segmenting.bundle import TrainedOn
from lpdseg.slides.slide import Bounds
from lpdseg.workflows.slides.wanted import Wanted, check_figures, resolve_windows

RUN = Path("runs/x")


def test_windows_are_the_patches_of_the_run_unless_asked_otherwise() -> None:
    trained = TrainedOn(0.5, (240, 224))
    assert resolve_windows(RUN, trained, None, None, None) == (0.5, 224, 112)
    assert resolve_windows(RUN, trained, 1.0, 100, 0.25) == (1.0, 100, 25)
    assert resolve_windows(RUN, TrainedOn(None, None), 1.0, 64, 0.0) == (1.0, 64, 0)


def test_what_a_run_does_not_say_must_be_told() -> None:
    with pytest.raises(SettingsError, match=r"runs/x does not say at how many microns .* --model-mpp 0\.5"):
        resolve_windows(RUN, TrainedOn(None, (224, 224)), None, None, None)
    with pytest.raises(SettingsError, match=r"runs/x does not say how large its patches were.* --window 224"):
        resolve_windows(RUN, TrainedOn(0.5, None), None, None, None)


def test_figures_that_cannot_be_meant() -> None:
    trained = TrainedOn(0.5, (224, 224))
    for mpp in (0.0, -1.0, 500.0, float("nan")):
        with pytest.raises(SettingsError, match="cannot have been trained at"):
            resolve_windows(RUN, trained, mpp, None, None)
    for window in (0, 15, 100_000):
        with pytest.raises(SettingsError, match="a window of"):
            resolve_windows(RUN, trained, None, window, None)
    for overlap in (-0.1, 1.0, float("nan")):
        with pytest.raises(SettingsError, match="windows cannot overlap"):
            resolve_windows(RUN, trained, None, None, overlap)
    for simplify, area in ((-1.0, 0.0), (0.0, float("inf")), (float("nan"), 0.0)):
        with pytest.raises(SettingsError, match="must be 0 or more"):
            check_figures(simplify, area, None)
    for mpp in (0.0, 500.0, float("nan")):
        with pytest.raises(SettingsError, match=r"--mpp must be the microns per pixel of a slide, 0\.05 to 20"):
            check_figures(0.0, 0.0, mpp)
    check_figures(0.0, 0.0, 0.25)


def test_annotations_count_from_where_qupath_counts() -> None:
    wanted, bounds = Wanted(("geojson", "csv"), 0.5, 224, 112, 16), Bounds(300, 40, 5000, 6000)
    assert wanted.options(bounds)["geojson"]["offset"] == [300, 40] and wanted.options(bounds)["csv"] == {}
    assert wanted.options(None)["geojson"]["offset"] == [0, 0]
    whole = Wanted(("geojson",), 0.5, 224, 112, 16, from_bounds=False)
    assert whole.options(bounds)["geojson"]["offset"] == [0, 0]
