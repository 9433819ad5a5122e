import sys

import pytest

from lpdseg.bounded import NO_MEMORY, try_elsewhere

needs_bounds = pytest.mark.skipif(sys.platform != "linux", reason="the bounds are those of Linux")
ROOM = 1 << 28


@pytest.mark.parametrize(
    ("run", "ended"),
    [
        ("print(sys.argv[2])", 0),
        ("sys.exit(int(sys.argv[2]))", 5),
        ("raise ValueError(math.pi)", 1),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", -9),
    ],
)
def test_its_end_is_told_and_nothing_else(run: str, ended: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert try_elsewhere("import math", run, ["5"], seconds=5, room=ROOM) == ended
    assert capfd.readouterr() == ("", "")


@needs_bounds
def test_memory_is_bounded() -> None:
    assert try_elsewhere("", "bytearray(1 << 27)", [], seconds=5, room=ROOM) == 0
    assert try_elsewhere("", "bytearray(1 << 29)", [], seconds=5, room=ROOM) == NO_MEMORY


@needs_bounds
def test_time_is_bounded() -> None:
    ended = try_elsewhere("", "while True:\n    pass", [], seconds=1, room=ROOM)
    assert ended is not None and ended < 0


def test_where_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert try_elsewhere("", "pass", [], seconds=1, room=ROOM) is None
