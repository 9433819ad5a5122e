from pathlib import Path

import pytest

from lpdseg.errors import SettingsError
from lpdseg.segmenting.loading import TrainedOn
from lpdseg.slides.slide import Bounds
from lpdseg.workflows.slides.options import SlideOptions
from lpdseg.workflows.slides.wanted import Wanted, resolve_windows

RUN = Path("runs/x")


def resolved(trained: TrainedOn, mpp: float | None, window: int | None, overlap: float | None) -> object:
    return resolve_windows(RUN, trained, SlideOptions(model_mpp=mpp, window=window, overlap=overlap))


def test_windows_are_the_patches_of_the_run_unless_asked_otherwise() -> None:
    trained = TrainedOn(0.5, (240, 224))
    assert resolved(trained, None, None, None) == (0.5, 224, 112)
    assert resolved(trained, 1.0, 100, 0.25) == (1.0, 100, 25)
    assert resolved(TrainedOn(None, None), 1.0, 64, 0.0) == (1.0, 64, 0)


def test_what_a_run_does_not_say_must_be_told() -> None:
    with pytest.raises(SettingsError, match=r"runs/x does not say at how many microns .* --model-mpp 0\.5"):
        resolved(TrainedOn(None, (224, 224)), None, None, None)
    with pytest.raises(SettingsError, match=r"runs/x does not say how large its patches were.* --window 224"):
        resolved(TrainedOn(0.5, None), None, None, None)


def test_figures_that_cannot_be_meant() -> None:
    trained = TrainedOn(0.5, (224, 224))
    for mpp in (0.0, -1.0, 500.0, float("nan")):
        with pytest.raises(SettingsError, match="cannot have been trained at"):
            resolved(trained, mpp, None, None)
    for window in (0, 15, 100_000):
        with pytest.raises(SettingsError, match="a window of"):
            resolved(trained, None, window, None)
    for overlap in (-0.1, 1.0, float("nan")):
        with pytest.raises(SettingsError, match="windows cannot overlap"):
            resolved(trained, None, None, overlap)


def test_options_that_no_slide_can_be_read_or_written_with() -> None:
    for simplify, area in ((-1.0, 0.0), (0.0, float("inf")), (float("nan"), 0.0)):
        with pytest.raises(SettingsError, match="must be 0 or more"):
            SlideOptions(simplify_um=simplify, minimum_um2=area)
    for mpp in (0.0, 500.0, float("nan")):
        with pytest.raises(SettingsError, match=r"--mpp must be the microns per pixel of a slide, 0\.05 to 20"):
            SlideOptions(mpp=mpp)
    with pytest.raises(SettingsError, match="oracle gate"):
        SlideOptions(gate="oracle")
    for name, value in (("workers", -1), ("batch", 0), ("engine", "foo")):
        options = SlideOptions()
        object.__setattr__(options, name, value)  # tests check types when an object is made; users' programs do not
        with pytest.raises(SettingsError, match=name):
            options.__post_init__()


def test_annotations_count_from_where_qupath_counts() -> None:
    bounds = Bounds(300, 40, 5000, 6000)
    wanted = Wanted(SlideOptions(), ("geojson", "csv"), 0.5, 224, 112, 16)
    assert wanted.depends(bounds, {})["geojson"]["origin"] == [300, 40]
    assert wanted.depends(None, {})["geojson"]["origin"] == [0, 0]
    assert wanted.depends(bounds, {"unsure": 0.2})["csv"] == {}
    whole = Wanted(SlideOptions(from_bounds=False), ("geojson",), 0.5, 224, 112, 16)
    assert whole.depends(bounds, {})["geojson"]["origin"] == [0, 0]
    how_sure = {"temperature": 1.0, "unsure": 0.2}
    unsure = Wanted(SlideOptions(), ("uncertainty",), 0.5, 224, 112, 16).depends(bounds, how_sure)
    assert unsure == {"uncertainty": {"origin": [300, 40], **how_sure}}
