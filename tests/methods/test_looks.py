"""When morphologies are looked for, in what, and by whom."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lpdseg.data.dataset import TrainingPatches
from lpdseg.data.records import PatchRecord
from lpdseg.methods import looks
from lpdseg.methods.looks import Looks
from lpdseg.methods.morphology import Look, describe, sure_regions
from lpdseg.model.describing import StainDescriber
from lpdseg.model.encoder import Encoder
from lpdseg.model.head import DenseMap
from lpdseg.model.lpd import LPD
from lpdseg.model.morphologies import Morphologies
from lpdseg.sections import MorphologySettings

Build = Callable[..., LPD]


@pytest.fixture
def patches(tmp_path: Path) -> TrainingPatches:
    """Six of the first class, six of the second, and six of both."""
    rng, records = np.random.default_rng(0), []
    for number in range(18):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(40, 160, (32, 32, 3), dtype=np.uint8)).save(path)
        labels = ((1, 0), (0, 1), (1, 1))[number % 3]
        records.append(PatchRecord(path, labels, "train", f"p{number % 4}", None))
    return TrainingPatches(records, 0)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Look]:
    """What was looked at, in order."""
    found: list[Look] = []
    whole = looks.find_morphologies

    def spy(morphologies: Morphologies, *rest: object) -> None:
        found.append(rest[-1])  # type: ignore[arg-type]
        whole(morphologies, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(looks, "find_morphologies", spy)
    return found


def made(lpd: LPD, start: Callable[[], Encoder] | None = None, **settings: str) -> Looks:
    wanted = MorphologySettings(**({"encoder": "stain"} | settings))  # type: ignore[arg-type]
    return Looks(Morphologies(lpd.bank.counts), lpd, wanted, 0.3, False, start)


def test_it_looks_at_single_class_patches_first_and_everywhere_once_maps_know_classes(
    tiny_lpd: Build, patches: TrainingPatches, seen: list[Look]
) -> None:
    found = made(tiny_lpd(head=8).train())
    found.prepare(patches)
    assert seen == ["alone"] and int(found.morphologies.counts.sum()) == 12
    for step in range(100):
        found.look(step / 100)
        assert seen == (["alone"] if step < 15 else ["alone", "everywhere"])
    assert found.morphologies.fitted and found.model.training
    assert found.found()["morphologies"] == {"encoder": "stain", "components": list(found.morphologies.components)}


def test_a_run_that_goes_on_looks_at_what_is_left(
    tiny_lpd: Build, patches: TrainingPatches, seen: list[Look]
) -> None:
    first = made(tiny_lpd(head=8))
    first.prepare(patches)
    again = made(tiny_lpd(head=8))
    again.morphologies.load_state_dict(first.morphologies.state_dict())
    again.prepare(patches)
    assert seen == ["alone"] and "encoder" not in again.found()["morphologies"]
    again.look(0.15)
    assert seen == ["alone", "everywhere"]
    last = made(tiny_lpd(head=8))
    last.morphologies.load_state_dict(again.morphologies.state_dict())
    last.prepare(patches)
    last.look(0.9)
    assert len(seen) == 2


def test_weights_that_are_trained_already_are_no_witness(tiny_lpd: Build, patches: TrainingPatches) -> None:
    """Where the model's come from a checkpoint, those that it once started from describe."""
    lpd, start = tiny_lpd(head=8), tiny_lpd(head=8, counts=(2, 2)).encoder
    with torch.no_grad():
        for values in lpd.encoder.parameters():
            values.mul_(2)
    plain, trained = made(tiny_lpd(head=8), encoder="start"), made(lpd, lambda: start, encoder="start")
    lpd.encoder.source = {"weights": "checkpoint"}
    plain.model.encoder.load_state_dict(start.state_dict())
    plain.prepare(patches)
    trained.prepare(patches)
    torch.testing.assert_close(trained.morphologies.means, plain.morphologies.means)


@pytest.mark.parametrize(
    ("settings", "expected"), [({"fit": "kmeans"}, ["alone"]), ({"encoder": "own"}, ["everywhere"])]
)
def test_kmeans_is_once_and_the_own_encoder_needs_a_warm_up(
    settings: dict[str, str], expected: list[Look], tiny_lpd: Build, patches: TrainingPatches, seen: list[Look]
) -> None:
    found = made(tiny_lpd(head=8), **settings)
    found.prepare(patches)
    assert seen == (expected if "fit" in settings else [])
    found.look(0.29)
    assert len(seen) == len(expected) - ("encoder" in settings)
    for done in (0.3, 0.6, 0.9):
        found.look(done)
        assert seen == expected


def test_what_an_earlier_run_found_stays(tiny_lpd: Build, patches: TrainingPatches, seen: list[Look]) -> None:
    found = made(tiny_lpd(head=8))
    found.close()
    found.prepare(patches)
    found.look(0.9)
    assert seen == []


@pytest.fixture
def halves(tiny_lpd: Build, monkeypatch: pytest.MonkeyPatch) -> LPD:
    """A dense map that is sure that the first class is on the left and the second on a third of the right."""
    logits = torch.zeros(3, 2, 32, 32)
    logits[:, 0, :, :16], logits[:, 1, :, 27:] = 5, 5
    lpd = tiny_lpd(head=8)
    monkeypatch.setattr(lpd, "dense", lambda _: DenseMap(logits, logits))
    return lpd


def test_regions_are_where_the_map_is_sure_among_the_classes_of_the_label(halves: LPD) -> None:
    labels = torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    found = sure_regions(halves, torch.zeros(3, 3, 32, 32), labels)
    assert found[0, 0, :, :16].all() and not found[0, 0, :, 16:].any()
    assert found[0, 1, :, 27:].all() and not found[0, 1, :, :27].any()
    assert found[1, 1].all() and not found[1, 0].any() and not found[2].any()


def test_regions_that_are_too_small_are_not_described(halves: LPD, patches: TrainingPatches) -> None:
    def where(images: Tensor, labels: Tensor) -> Tensor:
        return sure_regions(halves, images, labels)

    indices: Sequence[int] = range(3)
    found = describe(patches, indices, StainDescriber(), torch.device("cpu"), where)
    assert list(zip(found.patches.tolist(), found.classes.tolist(), found.alone.tolist(), strict=True)) == [
        (0, 0, True),
        (1, 1, True),
        (2, 0, False),
    ]
    assert found.patients == ("p0", "p1", "p2")
    image = torch.from_numpy(patches.plain(2).transpose(2, 0, 1))[None] / 255
    left = torch.zeros(1, 1, 32, 32)
    left[..., :16] = 1
    np.testing.assert_allclose(found.values[2], StainDescriber()(image, left)[0, 0].numpy(), rtol=1e-5, atol=1e-6)
