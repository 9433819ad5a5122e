"""Cutting a list of slides into parts for the jobs of an array."""

import re
from collections.abc import Sequence
from typing import TypeVar

from lpdseg.errors import SettingsError

Item = TypeVar("Item")


def parse_shard(text: str) -> tuple[int, int]:
    """`i/n` → (i, n), i from 1 to n.

    **Raises:** `SettingsError`.
    """
    found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text, re.ASCII)
    if found is None:
        raise SettingsError(f"cannot read the shard {text!r}; write it as 2/8, the second of eight")
    number, total = map(int, found.groups())
    take_shard((), (number, total))
    return number, total


def take_shard(items: Sequence[Item], shard: tuple[int, int] | None) -> list[Item]:
    """Every n-th item, from the i-th on; all for None. Shards share no item and together are all.

    **Raises:** `SettingsError` for one that is not there.
    """
    if shard is None:
        return list(items)
    number, total = shard
    if not 1 <= number <= total:
        raise SettingsError(f"there is no shard {number}/{total}; they are 1/n to n/n for n jobs")
    return list(items[number - 1 :: total])
