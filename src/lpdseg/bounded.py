"""A trial in a process of its own, which strangers' files may end, fill or hold up.

Libraries in C take what a file claims as it stands. What they do to the process that tries it first tells how they
fare, and does no harm.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence

NO_MEMORY = 3
"""The exit status of a trial that met its bound on memory, where its library told of it."""

_START = """
import contextlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
{imports}
with contextlib.suppress(ImportError, OSError, ValueError):  # where the system has no such limit
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, ({seconds}, {seconds} + 1))
    with open("/proc/self/statm") as told:
        most = int(told.read().split()[0]) * resource.getpagesize() + {room}
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
try:
    {run}
except MemoryError:
    sys.exit({no_memory})
"""


def try_elsewhere(imports: str, run: str, words: Sequence[str], *, seconds: int, room: int) -> int | None:
    """Runs Python in another process with bounds, where the system has such; nothing that it prints is heard.

    **Arguments:**

    - `imports`, `run`: statements; before the bounds are set, and after. `sys.argv[2:]` are `words`.
    - `seconds`: of the processor.
    - `room`: bytes of addresses beyond those that Python and `imports` take themselves.

    **Returns:** its exit status, negative where a signal ended it; None where no process can be started.
    """
    lines = run.strip().replace("\n", "\n    ")
    script = _START.format(imports=imports, run=lines, seconds=seconds, room=room, no_memory=NO_MEMORY)
    paths = json.dumps([part for part in sys.path if part])
    try:
        return subprocess.run(
            [sys.executable, "-I", "-c", script, paths, *words],
            env=os.environ | {"MALLOC_ARENA_MAX": "1"},  # glibc asks for addresses for every thread
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
        ).returncode  # fmt: skip
    except OSError:
        return None
