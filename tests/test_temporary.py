"""What a killed process leaves is removed by the next one that writes there, and what a living one writes stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lpdseg.alone import alone_in
from lpdseg.data.opening import open_data
from lpdseg.data.synthetic import generate
from lpdseg.errors import DataError
from lpdseg.files import replacing, replacing_folder, write_text
from lpdseg.segmenting.patches import find_images
from lpdseg.slides.inputs import find_slides
from lpdseg.slides.slide import SlideError
from processes import program

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are asked as POSIX does")

_HALF = """
import sys, time
from pathlib import Path
from lpdseg.files import replacing, replacing_apart, replacing_folder
with (
    replacing(Path(sys.argv[1], "a.png")) as file,
    replacing_folder(Path(sys.argv[1], "folder")) as folder,
    replacing_apart(Path(sys.argv[1], "a.safetensors")) as apart,
):
    file.write_bytes(b"half")
    (apart.parent / ".tmpOfALibrary").touch()
    (folder / "part").touch()
    print("half", flush=True)
    time.sleep(600)
"""


def half_written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if ".tmp" in path.name)


def of_the_dead(path: Path, end: str) -> Path:
    """What a process that is gone would have called its temporary file beside `path`."""
    with replacing(path) as made:
        machine = made.name.removeprefix(f".{path.name}.")[:6]
        made.touch()
    path.unlink()
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    return path.with_name(f".{path.name}.{machine}{int(gone.stdout):06x}0000.{end}")


def test_leftovers_go_with_the_next_writing_once_their_process_is_dead(tmp_path: Path) -> None:
    with program([sys.executable, "-c", _HALF, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "half\n"
        first = half_written(tmp_path)
        assert len(first) == 3
        with alone_in(tmp_path, "trying"):
            assert half_written(tmp_path) == first  # it lives
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        write_text(tmp_path / "other" / "x.txt", "elsewhere")
        assert half_written(tmp_path) == first
        write_text(tmp_path / "b.txt", "")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["b.txt", "other"]


def test_a_copy_of_before_stays_until_it_is_put_back(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    with replacing_folder(folder) as made:
        (made / "old").touch()
    folder.rename(tmp_path / "kept")
    left = of_the_dead(folder, "old")
    (tmp_path / "kept").rename(left)
    with alone_in(tmp_path, "trying"):
        assert left.exists()
    with pytest.raises(ZeroDivisionError), replacing_folder(folder):
        raise ZeroDivisionError
    assert (folder / "old").exists() and not left.exists()
    left.mkdir()
    with alone_in(tmp_path, "trying"):
        assert not left.exists()


def test_what_other_machines_write_is_left_until_it_is_old_or_the_folder_is_held(tmp_path: Path) -> None:
    with replacing(tmp_path / "x.txt") as made:
        mine = made.name
        theirs = tmp_path / mine.replace(mine.split(".")[-3][:6], "0000ff", 1)
        theirs.touch()
        old = theirs.with_name(theirs.name.replace("x.txt", "old.txt", 1))
        old.touch()
        os.utime(old, (time.time() - 2e5,) * 2)
        fresh = tmp_path / "sub"
        fresh.mkdir()
        for path in (theirs, old):
            path.rename(fresh / path.name)
        write_text(fresh / "y.txt", "")
        assert sorted(path.name for path in fresh.iterdir()) == [theirs.name, "y.txt"]
        with alone_in(tmp_path, "trying", ["sub"]):
            assert [path.name for path in fresh.iterdir()] == ["y.txt"]
        assert made.exists()
        made.write_text("")


def test_a_generation_that_was_killed_at_once_starts_again(tmp_path: Path) -> None:
    left = of_the_dead(tmp_path / "dataset.json", "tmp.json")
    left.touch()
    generate(tmp_path, size=56, patches={"train": 1}, patients={"train": 1})
    assert not left.exists()


@pytest.mark.parametrize("name", [".a.png.0123456789abcdef.tmp.png", ".a.tif.0123456789abcdef.tmp.tif"])
def test_every_search_passes_over_hidden_names(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"half of an image")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / name).write_bytes(b"half of an image")
    with pytest.raises(DataError, match="holds no images"):
        find_images([tmp_path])
    with pytest.raises(SlideError, match="holds no slides"):
        find_slides([tmp_path])
    with pytest.raises(SlideError, match="matches no slides"):
        find_slides([str(tmp_path / "**" / "*")])
    with pytest.raises(DataError):
        open_data(tmp_path)
