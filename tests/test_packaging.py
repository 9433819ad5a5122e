"""What is packed, and what a package index shows of it."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

import lpdseg

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MADE = {".git", ".venv", "runs", "dist", "build", "PKG-INFO", "sbom.json"}
"""What stands beside the sources and is no part of them; caches and hidden files of tools apart."""


def for_index(text: str, source: str) -> str:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shown: str = module.for_index(text, source)
    return shown


def test_a_source_distribution_is_whole() -> None:
    """`make test` works in it: nothing of the repository is left out."""
    present = {path.name for path in ROOT.iterdir() if not path.name.endswith(("_cache", ".egg-info"))}
    ours = {".ci", ".dockerignore", ".gitignore"}
    tools = {name for name in present if name.startswith(".")} - ours | {"__pycache__"}
    assert present - MADE - tools <= set(PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])


@pytest.mark.parametrize("source", ["", "https://example.org/owner/name/"])
def test_the_readme_of_an_index_has_no_relative_link(source: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = for_index(readme, source)
    targets = re.findall(r"\]\(([^)]+)\)", shown)
    assert targets and all(target.startswith(("https://", "http://", "#")) for target in targets)
    assert ("https://example.org/owner/name/raw/HEAD/docs/demo.png" in targets) == bool(source)
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", readme):  # and those of the repository lead somewhere
        assert (ROOT / target).exists(), target


def test_words_around_links_stay() -> None:
    text = "![p](docs/a.png)\n\n*What it shows.*\n\nSee [how](docs/how.md#part), [docs/x.md](docs/x.md), [web](https://a.b)."
    assert for_index(text, "") == "See how (docs/how.md), docs/x.md, [web](https://a.b)."
    assert (
        for_index("![p](a.png) [q](b.md)", "https://h/o")
        == "![p](https://h/o/raw/HEAD/a.png) [q](https://h/o/blob/HEAD/b.md)"
    )


def test_the_changelog_s_first_heading_is_the_version() -> None:
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert heading is not None and heading[1] == lpdseg.__version__.partition(".dev")[0]
