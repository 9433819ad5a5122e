"""Two of a kind in one folder: the second is told so, and nothing of the first is touched."""

import subprocess
import sys
from pathlib import Path

import pytest

from lpdseg import api
from lpdseg.alone import alone_in
from lpdseg.cli.main import main
from lpdseg.data.synthetic import generate
from lpdseg.errors import OutputError
from processes import program

_TRAIN = """
import sys, time
from lpdseg import api
from lpdseg.training.progress import Silent

class Waiting(Silent):
    def step(self, done, losses):
        print("step", flush=True)
        time.sleep(600)

data, run, *overrides = sys.argv[1:]
api.train(data, run, classes="pink,blue", overrides=overrides, device="cpu", reporter=Waiting())
"""


def test_a_second_training_of_a_run_is_refused_until_the_first_is_gone(
    small_data: Path, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = [sys.executable, "-c", _TRAIN, str(small_data), str(run), *small_settings]
    with program(words, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and first.stdout.readline() == "step\n"
        for resume in (False, True):
            with pytest.raises(OutputError, match=r"another process is training in .*run; wait for it"):
                api.train(
                    small_data, run, classes="pink,blue", overrides=small_settings, resume=resume, device="cpu"
                )
    done = api.train(small_data, run, classes="pink,blue", overrides=small_settings, resume=True, device="cpu")
    assert done.steps == done.total and not (run / ".lock").exists()


def test_other_commands_that_fill_a_folder_are_refused_as_well(
    small_run: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with alone_in(out, "trying"):
        with pytest.raises(OutputError, match=r"another process is generating patches in .*out"):
            generate(out, patches={"train": 1})
        with pytest.raises(OutputError, match=r"another process is segmenting patches in .*out"):
            api.segment_files(small_run, [small_data / "train"], out, device="cpu")
        capsys.readouterr()
        assert main(["data", "synth", str(out)]) == 1
        told = capsys.readouterr().err
        assert told.startswith("lpdseg: another process is generating patches in ") and told.count("\n") == 1
        assert [path.name for path in out.iterdir()] == [".lock"]
