import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.repocard import metadata_load
from PIL import Image
from safetensors.torch import load_file

import lpdseg
from hub_stand_in import StandIn
from lpdseg import api
from lpdseg.alone import only_one
from lpdseg.errors import CheckpointError, OutputError, SettingsError
from lpdseg.files import write_json
from lpdseg.model.runtime import OnnxNetwork
from lpdseg.segmenting.backends import TOLERANCE
from lpdseg.segmenting.loading import edits_within
from lpdseg.sharing.folder import CARD, DESCRIPTION, FILES, GRAPH, SUMS, WEIGHTS
from lpdseg.workflows.bundles import making
from lpdseg.workflows.slides.options import SlideOptions
from processes import program

SECRET = "/srv/lab-of-jane/weights"
EDITS = "# by Dr. Somebody\npink 1: {name: stroma}\nblue 2: {move: pink}\n"


def patches(data: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted((data / "valid" / "img").iterdir())]


def described(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / DESCRIPTION).read_text("utf-8")))


def same(run: str | Path, bundle: str | Path, data: Path, **options: Any) -> None:
    ours, theirs = api.load(run, device="cpu", **options), api.load(bundle, device="cpu")
    for pixels in patches(data):
        expected, found = ours.segment(pixels), theirs.segment(pixels)
        np.testing.assert_array_equal(found.mask, expected.mask)
        np.testing.assert_array_equal(found.probabilities, expected.probabilities)


@pytest.fixture(scope="module")
def bundle(prototype_run: Path, small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With figures; only to read."""
    records = api.evaluate(prototype_run, small_data, classes="pink,blue", device="cpu")
    out = tmp_path_factory.mktemp("given") / "bundle"
    return lpdseg.make_bundle(prototype_run, out, records=records, licence="mit", about="Pink, and | <b>blue</b>.")


def test_a_run_that_saves_others_meanwhile_is_not_described_as_what_it_was(
    prototype_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = Path(shutil.copytree(prototype_run, tmp_path / "run")), tmp_path / "out"
    described = making.describe

    def train_on(*words: Any, **options: Any) -> Any:
        told = described(*words, **options)
        state = json.loads((run / "checkpoints" / "best.json").read_text("utf-8"))
        write_json(run / "checkpoints" / "best.json", state | {"step": state["step"] + 1})
        return told

    monkeypatch.setattr(making, "describe", train_on)
    with pytest.raises(CheckpointError, match="is being trained and has saved other weights meanwhile; try again"):
        lpdseg.make_bundle(run, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_run_that_has_not_ended_is_bundled_as_far_as_it_is(prototype_run: Path, tmp_path: Path) -> None:
    """Its record has no step yet."""
    run = Path(shutil.copytree(prototype_run, tmp_path / "run"))
    told = json.loads((run / "run.json").read_text("utf-8"))
    write_json(
        run / "run.json", {key: value for key, value in told.items() if key != "step"} | {"status": "running"}
    )
    described = json.loads((lpdseg.make_bundle(run, tmp_path / "out") / "bundle.json").read_text("utf-8"))
    step = json.loads((run / "checkpoints" / "best.json").read_text("utf-8"))["step"]
    assert (described["training"]["status"], described["training"]["step"]) == ("running", step)


def test_masks_are_those_of_the_run(prototype_run: Path, bundle: Path, small_data: Path) -> None:
    assert sorted(path.name for path in bundle.iterdir()) == sorted({*FILES, SUMS} - {GRAPH})
    same(prototype_run, bundle, small_data)
    ours, theirs = (api.load_for_prototypes(run, device="cpu") for run in (prototype_run, bundle))
    assert all(torch.equal(a, b) for a, b in zip(ours.model.parameters(), theirs.model.parameters(), strict=True))
    alike = [api.evaluate(run, small_data, classes="pink,blue", device="cpu") for run in (prototype_run, bundle)]
    assert alike[0] == alike[1]


@pytest.fixture(scope="module")
def from_elsewhere(prototype_run: Path, small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a graph, of a run whose patients have names and whose weights lay in a folder; only to read."""
    run = Path(shutil.copytree(prototype_run, tmp_path_factory.mktemp("elsewhere") / "run"))
    for name in ("best", "last"):
        path = run / "checkpoints" / f"{name}.json"
        state = json.loads(path.read_text("utf-8").replace('"v0"', '"MUELLER"'))
        state["settings"]["model"]["weights"] = SECRET
        state["settings"]["loss"]["contrast"]["encoder"] = f"medclip:{SECRET}"
        state["settings"]["loss"]["morphology"]["encoder"] = f"{SECRET}/tissue"
        state["encoder"]["backbone"]["_name_or_path"] = SECRET
        state["corrected"] = {"images": ["0" * 64], "patients": {"valid": ["SCHMIDT"]}}
        path.write_text(json.dumps(state), "utf-8")
    told = json.loads((run / "run.json").read_text("utf-8"))
    told["weights"] = {"weights": SECRET, "sha256": "1" * 64}
    told["image_encoder"] = {"encoder": f"medclip:{SECRET}", "weights": SECRET}
    told["morphologies"] = {"encoder": f"{SECRET}/tissue", "weights": {"weights": f"{SECRET}/tissue"}}
    told["data"] |= {"source": "/home/jane/doe", "notes": ["the run has learnt from patches of SCHMIDT"]}
    write_json(run / "run.json", told)
    records = api.evaluate(run, small_data, classes="pink,blue", device="cpu")
    records[0]["by_patient"] = {"MUELLER": [[1]]}
    records[0]["notes"] = ["the run has learnt from patches of SCHMIDT"]
    return lpdseg.make_bundle(run, run.with_name("out"), records=records, onnx=True)


def test_no_private_thing_travels(from_elsewhere: Path, small_data: Path) -> None:
    assert "MUELLER" in (from_elsewhere.with_name("run") / "checkpoints" / "best.json").read_text("utf-8")
    places = (str(from_elsewhere.parents[1]), str(small_data), str(Path.cwd()), "/home/", "jane", "lab-of-jane")
    for path in from_elsewhere.iterdir():
        content = path.read_bytes()
        for private in (*places, "MUELLER", "SCHMIDT"):
            assert private.encode() not in content, (path.name, private)
    said = described(from_elsewhere)
    assert said["settings"]["model"]["weights"] == "a-local-folder" and said["corrected"]["images"] == ["0" * 64]
    assert said["settings"]["loss"]["morphology"]["encoder"] == "a-local-folder"
    assert [one["source"] for one in said["licences"]["started_from"]] == ["a-local-folder"] * 3


def test_what_a_bundle_says(prototype_run: Path, bundle: Path) -> None:
    said, run = described(bundle), json.loads((prototype_run / "checkpoints" / "best.json").read_text("utf-8"))
    for key in ("classes", "mpp", "patch", "thresholds", "offsets", "temperature", "encoder", "settings"):
        assert said[key] == run[key], key
    assert said["schema"] == 1 and said["licence"] == "mit" and said["edits"] is None
    assert said["training_data"]["patches"] == {"train": 12, "valid": 4}
    assert said["training_data"]["patients"] == {"train": 3, "valid": 2}
    for record in (said["valid"], *said["metrics"]):
        assert (record["split"], record["gate"], record["refine"]) == ("valid", record["gate"], "none")
        assert (record["images"], record["patients"]) == (4, 2) and "by_patient" not in record
    weights = prototype_run / "checkpoints" / run["files"]["weights"]
    assert said["run_weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert set(load_file(bundle / WEIGHTS)) == {name for name in load_file(weights) if name.startswith("model.")}


def test_the_card(bundle: Path) -> None:
    header = metadata_load(bundle / CARD)
    assert header is not None
    assert (header["license"], header["library_name"]) == ("mit", "lpdseg")
    assert header["pipeline_tag"] == "image-segmentation" and "histopathology" in header["tags"]
    text = (bundle / CARD).read_text("utf-8")
    assert "Pink, and &#124; &lt;b>blue&lt;/b>." in text
    record = described(bundle)["metrics"][0]
    assert f"| valid | predicted | keep | none | 4 | 2 | {record['miou']:.2f} [" in text
    assert "| train | 12 | 3 | unknown (12) |" in text and "`mit`" in text


def test_edits_travel_without_their_remarks(prototype_run: Path, small_data: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "edits.yaml", tmp_path / "out"
    file.write_text(EDITS)
    lpdseg.make_bundle(prototype_run, out, edits=file)
    same(prototype_run, out, small_data, edits=file)
    ours, theirs = api.load(prototype_run, device="cpu", edits=file), api.load(out, device="cpu")
    assert theirs.prototype_names == ours.prototype_names and theirs.edits_sha256 == ours.edits_sha256
    assert b"Somebody" not in (out / DESCRIPTION).read_bytes()
    assert api.load_for_prototypes(out, device="cpu").edits_sha256 is None
    pytest.importorskip("starlette", reason="the extra view is not installed")
    from lpdseg.view.items import Opened
    from lpdseg.view.visit import Visit

    seen = Visit([out], Opened((), theirs.classes), SlideOptions(device="cpu"))
    assert seen.runs[0].plain.edits_sha256 is None and seen.runs[0].segmenter.edits_sha256 == ours.edits_sha256
    seen.close()
    other = tmp_path / "other.yaml"
    other.write_text("pink 2: {hide: true}\n")
    assert api.load(out, device="cpu", edits=other).edits_sha256 == hashlib.sha256(other.read_bytes()).hexdigest()


def test_offsets_that_were_chosen_under_edits_travel(prototype_run: Path, small_data: Path, tmp_path: Path) -> None:
    file = tmp_path / "edits.yaml"
    file.write_text(EDITS)
    manifest = lpdseg.load_data(small_data, lpdseg.TissueClasses(("pink", "blue")))
    said = api.choose_offsets(prototype_run, file, manifest, device="cpu")
    lpdseg.make_bundle(prototype_run, tmp_path / "out", edits=said)
    assert edits_within(tmp_path / "out") == replace(said, source=str(tmp_path / "out"))
    same(prototype_run, tmp_path / "out", small_data, edits=said)


def test_the_graph_inside_makes_the_same_masks(from_elsewhere: Path, small_data: Path) -> None:
    graph = described(from_elsewhere)["graph"]
    assert graph["file"] == GRAPH and graph["difference"] < TOLERANCE
    assert GRAPH in (from_elsewhere / SUMS).read_text("utf-8")
    segmenter = api.load(from_elsewhere, device="cpu")
    computed = segmenter.computed_by(OnnxNetwork(from_elsewhere / GRAPH))
    for pixels in patches(small_data):
        np.testing.assert_array_equal(computed.segment(pixels).mask, segmenter.segment(pixels).mask)


@pytest.mark.parametrize("name", [DESCRIPTION, WEIGHTS, CARD])
def test_a_changed_byte_is_told_before_anything_is_used(bundle: Path, tmp_path: Path, name: str) -> None:
    path = shutil.copytree(bundle, tmp_path / "copy") / name
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{re.escape(str(path))} has changed"):
        api.load(path.parent, device="cpu")


def test_what_is_refused(prototype_run: Path, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is a bundle already"):
        lpdseg.make_bundle(bundle, tmp_path / "out")
    with pytest.raises(SettingsError, match="'MIT License' is no name of a licence"):
        lpdseg.make_bundle(prototype_run, tmp_path / "out", licence="MIT License")
    with pytest.raises(CheckpointError, match="a bundle, which has no checkpoint 'last'; leave --checkpoint out"):
        api.load(bundle, "last", device="cpu")
    with pytest.raises(SettingsError, match="stays as it is; name the page with out"):
        api.report(bundle, lpdseg.load_data(data_of(prototype_run), lpdseg.TissueClasses(("pink", "blue"))))
    assert not (tmp_path / "out").exists()


def data_of(run: Path) -> str:
    return str(json.loads((run / "run.json").read_text("utf-8"))["data"]["source"])


@pytest.mark.parametrize("held", ["notes.txt", CARD])
def test_a_folder_of_other_things_stays(prototype_run: Path, tmp_path: Path, held: str) -> None:
    (tmp_path / held).write_text("mine")
    with pytest.raises(OutputError, match=f"{re.escape(str(tmp_path))} holds {held}, which would be lost"):
        lpdseg.make_bundle(prototype_run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [held] and (tmp_path / held).read_text() == "mine"


def test_a_bundle_is_replaced_unless_somebody_keeps_things_in_it(
    prototype_run: Path, bundle: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(bundle, tmp_path / "out"))
    with only_one(tmp_path / ".out.lock", "busy"), pytest.raises(OutputError, match="another process is writing"):
        lpdseg.make_bundle(prototype_run, out, title="another")
    lpdseg.make_bundle(prototype_run, out, title="another")
    assert described(out)["title"] == "another" and [path.name for path in tmp_path.iterdir()] == ["out"]
    (out / "corrections.geojson").write_text("{}")
    with pytest.raises(OutputError, match=r"holds corrections\.geojson, which would be lost"):
        lpdseg.make_bundle(prototype_run, out)


_MAKING = """
import sys, time
from lpdseg.workflows.bundles import making

whole = making.seal

def waiting(folder):
    if sys.argv[3] == "after":
        whole(folder)
    print("there", flush=True)
    time.sleep(600)

making.seal = waiting
making.make_bundle(sys.argv[1], sys.argv[2])
"""


@pytest.mark.parametrize("stage", ["before", "after"])
def test_a_process_that_is_killed_leaves_the_bundle_of_before(
    prototype_run: Path, small_run: Path, tmp_path: Path, stage: str
) -> None:
    def files() -> dict[str, bytes]:
        found = [path for path in tmp_path.rglob("*") if path.is_file()]
        return {str(path.relative_to(tmp_path)): path.read_bytes() for path in found}

    out = tmp_path / "out"
    lpdseg.make_bundle(prototype_run, out)
    wanted = files()
    shutil.rmtree(out)
    lpdseg.make_bundle(small_run, out)
    before = files()
    words = [sys.executable, "-c", _MAKING, str(prototype_run), str(out), stage]
    with program(words, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None and killed.stdout.readline() == "there\n"
    assert before.items() <= files().items()
    lpdseg.make_bundle(prototype_run, out)
    assert files() == wanted  # and nothing else is left


def test_a_report_of_a_bundle(bundle: Path, small_data: Path, tmp_path: Path) -> None:
    data = lpdseg.load_data(small_data, lpdseg.TissueClasses(("pink", "blue")))
    page = api.report(bundle, data, tmp_path / "page.html", images=1, device="cpu").read_text("utf-8")
    assert "12 patches of 3 patients" in " ".join(page.split())
    with pytest.raises(CheckpointError, match="does not say where its training data are; name some with --data"):
        api.report(bundle, None, tmp_path / "page.html", device="cpu")


def test_by_way_of_the_hub(
    bundle: Path, prototype_run: Path, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = StandIn(tmp_path, monkeypatch)
    stale = hub.repository("lab/tissue")
    stale.mkdir(parents=True)
    for name in (GRAPH, "evil.py", "pytorch_model.bin", ".gitattributes"):
        (stale / name).write_text("of before")
    assert lpdseg.push_bundle(bundle, "hf:lab/tissue") == "https://hub/lab/tissue"
    assert hub.made == [("lab/tissue", True)] and not (stale / GRAPH).exists()
    monkeypatch.chdir(tmp_path)
    same(prototype_run, "hf:lab/tissue", small_data)
    api.segment_files("hf:lab/tissue", [small_data / "valid" / "img"], tmp_path / "masks", device="cpu")
    assert json.loads((tmp_path / "masks" / "segment.json").read_text("utf-8"))["run"] == "hf:lab/tissue"
    got = lpdseg.pull_bundle("lab/tissue", tmp_path / "got")
    assert sorted(path.name for path in got.iterdir()) == sorted(path.name for path in bundle.iterdir())
    assert all((got / path.name).read_bytes() == path.read_bytes() for path in bundle.iterdir())
    assert set(hub.fetched) == {path.name for path in bundle.iterdir()}
    assert not (tmp_path / "hf:lab").exists()
    assert [one[0] for one in hub.made] == ["lab/tissue"]


def test_what_a_hub_may_hold_that_is_no_bundle(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = StandIn(tmp_path, monkeypatch)
    with pytest.raises(CheckpointError, match=r"hf:lab/none: the hub did not do it \(no repository lab/none\)"):
        api.load("hf:lab/none")
    for wrong in ("hf:lab", "hf:../../etc/x", "hf:lab/a/b", "hf:lab/na me", "hf:lab/x@../y"):
        with pytest.raises(CheckpointError, match="is no id of the hub; write hf:OWNER/NAME"):
            lpdseg.pull_bundle(wrong, tmp_path / "got")
    hub.repository("lab/other").mkdir(parents=True)
    (hub.repository("lab/other") / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="hf:lab/other is no bundle, for it has no SHA256SUMS"):
        lpdseg.pull_bundle("hf:lab/other", tmp_path / "got")
    bad = Path(shutil.copytree(bundle, hub.repository("lab/bad")))
    with (bad / SUMS).open("a") as sums:
        sums.write(f"{'0' * 64}  ../outside.py\n")
    with pytest.raises(CheckpointError, match=r"names '../outside.py', which no bundle has"):
        lpdseg.pull_bundle("hf:lab/bad", tmp_path / "got")
    worse = Path(shutil.copytree(bundle, hub.repository("lab/worse")))
    (worse / WEIGHTS).write_bytes(b"other")
    with pytest.raises(CheckpointError, match=f"{WEIGHTS} has changed"):
        lpdseg.pull_bundle("hf:lab/worse@v1", tmp_path / "got")
    assert not (tmp_path / "got").exists()
    with pytest.raises(CheckpointError, match="cannot be read"):
        lpdseg.push_bundle(tmp_path, "lab/new")
    assert hub.made == []


def test_a_hub_that_is_away(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of the library that the hub's asks through are of no common kind."""

    class LostError(Exception):
        pass

    def lost(*_: Any, **__: Any) -> None:
        raise LostError("Name or service not known\nmore")

    hub = StandIn(tmp_path, monkeypatch)
    monkeypatch.setattr(hub, "create_repo", lost)
    with pytest.raises(
        OutputError, match=r"^lab/x: the hub did not do it \(Name or service not known\); log in with"
    ):
        lpdseg.push_bundle(bundle, "lab/x")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lost)
    with pytest.raises(
        CheckpointError, match=r"^hf:lab/x: the hub did not do it .*; check its name, go online once"
    ):
        api.load("hf:lab/x")
    monkeypatch.setattr("lpdseg.sharing.hub.cache_alone", lambda repo: True)
    with pytest.raises(
        CheckpointError, match=r"^hf:lab/y: it is not in the cache of the hub, which does not answer; "
    ):
        api.load("hf:lab/y")
    with pytest.raises(OutputError, match=r"^lab/x: the hub does not answer; go online to send a bundle$"):
        lpdseg.push_bundle(bundle, "lab/x")


def test_local_folders_ask_no_hub(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    api.load(bundle, device="cpu")


def test_a_training_goes_on_from_a_bundle(
    bundle: Path, small_data: Path, small_settings: tuple[str, ...], prototype_run: Path, tmp_path: Path
) -> None:
    shorter = (
        *small_settings,
        "train.epochs=0.4",
        "loss.morphology.weight=0",
        "loss.composite.weight=1",
        "model.head_width=8",
    )
    runs = {}
    for name, start in (("of the run", prototype_run), ("of the bundle", bundle)):
        api.train(small_data, tmp_path / name, classes="pink,blue", overrides=shorter, start=start, device="cpu")
        runs[name] = load_file(next((tmp_path / name / "checkpoints").glob("weights-*")))
    ours, theirs = runs.values()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    kept = json.loads((tmp_path / "of the bundle" / "from.json").read_text())
    assert kept["run"] == str(bundle)
