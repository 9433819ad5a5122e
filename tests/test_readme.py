"""What the README and the how-tos show is there, under these names and with these options, and works."""

import ast
import inspect
import json
import re
from pathlib import Path

import pytest

import lpdseg
from lpdseg.data.corrected import CorrectedPatch
from lpdseg.data.corrections import parse_corrections
from lpdseg.data.records import PatchRecord
from lpdseg.data.synthetic.patch import generate_patch
from lpdseg.data.synthetic.subtypes import CLASSES
from lpdseg.insight.demo import MPP, SIZE
from lpdseg.tissue import IGNORE

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
BLOCKS = [
    (page.name, block) for page in PAGES for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
]


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[page for page, _ in BLOCKS])
def test_examples_call_what_is_there(page: str, block: str) -> None:
    calls = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)]
    known = [call for call in calls if ast.unparse(call.func).startswith("lpdseg.")]
    for call in known:
        function = lpdseg
        for name in ast.unparse(call.func).split(".")[1:]:
            function = getattr(function, name)
        options = {keyword.arg: None for keyword in call.keywords if keyword.arg is not None}
        inspect.signature(function).bind(*call.args, **options)


def test_there_are_examples() -> None:
    assert {"README.md", "slides.md"} <= {page for page, _ in BLOCKS}


@pytest.mark.parametrize("page", (*PAGES, ROOT / "CHANGELOG.md"), ids=lambda page: page.name)
def test_no_marks_of_a_merge_are_left(page: Path) -> None:
    assert not re.findall(r"^(?:<{7} |={7}$|>{7} ).*", page.read_text(), re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_hold_a_promise_are_there(page: Path) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text(encoding="utf-8"))
    assert page.name != "trust.md" or len(named) > 20
    for path, name in named:
        assert (ROOT / path).is_file() and f"def {name or 'test_'}" in (ROOT / path).read_text(encoding="utf-8")


def test_the_corrections_of_the_how_to_are_right_about_the_demo() -> None:
    """A new user pastes them: the patches have these names, and the tissue is what is drawn."""
    page = (ROOT / "docs" / "how-to" / "correct.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```json\n(.*?)```", page, re.S)
    told = parse_corrections(json.loads(block), CLASSES.names, "the page")
    assert len(told.drawn) == 2 and len(told.labels) == 1
    for image in {one.image for one in told.drawn} | set(told.labels):
        patient, number, labels = re.fullmatch(
            r"train/TRAIN-(\d+)_(\d+)_MPP-1\.0000\+0\[(\d+)\]\.png", image
        ).groups()
        made = generate_patch(split="train", patient=int(patient), number=int(number), size=SIZE, mpp=MPP)
        assert "".join(map(str, made.labels)) == labels
        drawn = tuple(one for one in told.drawn if one.image == image)
        mask = CorrectedPatch(PatchRecord(ROOT, None, "train", patient), drawn, CLASSES.names).mask((SIZE, SIZE))
        assert (mask == made.mask)[mask != IGNORE].mean() > 0.9 if drawn else image in told.labels
        for name, value in told.labels.get(image, {}).items():
            assert made.labels[CLASSES.names.index(name)] == value
