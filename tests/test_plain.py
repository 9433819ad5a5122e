"""Names that are no UTF-8, in every text that leaves the package."""

import json
import os
from pathlib import Path

import pytest

from lpdseg.errors import DataError
from lpdseg.files import write_json, write_text
from lpdseg.plain import ESCAPED, one_line, plain_text, plain_values

RAW = os.fsdecode(b"caf\xe9 \xff.png")


def test_bytes_are_written_as_hex() -> None:
    assert plain_text(RAW) == r"caf\xE9 \xFF.png"
    for text in ("plain", "Schäfer 12", "日本", r"C:\x12"):
        assert plain_text(text) == text
    assert plain_text("\ud83d") == r"\ud83d"  # half a pair that stands for no byte


def test_nested_values() -> None:
    assert plain_values({RAW: [RAW, 1, (None, RAW)]}) == {
        plain_text(RAW): [plain_text(RAW), 1, [None, plain_text(RAW)]]
    }


def test_streams_that_lack_a_letter_do_not_fail() -> None:
    assert f"ä {RAW}".encode("utf-8", ESCAPED).decode() == r"ä caf\xE9 \xFF.png"
    assert f"ä {RAW}".encode("ascii", ESCAPED) == rb"\xe4 caf\xE9 \xFF.png"


def test_files_and_errors_can_hold_every_name(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"path": RAW})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"path": plain_text(RAW)}
    write_text(tmp_path / os.fsdecode(b"\xe4.csv"), f"image\n{RAW}\n")
    assert (tmp_path / os.fsdecode(b"\xe4.csv")).read_text(encoding="utf-8") == f"image\n{plain_text(RAW)}\n"
    with pytest.raises(DataError, match=r"caf\\xE9"):
        raise DataError(f"{RAW} is damaged")


def test_one_line_keeps_letters_and_nothing_that_breaks_a_line_or_steers_a_terminal() -> None:
    for text in ("plain", "Schäfer 12", "日本", "no\u00a0break", r"C:\x12"):
        assert one_line(text) == text
    assert one_line("a\nb\r\x1b[31m\u2028\u202ec\x85\t") == "a�b��[31m��c��"
    assert one_line(RAW) == plain_text(RAW)
