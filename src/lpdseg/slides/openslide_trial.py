"""Whether OpenSlide can open a file, tried by another process first.

It takes what a file claims as it stands: at sequences that are nested a million deep and numbers of tiles beyond
all memory it ends the process, and from a view of SQLite without an end it never comes back.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path

from lpdseg.slides.slide import SlideError

_MOST_SECONDS, _MOST_BYTES = 4, 1 << 30
"""Of the processor, and of addresses beyond those that Python and OpenSlide take themselves."""

_NO_MEMORY = 3

_TRIAL = f"""
import contextlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
import openslide
with contextlib.suppress(ImportError, OSError, ValueError):  # where the system has no such limit
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, ({_MOST_SECONDS}, {_MOST_SECONDS} + 1))
    with open("/proc/self/statm") as told:
        most = int(told.read().split()[0]) * resource.getpagesize() + {_MOST_BYTES}
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
try:
    if openslide.OpenSlide.detect_format(sys.argv[2]) not in (None, "generic-tiff"):
        openslide.OpenSlide(sys.argv[2]).close()
except MemoryError:
    sys.exit({_NO_MEMORY})
except openslide.OpenSlideError:  # as whoever opens it will be told
    pass
"""

_FROM_OUTSIDE = {signal.SIGINT, signal.SIGTERM}


def try_to_open(path: Path) -> None:
    """Refuses a file that OpenSlide cannot open within some seconds and a GiB, or that ends it.

    What it tells as an error is left to whoever opens the file; and so is all where the trial cannot be made.

    **Raises:** `SlideError`.
    """
    words = [sys.executable, "-I", "-c", _TRIAL, json.dumps([part for part in sys.path if part]), str(path)]
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
    except OSError:
        return
    if done.returncode == _NO_MEMORY or (done.returncode < 0 and -done.returncode not in _FROM_OUTSIDE):
        raise SlideError(
            f"{path} claims more than a slide has, or is damaged, so that OpenSlide cannot open it; copy or export "
            "it again"
        )
