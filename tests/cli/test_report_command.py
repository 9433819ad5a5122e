"""`lpdseg report`: a page for any run, from the command line and from Python."""

import json
import re
import shutil
from pathlib import Path

import pytest

import lpdseg
from lpdseg.cli.main import main
from lpdseg.tissue import COLOUR_BLIND


@pytest.fixture
def run(small_run: Path, tmp_path: Path) -> Path:
    """A copy to write into."""
    return Path(shutil.copytree(small_run, tmp_path / "run"))


def test_a_run_is_enough(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"Look at the report: open {run / 'report.html'}\n"
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "LPD with the encoder resnet18" in page and "valid patches of" in page
    assert page.count("<article") >= 4 and 'id="prototypes"' in page


def test_data_file_and_palette_are_taken(run: Path, small_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "sub" / "page.html"
    arguments = ["--data", str(small_data), "--out", str(out), "--images", "1", "--palette", "colour-blind"]
    assert main(["report", str(run), *arguments]) == 0
    page = out.read_text(encoding="utf-8")
    assert len(re.findall(r"<h3>Best( of \d+)?:", page)) == 1 and not (run / "report.html").exists()
    assert "#{:02x}{:02x}{:02x}".format(*COLOUR_BLIND[0]) in page


def test_data_that_is_gone_is_asked_for(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    described = json.loads((run / "run.json").read_text())
    described["data"]["source"] = "gone/away"
    (run / "run.json").write_text(json.dumps(described))
    assert main(["report", str(run)]) == 1
    assert "was trained on gone/away, which is not there now; name the data with --data" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["cam", "supervised"])
def test_a_method_without_prototypes_has_a_page_as_well(
    method: str, small_data: Path, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    data = lpdseg.load_data(small_data, lpdseg.TissueClasses(("pink", "blue")))
    if method == "supervised":
        masked = tuple(record for record in data.records if record.mask is not None)
        data = lpdseg.Manifest(
            data.classes, tuple(type(one)(one.path, (1, 1), split, one.patient, one.mask)
                                for one in masked for split in ("train", "valid")), data.source,
        )  # fmt: skip
    settings = [*small_settings, "train.epochs=1"]
    lpdseg.train(data, tmp_path / "run", method=method, overrides=settings, device="cpu")
    page = lpdseg.report(tmp_path / "run", data).read_text(encoding="utf-8")
    assert ("no pixel masks" in page) == (method == "cam")
    assert 'id="patches"' in page and 'id="prototypes"' not in page and "prototypes per class" not in page


def test_data_without_masks_has_a_page_without_figures(run: Path, small_data: Path, tmp_path: Path) -> None:
    shutil.copytree(small_data / "train", tmp_path / "bare" / "train")
    page = lpdseg.report(run, tmp_path / "bare", tmp_path / "page.html", classes="pink,blue").read_text()
    assert "was not scored" in page and 'id="patches"' not in page and "All settings" in page
