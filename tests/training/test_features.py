"""Frozen encoders are computed once: the same training whatever is kept, and a backbone that rests during it."""

import json
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kept_features import COUNT, draw_data, draws, opened
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from interrupted import StopAfter
from lpdseg.data.composites import Composites, TrainingBatches
from lpdseg.data.dataset import GlobalBatches, TrainingPatches
from lpdseg.data.manifest import Manifest
from lpdseg.errors import CheckpointError, OutputError
from lpdseg.maps.background import glass_share
from lpdseg.model.encoded import features_of
from lpdseg.model.encoder import Encoder
from lpdseg.model.encoders import build_encoder
from lpdseg.settings import Settings, load_settings
from lpdseg.tissue import IGNORE
from lpdseg.training.feature_store import FeatureStore
from lpdseg.training.kept_batches import KeptBatches
from lpdseg.training.loop import train
from lpdseg.training.metrics import read_metrics
from noting import Notes
from small_families import save_small


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return draw_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    build_encoder("resnet18", stages=3).backbone.save_pretrained(folder)  # type: ignore[operator]
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LPDSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


@pytest.fixture
def settings(small_settings: tuple[str, ...], weights: Path) -> "Any":
    def build(*overrides: str) -> Settings:
        frozen = ("model.tune=none", f"model.weights={weights}", "loss.contrast.weight=0", "data.stain_jitter=0.1")
        rest = ("loss.composite.weight=0.5", "predict.background=glass", "train.validations=0")
        return load_settings(None, [*small_settings, *frozen, *rest, *overrides])

    return build


class FrozenNotes(Notes):
    @property
    def told(self) -> str:
        return next(note for note in self.notes if note.startswith("frozen encoder: what it gives"))


def record(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text())
    return found


def parameters(run: Path) -> dict[str, Tensor]:
    state = json.loads((run / "checkpoints" / "last.json").read_text())
    return load_file(run / "checkpoints" / state["files"]["weights"])


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(run) if row["kind"] == "train"]


def same(left: Path, right: Path) -> bool:
    first, second = parameters(left), parameters(right)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@contextmanager
def backbone_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Images that the backbone was given, call by call."""
    calls: list[int] = []
    encode = Encoder.encode
    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "encode", lambda self, images: calls.append(len(images)) or encode(self, images))
        yield calls


METHODS = {
    "lpd": (),
    "pseudo masks": ("loss.pseudo.weight=0.5", "loss.pseudo.start=0"),
    "cam": ("method=cam",),
    "supervised": ("method=supervised",),
    "pbip": ("method=pbip", "loss.contrast.encoder=none"),
    "lpd-released": ("method=lpd-released", "model.prototype_dim=256"),
    "plain ViT": ("model.encoder=auto",),
}


@pytest.mark.parametrize("method", METHODS)
def test_the_backbone_works_before_the_first_step_and_never_in_one(
    method: str, data: Manifest, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = METHODS[method]
    if method == "plain ViT":
        overrides = (*overrides, f"model.weights={save_small('dinov2', tmp_path / 'vit', blocks=3)}")
    in_steps: list[int] = []
    for name in ("first", "second"):
        with backbone_calls(monkeypatch) as calls:
            reporter = FrozenNotes()
            reporter.start = lambda done, total, calls=calls: calls.clear()  # type: ignore[method-assign,misc]
            # What comes after the last step looks at training regions with the finished model.
            reporter.stop = lambda calls=calls: in_steps.extend(calls)  # type: ignore[method-assign,misc]
            train(settings(*overrides), data, tmp_path / name, reporter=reporter)
    taught = method in ("lpd", "pseudo masks", "plain ViT")
    # Once in each run the dense map is asked where classes are, to find morphologies.
    assert sum(in_steps) == (2 * COUNT if taught else 0)
    first, second = record(tmp_path / "first")["features"], record(tmp_path / "second")["features"]
    composites = COUNT if taught else 0
    assert (first["versions"], first["composites"], first["hit_share"], first["share"]) == (2, composites, 1.0, 1.0)
    assert first["items"] == first["computed"] == 2 * COUNT + composites
    assert second["computed"] == 0 and second["bytes"] == first["bytes"] > 0
    assert same(tmp_path / "first", tmp_path / "second")
    assert len(losses(tmp_path / "first")) == 18 and all(np.isfinite(losses(tmp_path / "first")))


@torch.no_grad()
def test_kept_features_are_those_of_the_images_but_for_rounding(data: Manifest, tmp_path: Path) -> None:
    batches, encoder, store = opened(data, tmp_path)
    shown = KeptBatches(
        batches.variants, batches.layout, batches.store, pixels=True, adapter=True, glass=batches.glass
    )
    for own in draws(batches)[:3]:
        batch, pixels = batches[own], shown[own]
        assert batch["image"].shape == (6, 0, 32, 32) and pixels["image"].shape == (6, 3, 32, 32)
        assert batch["labels"].equal(pixels["labels"]) and batch["composite_mask"].equal(pixels["composite_mask"])
        assert batch["composite"].shape == (3, 0, 32, 32) and len(batch["image.fresh"]) == 0
        for name in ("image", "composite"):
            expected = encoder(pixels[name].float() / 255)
            for found, wanted in zip(features_of(encoder, batch, name), expected, strict=True):
                assert found.shape == wanted.shape and found.is_contiguous(memory_format=torch.channels_last)
                torch.testing.assert_close(found, wanted, rtol=2**-8, atol=1e-4)
        glass = glass_share(pixels["composite"].float() / 255)[:, 0] > 0.5
        assert ((batch["composite_mask"] == IGNORE) == glass).all() and glass.any() and not glass.all()
    store.__exit__(None, None, None)


@torch.no_grad()
def test_what_is_not_kept_is_encoded_and_rounded_alike(data: Manifest, tmp_path: Path) -> None:
    whole, encoder, first = opened(data, tmp_path / "whole")
    item = whole.layout.nbytes
    part, _, second = opened(data, tmp_path / "part", bound=(COUNT + 32) * (item + 1024))
    none, _, third = opened(data, tmp_path / "none", bound=1)
    assert part.store.held == {"patches-0": 36, "composites-2-glass": 32, "patches-1": 0, "patches-2": 0}
    mixed = 0
    for own in draws(whole):
        batches = [one[own] for one in (whole, part, none)]
        mixed += 0 < int(batches[1]["image.kept"].sum()) < 6
        assert len(batches[2]["image.fresh"]) == 6 and len(batches[2]["image.0"]) == 0
        for name in ("image", "composite"):
            expected = features_of(encoder, batches[0], name)
            for batch in batches[1:]:
                assert batch["composite_mask"].equal(batches[0]["composite_mask"])
                for found, wanted in zip(features_of(encoder, batch, name), expected, strict=True):
                    torch.testing.assert_close(found, wanted, rtol=2**-7, atol=1e-4)
                    assert (found == wanted).float().mean() > 0.99
    assert mixed > 2
    for store in (first, second, third):
        store.__exit__(None, None, None)


def test_loader_processes_and_shares_of_a_batch_see_the_same(data: Manifest, tmp_path: Path) -> None:
    batches, _, store = opened(data, tmp_path)
    sent = pickle.loads(pickle.dumps(batches))
    halves = [draws(batches, rank=rank, world=2) for rank in (0, 1)]
    for place, own in enumerate(draws(batches)[:4]):
        whole, again = batches[own], sent[own]
        parts = [batches[half[place]] for half in halves]
        assert whole.keys() == again.keys() == parts[0].keys()
        for name, values in whole.items():
            assert values.equal(again[name]), name
            assert values.equal(torch.cat([part[name] for part in parts])), name
    other = opened(data, tmp_path, seed=1)[0]
    assert not torch.equal(other[own]["image.0"], whole["image.0"])
    store.__exit__(None, None, None)


@torch.no_grad()
def test_an_adapter_gets_the_images_that_its_features_belong_to(data: Manifest, tmp_path: Path) -> None:
    batches, encoder, store = opened(data, tmp_path, adapter=True)

    class Stem(torch.nn.Module):
        widths = encoder.widths

        def forward(self, features: list[Tensor], pixels: Tensor) -> list[Tensor]:
            return [one + F.adaptive_avg_pool2d(pixels, one.shape[-2:]).mean(1, keepdim=True) for one in features]

    plain = [one.clone() for one in features_of(encoder, batches[draws(batches)[0]], "image")]
    encoder.adapter = Stem()  # type: ignore[assignment]
    batch = batches[draws(batches)[0]]
    for name in ("image", "composite"):
        expected = encoder(batch[name].float() / 255)
        for found, wanted in zip(features_of(encoder, batch, name), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=2**-8, atol=0.02)
    assert not torch.allclose(features_of(encoder, batch, "image")[0], plain[0])
    store.__exit__(None, None, None)


def test_runs_that_differ_in_the_seed_alone_share_it(data: Manifest, settings: Any, tmp_path: Path) -> None:
    train(settings("train.epochs=1"), data, tmp_path / "a")
    reporter = FrozenNotes()
    train(settings("train.epochs=1", "train.seed=1", "train.lr=5e-4"), data, tmp_path / "b", reporter=reporter)
    assert record(tmp_path / "b")["features"]["computed"] == 0 and "all found there" in reporter.told
    assert not same(tmp_path / "a", tmp_path / "b")
    longer = train(settings("train.epochs=2"), data, tmp_path / "c")
    assert (
        longer.total == 18 and record(tmp_path / "c")["features"]["computed"] == 2 * COUNT
    )  # with a block that was short


def test_methods_share_patches_and_other_composites_are_others(
    data: Manifest, settings: Any, tmp_path: Path
) -> None:
    computed = {"method=lpd": COUNT + 18, "method=cam": 0, "predict.background=power": 18, "method=supervised": 0}
    for number, (override, wanted) in enumerate(computed.items()):
        run = tmp_path / str(number)
        train(settings("train.epochs=1", override), data, run)
        assert record(run)["features"]["computed"] == wanted, override
        assert record(run)["features"]["folder"] == record(tmp_path / "0")["features"]["folder"]


@pytest.mark.parametrize(
    "other", ["data.stain_jitter=0.2", "data.flips=false", "model.last_stride=1", "model.weights"]
)
def test_whatever_changes_what_is_kept_has_a_store_of_its_own(
    other: str, data: Manifest, settings: Any, tmp_path: Path, cache: Path
) -> None:
    if other == "model.weights":
        torch.manual_seed(9)
        build_encoder("resnet18", stages=3).backbone.save_pretrained(tmp_path / "w")  # type: ignore[operator]
        other = f"model.weights={tmp_path / 'w'}"
    for name, overrides in (("a", ()), ("b", (other,))):
        train(settings("train.epochs=0.2", *overrides), data, tmp_path / name)
    folders = {record(tmp_path / name)["features"]["folder"] for name in "ab"}
    assert len(folders) == 2 and all(Path(folder).parent == cache for folder in folders)


def test_a_run_that_goes_on_ends_at_the_same_parameters(data: Manifest, settings: Any, tmp_path: Path) -> None:
    chosen = settings("loss.pseudo.weight=0.5")
    train(chosen, data, tmp_path / "whole")
    assert train(chosen, data, tmp_path / "part", reporter=StopAfter(7)).steps == 7
    assert not train(chosen, data, tmp_path / "part", resume=True).interrupted
    assert same(tmp_path / "whole", tmp_path / "part")
    assert read_metrics(tmp_path / "whole") == read_metrics(tmp_path / "part")


def test_a_run_may_go_on_with_less_room_but_not_without_any(data: Manifest, settings: Any, tmp_path: Path) -> None:
    train(settings(), data, tmp_path / "run", reporter=StopAfter(7))
    with pytest.raises(CheckpointError, match=r"another model\.feature_cache \(then 20\.0, now 0\.0\)"):
        train(settings("model.feature_cache=0"), data, tmp_path / "run", resume=True)
    assert not train(settings("model.feature_cache=1e-6"), data, tmp_path / "run", resume=True).interrupted


def test_less_room_changes_rounding_alone_and_is_told(data: Manifest, settings: Any, tmp_path: Path) -> None:
    train(settings(), data, tmp_path / "whole")
    shutil.rmtree(tmp_path / "cache")
    reporter = FrozenNotes()
    half = record(tmp_path / "whole")["features"]["bytes"] / 2e9
    train(settings(f"model.feature_cache={half}"), data, tmp_path / "half", reporter=reporter)
    found = record(tmp_path / "half")["features"]
    assert 0.3 < found["share"] < 0.5 and 0.3 < found["hit_share"] < 0.8
    assert "model.feature_cache" in reporter.told and "the rest is encoded in each step" in reporter.told
    assert losses(tmp_path / "half") == pytest.approx(losses(tmp_path / "whole"), rel=1e-3)


def test_without_a_cache_nothing_is_kept_and_tuned_encoders_never_are(
    data: Manifest, settings: Any, tmp_path: Path, cache: Path
) -> None:
    for name, overrides in (("none", "model.feature_cache=0"), ("tuned", "model.tune=norm")):
        train(settings("train.epochs=0.2", overrides), data, tmp_path / name)
        assert record(tmp_path / name)["features"] is None
    assert not cache.exists()


def test_ctrl_c_while_computing_keeps_what_is_done(
    data: Manifest, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = FeatureStore.write, list[int]()

    def interrupted(self: FeatureStore, *given: Any) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(len(given[0].items))
        write(self, *given)

    monkeypatch.setattr(FeatureStore, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(settings(), data, tmp_path / "run")
    assert record(tmp_path / "run")["status"] == "interrupted"
    monkeypatch.undo()
    monkeypatch.setenv("LPDSEG_CACHE", str(tmp_path / "cache"))
    assert not train(settings(), data, tmp_path / "run", resume=True).interrupted
    assert record(tmp_path / "run")["features"]["computed"] == 3 * COUNT - written[0]


def test_damage_and_what_another_encoder_gave_are_computed_again(
    data: Manifest, settings: Any, tmp_path: Path
) -> None:
    chosen = settings("train.epochs=1")
    train(chosen, data, tmp_path / "whole")
    folder = Path(record(tmp_path / "whole")["features"]["folder"])
    content = bytearray((folder / "composites-2-glass.bin").read_bytes())
    content[7] ^= 255
    (folder / "composites-2-glass.bin").write_bytes(content)
    reporter = FrozenNotes()
    train(chosen, data, tmp_path / "damaged", reporter=reporter)
    assert any("is damaged, 1 blocks of it" in note for note in reporter.notes)
    assert record(tmp_path / "damaged")["features"]["computed"] == COUNT // 2
    assert same(tmp_path / "whole", tmp_path / "damaged")

    store = FeatureStore(folder, *_as_it_is(folder))
    for block in store.blocks():
        store.write(block, np.zeros((len(block.items), store.parts[block.part].nbytes), np.uint8))
    reporter = FrozenNotes()
    train(chosen, data, tmp_path / "stale", reporter=reporter)
    assert any("another version of the encoder" in note for note in reporter.notes)
    assert same(tmp_path / "whole", tmp_path / "stale")


def _as_it_is(folder: Path) -> "tuple[list[Any], dict[str, int]]":
    from lpdseg.training.feature_store import Part

    items = {"patches-0": COUNT, "composites-2-glass": COUNT // 2}
    parts = [Part(name, n, (folder / f"{name}.bin").stat().st_size // n) for name, n in items.items()]
    return parts, items


def test_a_full_disk_ends_the_run_with_a_sentence(
    data: Manifest, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(OutputError, match=r"needs .* GB in .*LPDSEG_CACHE, or lower model\.feature_cache"):
        train(settings(), data, tmp_path / "run")
    assert record(tmp_path / "run")["status"] == "failed" and "free space" in record(tmp_path / "run")["reason"]


def test_batches_of_the_plain_kind_are_what_they_were(data: Manifest) -> None:
    patches = TrainingPatches(data.split("train"), 0)
    batch = TrainingBatches(patches, Composites(patches, 2), 2)[next(iter(GlobalBatches(COUNT, 4, 0, 0, 1)))]
    assert sorted(batch) == ["composite", "composite_mask", "composite_source", "image", "labels"]
