"""What commands write does not mix with data, or with the checkpoints of a run."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from lpdseg.cli.main import main
from lpdseg.data.classes_file import write_classes
from lpdseg.tissue import TissueClasses
from lpdseg.workflows.bundles.making import make_bundle


@pytest.fixture
def data(small_data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_data, tmp_path / "data"))


def listed(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize("place", [".", "train", "valid/img", "valid/mask"])
def test_a_run_is_not_made_among_its_data(
    place: str, data: Path, small_settings: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    before, changes = listed(data), [word for one in small_settings for word in ("--set", one)]
    words = ["train", "--data", str(data), "--classes", "pink,blue", "--out", str(data / place), "--device", "cpu"]
    assert main([*words, *changes]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"lpdseg: {data / place} holds the data to learn from, and a run would mix with it; ")
    assert listed(data) == before


COMMANDS = {
    "train": "train --data {data} --classes pink,blue --out {out} --device cpu",
    "patches": "segment {run} {data}/valid/img --out {out} --device cpu",
    "slides": "segment {run} {slide} --to csv --mpp 1 --model-mpp 1 --out {out} --device cpu",
    "tile": "data tile {slide} --regions {regions} --mpp 0.5 --out {out}",
    "synth": "data synth {out} --size 56 --train 1 --valid 0 --test 0",
    "bundle": "bundle {run} {out}",
    "benchmark": "benchmark {config} --out {out}",
    "demo": "demo --quick --out {out}",
}


def asked(name: str, out: Path, run: Path, data: Path, tmp_path: Path) -> list[str]:
    slide, regions, config = (tmp_path / name for name in ("s.png", "r.geojson", "c.yaml"))
    Image.new("RGB", (64, 64), (220, 120, 170)).save(slide)
    corners = "[[[0,0],[64,0],[64,64],[0,64],[0,0]]]"
    geometry = f'{{"type":"Polygon","coordinates":{corners}}}'
    named = '{"classification":{"name":"A","color":[1,2,3]}}'
    regions.write_text(f'{{"type":"Feature","geometry":{geometry},"properties":{named}}}')
    config.write_text(f"name: x\nreference: LPD\ndata: {{tiles: {{path: '{data}'}}}}\nvariants: {{LPD: }}\n")
    places = {"out": out, "run": run, "data": data, "slide": slide, "regions": regions, "config": config}
    return [word.format(**places) for word in COMMANDS[name].split()]


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_goes_among_checkpoints(
    name: str, small_run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    before = listed(run)
    assert main(asked(name, run / "checkpoints", run, data, tmp_path)) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    if name in ("synth", "bundle"):  # they take new folders alone
        assert "choose a new folder" in told
    else:
        assert told.startswith(
            f"lpdseg: {run / 'checkpoints'} holds the checkpoints of a run, and results would mix"
        )
    assert listed(run) == before


@pytest.mark.parametrize("name", ["patches", "slides", "benchmark", "demo", "tile"])
@pytest.mark.parametrize("kind", ["run", "bundle"])
def test_results_do_not_go_into_a_run_or_bundle_itself(
    name: str, kind: str, small_run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / kind
    if kind == "run":
        shutil.copytree(small_run, place)
    else:
        make_bundle(small_run, place)
    before = listed(place)
    assert main(asked(name, place, small_run, data, tmp_path)) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"lpdseg: {place} is the folder of a {kind}, and results would mix with it; ")
    assert listed(place) == before


@pytest.mark.parametrize("name", ["patches", "slides", "benchmark", "demo", "train"])
def test_nothing_but_patches_goes_into_a_data_set(
    name: str, small_run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_classes(TissueClasses(("pink", "blue")), other)
    before = listed(other)
    assert main(asked(name, other, small_run, data, tmp_path)) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(
        f"lpdseg: {other} is the folder of a data set, as its classes.yaml says, and results would"
    )
    assert listed(other) == before
