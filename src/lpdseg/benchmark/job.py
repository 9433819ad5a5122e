"""One run from start to end, in this process or in one of its own: train, evaluate, measure, write the result.

A run's folder holds `job.json` (what to do), `log.txt`, `run/` (the training), and in the end `result.json` or
`failure.json`. `python -m lpdseg.benchmark.job FOLDER` does the job of a folder.
"""

import os
import shutil
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lpdseg import api
from lpdseg.alone import LOCK
from lpdseg.benchmark.log import LOG, Log
from lpdseg.benchmark.provenance import code_digest
from lpdseg.benchmark.speed import prediction_ms
from lpdseg.checkpoint import has_checkpoint
from lpdseg.data.importers import load_data
from lpdseg.data.records import Manifest
from lpdseg.errors import CheckpointError, LpdsegError
from lpdseg.files import read_json, write_json
from lpdseg.insight.subtypes import told_subtypes
from lpdseg.locks import locked
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.settings import parse_settings
from lpdseg.tissue import TissueClasses

JOB, RESULT, FAILURE, TRAINING, CODE = "job.json", "result.json", "failure.json", "run", "code.json"


@dataclass(frozen=True)
class Job:
    """What a run needs to know, in plain values.

    - `title`: for people.
    - `settings`: see `parse_settings`.
    - `source`, `classes`: of the data set, see `load_data` and `TissueClasses.as_dict`.
    - `split`: which is scored.
    - `coverage`: whether to measure what prototypes cover.
    - `device`: see `Engine`.
    - `threads`: of PyTorch; None leaves them as they are.
    """

    title: str
    settings: dict[str, Any]
    source: str
    classes: dict[str, Any]
    split: str
    coverage: bool
    device: str
    threads: int | None

    def write(self, folder: Path) -> None:
        """Leaves the job in its folder for the process that does it."""
        write_json(folder / JOB, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "Job":
        """Reads what `write` wrote."""
        return cls(**read_json(folder / JOB))


def do(job: Job, folder: Path) -> bool:
    """Does a job, and leaves `result.json`, or `failure.json` with a sentence.

    A training that an earlier call began is gone on with. Only Ctrl-C and SIGTERM get out, as `KeyboardInterrupt`;
    any exception is a failure of this run alone, and one that is no `LpdsegError` leaves its traceback in the log.

    **Returns:** whether there is a result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK):  # one of a benchmark that was killed may be saving there still
        return _do(job, folder)


def _do(job: Job, folder: Path) -> bool:
    clear(folder)
    log = Log(folder)
    try:
        log.note(job.title)
        write_json(folder / RESULT, _result(job, folder, log))
    except KeyboardInterrupt:
        log.note("stopped")
        raise
    except LpdsegError as error:
        reason = " ".join(str(error).split())
    except Exception as error:  # a fault in one method must not take the night's other runs with it
        told = " ".join(str(error).split())
        reason = f"{type(error).__name__}: {told} (a fault of the program; {LOG} has the traceback)"
        for line in traceback.format_exc().splitlines():
            log.note(f"| {line}")
    else:
        log.note("finished")
        return True
    fail(folder, reason)
    return False


def clear(folder: Path) -> None:
    """Makes the folder, and takes an earlier call's end out of it; its training stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (FAILURE, RESULT):
        (folder / name).unlink(missing_ok=True)


def fail(folder: Path, reason: str) -> None:
    """Writes down why there is no result."""
    Log(folder).note(f"failed: {reason}")
    write_json(folder / FAILURE, {"reason": reason})


def _result(job: Job, folder: Path, log: Log) -> dict[str, Any]:
    if job.threads is not None:
        import torch

        torch.set_num_threads(job.threads)
    manifest = load_data(Path(job.source), TissueClasses.from_dict(job.classes))
    run = folder / TRAINING
    began, code = _train(job, manifest, run, log)
    segmenter = api.load(run, device=job.device)
    log.note(f"scoring the split {job.split}")
    records = api.evaluate(segmenter, manifest, job.split, ["predicted", "oracle"], ["keep"])
    return {
        "title": job.title,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "split": job.split,
        "steps": began["steps"],
        "parameters": began["parameters"],
        "training_seconds": began["seconds"],
        "prediction_ms": prediction_ms(segmenter, manifest, job.split),
        "data": {key: began["data"][key] for key in ("fingerprint", "patches", "patients")},
        "hardware": began["hardware"],
        "versions": began["versions"],
        "code": " then ".join(code),
        "subtypes": told_subtypes(manifest, job.split),
        "coverage": _coverage(api.load_for_prototypes(run, device=job.device), manifest, job.split, log)
        if job.coverage
        else None,
        "records": records,
    }


def _train(job: Job, manifest: Manifest, run: Path, log: Log) -> tuple[dict[str, Any], list[str]]:
    """Trains, or goes on; returns the record of the training, and the states of the code from its start to now."""
    resume = has_checkpoint(run, "last")
    if not resume:
        shutil.rmtree(run, ignore_errors=True)  # a start that was broken off before there was anything to keep
    code = _states(run, code_digest())  # now: sources may be edited while this runs
    settings = parse_settings(job.settings, source=str(run))
    trained = api.train(manifest, run, preset=settings, resume=resume, device=job.device, reporter=log)
    if trained.interrupted:
        raise KeyboardInterrupt
    log.note(f"trained {trained.total} steps")
    described = read_json(run / "run.json")
    if not isinstance(described, dict) or described.get("status") != "finished":
        raise CheckpointError(f"{run}/run.json does not describe a finished training; remove {run} and run again")
    return described, code


def _states(run: Path, code: str) -> list[str]:
    """Adds `code` to what is kept beside a training: the code may have changed between the calls that it took."""
    path = run / CODE
    states: list[str] = read_json(path) if path.is_file() else []
    if code not in states[-1:]:
        states.append(code)
        write_json(path, states)
    return states


def _coverage(segmenter: Segmenter, manifest: Manifest, split: str, log: Log) -> dict[str, Any]:
    """The measures, or why this method has none."""
    from lpdseg.insight.coverage import measure_coverage

    log.note("measuring what the prototypes cover")
    try:
        return {"measures": measure_coverage(segmenter, manifest, split)}
    except LpdsegError as error:
        return {"measures": None, "reason": str(error)}


def _stop_with_the_parent() -> None:
    """Interrupts this process once the pipe to the one that started it closes, whatever that one died of."""

    def watch() -> None:
        with suppress(OSError):  # not through sys.stdin, whose lock would be held when this process ends
            while os.read(0, 1):
                pass
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def main(folder: Path) -> int:
    """Does the job of a folder as a process of its own; 0: done, 1: failed, 130: stopped."""
    # A benchmark in a shell's background ignores the signal, and so would its processes, which it stops with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _stop_with_the_parent()
    try:
        return 0 if do(Job.read(folder), folder) else 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
