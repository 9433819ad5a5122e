"""Errors for people: what happened, where, and what to do next, in one sentence."""

from lpdseg.plain import plain_text, shortened

LONGEST = 500
"""Letters of the longest message; what it quotes may come from a file of any size."""


class LpdsegError(Exception):
    """A failure that the user can mend; the command line prints its message and exits with `exit_code`.

    The message can always be printed, whatever bytes are in the names of files, and is never longer than `LONGEST`.
    """

    exit_code = 1

    def __init__(self, *parts: object) -> None:
        known = (shortened(plain_text(part), LONGEST) if isinstance(part, str) else part for part in parts)
        super().__init__(*known)


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
