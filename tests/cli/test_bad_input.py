"""Bad input through the command line: one line that names the fault, no traceback, and nothing left behind."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from PIL import Image

from lpdseg import api
from lpdseg.cli.main import main
from lpdseg.data.check import check_data
from lpdseg.data.importers import load_data
from lpdseg.errors import DataError
from lpdseg.tissue import TissueClasses

Fails = Callable[..., str]
AB = TissueClasses(("pink", "blue"))


@pytest.fixture
def fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fails:
    """Runs a command that must fail with one line and write nothing below `out`; returns the line."""

    def run(*arguments: object, code: int = 1) -> str:
        before = {path for path in (tmp_path / "out").rglob("*") if path.is_file()}
        assert main([str(argument) for argument in arguments]) == code
        shown = capsys.readouterr()
        assert shown.err.startswith("lpdseg: ") and shown.err.count("\n") == 1, shown.err
        assert {path for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
        return shown.err

    return run


@pytest.fixture
def data(small_data: Path, tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    return Path(shutil.copytree(small_data, tmp_path / "data"))


@pytest.fixture
def train(tmp_path: Path, small_settings: tuple[str, ...]) -> Callable[..., list[object]]:
    """The words of a training of seconds."""

    def words(data: Path, *more: object) -> list[object]:
        changes = [word for setting in small_settings for word in ("--set", setting)]
        start = ["train", "--data", data, "--out", tmp_path / "out", "--quiet", "--device", "cpu"]
        return [*start, "--classes", "pink,blue", *changes, *more]

    return words


def first(folder: Path) -> Path:
    return sorted(folder.iterdir())[0]


def spoilt(kind: str, path: Path) -> None:
    """Replaces an image by one that cannot be used."""
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-600])
    elif kind == "corrupt":
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "16-bit":
        Image.fromarray(np.full((32, 32), 40000, np.uint16)).save(path)
    else:
        mode = {"alpha": "RGBA", "grey": "L", "cmyk": "CMYK"}[kind]
        Image.new(mode, (32, 32)).save(path, format="TIFF" if mode == "CMYK" else "PNG")


BAD_IMAGES = {
    "truncated": "cannot be decoded", "corrupt": "", "empty": "", "16-bit": "16-bit", "alpha": "RGBA",
    "grey": "mode L", "cmyk": "CMYK",
}  # fmt: skip


@pytest.mark.parametrize("command", ["train", "evaluate", "segment", "data"])
def test_a_missing_folder(command: str, fails: Fails, small_run: Path, tmp_path: Path) -> None:
    none, out = tmp_path / "none", tmp_path / "out"
    line = fails(
        *{
            "train": ["train", "--data", none, "--out", out],
            "evaluate": ["evaluate", small_run, "--data", none, "--json", out / "x.json"],
            "segment": ["segment", small_run, none, "--out", out],
            "data": ["data", "check", none, "--json", out / "x.json"],
        }[command]
    )
    assert f"{none} does not exist" in line


def test_an_empty_split(fails: Fails, train: Any, data: Path, small_run: Path, tmp_path: Path) -> None:
    assert "has no 'test' patches; the splits it has: train, valid" in fails(
        "evaluate", small_run, "--data", data, "--split", "test"
    )
    shutil.rmtree(data / "train")
    assert "has no 'train' patches" in fails(*train(data))
    shutil.rmtree(data / "valid")
    assert "holds no data set" in fails(*train(data))


def test_masks_that_are_not_there(fails: Fails, data: Path, small_run: Path) -> None:
    shutil.rmtree(data / "valid" / "mask")
    assert "no patch of the split 'valid' has a mask" in fails("evaluate", small_run, "--data", data)


def test_labels_of_another_length(fails: Fails, train: Any, data: Path) -> None:
    path = first(data / "train")
    path.rename(path.with_name("t9_99[101].png"))
    assert "t9_99[101].png" in fails(*train(data))


def test_a_class_that_no_patch_has(fails: Fails, train: Any, data: Path) -> None:
    for path in (data / "train").glob("*[[]?1[]].png"):
        path.unlink()
    assert "no training patch has the class 'blue'" in fails(*train(data))


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_an_image_that_cannot_be_used_is_met_before_training_writes_anything(
    kind: str, fails: Fails, train: Any, data: Path
) -> None:
    path = sorted((data / "train").iterdir())[-1]
    spoilt(kind, path)
    line = fails(*train(data))
    assert str(path) in line and BAD_IMAGES[kind] in line


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_an_image_that_cannot_be_used_stops_segmenting(
    kind: str, fails: Fails, data: Path, small_run: Path, tmp_path: Path
) -> None:
    path = first(data / "valid" / "img")
    spoilt(kind, path)
    line = fails("segment", small_run, path.parent, "--out", tmp_path / "out", "--device", "cpu")
    assert str(path) in line and BAD_IMAGES[kind] in line


def test_a_mask_of_another_size(fails: Fails, train: Any, data: Path, small_run: Path) -> None:
    path = first(data / "valid" / "mask")
    Image.new("L", (16, 32)).save(path)
    told = f"{path} is 16 x 32 pixels, but its image is 32 x 32"
    assert told in fails("evaluate", small_run, "--data", data)
    assert told in fails(*train(data))


def test_settings_that_do_not_exist_name_the_nearest(fails: Fails, train: Any, small_data: Path) -> None:
    assert "did you mean 'glas'?" in fails(*train(small_data, "--preset", "glass"), code=2)
    assert "did you mean 'train.epochs'?" in fails(*train(small_data, "--set", "train.epoch=3"), code=2)
    assert "train.lr" in fails(*train(small_data, "--set", "train.lr=fast"), code=2)
    assert "settings file" in fails(*train(small_data, "--preset", "none.yaml"), code=2)
    assert "model.encoder = 'resnet19' cannot be used" in fails(
        *train(small_data, "--set", "model.encoder=resnet19"), code=2
    )
    assert "no class preset" in fails(*train(small_data, "--classes", "bcsss"), code=2)
    assert "no device" in fails(*train(small_data, "--device", "cuda:77"), code=2)


def test_weights_of_another_architecture(
    fails: Fails, train: Any, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1])
    transformers.ConvNextBackbone(config).save_pretrained(tmp_path / "weights")
    capsys.readouterr()  # saving shows a bar
    line = fails(*train(small_data, "--weights", tmp_path / "weights"))
    assert str(tmp_path / "weights") in line and "resnet18" in line
    assert "no config.json" in fails(*train(small_data, "--weights", small_data))


def test_weights_that_cannot_be_converted(fails: Fails, tmp_path: Path) -> None:
    out, damaged = tmp_path / "out", tmp_path / "a.pth"
    damaged.write_bytes(b"x" * 99)
    assert "a.pth cannot be read as weights" in fails("weights", "convert", damaged, out)
    assert "does not exist" in fails("weights", "convert", tmp_path / "none", out)
    damaged.unlink()
    assert "holds no weights" in fails("weights", "convert", tmp_path, out)
    assert "'--heads'" in fails("weights", "convert", tmp_path, out, "--heads", 0, code=2)
    assert not out.exists()


def test_a_run_of_other_classes(fails: Fails, small_run: Path, small_data: Path) -> None:
    both = "trained for the classes pink, blue, but"
    assert both in fails("evaluate", small_run, "--data", small_data, "--classes", "red,blue")
    resumed = ["train", "--data", small_data, "--out", small_run, "--resume", "--quiet", "--classes", "red,blue"]
    assert both in fails(*resumed)


def test_a_run_that_is_none_or_damaged(fails: Fails, small_run: Path, small_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    assert "is no folder" in fails("segment", tmp_path / "none", small_data / "valid" / "img", "--out", out)
    assert "holds no 'best' checkpoint" in fails("segment", tmp_path, small_data / "valid" / "img", "--out", out)
    assert "holds no 'last' checkpoint" in fails("licenses", tmp_path)
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    for path in run.rglob("weights-*"):
        path.write_bytes(path.read_bytes()[:1000])
    assert "missing or damaged" in fails("evaluate", run, "--data", small_data)
    assert not out.exists()


def test_a_run_folder_in_use(fails: Fails, train: Any, small_run: Path, small_data: Path) -> None:
    again = [str(word) for word in train(small_data)]
    again[again.index("--out") + 1] = str(small_run)
    assert "already holds a run" in fails(*again)


def test_a_full_disk(
    fails: Fails, train: Any, small_run: Path, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        patch.setattr(Path, "write_text", full)
        line = fails("segment", small_run, small_data / "valid" / "img", "--out", out, "--device", "cpu")
    assert "cannot write" in line and "No space left" in line
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        line = fails(*train(small_data))
    assert "cannot write" in line and "No space left" in line


def test_two_images_that_would_be_one_mask(fails: Fails, small_run: Path, data: Path, tmp_path: Path) -> None:
    path = first(data / "valid" / "img")
    Image.open(path).save(path.with_suffix(".tif"))
    assert "would both become" in fails("segment", small_run, path.parent, "--out", tmp_path / "out")


def test_a_patch_of_the_size_of_a_slide_is_refused_by_every_command_that_predicts_it(
    fails: Fails,
    data: Path,
    prototype_run: Path,
    train: Callable[..., list[object]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whole, one of 8190 x 8190 takes 17 GB; its header tells, and nothing is predicted before."""
    large = sorted((data / "valid" / "img").iterdir())[-1]
    Image.new("RGB", (4097, 4096)).save(large)
    Image.new("L", (4097, 4096)).save(data / "valid" / "mask" / large.name)
    told = f"{large} has 4097 x 4096 pixels, and a patch has 16,777,216 at most, as many as 4096 x 4096; cut it"
    page, of = tmp_path / "out" / "page.html", ("--data", data, "--device", "cpu")
    assert told in fails(*train(data))
    assert told in fails("evaluate", prototype_run, *of, "--split", "valid")
    assert told in fails("prototypes", prototype_run, *of, "--out", page)
    assert told in fails("report", prototype_run, *of, "--out", page)
    drawn = page.with_suffix(".svg")
    assert told in fails("figure", "grid", prototype_run, *of, "--split", "valid", "--out", drawn)
    assert main(["verify", str(prototype_run), "--data", str(data), "--device", "cpu"]) == 1
    assert told in capsys.readouterr().out
    with pytest.raises(DataError, match=r"4097 x 4096 .* as a slide"):
        api.segment(prototype_run, large)
    assert "too-large" in {problem.kind for problem in check_data(load_data(data, AB), workers=2).errors}


def test_a_training_image_of_the_size_of_a_slide_is_told(
    data: Path, train: Callable[..., list[object]], capsys: pytest.CaptureFixture[str]
) -> None:
    large = sorted((data / "train").iterdir())[0]
    Image.new("RGB", (4097, 4096), (200, 120, 160)).save(large)
    [problem] = [
        one for one in check_data(load_data(data, AB), workers=2).warnings if one.kind == "large-training-image"
    ]
    assert problem.files == (f"train/{large.name}: 4097 x 4096",)
    assert main([str(part) for part in train(data) if part != "--quiet"]) == 0
    assert "(the largest 4097 x 4096): each is one patch with one label" in capsys.readouterr().err


def test_an_output_whose_name_is_too_long_is_told_before_any_work(
    fails: Fails, prototype_run: Path, small_data: Path, train: Callable[..., list[object]], tmp_path: Path
) -> None:
    """Of 240 letters a system takes the name, but not the temporary one beside it."""
    folder, of, name = tmp_path / "out" / ("x" * 300), ("--data", small_data, "--device", "cpu"), "x" * 240
    page, table, figure, graph = (tmp_path / "out" / f"{name}.{end}" for end in ("html", "json", "svg", "onnx"))
    image = small_data / "valid" / "img"
    for out, words in (
        (folder, ["train", "--data", small_data, "--classes", "pink,blue", "--out", folder]),
        (folder, ["segment", prototype_run, image, "--out", folder]),
        (
            folder,
            [
                "segment",
                prototype_run,
                image,
                "--out",
                folder,
                "--to",
                "ome-tiff",
                "--mpp",
                "1",
                "--model-mpp",
                "1",
            ],
        ),
        (folder, ["bundle", prototype_run, folder]),
        (folder.with_name(name), ["bundle", prototype_run, folder.with_name(name)]),
        (folder, ["data", "synth", folder]),
        (folder, ["demo", "--out", folder]),
        (folder, ["weights", "convert", small_data, folder]),
        (graph, ["export", prototype_run, "--out", graph]),
        (page, ["report", prototype_run, "--out", page, *of]),
        (page, ["prototypes", prototype_run, "--out", page, *of]),
        (figure, ["figure", "grid", prototype_run, "--out", figure, "--split", "valid", *of]),
        (table, ["evaluate", prototype_run, "--split", "valid", "--json", table, *of]),
        (table, ["data", "check", small_data, "--classes", "pink,blue", "--json", table]),
        (folder / "a.json", ["data", "check", small_data, "--classes", "pink,blue", "--json", folder / "a.json"]),
    ):
        told = fails(*words)
        assert told.startswith(f"lpdseg: cannot write {out}: ") and "bytes too long; choose a shorter one" in told
