"""`lpdseg weights` as a user runs it."""

from pathlib import Path

import pytest
import torch

from lpdseg.cli.main import main
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
