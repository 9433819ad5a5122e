"""Parsers take what they are given or refuse it with a sentence: some inputs by chance for each."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import ModuleType

import pytest

pytest.importorskip("tifffile", reason="the extra `slides` is not installed")
FOLDER = Path(__file__).parents[2] / "benchmarks" / "fuzz"
NAMES = sorted(path.stem for path in (FOLDER / "targets").glob("*.py"))
INPUTS = {"settings_file": 100, "slides": 100}
"""Where each takes long."""


@pytest.fixture
def fuzzing(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module("fuzzing")
    for name in ("fuzzing", "mutations", "child", "run"):
        sys.modules.pop(name, None)


@pytest.mark.filterwarnings("ignore")  # of libraries, about damaged images
@pytest.mark.parametrize("name", NAMES)
def test_no_input_gives_anything_but_a_result_or_a_sentence(
    fuzzing: ModuleType, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = fuzzing.load_target(name)
    trial, random = fuzzing.Trial(target, tmp_path, bounded=False), Random(name)
    for seed in trial.seeds:
        trial.give(seed)
    assert trial.count.taken
    for _ in range(INPUTS.get(name, 300)):
        trial.give(fuzzing.changed(trial.seeds, target, random))
    assert trial.count.refused and not trial.count.firsts, "\n".join(
        f"{key}: {data[:500]!r}\n{failure.told}" for key, (failure, data) in trial.count.firsts.items()
    )


def test_what_a_parser_must_not_do_is_noticed(
    fuzzing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lpdseg.errors import DataError

    def parse(data: bytes, folder: Path) -> None:
        if data == b"refused":
            raise DataError("no")
        if data == b"memory":
            raise DataError("no") from MemoryError()
        if data == b"half":
            (folder / ".x.1.tmp").touch()
        if data == b"wrong":
            raise KeyError(data)
        while data == b"endless":
            pass

    target = ModuleType("drawn")
    target.__dict__.update(KIND="text", seeds=lambda folder: [b"taken"], mutate=None, parse=parse)
    monkeypatch.setattr(fuzzing, "HUNG", 0.2)
    trial = fuzzing.Trial(target, tmp_path, bounded=False)
    kinds = [trial.give(data) for data in (b"taken", b"refused", b"memory", b"wrong", b"endless", b"half")]
    assert [one and one.kind for one in kinds] == [None, None, "memory", "traceback", "hang", "leftover"]
    assert (trial.count.tried, trial.count.taken) == (6, 2) and len(trial.count.firsts) == 4


def test_a_process_that_dies_or_hangs_is_told_with_its_input(
    fuzzing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = importlib.import_module("run")
    targets = tmp_path / "targets"
    targets.mkdir()
    (targets / "dies.py").write_text(
        'import os, time\n\nKIND = "text"\nmutate = lambda data, random: data + b"."\n'
        "seeds = lambda folder: [b'a']\n\n\ndef parse(data, folder):\n"
        "    if len(data) > 2:\n        os._exit(3)\n    while len(data) == 2:\n        pass\n"
    )
    for name in ("fuzzing.py", "mutations.py", "child.py"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr(run, "STUCK", 0.3)
    result = run.run_target("dies", 6, 120.0, 0, tmp_path / "keep")
    kinds = {failure["kind"]: bytes.fromhex(failure["input"]) for failure in result.failures.values()}
    assert kinds and all(len(data) > (1 if kind == "hang" else 2) for kind, data in kinds.items())
    assert result.tried == 6 and (tmp_path / "keep" / "dies-1.bin").is_file()
