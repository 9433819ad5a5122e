import subprocess
import sys
from pathlib import Path

import pytest

from lpdseg.errors import OutputError
from lpdseg.workflows.slides.lock import only_one
from processes import program

_HOLD = """
import sys, time
from pathlib import Path
from lpdseg.workflows.slides.lock import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_process_at_a_time_and_none_after_it_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "work" / "a.lock"
    words = [sys.executable, "-c", _HOLD, str(path)]
    with program(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with (
            pytest.raises(OutputError, match=r"another process is segmenting this slide .*a\.lock is locked"),
            only_one(path),
        ):
            pass
    with only_one(path):
        assert path.exists()
    assert not path.exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write .*a\.lock"), only_one(tmp_path / "work" / "a.lock"):
        pass
