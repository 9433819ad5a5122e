"""Between reports, saves and validations the host waits once in a step: for the number of pairs of the contrast."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import no_waiting
from lpdseg import api
from lpdseg.data.importers import load_data
from lpdseg.data.patches import read_image
from lpdseg.data.records import Manifest
from lpdseg.tissue import TissueClasses
from lpdseg.training import loop
from no_waiting import WaitedError, as_on_a_gpu, never_waiting

CLASSES = TissueClasses(("pink", "blue"), background=2)
RECIPE = (
    "loss.contrast.weight=0", "loss.composite.weight=1", "loss.composite.every=2", "loss.pseudo.weight=0.5",
    "loss.pseudo.start=0", "loss.pseudo.balance=0.5", "model.head_width=8", "predict.background=glass",
)  # fmt: skip
CASES: dict[str, tuple[str, ...]] = {
    "lpd": RECIPE,
    "lpd with the contrast": (*RECIPE, "loss.contrast.weight=0.1"),
    "lpd with a contrast of few pairs": (*RECIPE, "loss.contrast.weight=0.1", "loss.contrast.pairs_per_image=1"),
    "lpd with the contrast and a linear head": (*RECIPE, "model.head=linear", "loss.contrast.weight=0.1"),
    "lpd of morphologies by k-means": (*RECIPE, "loss.morphology.fit=kmeans"),
    "lpd of morphologies that it describes itself": (*RECIPE, "loss.morphology.encoder=own"),
    "lpd of all that there is, with the contrast": (
        *RECIPE, "loss.contrast.weight=0.1", "loss.morphology.encoder=own", "loss.morphology.fit=kmeans",
        "loss.diversity.source=maps", "loss.diversity.pixels=image",
    ),
    "lpd of pseudo masks, with kept features": (
        "loss.contrast.weight=0", "loss.pseudo.weight=1", "loss.pseudo.start=0", "model.tune=none",
        "model.head_width=8",
    ),
    "lpd-released": ("method=lpd-released", "model.prototype_dim=256", "model.merge=mean"),
    "pbip": ("method=pbip",),
    "cam": ("method=cam",),
    "supervised": ("method=supervised",),
}  # fmt: skip
"""Two classes; the contrast and the diversity count from the second step on, a second stage from the third on."""


@pytest.fixture
def data(small_data: Path, tmp_path: Path) -> Manifest:
    """The small data set with a mask of each training patch."""
    found, records = load_data(small_data, CLASSES), []
    for record in found.records:
        if record.split == "train":
            mask = tmp_path / f"{record.path.stem}.png"
            Image.fromarray((read_image(record.path)[..., 0] < 155).astype(np.uint8)).save(mask)
            records.append(replace(record, mask=mask))
    return Manifest(CLASSES, tuple(records), small_data)


@pytest.mark.parametrize("name", CASES)
def test_a_step_waits_for_the_number_of_pairs_alone(
    name: str, data: Manifest, small_settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From when a batch is here until the next is asked for; beside it lie looks, reports and saves."""
    as_on_a_gpu(monkeypatch)
    whole, made_ahead, waits, shown = loop._Trainer._one_step, loop.made_ahead, [], []

    def watched(batches: Iterator[dict[str, Tensor]], device: torch.device) -> Iterator[dict[str, Tensor]]:
        for batch in made_ahead(batches, device):
            with never_waiting(beside=("find_morphologies", "_report", "_save"), _listed=1) as seen:
                yield batch
            waits.append(seen["_listed"])

    def step(*rest: Any) -> Mapping[str, Tensor]:
        shown.append(whole(*rest))
        return shown[-1]

    monkeypatch.setattr(loop, "made_ahead", watched)
    monkeypatch.setattr(loop._Trainer, "_one_step", step)
    changes = [
        *small_settings, "train.epochs=1.34", "train.validations=0", "train.log_every=3", "loss.warmup=0.2",
        *CASES[name],
    ]  # fmt: skip
    api.train(data, tmp_path / "run", overrides=changes, device="cpu")
    assert len(waits) == 4
    assert ("morphology" in shown[-1]) == (
        CASES[name][: len(RECIPE)] == RECIPE and "model.head=linear" not in CASES[name]
    )
    assert waits == [int("foreground" in parts) for parts in shown]
    assert any(waits) == ("contrast" in name or "released" in name or "pbip" in name)


@pytest.mark.parametrize(
    ("name", "work"),
    [
        ("_local_scalar_dense", lambda x: float(x.sum())),
        ("_local_scalar_dense", lambda x: bool(x.any())),
        ("nonzero", lambda x: x.nonzero()),
        ("bincount", lambda x: x.long().bincount()),
        ("index by a mask", lambda x: x[x > 0]),
        ("index_put_ by a mask", lambda x: x.clone().__setitem__(x > 0, torch.ones(2))),
        ("_unique2", lambda x: x.unique()),
        ("cpu", lambda x: x.cpu()),
        ("to", lambda x: x.to("cpu")),
        ("tolist", lambda x: x.tolist()),
        ("numpy", lambda x: x.numpy()),
        ("tensor", lambda x: torch.tensor([1.0], device=x.device)),
    ],
)
def test_what_would_wait_is_noticed(name: str, work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.tensor([0.0, 1.0, 2.0])
    monkeypatch.setattr(no_waiting, "_SOURCE", str(Path(__file__).parent))
    with pytest.raises(WaitedError, match=f"^{name} in <lambda>"), never_waiting():
        work(values)
