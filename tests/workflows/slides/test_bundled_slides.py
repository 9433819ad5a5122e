"""A bundle in place of its run, for whole slides."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import lpdseg
from lpdseg import api
from lpdseg.alone import only_one
from lpdseg.workflows.slides.layout import lock_path

_EDITS = "blue 2: {move: pink}\n"


def outputs(out: Path) -> dict[str, bytes]:
    """But for the states and the table, which tell times."""
    found = (path for path in out.rglob("*") if path.is_file() and path.parent.name != "states")
    return {str(path.relative_to(out)): path.read_bytes() for path in found if path.name != "summary.csv"}


def test_a_bundle_makes_of_slides_what_its_run_makes(
    prototype_run: Path, draw_slide: Callable[..., Path], tmp_path: Path
) -> None:
    """Also with an expert's edits, which it carries, and in processes that read slides."""
    draw_slide("a.tif"), draw_slide("b.tif", seed=1)
    edits = tmp_path / "edits.yaml"
    edits.write_text(_EDITS)
    bundle = lpdseg.make_bundle(prototype_run, tmp_path / "bundle", edits=edits)

    def segmented(run: Path, name: str, **options: object) -> Path:
        out = tmp_path / name
        options |= {"to": "geojson,ome-tiff,zarr,csv", "model_mpp": 0.5, "device": "cpu", "prototypes": True}
        results = api.segment_slides(run, [tmp_path / "slides"], out, **options)
        assert [result.status for result in results] == ["segmented", "segmented"]
        return out

    ours = segmented(prototype_run, "ours", workers=0, edits=edits)
    theirs = segmented(bundle, "theirs", workers=1)
    assert outputs(theirs) == outputs(ours) and len(outputs(ours)) > 8
    plain = segmented(prototype_run, "plain", workers=0)
    assert outputs(plain) != outputs(ours)  # or nothing is shown of the edits
    states = [json.loads((out / "states" / "a.json").read_text()) for out in (ours, theirs)]
    assert states[0]["settings"]["weights_sha256"] == states[1]["settings"]["weights_sha256"]
    assert states[1]["run"].endswith("bundle")


def test_a_bundle_and_its_run_share_a_folder_and_neither_calls_the_others_slide_failed(
    prototype_run: Path, draw_slide: Callable[..., Path], tmp_path: Path
) -> None:
    draw_slide("a.tif"), draw_slide("b.tif", seed=1)
    bundle, out = lpdseg.make_bundle(prototype_run, tmp_path / "bundle"), tmp_path / "out"

    def statuses(run: Path, folder: Path = out) -> list[str]:
        slides, options = [tmp_path / "slides"], {"to": "geojson,zarr,csv", "model_mpp": 0.5, "device": "cpu"}
        results = api.segment_slides(run, slides, folder, workers=0, skip_bad=True, **options)
        return [result.status for result in results]

    def tabled() -> dict[str, str]:
        with (out / "summary.csv").open(newline="") as file:
            return {Path(row["slide"]).stem: row["status"] for row in csv.DictReader(file)}

    with only_one(lock_path(out, "a"), "busy"):
        assert statuses(bundle) == ["failed", "segmented"]
        assert tabled() == {"b": "segmented"}
    assert statuses(prototype_run) == ["segmented", "kept"]
    with only_one(lock_path(out, "a"), "busy"):
        assert statuses(bundle) == ["failed", "kept"]
    assert tabled() == {"a": "segmented", "b": "kept"}
    assert statuses(prototype_run, tmp_path / "alone") == ["segmented", "segmented"]
    assert outputs(out) == outputs(tmp_path / "alone")
