"""What the README and the how-tos show in Python is there, under these names and with these options."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import lpdseg

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
