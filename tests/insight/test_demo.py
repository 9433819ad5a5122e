import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from lpdseg.alone import alone_in
from lpdseg.errors import OutputError
from lpdseg.insight import demo
from lpdseg.model.pip_weights import has_pip_weights

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("demo")
    return out, run(out)


def run(out: Path) -> str:
    console = Console(file=io.StringIO(), width=80)
    assert demo.run_demo(out, console, quick=True) == out / "report.html"
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_leaves_figures_report_and_picture(made: tuple[Path, str]) -> None:
    out, told = made
    records = json.loads((out / "metrics.json").read_text())
    assert [(entry["split"], entry["gate"]) for entry in records] == [("test", "predicted"), ("test", "oracle")]
    assert all(entry["images"] == 12 and entry["patients"] == 2 for entry in records)
    assert f"{records[0]['miou']:.2f}" in (out / "report.html").read_text()
    assert f"{records[0]['miou']:.2f}" in told
    with Image.open(out / "example.png") as picture:
        assert picture.width > picture.height
    assert f"open {out / 'report.html'}" in told
    assert f"view {out / 'run'}" in told
    assert "collagenous" in (out / "report.html").read_text() or "solid" in (out / "report.html").read_text()


def test_finished_training_is_used_again_only_as_it_was(
    made: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = made
    before = json.loads((out / "metrics.json").read_text())
    trained = (out / "run" / "run.json").read_bytes()
    assert "used again" in run(out)
    assert (out / "run" / "run.json").read_bytes() == trained
    assert json.loads((out / "metrics.json").read_text()) == before

    monkeypatch.setattr(demo, "_QUICK_SETTINGS", (*demo._QUICK_SETTINGS, "train.lr=3e-3"))
    told = run(out)
    assert re.search(r"run-1: .*train\.lr", told)
    assert (out / "run-1" / "run.json").read_bytes() == trained
    assert "training starts" in told.lower()


def test_interrupted_training_goes_on(
    made: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lpdseg.training.progress import Bar

    class Interrupted(Bar):
        """Asks to stop once, as Ctrl-C does."""

        def step(self, done: int, losses: dict[str, float] | None) -> None:
            import signal

            super().step(done, losses)
            if done == 2:
                signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(demo, "bar_or_lines", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert "goes on after an interruption" in run(tmp_path)
    finished = json.loads((made[0] / "run" / "run.json").read_text())["status"]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == finished == "finished"


def test_without_imagenet_weights_it_says_so_and_starts_from_random_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "has_pip_weights", lambda _: False)
    told = " ".join(run(tmp_path / "demo").split())
    assert "ImageNet weights are not installed, so the encoder is resnet18 from random weights" in told
    assert json.loads((tmp_path / "demo" / "run" / "run.json").read_text())["weights"] == {"weights": "random"}


@pytest.mark.skipif(not has_pip_weights("efficientnet_lite0"), reason="the extra imagenet is not installed")
def test_with_them_the_run_records_what_they_are(made: tuple[Path, str]) -> None:
    out, told = made
    assert "encoder efficientnet_lite0, ImageNet weights" in " ".join(told.split())
    assert json.loads((out / "run" / "run.json").read_text())["weights"]["licence"] == "Apache-2.0"


def test_what_opens_the_viewer_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpdseg.insight.demo.absent", lambda *modules: [])
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert demo.viewer_command(Path("my runs")) == "lpdseg view 'my runs/run'"
    monkeypatch.setattr("lpdseg.insight.demo.absent", lambda *modules: ["starlette"])
    assert demo.viewer_command(Path("a")) == "pip install 'lpdseg[view]' && lpdseg view a/run"
    monkeypatch.setattr("lpdseg.insight.demo.absent", lambda *modules: [])
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("sys.argv", [".venv/bin/lpdseg", "demo"])
    assert demo.viewer_command(Path("a")) == ".venv/bin/lpdseg view a/run"


def test_a_second_demo_in_a_folder_is_refused(tmp_path: Path) -> None:
    with alone_in(tmp_path / "out", "trying"):
        with pytest.raises(OutputError, match=r"another process is making the demo in .*out; wait for it"):
            run(tmp_path / "out")
        assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]
