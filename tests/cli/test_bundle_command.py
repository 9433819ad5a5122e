"""`lpdseg bundle`, and a bundle in place of a run in the other commands."""

import json
from pathlib import Path

import pytest
from PIL import Image

from hub_stand_in import StandIn
from lpdseg.cli.main import main


def test_make_push_pull_and_use(
    small_run: Path,
    small_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    StandIn(tmp_path, monkeypatch)
    out, got = tmp_path / "out", tmp_path / "got"
    data = ["--data", str(small_data), "--classes", "pink,blue", "--device", "cpu"]
    words = ["bundle", str(small_run), str(out), *data, "--split", "valid"]
    assert main([*words, "--title", "Pink | blue", "--license", "apache-2.0"]) == 0
    assert "README.md, SHA256SUMS, bundle.json, model.safetensors" in capsys.readouterr().out
    said = json.loads((out / "bundle.json").read_text("utf-8"))
    assert [(one["split"], one["gate"]) for one in said["metrics"]] == [("valid", "predicted")]
    assert said["licence"] == "apache-2.0" and "# Pink &#124; blue" in (out / "README.md").read_text("utf-8")
    assert main(["bundle", "push", str(out), "hf:lab/tissue", "--public"]) == 0
    assert capsys.readouterr().out == "Sent to https://hub/lab/tissue\n"
    assert main(["bundle", "pull", "hf:lab/tissue", str(got)]) == 0
    assert capsys.readouterr().out == f"{got} is whole.\n"

    runs, images = (str(small_run), str(got), "hf:lab/tissue"), str(small_data / "valid" / "img")
    folders = [tmp_path / f"masks-{number}" for number in range(len(runs))]
    for run, folder in zip(runs, folders, strict=True):
        assert main(["segment", run, images, "--out", str(folder), "--device", "cpu"]) == 0
    masks = [sorted((folder / "masks").rglob("*.png")) for folder in folders]
    assert len(masks[0]) == 4
    for ours, *others in zip(*masks, strict=True):
        assert all(Image.open(ours).tobytes() == Image.open(other).tobytes() for other in others)

    atlas = ["--out", str(tmp_path / "prototypes.html")]
    for words in (["evaluate", "hf:lab/tissue", *data], ["prototypes", "hf:lab/tissue", *data, *atlas],
                  ["licenses", "hf:lab/tissue"]):  # fmt: skip
        capsys.readouterr()
        assert main(words) == 0, (words, capsys.readouterr())
    assert "resnet18 weights" in capsys.readouterr().out
    assert not list(tmp_path.glob("hf*"))


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["no-run", "out"], 1, "no-run is no folder; name the folder"),
        (["run", "out", "--offsets-from", "data"], 2, "--offsets-from names data to choose offsets on under edits"),
        (["push", "no-bundle", "hf:lab/x"], 1, "no-bundle/SHA256SUMS cannot be read"),
        (["pull", "hf:lab/x/y", "out"], 1, "'hf:lab/x/y' is no id of the hub"),
        (["--license", "My own", "run", "out"], 2, "'My own' is no name of a licence"),
    ],
)
def test_what_cannot_be_done(
    words: list[str],
    code: int,
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bundle", *words]) == code
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
