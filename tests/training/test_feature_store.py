"""What frozen encoders give, on disk: filling, damage, the bound of the folder, and a disk that refuses."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lpdseg.errors import OutputError
from lpdseg.training.feature_room import open_store, store_folder
from lpdseg.training.feature_store import BLOCK, Block, FeatureStore, Part
from processes import program

KEY, OTHER, THIRD = "0" * 32, "1" * 32, "2" * 32
PARTS = (Part("patches-0", 2 * BLOCK + 5, 10), Part("composites", 7, 3))
ALL = sum(part.items * part.nbytes for part in PARTS)


def content(block: Block, store: FeatureStore) -> np.ndarray:
    rows = np.arange(block.items.start, block.items.stop)[:, None] + np.arange(store.parts[block.part].nbytes)
    return (rows * 7 % 251).astype(np.uint8)


def fill(store: FeatureStore) -> list[Block]:
    todo = store.todo()
    for block in todo:
        store.write(block, content(block, store))
    return todo


def kept(root: Path, key: str = KEY, parts: Sequence[Part] = PARTS, bound: int = 10**6) -> dict[str, int]:
    with open_store(root, key, parts, bound) as store:
        fill(store)
        assert store.nbytes == sum(store.held[part.name] * part.nbytes for part in parts)
        return store.held


def test_what_is_written_is_read_here_later_and_in_another_process(tmp_path: Path) -> None:
    with open_store(tmp_path, KEY, PARTS, 10**6) as store:
        blocks = fill(store)
        assert [(block.part, block.number, len(block.items)) for block in blocks] == [
            ("patches-0", 0, BLOCK), ("patches-0", 1, BLOCK), ("patches-0", 2, 5), ("composites", 0, 7),
        ]  # fmt: skip
        assert store.todo() == [] and store.damaged == 0
    with open_store(tmp_path, KEY, PARTS, 10**6) as store:
        assert store.todo() == []
        for found in (store, pickle.loads(pickle.dumps(store))):
            for block in blocks:
                np.testing.assert_array_equal(
                    found.rows(block.part)[block.items.start : block.items.stop], content(block, store)
                )
            assert found.holds("composites", 6) and not found.holds("composites", 7)
            assert not found.holds("patches-1", 0)


def test_a_process_that_was_ended_loses_the_block_at_hand_alone(tmp_path: Path) -> None:
    with open_store(tmp_path, KEY, PARTS, 10**6) as store:
        first, second, *rest = store.todo()
        store.write(first, content(first, store))
        with (store.folder / "patches-0.bin").open("r+b") as file:  # half of a block, and no checksum yet
            file.seek(second.items.start * 10)
            file.write(b"half")
    with open_store(tmp_path, KEY, PARTS, 10**6) as store:
        assert store.todo() == [second, *rest] and store.damaged == 0


@pytest.mark.parametrize("fault", ["byte", "short", "no sums", "odd sums"])
def test_damage_is_found_and_mended(fault: str, tmp_path: Path) -> None:
    kept(tmp_path)
    path = tmp_path / KEY / "patches-0.bin"
    if fault == "byte":
        data = bytearray(path.read_bytes())
        data[BLOCK * 10 + 3] ^= 1
        path.write_bytes(data)
    elif fault == "short":
        os.truncate(path, 2 * BLOCK * 10 + 1)
    elif fault == "no sums":
        path.with_suffix(".sums").unlink()
    else:
        path.with_suffix(".sums").write_bytes(b"\xff" * 13)
    with open_store(tmp_path, KEY, PARTS, 10**6) as store:
        found = [block.number for block in store.todo()]
        assert found == {"byte": [1], "short": [2], "no sums": [0, 1, 2], "odd sums": [0, 1, 2]}[fault]
        assert store.damaged == {"byte": 1, "short": 1, "no sums": 0, "odd sums": 2}[fault]
        fill(store)
        assert store.todo() == []


def test_a_longer_run_adds_to_what_is_there_and_a_shorter_one_takes_it(tmp_path: Path) -> None:
    kept(tmp_path)
    longer = (PARTS[0], Part("composites", 9, 3), Part("patches-1", 40, 10))
    with open_store(tmp_path, KEY, longer, 10**6) as store:
        todo = fill(store)
        assert [block.part for block in todo] == ["composites", "patches-1", "patches-1"] and store.damaged == 0
    with open_store(tmp_path, KEY, PARTS, 10**6) as store:
        assert store.todo() == []
        assert store.rows("composites").shape == (7, 3)


def test_the_bound_is_shared_out_in_the_order_of_the_parts(tmp_path: Path) -> None:
    assert kept(tmp_path, bound=ALL) == {"patches-0": 69, "composites": 7}
    assert kept(tmp_path / "b", bound=ALL - 1) == {"patches-0": 69, "composites": 0}
    assert kept(tmp_path / "c", bound=689) == {"patches-0": 64, "composites": 0}
    assert kept(tmp_path / "d", bound=10) == {"patches-0": 0, "composites": 0}


def test_a_lower_bound_takes_away_what_is_beyond_it(tmp_path: Path) -> None:
    kept(tmp_path)
    assert kept(tmp_path, bound=400) == {"patches-0": 32, "composites": 0}
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.bin")) == 320
    with open_store(tmp_path, KEY, PARTS, 10**6) as store:
        assert [(block.part, block.number) for block in store.todo()] == [
            ("patches-0", 1),
            ("patches-0", 2),
            ("composites", 0),
        ]
        assert store.damaged == 0


def test_what_an_earlier_run_kept_beside_goes_where_this_one_needs_the_room(tmp_path: Path) -> None:
    kept(tmp_path, parts=[*PARTS, Part("patches-1", BLOCK, 10)])
    more = (PARTS[0], Part("composites", 30, 3))
    assert kept(tmp_path, parts=more, bound=ALL + 69 + 320) == {"patches-0": 69, "composites": 30}
    assert (tmp_path / KEY / "patches-1.bin").stat().st_size == 320
    assert kept(tmp_path, parts=more, bound=ALL + 69 + 319) == {"patches-0": 69, "composites": 30}
    assert (tmp_path / KEY / "patches-1.bin").stat().st_size == 0


def test_the_store_opened_longest_ago_goes_first_and_one_in_use_never(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.bin").write_bytes(b"0" * 5000)
    for age, key in enumerate((KEY, OTHER)):
        kept(tmp_path, key)
        os.utime(tmp_path / key / "in-use", (1000 + age, 1000 + age))
    assert kept(tmp_path, THIRD, bound=2 * ALL) == {"patches-0": 69, "composites": 7}
    assert not (tmp_path / KEY).exists() and (tmp_path / OTHER).exists()
    with open_store(tmp_path, OTHER, PARTS, 10**6):
        os.utime(tmp_path / OTHER / "in-use", (1000, 1000))
        os.utime(tmp_path / THIRD / "in-use", (1000, 1000))
        assert kept(tmp_path, KEY, bound=ALL + 400) == {"patches-0": 32, "composites": 0}
    assert (tmp_path / OTHER / "patches-0.bin").exists() and not (tmp_path / THIRD).exists()
    assert (tmp_path / "mine" / "thesis.bin").exists()


_FILL = """
import sys, time
from pathlib import Path
from lpdseg.training.feature_room import open_store
from lpdseg.training.feature_store import Part
with open_store(Path(sys.argv[1]), "0" * 32, [Part("patches-0", 5, 4)], 100) as store, store.filling(print):
    print("filling", flush=True)
    sys.stdin.readline()
    (block,) = store.todo()
    store.write(block, __import__("numpy").ones((5, 4), "uint8"))
"""


def test_another_process_waits_and_takes_what_the_first_has_filled(tmp_path: Path) -> None:
    words = [sys.executable, "-c", _FILL, str(tmp_path)]
    told: list[str] = []
    with program(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and first.stdin is not None and first.stdout.readline() == "filling\n"

        def go_on() -> None:
            assert first.stdin is not None
            first.stdin.write("\n")
            first.stdin.close()
            told.append("waits")

        with open_store(tmp_path, KEY, [Part("patches-0", 5, 4)], 100) as store, store.filling(go_on):
            assert told == ["waits"] and store.todo() == []
            assert (store.rows("patches-0") == 1).all()
        assert first.wait(60) == 0


def test_a_full_disk_tells_before_anything_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path, parts=PARTS[:1])
    full = shutil.disk_usage(tmp_path)._replace(free=20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with (
        pytest.raises(OutputError, match=r"needs .* GB in .*LPDSEG_CACHE, or lower model.feature_cache"),
        open_store(tmp_path, KEY, PARTS, 10**6),
    ):
        pass
    monkeypatch.undo()
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with (
        pytest.raises(OutputError, match=r"\(No space left\); free space"),
        open_store(tmp_path, KEY, PARTS, 10**6),
    ):
        pass
    assert (tmp_path / KEY / "patches-0.bin").stat().st_size == 690
    monkeypatch.undo()
    with open_store(tmp_path, KEY, PARTS, 10**6) as store:
        assert [block.part for block in store.todo()] == ["composites"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("in the way")
    with (
        pytest.raises(OutputError, match=r"cannot keep .*features.*name another folder in LPDSEG_CACHE"),
        open_store(tmp_path / "features", KEY, PARTS, 100),
    ):
        pass
    with open_store(tmp_path, KEY, PARTS, 10**6) as store:
        (block, *_) = store.todo()
        (store.folder / "patches-0.bin").unlink()
        with pytest.raises(OutputError, match="cannot keep"):
            store.write(block, content(block, store))


def test_where_the_folder_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LPDSEG_CACHE", "~/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store_folder() == tmp_path / "a" / "features"
    monkeypatch.delenv("LPDSEG_CACHE")
    assert store_folder() == Path("/x/lpdseg/features")
    monkeypatch.setenv("LPDSEG_CACHE", "~nobody-has-this-name/a")
    with pytest.raises(OutputError, match="name a folder in LPDSEG_CACHE"):
        store_folder()
    monkeypatch.delenv("LPDSEG_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert store_folder() == tmp_path / ".cache" / "lpdseg" / "features"
