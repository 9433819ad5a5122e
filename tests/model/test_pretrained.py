import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from lpdseg.errors import WeightsError
from lpdseg.model.encoder import Encoder
from lpdseg.model.encoders import ENCODERS, build_encoder
from lpdseg.model.image_encoders import build_image_encoder
from lpdseg.model.pretrained import UNNAMED, read_normalisation, weights_source

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of the hub, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def cached(cache: Path, hub_id: str) -> Path:
    """The snapshot's folder of a model that was fetched before."""
    model = cache / f"models--{hub_id.replace('/', '--')}"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(COMMIT)
    snapshot = model / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    return snapshot


def test_mean_and_sd_that_cannot_be_fetched_are_not_guessed(cache: Path) -> None:
    cached(cache, "lab/net")
    with pytest.raises(WeightsError, match=r"put .*preprocessor_config\.json .* local folder") as caught:
        read_normalisation("lab/net", MEAN, STD)
    assert "\n" not in str(caught.value)


def test_the_table_holds_for_the_weights_that_it_names(cache: Path) -> None:
    assert read_normalisation("lab/net", MEAN, STD, published=True) == (MEAN, STD)


def test_a_repository_known_to_have_no_such_file_takes_what_is_given(cache: Path) -> None:
    snapshot = cached(cache, "lab/net")
    absent = snapshot.parents[1] / ".no_exist" / COMMIT
    absent.mkdir(parents=True)
    (absent / "preprocessor_config.json").touch()
    assert read_normalisation("lab/net", MEAN, STD) == (MEAN, STD)


@pytest.mark.parametrize("kind", ["OfflineModeIsEnabled", "PermissionError"])
def test_every_other_failure_of_the_hub_is_told(kind: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import OfflineModeIsEnabled

    def refuse(*_: object, **__: object) -> str:
        raise {"OfflineModeIsEnabled": OfflineModeIsEnabled, "PermissionError": PermissionError}[kind]("no")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(WeightsError, match="mean and sd"):
        read_normalisation("lab/net", MEAN, STD)


@pytest.mark.parametrize(
    "build",
    [
        lambda: build_encoder("resnet18", UNNAMED),
        lambda: build_image_encoder(f"hf:{UNNAMED}", build_encoder("resnet18", None)),
    ],
)
def test_weights_whose_place_a_bundle_keeps_to_itself_are_asked_for(
    build: Callable[[], object], cache: Path
) -> None:
    with pytest.raises(WeightsError, match=r"came from a folder of the machine that trained.*name a folder"):
        build()


def test_hub_weights_are_known_by_their_revision(cache: Path) -> None:
    hub_id = ENCODERS["resnet18"].hub_id
    build_encoder("resnet18").backbone.save_pretrained(cached(cache, hub_id))  # type: ignore[operator]
    encoder = build_encoder("resnet18", hub_id)  # its mean and sd are the table's: nothing else is in the cache
    network = "resnet, 11.2 million parameters"
    assert encoder.source == {"weights": hub_id, "revision": COMMIT, "network": network}
    assert Encoder.from_config(encoder.config).source == {"weights": "checkpoint"}


def test_a_hub_tower_is_known_by_its_revision(cache: Path) -> None:
    snapshot = cached(cache, "lab/tower")
    config = transformers.CLIPVisionConfig(
        hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8
    )
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(snapshot)
    (snapshot / "preprocessor_config.json").write_text("{}")
    tower = build_image_encoder("hf:lab/tower", build_encoder("resnet18", stages=3))
    assert tower is not None
    assert tower.source == {"encoder": "hf:lab/tower", "weights": "lab/tower", "revision": COMMIT}


def test_a_local_folder_is_known_by_the_digest_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"abc")
    (tmp_path / "config.json").write_text("{}")
    source = weights_source(str(tmp_path))
    assert source == {"weights": str(tmp_path), "sha256": hashlib.sha256(b"abc").hexdigest()}


def test_hub_weights_that_the_cache_has_not_have_no_revision(cache: Path) -> None:
    assert weights_source("lab/net") == {"weights": "lab/net"}


@torch.no_grad()
def test_registers_under_the_older_name_are_not_lost(tmp_path: Path) -> None:
    """DINOv2 with registers was published as `dinov2` with code of its own, before the library had it."""
    config = transformers.Dinov2WithRegistersConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        num_register_tokens=3,
    )
    network = transformers.Dinov2WithRegistersBackbone(config).eval()
    network.embeddings.register_tokens.normal_()
    network.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    values |= {"model_type": "dinov2", "auto_map": {"AutoModel": "modeling_dinov2.Dinov2ModelWithRegisters"}}
    (tmp_path / "config.json").write_text(json.dumps(values))
    encoder = build_encoder("auto", str(tmp_path)).eval()
    assert encoder.source["network"].startswith("dinov2_with_registers")
    images = torch.rand(1, 3, 28, 28)
    expected = network((images - encoder.mean) / encoder.std).feature_maps[-1]
    assert torch.allclose(
        encoder.kind.features(encoder.backbone, (images - encoder.mean) / encoder.std)[-1], expected
    )
