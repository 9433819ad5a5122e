"""Whether OpenSlide can open a file, tried by another process first.

It takes what a file claims as it stands: at sequences that are nested a million deep and numbers of tiles beyond
all memory it ends the process, and from a view of SQLite without an end it never comes back.
"""

import signal
from pathlib import Path

from lpdseg.bounded import NO_MEMORY, try_elsewhere
from lpdseg.slides.slide import SlideError

_MOST_SECONDS, _MOST_BYTES = 4, 1 << 30

_TRIAL = """
try:
    if openslide.OpenSlide.detect_format(sys.argv[2]) not in (None, "generic-tiff"):
        openslide.OpenSlide(sys.argv[2]).close()
except openslide.OpenSlideError:  # as whoever opens it will be told
    pass
"""

_FROM_OUTSIDE = {signal.SIGINT, signal.SIGTERM}


def try_to_open(path: Path) -> None:
    """Refuses a file that OpenSlide cannot open within some seconds and a GiB, or that ends it.

    What it tells as an error is left to whoever opens the file; and so is all where the trial cannot be made.

    **Raises:** `SlideError`.
    """
    ended = try_elsewhere("import openslide", _TRIAL, [str(path)], seconds=_MOST_SECONDS, room=_MOST_BYTES)
    if ended is not None and (ended == NO_MEMORY or (ended < 0 and -ended not in _FROM_OUTSIDE)):
        raise SlideError(
            f"{path} claims more than a slide has, or is damaged, so that OpenSlide cannot open it; copy or export "
            "it again"
        )
