"""Cutting a list of slides into parts for the jobs of an array."""

from collections.abc import Sequence
from typing import TypeVar

from lpdseg.errors import SettingsError

Item = TypeVar("Item")


def parse_shard(text: str) -> tuple[int, int]:
    """`i/n` → (i, n), i from 1 to n.

    **Raises:** `SettingsError`.
    """
    number, slash, total = text.partition("/")
    if not (slash and number.strip().isdigit() and total.strip().isdigit()):
        raise SettingsError(f"cannot read the shard {text!r}; write it as 2/8, the second of eight")
    if not 1 <= int(number) <= int(total):
        raise SettingsError(f"there is no shard {text}; the first of {int(total)} is 1/{int(total)}")
    return int(number), int(total)


def take_shard(items: Sequence[Item], shard: tuple[int, int] | None) -> list[Item]:
    """Every n-th item, from the i-th on; all for None. Shards share no item and together are all."""
    if shard is None:
        return list(items)
    number, total = shard
    return list(items[number - 1 :: total])
