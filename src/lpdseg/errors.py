"""Errors for people: what happened, where, and what to do next, in one sentence."""

from lpdseg.plain import one_line, shortened

LONGEST = 500
"""Letters of the longest message; what it quotes may come from a file of any size."""

_WRAPPED = "\nOriginal Traceback (most recent call last):\n"
"""How PyTorch passes on what was raised in a process of a loader."""


class LpdsegError(Exception):
    """A failure that the user can mend; the command line prints its message and exits with `exit_code`.

    The message is one line that can always be printed, whatever it quotes of files and their names, and is never
    longer than `LONGEST`. Where a loader process wrapped it into a traceback, the sentence is taken out again.
    """

    exit_code = 1

    def __init__(self, *parts: object) -> None:
        super().__init__(*(self._sentence(part) if isinstance(part, str) else part for part in parts))

    def _sentence(self, text: str) -> str:
        if _WRAPPED in text:
            kind = type(self)
            text = text.strip().splitlines()[-1].removeprefix(f"{kind.__module__}.{kind.__qualname__}: ")
        return shortened(one_line(text), LONGEST)


class SettingsError(LpdsegError):
    """A setting, preset or option that does not exist or cannot hold the value given."""

    exit_code = 2


class DataError(LpdsegError):
    """Images, masks, labels or manifests that are missing, unreadable or contradict one another."""


class WeightsError(LpdsegError):
    """Pretrained weights that are missing or belong to another architecture."""


class CheckpointError(LpdsegError):
    """A run folder or checkpoint that is missing, incomplete, or made for other classes."""


class TrainingError(LpdsegError):
    """Training that cannot go on, such as a loss that is no longer a number."""


class OutputError(LpdsegError):
    """A file that cannot be written: no space, no permission, or in the way of another."""
