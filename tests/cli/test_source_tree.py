"""The package without metadata, as it is where only its sources are on the path."""

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import lpdseg
from lpdseg import version
from lpdseg.insight import distributions
from lpdseg.insight.licences import Licensed
from processes import program

SOURCES = Path(lpdseg.__file__).parents[1]

HIDING = """
import importlib.metadata as metadata

def found(cls, name, *, known=metadata.Distribution.from_name.__func__):
    if name == "lpdseg":
        raise metadata.PackageNotFoundError(name)
    return known(cls, name)

metadata.Distribution.from_name = classmethod(found)
"""

COMMANDS = """
import sys
from lpdseg.cli.main import main
from lpdseg.view import serving

def serve(visit, **options):
    print(len(visit.items), "images")
    visit.close()

serving.serve = serve
data, run, out, *settings = sys.argv[1:]
train = ["--data", data, "--classes", "pink,blue", "--epochs", "1", *[w for s in settings for w in ("--set", s)]]
for words in (
    ["doctor"],
    ["train", "--out", run, *train],
    ["segment", run, data, "--out", out],
    ["view", run, data, "--no-browser"],
):
    assert main([*words, *(["--device", "cpu"] if words[0] != "doctor" else [])]) == 0, words
"""


def hidden(folder: Path, words: list[str]) -> str:
    """What Python prints where the package seems not to be installed."""
    (folder / "sitecustomize.py").write_text(HIDING)
    path = os.pathsep.join([str(folder), str(SOURCES)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with program([sys.executable, *words], env=environment, **pipes) as running:
        shown, told = running.communicate()
    assert running.returncode == 0, told
    return str(shown)


def test_the_version_says_so(tmp_path: Path) -> None:
    shown = hidden(tmp_path, ["-m", "lpdseg", "--version"])
    assert shown == f"lpdseg {lpdseg.__version__} (source tree)\n"


def test_commands_work(small_data: Path, small_settings: tuple[str, ...], tmp_path: Path) -> None:
    place = [str(small_data), str(tmp_path / "run"), str(tmp_path / "masks")]
    shown = hidden(tmp_path, ["-c", COMMANDS, *place, *small_settings])
    assert "(source tree)" in shown and "typer" in shown and "extra slides" in shown  # of the project's file
    record = (tmp_path / "run" / "run.json").read_text()
    assert f'"lpdseg": "{lpdseg.__version__} (source tree)"' in record
    assert "16 images" in shown


def test_licences_are_those_of_the_project_s_file(tmp_path: Path) -> None:
    told = json.loads(hidden(tmp_path, ["-m", "lpdseg", "licenses", "--json"]))["licences"]
    named = {one["what"].partition(" ")[0]: one for one in told}
    assert named["lpdseg"]["what"] == f"lpdseg {lpdseg.__version__} (source tree)"
    assert (named["lpdseg"]["licence"], named["lpdseg"]["concern"]) == ("MIT AND BSD-3-Clause", None)
    assert {"torch", "markupsafe", "tifffile", "openseadragon"} <= named.keys()  # and of what those need


def test_where_no_file_of_the_project_tells_the_licence_it_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(distributions, "distribution", none)
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'another'\nlicense = 'GPL-3.0'\n")
    monkeypatch.setattr(distributions, "__file__", str(tmp_path / "src" / "lpdseg" / "insight" / "x.py"))
    own = Licensed("lpdseg", distributions.licence_of("lpdseg"), "code")
    assert (own.licence, own.concern) == (distributions.NOT_DECLARED, "unknown")
    assert distributions.declared() == ([], [])


def test_what_says_nothing_of_its_version_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert version.version_of("no-such-package-at-all") == "unknown"
    monkeypatch.setattr(sys, "__version__", "7", raising=False)
    assert version.version_of("no-such-package-at-all", "sys") == "7"
