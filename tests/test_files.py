import errno
import json
import os
import stat
from pathlib import Path

import pytest

from lpdseg.errors import OutputError
from lpdseg.files import (
    as_on_disk,
    check_name,
    is_there,
    replacing,
    replacing_apart,
    replacing_folder,
    write_json,
    write_text,
)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_with_its_parents_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.txt"
    write_text(path, "Größe\n")
    write_text(path, "µm\n")
    assert path.read_text(encoding="utf-8") == "µm\n"
    assert names_in(path.parent) == ["x.txt"]


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half of the new")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["x.txt"]


def test_what_a_library_leaves_beside_a_file_goes_with_the_folder_of_both(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_text("old")
    with pytest.raises(OutputError, match=r"cannot write .*x\.safetensors"), replacing_apart(path) as temporary:
        temporary.with_name(".tmpAbCdEf").write_text("half of the new")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "old" and names_in(tmp_path) == [path.name]
    with replacing_apart(path) as temporary:
        temporary.with_name(".tmpAbCdEf").touch()
        temporary.write_text("new")
    assert path.read_text() == "new" and names_in(tmp_path) == [path.name]


def test_the_temporary_name_keeps_the_suffix_and_the_old_file_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_text("old")
    with replacing(path) as temporary:
        assert (temporary.suffix, temporary.parent) == (".png", tmp_path)
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_two_that_write_one_file_at_once_leave_it_whole(tmp_path: Path) -> None:
    """As pages, figures, graphs and tables are written: each has a temporary name of its own, and the last wins."""
    path = tmp_path / "x.html"
    with replacing(path) as first:
        first.write_text("fir")
        with replacing(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
        first.write_text("first")
    assert path.read_text() == "first" and names_in(tmp_path) == ["x.html"]


def test_a_name_that_no_system_can_have_stays_as_it_is(tmp_path: Path) -> None:
    for name in ("é\0/x", "é/x\0", "x\0"):
        assert as_on_disk(tmp_path / name) == tmp_path / name
        assert not is_there(tmp_path / name)
    assert not is_there(tmp_path / ("x" * 5000)) and is_there(tmp_path)


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    before = os.umask(0o027)
    try:
        write_text(path, "")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_nobody_changes_the_rights_that_other_threads_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "umask", None)
    write_text(tmp_path / "x.txt", "")
    with replacing_folder(tmp_path / "folder"):
        pass
    assert names_in(tmp_path) == ["folder", "x.txt"]


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*x\.txt: .*; choose another folder"):
        write_text(tmp_path / "file" / "x.txt", "")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*folder: Is a directory"):
        write_text(tmp_path / "folder", "")
    assert names_in(tmp_path) == ["file", "folder"]


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "free space or "), (errno.EACCES, "change its rights or "), (errno.EIO, "")],
)
def test_the_advice_fits_the_reason(number: int, advice: str, tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=rf"x\.txt: {os.strerror(number)}; {advice}choose another folder"),
        replacing(tmp_path / "x.txt"),
    ):
        raise OSError(number, os.strerror(number))


def test_json_is_readable_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"größe": [1, 2.5, None]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"größe": [1, 2.5, None]}
    assert "größe" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, float("nan"))


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a" / "x"
    for number in ("1", "2"):
        with replacing_folder(path) as temporary:
            assert (temporary.parent, list(temporary.iterdir())) == (path.parent, [])
            (temporary / number).write_text("")
    with pytest.raises(ZeroDivisionError), replacing_folder(path) as temporary:
        (temporary / "3").write_text("")
        raise ZeroDivisionError
    assert names_in(path) == ["2"] and names_in(path.parent) == ["x"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*x: .*"), replacing_folder(tmp_path / "file" / "x"):
        pass
    assert names_in(tmp_path) == ["a", "file"]


def test_a_name_is_found_however_its_letters_are_written(tmp_path: Path) -> None:
    composed, decomposed = "Sch\u00e4fer", "Scha\u0308fer"
    folder, raw = tmp_path / decomposed, os.fsdecode(b"caf\xe9.png")
    folder.mkdir()
    for name in (f"{composed}.png", raw):
        (folder / name).touch()
    asked = tmp_path / composed / f"{decomposed}.png"
    assert as_on_disk(asked) == folder / f"{composed}.png"
    assert as_on_disk(tmp_path / composed / "caf\\xE9.png") == folder / raw
    (folder / f"{decomposed}.png").touch()
    assert as_on_disk(asked) == folder / f"{decomposed}.png"  # the very name goes first
    for missing in (tmp_path / composed / "b\u00e4.png", tmp_path / "\u00e4" / "x.png"):
        assert as_on_disk(missing).name == missing.name


def test_a_folder_that_cannot_get_its_name_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, renamed = tmp_path / "a", list[tuple[Path, Path]]()
    path.mkdir()
    (path / "old").touch()
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        renamed.append((self, target))
        if len(renamed) in broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    broken = {2}
    with pytest.raises(OutputError, match="cannot write"), replacing_folder(path) as folder:
        (folder / "new").touch()
    assert [one.name for one in tmp_path.rglob("*")] == ["a", "old"]
    renamed.clear()
    broken = {2, 3}
    with (
        pytest.raises(OutputError, match=r"what it held is now in .*\.old; rename that to a"),
        replacing_folder(path),
    ):
        pass
    [left] = tmp_path.iterdir()
    assert (left / "old").exists() and left.name.endswith(".old")
    renamed.clear()
    broken = set()
    with pytest.raises(ZeroDivisionError), replacing_folder(path):
        raise ZeroDivisionError  # what a process left that was ended between the renames is put back first
    assert [one.name for one in tmp_path.rglob("*")] == ["a", "old"]


def test_names_that_are_too_long_are_told_before_the_work(tmp_path: Path) -> None:
    check_name(tmp_path / "not" / "yet" / ("x" * 200 + ".csv"))
    with pytest.raises(
        OutputError, match=r"its name is 15 bytes too long; shorten the name of what it is made from"
    ):
        check_name(tmp_path / ("\u00e4" * 120 + ".csv"))
    with pytest.raises(OutputError, match=r"choose a shorter name or"):
        write_text(tmp_path / ("x" * 250 + ".csv"), "")
