"""Searching folders: links, circles, systems, and what earlier runs left."""

import os
from pathlib import Path

import pytest

from lpdseg.folders import is_system, look_through, some


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def below(paths: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_what_systems_leave_is_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "@eaDir/a.png", "__MACOSX/a.png", "Thumbs.db", ".DS_Store", "._a.png", "~$a.docx")
    touch(
        tmp_path, ".ipynb_checkpoints/a.png", "b/#recycle/a.png", "b/$RECYCLE.BIN/x.png", "b/c.png", "Desktop.ini"
    )
    seen = look_through(tmp_path)
    assert below(seen.files, tmp_path) == ["a.png", "b/c.png"]
    assert below(seen.folders, tmp_path) == ["b"]
    assert not is_system("a@b.png")
    assert below(look_through(tmp_path, recurse=False).files, tmp_path) == ["a.png"]
    assert below(look_through(tmp_path, leave_out=[tmp_path / "b", tmp_path / "gone"]).files, tmp_path) == ["a.png"]


def test_links_are_followed_once_and_files_found_at_their_real_place(tmp_path: Path) -> None:
    real, other = touch(tmp_path / "real", "z/a.png"), touch(tmp_path / "other", "b.png")
    (real / "a_link").symlink_to(real / "z")
    (real / "circle").symlink_to(real)
    (real / "other").symlink_to(other)
    (other / "back").symlink_to(real)
    (real / "c.png").symlink_to(other / "b.png")
    seen = look_through(real)
    assert below(seen.files, real) == ["c.png", "other/b.png", "z/a.png"]
    assert below(seen.again, real) == ["a_link", "circle", "other/back"]
    assert any("a_link, circle, other/back" in note for note in seen.notes(real))


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    for name in ("gone.png", "folder"):
        (tmp_path / name).symlink_to(tmp_path / "nowhere" / name)
    (tmp_path / "self.png").symlink_to("self.png")
    assert below(look_through(tmp_path).lost, tmp_path) == ["folder", "gone.png", "self.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert look_through(tmp_path).files == []


def test_results_of_earlier_runs_are_known_by_their_records(tmp_path: Path) -> None:
    touch(tmp_path, "one/segment.json", "one/summary.csv", "one/masks/a.png", "one/overlays/a.png", "one/own/a.png")
    touch(tmp_path, "two/states/s.json", "two/masks/s.ome.tif", "two/geojson/s.geojson")
    touch(tmp_path, "run/run.json", "run/settings.yaml", "run/report/a.png", "three/masks/a.png")
    seen = look_through(tmp_path)
    assert [name for name in below(seen.files, tmp_path) if not name.endswith((".json", ".csv"))] == [
        "one/own/a.png",
        "three/masks/a.png",
    ]
    assert below(seen.results, tmp_path) == [
        "one/masks", "one/overlays", "run", "two/geojson", "two/masks", "two/states",
    ]  # fmt: skip


def test_the_first_few_of_many() -> None:
    root = Path("d")
    assert some([root / "a", Path("/b")], root) == "a, /b"
    assert some([root / str(number) for number in range(5)], root) == "0, 1, 2, … (5 in all)"
