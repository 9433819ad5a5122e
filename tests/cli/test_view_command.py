"""`lpdseg view`."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from lpdseg import extras
from lpdseg.cli.main import main
from lpdseg.view import serving


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be served, instead of serving it."""
    found: list[Any] = []

    def serve(visit: Any, **options: Any) -> None:
        found.append((visit, options))
        options["told"]("http://127.0.0.1:1/?token=x")
        visit.close()

    monkeypatch.setattr(serving, "serve", serve)
    return found


def test_it_shows_what_the_run_was_trained_on(
    served: list[Any], prototype_run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["view", str(prototype_run), "--no-browser", "--port", "8123", "--device", "cpu"]) == 0
    visit, options = served[0]
    assert len(visit.items) == 16 and visit.items[0].group == "train" and visit.items[0].labels is not None
    assert (options["host"], options["port"], options["browser"]) == ("127.0.0.1", 8123, False)
    assert "16 images. Look at them: http://127.0.0.1:1/?token=x" in capfd.readouterr().out


def test_a_folder_of_images_and_another_run(
    served: list[Any], prototype_run: Path, small_run: Path, small_data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        str(small_data / "valid" / "img"),
        "--compare",
        str(small_run),
        "--device",
        "cpu",
        "--host",
        "0.0.0.0",
    ]
    assert main(["view", str(prototype_run), *arguments]) == 0
    visit, _ = served[0]
    assert [item.name for item in visit.items] == sorted(
        path.name for path in (small_data / "valid" / "img").iterdir()
    )
    assert [run.folder for run in visit.runs] == [prototype_run, small_run]
    assert "can see these images" in capfd.readouterr().err


def test_a_folder_of_a_benchmark_is_asked(
    served: list[Any], prototype_run: Path, small_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, run in (("0a", small_run), ("1b", prototype_run), ("2c", small_run)):
        shutil.copytree(run, tmp_path / "runs" / name)
    mine = tmp_path / "runs" / "1b"
    assert main(["view", str(mine), "--compare", str(tmp_path), "--device", "cpu"]) == 0
    visit, _ = served[0]
    assert [run.folder for run in visit.runs] == [mine]
    assert [run.folder.name for run in visit.asked] == ["0a", "2c"]
    shutil.rmtree(tmp_path / "runs" / "2c")  # one other run is shown beside the first, wherever it lies
    assert main(["view", str(mine), "--compare", str(tmp_path), "--device", "cpu"]) == 0
    assert [run.folder.name for run in served[1][0].runs] == ["1b", "0a"]
    assert main(["view", str(mine), "--compare", str(mine)]) == 1
    assert "is no other run for the classes pink, blue" in capfd.readouterr().err


def test_results_are_shown_with_what_was_written(
    served: list[Any], prototype_run: Path, small_data: Path, tmp_path: Path
) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    shutil.copytree(small_data / "valid" / "img", images)
    assert main(["segment", str(prototype_run), str(images), "--out", str(out), "--device", "cpu"]) == 0
    assert main(["view", str(prototype_run), str(out), "--device", "cpu"]) == 0
    items = served[0][0].items
    assert len(items) == 4 and all(item.written.files["mask"].is_file() for item in items)
    shutil.rmtree(images)
    assert main(["view", str(prototype_run), str(out), "--device", "cpu"]) == 1


def test_what_is_wrong_is_a_sentence(
    prototype_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["view", str(prototype_run), str(tmp_path / "none")]) == 1
    assert "does not exist; name slides, patches" in capfd.readouterr().err
    assert main(["view", str(tmp_path)]) == 1
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert main(["view", str(prototype_run)]) == 2
    assert "pip install 'lpdseg[view]'" in capfd.readouterr().err
