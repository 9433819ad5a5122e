"""The order of the house: a room imports from lower floors alone, and the front door is light."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import lpdseg

ROOT = Path(lpdseg.__file__).parent
FLOORS = (
    {
        "ahead",
        "alone",
        "bounded",
        "choices",
        "cores",
        "durations",
        "errors",
        "extras",
        "files",
        "folders",
        "guard",
        "locks",
        "outputs",
        "plain",
        "plain_yaml",
        "quiet",
        "schema",
        "sections",
        "settings",
        "temporary",
        "terminal",
        "tissue",
        "version",
    },
    {"data", "pictures"},
    {"maps"},
    {"model"},
    {"losses"},
    {"methods"},
    {"sharing"},
    {"checkpoint"},
    {"slides"},
    {"segmenting"},
    {"evaluation"},
    {"training"},
    {"insight"},
    {"export"},
    {"workflows"},
    {"api"},
    {"benchmark"},
    {"view"},
    {"cli"},
    {"lpdseg", "__main__"},
)
"""Rooms from the ground up. Those of one floor do not import each other, but for the words of the lowest."""

FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
MODULES = sorted(ROOT.rglob("*.py"))


def room(module: str) -> str:
    """`lpdseg.data.manifest` → `data`; the package itself → `lpdseg`."""
    return module.split(".")[1] if "." in module else "lpdseg"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


KNOWN = {module_name(path) for path in MODULES}


def imported(tree: ast.AST) -> set[str]:
    """Modules of the package that a module imports anywhere, inside functions and for type checkers as well.

    `from lpdseg.data import patches` takes a module, `from lpdseg.evaluation import Scores` what a package offers;
    `KNOWN` tells the two apart.
    """
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, "imports are written in full"
            inside = {f"{node.module}.{alias.name}" for alias in node.names} & KNOWN
            found |= inside or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name == "lpdseg" or name.startswith("lpdseg.")}


def too_high(source: str, module: str) -> list[str]:
    """The imports of a module that do not go downwards, those within its own room apart."""
    own, lowest = room(module), FLOORS[0]
    found = imported(ast.parse(source))
    return sorted(
        name
        for name in found
        if room(name) != own and FLOOR_OF[room(name)] >= FLOOR_OF[own] and not {own, room(name)} <= lowest
    )


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_go_down(path: Path) -> None:
    name = module_name(path)
    assert room(name) in FLOOR_OF, f"{name} belongs to no floor: give it one here"
    assert too_high(path.read_text(encoding="utf-8"), name) == []


def test_no_circle_of_any_length() -> None:
    """Not between rooms, nor between the modules of one room."""
    graph = {module_name(path): imported(ast.parse(path.read_text(encoding="utf-8"))) & KNOWN for path in MODULES}
    graph["lpdseg"] = set()  # the front door imports what is behind it when it is used
    assert set(TopologicalSorter(graph).static_order()) == KNOWN


def test_the_picture_of_the_house_is_true() -> None:
    """CONTRIBUTING draws the rooms from the top down; those of one floor may stand in any order."""
    text = (ROOT.parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawn = [line.split()[0] for line in text.split("```")[1].strip().splitlines()]
    upper = [names - {"__main__"} for names in reversed(FLOORS[1:])]
    assert drawn.pop() == "words"
    assert drawn == [name for names in upper for name in sorted(names, key=drawn.index)]


def test_an_upward_import_is_noticed() -> None:
    inside = "def later():\n    from lpdseg.training.loop import train"
    assert too_high(inside, "lpdseg.data.manifest") == ["lpdseg.training.loop"]
    assert too_high("from lpdseg import api", "lpdseg.export.masks") == ["lpdseg.api"]
    assert too_high("import lpdseg", "lpdseg.segmenting.patches") == ["lpdseg"]
    assert too_high("from lpdseg.data.manifest import Manifest", "lpdseg.training.loop") == []
    assert too_high("from lpdseg.slides.grid import Grid", "lpdseg.slides.levels") == []
    assert too_high("import lpdseg.settings", "lpdseg.tissue") == []


@pytest.mark.parametrize("module", ["lpdseg", "lpdseg.cli.main"])
def test_the_front_door_is_light(module: str) -> None:
    heavy = "('torch', 'transformers', 'numpy', 'PIL', 'pydantic', 'scipy')"
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


HEAVY = (
    "transformers", "huggingface_hub", "lightning_fabric", "torch._dynamo", "torch.utils.tensorboard",
    "tensorboard", "torchmetrics", "sklearn", "scipy", "jinja2", "tifffile", "openslide", "rasterio", "shapely",
    "zarr", "ray", "onnx", "onnxruntime", "openvino", "multiprocessing.managers",
)  # fmt: skip
"""What only some verbs need, and costs more than the package itself to import."""


def test_the_verbs_cost_little_more_than_pytorch() -> None:
    """Five seconds of libraries were imported before anybody had said which verb is meant."""
    code = f"import sys, lpdseg.api; print([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_names_of_the_front_door_are_those_behind_it() -> None:
    from lpdseg import api
    from lpdseg.data.importers import load_data

    assert set(lpdseg.__all__) <= set(dir(lpdseg))
    assert all(getattr(lpdseg, name) is not None for name in lpdseg.__all__)
    assert lpdseg.train is api.train and lpdseg.load_data is load_data
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lpdseg.nothing


def test_a_mistyped_public_name_is_seen_by_type_checkers() -> None:
    """They read the imports under `TYPE_CHECKING`, and no `__getattr__` that would answer for every name."""
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    branch = next(node for node in tree.body if isinstance(node, ast.If))
    assert isinstance(branch.test, ast.Name) and branch.test.id == "TYPE_CHECKING"
    typed = {alias.name for node in branch.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed | {"__version__"} == set(lpdseg.__all__)
    assert "__getattr__" not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_test_file_has_a_name_of_its_own() -> None:
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []
