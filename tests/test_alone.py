import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lpdseg import locks
from lpdseg.alone import LOCK, alone_in, only_one
from lpdseg.errors import OutputError
from processes import program

_HOLD = """
import sys, time
from pathlib import Path
from lpdseg.alone import only_one
with only_one(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_one_process_at_a_time_and_none_after_it_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "work" / "a.lock"
    words = [sys.executable, "-c", _HOLD, str(path)]
    with program(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match="this slide is taken"), only_one(path, "this slide is taken"):
            pass
    with only_one(path, "busy"):
        assert path.exists()
    assert not path.exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("in the way")
    path = tmp_path / "work" / "a.lock"
    with (
        pytest.raises(OutputError, match=r"cannot write .*a\.lock: .*; choose another folder"),
        only_one(path, "busy"),
    ):
        pass


REASONS = {
    errno.EACCES: "change its rights or choose another folder",
    errno.EROFS: "choose another folder",
    errno.ENOSPC: "free space or choose another folder",
}


@pytest.mark.parametrize("number", REASONS)
def test_what_stops_it_is_told_of_the_folder_and_not_of_its_lock(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OutputError) as told, alone_in(tmp_path, "training"):
        pass
    assert str(told.value) == f"cannot write {tmp_path}: {os.strerror(number)}; {REASONS[number]}"


def test_a_name_that_is_too_long_is_told_of_the_folder(tmp_path: Path) -> None:
    for out in (tmp_path / ("x" * 300), tmp_path / ("x" * 300) / "y"):
        with pytest.raises(OutputError) as told, alone_in(out, "training"):
            pass
        assert str(told.value).startswith(f"cannot write {out}: ") and "choose a shorter name" in str(told.value)


def test_the_lock_of_another_user_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be read and not written; that tells more than that rights are missing."""
    real = os.open

    def others(path: Path, flags: int, *more: int) -> int:
        if flags & os.O_RDWR and path.exists():
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, *more)

    with alone_in(tmp_path, "training"):
        monkeypatch.setattr(os, "open", others)
        with pytest.raises(OutputError, match="another process is training"), alone_in(tmp_path, "training"):
            pass
    (tmp_path / LOCK).touch()
    with alone_in(tmp_path, "training"):
        pass


def test_a_folder_is_had_alone_and_nothing_is_left_of_that(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with alone_in(out, "training"):
        assert (out / LOCK).is_file()
        busy = r"another process is training in .*out; wait for it, or choose another folder"
        with pytest.raises(OutputError, match=busy), alone_in(out, "training"):
            pass
    assert list(tmp_path.iterdir()) == []
    with alone_in(out, "training"):
        (out / "result").touch()
    assert [path.name for path in out.iterdir()] == ["result"]


def test_a_file_system_without_locks_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refused(handle: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with alone_in(tmp_path, "training"), locks.locked(tmp_path / "other") as held:
        assert held
