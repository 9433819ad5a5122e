"""How many pairs are encoded at once, where that is left to the machine; a GPU's counts are made up here."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from interrupted import StopAfter
from lpdseg import api
from lpdseg.checkpoint import read_state
from lpdseg.losses import chunks
from lpdseg.losses.chunks import Chunk, fitting


@pytest.mark.parametrize(
    ("free", "needed", "expected"),
    [(80 * 10**9, 100e6, 400), (80 * 10**9, 1e6, 512), (10**9, 100e6, 16), (0, 100e6, 16), (80 * 10**9, 0.0, 512)],
)
def test_half_of_what_is_free_is_filled_by_multiples_of_16(free: int, needed: float, expected: int) -> None:
    assert fitting(free, needed) == expected


def test_a_cpu_takes_four_and_a_number_stands() -> None:
    cpu = torch.device("cpu")
    chosen = Chunk("auto")
    assert list(chosen.parts(10, cpu)) == [slice(0, 4), slice(4, 8), slice(8, 12)] and chosen.size == 4
    assert list(Chunk(7).parts(8, cpu)) == [slice(0, 7), slice(7, 14)]
    assert list(Chunk("auto").parts(0, cpu)) == []


def test_a_gpu_takes_what_the_first_chunk_says_that_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """32 million bytes are in use while 16 pairs are encoded, beside what lies there: two million each."""
    asked: list[str] = []
    counted = {"memory_allocated": 7_000_000, "max_memory_allocated": 39_000_000, "memory_reserved": 47_000_000}
    memory = {name: lambda _, value=value: value for name, value in counted.items()}
    memory["mem_get_info"] = lambda _: (152_000_000, 999_000_000)
    memory["reset_peak_memory_stats"] = lambda _: asked.append("reset")
    monkeypatch.setattr(chunks.torch, "cuda", SimpleNamespace(**memory))
    chunk, device = Chunk("auto"), torch.device("cuda")
    assert list(chunk.parts(120, device)) == [slice(0, 16), slice(16, 64), slice(64, 112), slice(112, 160)]
    assert chunk.size == 48  # half of 152 and 40 million
    assert list(chunk.parts(60, device)) == [slice(0, 48), slice(48, 96)] and asked == ["reset"]


@pytest.mark.parametrize(
    ("asked", "chosen", "before", "expected"),
    [
        ("auto", 48, "auto", 48),
        ("auto", None, 7, 7),
        ("auto", None, "auto", None),
        (6, 48, "auto", 6),
        (6, 4, 4, 6),
    ],
)
def test_what_was_chosen_or_asked_for_is_used_again_but_where_a_number_is_asked_for_now(
    asked: Any, chosen: int | None, before: Any, expected: int | None
) -> None:
    chunk = Chunk(asked)
    chunk.go_on(chosen, before)
    assert chunk.size == expected


@pytest.mark.parametrize("older", [False, True])
def test_a_run_that_goes_on_encodes_as_many_as_it_began_with(
    older: bool,
    small_data: Path,
    small_settings: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also one of before there was a choice; and asked for by the same command, whose default is another now."""
    options = [*small_settings, "train.epochs=1.34", "train.validations=0"]
    for number, stop in ((3, StopAfter(3)), (5, None)):  # another device with other memory, as it were
        monkeypatch.setattr(chunks, "_FEW", number)
        if older and stop is None:
            path = tmp_path / "checkpoints" / "last.json"
            state = json.loads(path.read_text())
            state["settings"]["loss"]["contrast"]["chunk"] = state.pop("chunk")
            path.write_text(json.dumps(state))
        api.train(
            small_data, tmp_path, classes="pink,blue", overrides=options, device="cpu", reporter=stop,
            resume=stop is None,
        )  # fmt: skip
        state = read_state(tmp_path, "last")
        assert state["step"] == (4 if stop is None else 3) and state["chunk"] == 3
