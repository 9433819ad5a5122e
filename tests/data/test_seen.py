"""The list of files that a run has seen, and what is said of later changes."""

from pathlib import Path

import pytest

from lpdseg.data.seen import SEEN, changes, keep_seen, read_seen
from lpdseg.errors import CheckpointError

A, B = "a" * 64, "b" * 64
ROWS = (("valid/x, y.png", "01", "valid", A, "mask/x.png", B), ("z.png", "10", "train", B))


def test_what_is_kept_is_read_and_unchanged(tmp_path: Path) -> None:
    assert read_seen(tmp_path) is None
    keep_seen(tmp_path, ROWS)
    before = read_seen(tmp_path)
    assert before is not None and len(before) == 2
    assert list(changes(before, ROWS)) == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("z.png", "11", "train", B), "z.png has labels 11 in the split train, and had 10 in train"),
        (("z.png", "10", "test", B), "z.png has labels 10 in the split test, and had 10 in train"),
        (("z.png", "10", "train", A), "the image z.png has changed"),
        (("z.png", "10", "train", B, "m.png", A), "the mask m.png is new"),
    ],
)
def test_each_change_is_said(row: tuple[str, ...], said: str, tmp_path: Path) -> None:
    keep_seen(tmp_path, ROWS)
    before = read_seen(tmp_path)
    assert before is not None
    assert list(changes(before, (ROWS[0], row))) == [said]


def test_masks_and_patches_come_and_go(tmp_path: Path) -> None:
    keep_seen(tmp_path, ROWS)
    before = read_seen(tmp_path)
    assert before is not None
    now = ((*ROWS[0][:5], A), ("new.png", "10", "train", A))
    assert list(changes(before, now)) == ["new.png is new", "the mask mask/x.png has changed", "z.png is missing"]
    assert list(changes(before, (ROWS[0][:4], ROWS[1]))) == ["the mask mask/x.png is missing"]


@pytest.mark.parametrize(
    "content", [b"", b"image,labels\n", b"\xff\xfe", b"image,labels,split,sha256,mask,mask_sha256\na\n"]
)
def test_a_damaged_list_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / SEEN).write_bytes(content)
    with pytest.raises(CheckpointError, match="restore it"):
        read_seen(tmp_path)
