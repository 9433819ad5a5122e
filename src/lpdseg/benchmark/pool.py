"""Runs one after the other in this process, or several at a time in processes of their own."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from lpdseg.benchmark.job import FAILURE, RESULT, Job, clear, do, fail
from lpdseg.benchmark.log import LOG

_POLL_SECONDS = 0.1
_STOPPED = 130
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

Told = Callable[[Path], None]


def run_here(jobs: Mapping[Path, Job], started: Told, ended: Told) -> None:
    """Does the jobs of the folders one by one; `started` and `ended` are told each folder.

    **Raises:** `KeyboardInterrupt`, once what training has done is saved.
    """
    for folder, job in jobs.items():
        started(folder)
        do(job, folder)
        ended(folder)


def run_in_processes(jobs: Mapping[Path, Job], at_once: int, started: Told, ended: Told) -> None:
    """Does the jobs in processes, `at_once` at a time.

    Ctrl-C and SIGTERM ask every process to save and end, and wait for them; a second one kills them. The processes
    end as well should this one die.

    **Raises:** `KeyboardInterrupt`.
    """
    waiting = list(jobs.items())
    running: dict[Path, subprocess.Popen[bytes]] = {}
    with _term_as_interrupt():
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    folder, job = waiting.pop(0)
                    running[folder] = _start(folder, job)
                    started(folder)
                for folder in [name for name, process in running.items() if process.poll() is not None]:
                    _settle(folder, running.pop(folder))
                    ended(folder)
                time.sleep(_POLL_SECONDS)
        finally:  # after an error of our own as well: nobody would look at what they do
            _stop(running)


def _start(folder: Path, job: Job) -> subprocess.Popen[bytes]:
    clear(folder)
    job.write(folder)
    threads = {} if job.threads is None else dict.fromkeys(_THREADS, str(job.threads))
    with (folder / LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "lpdseg.benchmark.job", str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=os.environ | threads,
            start_new_session=True,  # Ctrl-C reaches the processes once, through us
        )


def _settle(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Makes sure that a process which ended without a word, as one killed for memory does, counts as failed."""
    code = _close(process)
    if not (folder / RESULT).exists() and not (folder / FAILURE).exists():
        how = (
            "was stopped"
            if code == _STOPPED
            else f"ended with signal {-code}"
            if code < 0
            else f"ended with {code}"
        )
        fail(folder, f"the process {how} before it had a result; {LOG} has what it said, and running again goes on")


def _stop(running: Mapping[Path, subprocess.Popen[bytes]]) -> None:
    try:
        for process in running.values():
            process.send_signal(signal.SIGINT)
        for process in running.values():
            _close(process)
    except KeyboardInterrupt:
        for process in running.values():
            process.kill()
            _close(process)
        raise


def _close(process: subprocess.Popen[bytes]) -> int:
    """Waits for a process, and then lets go of the pipe whose closing would have ended it."""
    code = process.wait()
    if process.stdin is not None:
        process.stdin.close()
    return code


@contextmanager
def _term_as_interrupt() -> Iterator[None]:
    """A scheduler's SIGTERM becomes `KeyboardInterrupt` inside the block."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
