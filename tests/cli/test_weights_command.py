"""`lpdseg weights` as a user runs it."""

from pathlib import Path

import pytest
import torch

from lpdseg.cli.main import main
from lpdseg.model.catalogue import LISTED
from lpdseg.model.encoders import build_encoder


def test_convert_makes_what_was_refused_loadable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = build_encoder("resnet18", stages=3).backbone
    network.save_pretrained(tmp_path / "in")  # type: ignore[operator]
    (tmp_path / "in/model.safetensors").unlink()
    torch.save(network.state_dict(), tmp_path / "in/pytorch_model.bin")
    capsys.readouterr()
    assert main(["weights", "convert", str(tmp_path / "in"), str(tmp_path / "out"), "--mpp", "0.5"]) == 0
    shown = capsys.readouterr()
    assert "resnet, 2.8 million parameters" in shown.out and f"written: {tmp_path / 'out'}" in shown.out
    assert "equal bit by bit" in shown.out and shown.err == ""
    assert build_encoder("resnet18", str(tmp_path / "out")).widths == (64, 128, 256)
    assert main(["weights", "convert", str(tmp_path / "in"), str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == f"lpdseg: {tmp_path / 'out'} exists; name a new folder\n"


def test_the_list_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list", "--pathology"]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["id", "family", "µm/px", "million", "G", "mult-add", "before", "licence"]
    assert [line.split()[0] for line in lines] == [name for name, listed in LISTED.items() if listed.tissue]
    (uni,) = [line for line in lines if line.startswith("MahmoodLab/UNI ")]
    assert uni.split("  ") and uni.split()[1:5] == ["dinov2", "0.5", "303.4", "61.6"]
    assert uni.endswith("ask for access, convert  CC-BY-NC-ND-4.0 (non-commercial)")
    (midnight,) = [line for line in lines if line.startswith("kaiko-ai/midnight ")]
    assert "0.25-2" in midnight and midnight.endswith("MIT") and "convert" not in midnight
