"""Descriptions of networks by strangers: only sizes and kinds count, and no network is built before it is known
that it can be.
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from lpdseg.errors import LpdsegError, WeightsError
from lpdseg.quiet import library

_CODE = re.compile(
    r"auto_map|custom_\w+|_*\w+_implementation\w*|\w*kernels?_config|use_kernels|fusion_config|transformers_weights"
    r"|_?name_or_path|_commit_hash|trust_remote_code|num_labels|id2label|label2id"
)
"""Names that choose code or files, and those of labels, which no encoder has."""

_COUNTS = re.compile(r"depths?|\w*layers|\w*blocks|\w*levels")
"""Names of numbers of parts that are built one after another."""

_MOST_PARTS, _LONGEST, _LARGEST, _WIDEST, _DEEPEST = 400, 1000, 1 << 20, 4096, 4
MOST_VALUES = 5 * 10**9
"""Parameters of the largest network that is built: 20 GB in float32."""

_SPARE = 5 * 10**7
"""Parameters that a network may have beyond those that its files hold; what is missing is told by name later."""


@contextmanager
def understood(source: str, kind: type[LpdsegError] = WeightsError) -> Iterator[None]:
    """Where a description is read, and a network built from it, what fails becomes a sentence.

    **Raises:** `kind`; any `LpdsegError` that is raised inside is left as it is.
    """
    try:
        with quiet_loading():
            yield
    except LpdsegError:
        raise
    except Exception as error:  # numbers that make no network raise almost anything
        raise kind(
            f"no network can be built from {source} ({first_line(error.__cause__ or error)}); get it again"
        ) from error


@contextmanager
def quiet_loading() -> Iterator[None]:
    """The libraries would warn of parameters that do not fit, or of a hub that does not answer, which callers say
    in one sentence.
    """
    transformers = library("transformers")
    levels = {logger: logger.level for logger in map(logging.getLogger, ("transformers", "huggingface_hub"))}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def plain_configuration(values: dict[str, Any], source: str, depth: int = 0) -> dict[str, Any]:
    """What a configuration says of a network's sizes and kinds, without what would choose code, files or labels.

    Classes beside the weights (`auto_map`) and implementations of attention, which may be fetched, are among that.

    **Raises:** `WeightsError` for numbers that no network has, and for quantised weights, which need other code.
    """
    if values.get("quantization_config") is not None:
        raise WeightsError(
            f"{source} describes quantised weights (quantization_config), which code of other libraries reads; "
            "take those of full precision"
        )
    if depth > _DEEPEST:
        raise WeightsError(f"{source} describes networks within networks, more than {_DEEPEST} deep; get it again")
    found = {name: value for name, value in values.items() if not _CODE.fullmatch(str(name))}
    for name, value in found.items():
        if isinstance(value, dict):
            found[name] = plain_configuration(value, source, depth + 1)
        elif fault := _fault(name, value):
            raise WeightsError(f"{source} says {name} = {value!r}, {fault}; get it again")
    return found


def _fault(name: str, value: Any) -> str | None:
    """What no network has of a number, or of a list of such."""
    numbers = value if isinstance(value, list | tuple) else [value]
    if len(numbers) > _LONGEST:
        return f"which is more than {_LONGEST} numbers"
    numbers = [number for number in numbers if isinstance(number, int | float)]
    if not all(abs(number) <= _LARGEST for number in numbers):
        return f"where numbers are finite and at most {_LARGEST}"
    each = _MOST_PARTS // 20 if name == "depth" else 1  # that of EfficientNet-Lite multiplies its blocks
    if _COUNTS.fullmatch(name) and sum(numbers) * each > _MOST_PARTS:
        return f"where networks have at most {_MOST_PARTS} blocks"
    if name == "image_size" and any(not 0 < number <= _WIDEST for number in numbers):
        return f"where sides have 1 to {_WIDEST} px"
    if name.endswith("_eps") and not all(0 < number < 1 for number in numbers):
        return "where such numbers are above 0 and small"
    return None


def check_affordable(build: Callable[[], nn.Module], source: str, held: int | None = None) -> nn.Module:
    """The network without values, which costs nothing, once it is known that it can be built.

    **Arguments:**

    - `held`: how many values the files hold; None where nobody knows.

    **Raises:** `WeightsError` for a network that is far larger than its files, or than any that is known.
    """
    with torch.device("meta"):
        network = build()
    count = sum(values.numel() for values in (*network.parameters(), *network.buffers()))
    most = MOST_VALUES if held is None else min(held + _SPARE, MOST_VALUES)
    if count > most:
        beside = f"at most {MOST_VALUES:,} are built" if most == MOST_VALUES else f"its files hold {held:,}"
        raise WeightsError(f"{source} describes a network of {count:,} values, but {beside}; get it again")
    return network


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without its full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
