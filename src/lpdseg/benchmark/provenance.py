"""Which state of the package's code made a result."""

import hashlib
from functools import cache
from pathlib import Path

_ROOMS = ("data", "maps", "model", "losses", "methods", "segmenting", "evaluation", "training")
_FILES = ("settings.py", "choices.py", "tissue.py", "checkpoint.py", "api.py")


@cache
def code_digest() -> str:
    """SHA-256 over the sources that training and evaluation run through; the first 12 hex digits.

    While a package is developed its version stays the same and its results do not.
    """
    root = Path(__file__).parents[1]
    files = [root / name for name in _FILES]
    files += sorted(path for room in _ROOMS for path in (root / room).rglob("*.py"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
