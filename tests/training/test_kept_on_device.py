"""Features that a device holds, which the CPU stands in for: whatever it holds, the same batches and run."""

from pathlib import Path
from typing import Any

import pytest
import torch
from kept_features import COUNT, draw_data, draws, opened
from safetensors.torch import load_file

from lpdseg.checkpoint import read_state
from lpdseg.data.manifest import Manifest
from lpdseg.settings import load_settings
from lpdseg.training import device_room
from lpdseg.training.kept_on_device import KeptMaker
from lpdseg.training.loop import train
from lpdseg.training.progress import Silent
from no_waiting import never_waiting

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return draw_data(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize(
    ("items", "bound"), [(0, 10**9), (20, 10**9), (COUNT + 4, 10**9), (10**6, 10**9), (10, 10**6), (10, 1)]
)
def test_batches_are_those_of_the_host_to_the_bit(items: int, bound: int, data: Manifest, tmp_path: Path) -> None:
    given, _, store = opened(data, tmp_path, bound=bound)
    maker = KeptMaker(given, CPU, items * given.layout.nbytes)
    assert len(maker.held) == min(items, sum(given.store.held.values()))
    for own in draws(given)[:8]:
        wanted, drawn = given[own], maker.batches[own]
        with never_waiting():
            found = maker(drawn)
        assert found.keys() == wanted.keys()
        for name, values in wanted.items():
            assert values.equal(found[name]) and values.stride() == found[name].stride(), name
    store.__exit__(None, None, None)


def test_only_what_the_device_lacks_is_read_here_and_sent(data: Manifest, tmp_path: Path) -> None:
    given, _, store = opened(data, tmp_path)
    told: list[Any] = []
    maker = KeptMaker(given, CPU, 40 * given.layout.nbytes, lambda *at: told.append(at))
    assert told == [(32, 40), (36, 40), (40, 40)]
    held = {f"patches-{version}": 0 for version in range(3)} | {"patches-0": COUNT, "composites-2-glass": 4}
    assert {part: len(rows) for part, rows in (maker.batches.there or {}).items()} == held
    for own in draws(given):
        drawn = maker.batches[own]
        lacking = sum(given.variants.version(draw) > 0 for draw in own)
        assert len(drawn["image.sent"]) == len(drawn["image.places"]) == lacking
        assert "image.0" not in drawn
    store.__exit__(None, None, None)


def test_a_run_is_the_same_whatever_the_device_holds(
    data: Manifest, small_settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Notes(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    monkeypatch.setenv("LPDSEG_CACHE", str(tmp_path / "cache"))
    frozen = ("model.tune=none", "model.weights=none", "loss.contrast.weight=0", "loss.composite.weight=0.5")
    chosen = load_settings(None, [*small_settings, *frozen, "train.validations=1", "data.device_share=1"])
    found, notes = [], list[str]()
    for room in (None, 10**9, 10**5):
        monkeypatch.setattr(device_room, "makes_pixels", lambda _, room=room: room is not None)
        monkeypatch.setattr(device_room, "free_memory", lambda _, room=room: room)
        run = tmp_path / str(room)
        train(chosen, data, run, reporter=Notes())
        found.append(load_file(run / "checkpoints" / read_state(run, "last")["files"]["weights"]))
    for other in found[1:]:
        assert other.keys() == found[0].keys() and all(other[name].equal(one) for name, one in found[0].items())
    told = [note for note in notes if "as the frozen encoder gives them on the device" in note]
    assert len(told) == 2 and told[0].startswith("108 of 108 ") and "data.device_share = 1;" in told[1]
