"""Pipes, devices and files without an end in place of what is read: refused, never waited for."""

import csv
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest
from PIL import Image

from lpdseg.data.classes_file import read_classes
from lpdseg.data.importers import load_data
from lpdseg.data.manifest import csv_rows, read_manifest
from lpdseg.data.patches import read_image
from lpdseg.data.reading import look
from lpdseg.data.records import Manifest, PatchRecord, content_digest, read_bytes
from lpdseg.data.region_file import read_features
from lpdseg.data.seen import read_seen
from lpdseg.errors import LpdsegError
from lpdseg.files import open_file, read_json, read_text
from lpdseg.model.weights_folder import shapes
from lpdseg.outputs import CHECK, FIGURE, PATCH_ROWS, check_file
from lpdseg.segmenting.edits import read_edits
from lpdseg.segmenting.patches import find_images
from lpdseg.sharing.folder import read_sums
from lpdseg.slides.readers import find_slides, open_slide
from lpdseg.tissue import TissueClasses
from lpdseg.training.metrics import read_metrics
from lpdseg.workflows.slides.state import identity
from lpdseg.workflows.tables import read_table

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")

_PATIENCE = 30


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """Ends what waits for a pipe."""

    def end(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(_PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _all_rows(path: Path) -> None:
    list(csv_rows(path))


def _regions(path: Path) -> None:
    list(read_features(path))


def _classes(path: Path) -> None:
    read_classes(path.parent)


DOORS: list[tuple[str, Callable[[Path], object]]] = [
    ("x.png", read_image),
    ("x.png", content_digest),
    ("x.png", read_bytes),
    ("x.csv", read_manifest),
    ("x.csv", _all_rows),
    ("x.json", read_json),
    ("x.yaml", read_text),
    ("classes.yaml", _classes),
    ("x.geojson", _regions),
    ("x.geojson.gz", _regions),
    ("x.zip", _regions),
    ("x.yaml", read_edits),
    ("SHA256SUMS", lambda path: read_sums(path.parent)),
    ("data.csv", lambda path: read_seen(path.parent)),
    ("model.safetensors", shapes),
    ("x.svs", open_slide),
    ("x.tiff", open_slide),
    ("x.png", open_slide),
    ("x.tiff", identity),
    ("summary.csv", lambda path: read_table(path, "image")),
    ("x.json", lambda path: check_file(path, CHECK)),
    ("x.png", lambda path: check_file(path, FIGURE)),
    ("x.csv", lambda path: check_file(path, PATCH_ROWS)),
]


@pytest.mark.parametrize(("name", "door"), DOORS)
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str, door: Callable[[Path], object]) -> None:
    path = tmp_path / name
    os.mkfifo(path)
    with pytest.raises((LpdsegError, OSError), match=name):
        door(path)


def test_figures_of_a_run_in_a_pipe_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.jsonl")
    assert read_metrics(tmp_path) == []


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_file(tmp_path: Path, name: str) -> None:
    link = tmp_path / "x.png"
    link.symlink_to(name)
    with pytest.raises(OSError, match="pipe or a device"):
        open_file(link)
    with pytest.raises(LpdsegError, match=r"x\.png.*pipe or a device"):
        read_image(link)


def test_a_folder_and_what_is_not_there_are_told_as_ever(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        open_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "x")
    (tmp_path / "y").write_bytes(b"ab")
    with open_file(tmp_path / "y") as file:
        assert file.read() == b"ab"


def test_a_manifest_of_gigabytes_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text("path,split,a\n")
    os.truncate(path, 6 << 30)
    with pytest.raises(LpdsegError, match=r"manifest\.csv .*MiB"):
        read_manifest(path)


def test_a_line_without_an_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_bytes(b"path,split,a\n" + b"," * (3 << 20) + b"\nx,train,1\n")
    with pytest.raises(LpdsegError, match=r"manifest\.csv .*line"):
        read_manifest(path)


def test_columns_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text("path,split," + ",".join(f"c{n}" for n in range(1001)) + "\nx.png,train" + ",1" * 1001 + "\n")
    with pytest.raises(LpdsegError, match=r"manifest\.csv, line 1: .*1,003 columns"):
        read_manifest(path)


def test_cells_may_have_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["a", "b"], ["x\r\ny", "z\nz"]])
    assert [cells for _, cells in csv_rows(path)] == [["a", "b"], ["x\r\ny", "z\nz"]]


@pytest.mark.parametrize("filler", ["[],", "{},", "0,"])
def test_json_of_very_many_values_is_refused_before_it_is_read(tmp_path: Path, filler: str) -> None:
    path = tmp_path / "x.json"
    path.write_text("[" + filler * (5 << 20) + "0]")
    with pytest.raises(ValueError, match="values"):
        read_json(path)
    path.write_text(json.dumps({"a": ["x"] * 100_000}))
    assert len(read_json(path)["a"]) == 100_000


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_an_image_of_gigabytes_is_not_read(tmp_path: Path, split: str) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x40\0\0\0\x40\x08\x02")
    os.truncate(path, 9 << 30)
    record = PatchRecord(path, (1,), split, "p")
    with pytest.raises(LpdsegError, match=r"x\.png has 9,663,676,416 bytes"):
        look(Manifest(TissueClasses(("a",)), (record,), tmp_path))


@pytest.mark.parametrize("find", [lambda path: find_images([path]), lambda path: find_slides([path]), load_data])
def test_an_input_that_is_a_pipe_is_not_told_to_be_missing(tmp_path: Path, find: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(LpdsegError, match=r"x\.png is a pipe or a device, and no file; give an? "):
        find(tmp_path / "x.png")
    with pytest.raises(LpdsegError, match=r"y\.png does not exist; give an? "):
        find(tmp_path / "y.png")


@pytest.mark.parametrize("find", [lambda path: find_images([path]), lambda path: find_slides([path])])
def test_a_pipe_beside_images_is_told(
    tmp_path: Path, find: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "y.png")
    os.mkfifo(tmp_path / "x.png")
    find(tmp_path)
    assert caplog.messages == ["passed over pipes and devices, which are no files: x.png"]


def test_a_manifest_that_is_too_large_is_told_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    with path.open("wb") as file:
        file.truncate(300 << 20)
    with pytest.raises(LpdsegError) as told:
        read_manifest(path)
    assert str(told.value).startswith(
        f"{path} has 300 MiB, and a table has 256 at most; leave out columns that are "
    )
