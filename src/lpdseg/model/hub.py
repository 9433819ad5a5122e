"""Whether the hub of pretrained weights answers: asked before its library would try again and again."""

import time
from functools import lru_cache
from pathlib import Path

_SECONDS = 3.0
"""That the hub has for an answer."""


def cache_alone(weights: str) -> bool:
    """Whether weights can come from the hub's cache at most, since the hub does not answer; a folder asks nobody.

    Its answer holds for a minute, so that the files of a model are not asked for one by one.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or Path(weights).expanduser().exists():
        return False
    return not _answers(constants.ENDPOINT, int(time.monotonic() // 60))


@lru_cache(maxsize=1)
def _answers(place: str, minute: int) -> bool:
    """`minute` is when it was asked."""
    from huggingface_hub import get_session

    try:
        get_session().head(place, timeout=_SECONDS)
    except Exception:  # of whichever library the hub's asks through
        return False
    return True
