"""How a disturbed command ended, and whether it told so in a sentence."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, negative for a signal; what it said; processor seconds."""

    code: int
    said: str
    cpu: float


def last_line(said: str) -> str:
    """Of what a command said."""
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "nothing said"


def _raised(said: str) -> str:
    """The error of the first traceback, and the line that raised it."""
    lines = said.partition("Traceback")[2].splitlines()[1:]
    end = next((at for at, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
    places = [line.strip() for line in lines[:end] if line.startswith("  File ")]
    return " ".join([*lines[end : end + 1], *places[-1:]])[:300] or "nothing told"


def sentence(ended: Ended) -> Iterator[str]:
    """What is wrong with how a command says that it failed."""
    if ended.code < 0:
        yield f"died of signal {-ended.code}"
    elif "Traceback" in ended.said:
        yield f"traceback: {_raised(ended.said)}"
    elif ended.code > 0 and "lpdseg: " not in ended.said:
        yield f"ended with {ended.code} without a sentence"
