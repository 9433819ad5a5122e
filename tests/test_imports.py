"""The order of the house: a module imports from its own floor or a lower one, and the front door is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lpdseg

ROOT = Path(lpdseg.__file__).parent
FLOORS = (
    {"errors", "extras", "files", "tissue", "settings", "quiet", "durations", "ahead"},
    {"data", "model", "maps", "losses", "slides"},
    {"training", "segment", "evaluate", "baselines"},
    {"insight", "export"},
    {"api", "benchmark", "cli", "serve", "__main__", "lpdseg"},
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
MODULES = sorted(ROOT.rglob("*.py"))


def room(module: str) -> str:
    """`lpdseg.data.manifest` → `data`; the package itself → `lpdseg`."""
    return module.split(".")[1] if "." in module else "lpdseg"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST) -> set[str]:
    """Modules of the package that a module imports anywhere, inside functions and for type checkers as well."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            if node.module == "lpdseg":
                # `from lpdseg import api` takes a module, `from lpdseg import __version__` a constant.
                found |= {f"lpdseg.{alias.name}" for alias in node.names if alias.name in FLOOR_OF}
            else:
                found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name == "lpdseg" or name.startswith("lpdseg.")}


def too_high(source: str, module: str) -> list[str]:
    """The imports of a module that go upwards."""
    own = FLOOR_OF[room(module)]
    return sorted(name for name in imported(ast.parse(source)) if FLOOR_OF[room(name)] > own)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_go_down(path: Path) -> None:
    name = module_name(path)
    assert room(name) in FLOOR_OF, f"{name} belongs to no floor: give it one here"
    assert too_high(path.read_text(encoding="utf-8"), name) == []


def test_an_upward_import_is_noticed() -> None:
    inside = "def later():\n    from lpdseg.training.loop import train"
    assert too_high(inside, "lpdseg.data.manifest") == ["lpdseg.training.loop"]
    assert too_high("from lpdseg import api", "lpdseg.export.masks") == ["lpdseg.api"]
    assert too_high("import lpdseg", "lpdseg.segment.patches") == ["lpdseg"]
    assert too_high("from lpdseg.data.manifest import Manifest", "lpdseg.training.loop") == []


@pytest.mark.parametrize("module", ["lpdseg", "lpdseg.cli.main"])
def test_the_front_door_is_light(module: str) -> None:
    heavy = "('torch', 'transformers', 'numpy', 'PIL', 'pydantic', 'scipy')"
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
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
