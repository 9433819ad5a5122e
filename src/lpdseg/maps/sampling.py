"""Some pixels of an image, evenly spread."""


def every(step: int, side: int) -> slice:
    """Each `step`-th of `side` pixels, from the middle of the first step on, the last if there are fewer."""
    return slice(min(step // 2, side - 1), None, step)
