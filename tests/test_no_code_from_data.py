"""Nothing that is read can run: one module opens pickles, for tensors alone, and no other way to code is there."""

import ast
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

import lpdseg
from lpdseg.benchmark.config import read_config
from lpdseg.checkpoint import read_tensors
from lpdseg.data.classes_file import read_classes
from lpdseg.errors import LpdsegError
from lpdseg.model.conversion.convert import convert
from lpdseg.model.encoders import build_encoder
from lpdseg.model.image_encoders import build_image_encoder
from lpdseg.model.pickles import RefusedError, read_pickle
from lpdseg.plain_yaml import read_yaml, read_yaml_words
from lpdseg.segmenting.edits import read_edits
from lpdseg.settings import load_settings

ROOT = Path(lpdseg.__file__).parent
MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "tarfile", "code", "runpy"}
BUILT_IN = {"eval", "exec", "compile", "__import__"}
UNPACKING = {"extractall", "extract", "unpack_archive", "read_pickle", "unsafe_load", "full_load", "load_all"}


def faults(text: str, module: str) -> Iterator[str]:
    """What a module does that could run what it reads."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            errors = all(name.name.endswith("Error") for name in node.names)
            names = [] if errors else [node.module or ""]
        else:
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
        yield from (f"imports {name}" for name in names if name.split(".")[0] in MODULES)
        if not isinstance(node, ast.Call):
            continue
        called, given = ast.unparse(node.func), {one.arg: ast.unparse(one.value) for one in node.keywords}
        last = called.rpartition(".")[2]
        if called in BUILT_IN or (
            last in UNPACKING
            and (module, last) != ("model/pip_weights.py", "read_pickle")
            and (module, last) != ("model/conversion/reading.py", "read_pickle")
        ):
            yield f"calls {called}"
        if called == "torch.load" and (module != "model/pickles.py" or given.get("weights_only") != "True"):
            yield "calls torch.load"
        if called in {"np.load", "numpy.load"} and given.get("allow_pickle") != "False":
            yield f"calls {called} without allow_pickle=False"
        if called.startswith("yaml.") and last in {"load", "compose", "safe_load"}:
            yield f"calls {called} beside lpdseg.plain_yaml"
        if last == "from_pretrained" and given.get("trust_remote_code") != "False":
            yield f"calls {called} without trust_remote_code=False"


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_can_run_what_it_reads(path: Path) -> None:
    assert list(faults(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from joblib import load", "torch.load(x, weights_only=True)", "np.load(x)", "eval(x)",
        "yaml.load(x, Loader=yaml.Loader)", "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "archive.extractall(x)", "def f():\n    import dill",
    ],
)  # fmt: skip
def test_what_could_run_is_noticed(text: str) -> None:
    assert list(faults(text, "data/x.py"))


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "mark"
    assert not (tmp_path / "mark").exists()


def plain(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps({"a": Evil(mark)}))


def saved(path: Path, mark: Path) -> None:
    torch.save({"a": torch.ones(1), "b": Evil(mark)}, path)


def older(path: Path, mark: Path) -> None:
    torch.save({"b": Evil(mark)}, path, _use_new_zipfile_serialization=False)


def weights(folder: Path, name: str) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    return folder / name


def to_convert(path: Path) -> object:
    return convert(str(path), path.parents[1] / "out")


def as_image_encoder(kind: str) -> Callable[[Path], object]:
    return lambda path: build_image_encoder(f"{kind}:{path.parent}", build_encoder("resnet18", stages=3))


def of_checkpoint(path: Path) -> object:
    return read_tensors(path.parents[1], {"files": {"weights": f"../weights/{path.name}"}}, "weights")


DOORS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "convert a file": ("pytorch_model.bin", to_convert),
    "convert a folder": ("pytorch_model.bin", lambda path: convert(str(path.parent), path.parents[1] / "out")),
    "convert a checkpoint": ("best.ckpt", to_convert),
    "convert what says that it is safe": ("a.safetensors", to_convert),
    "--weights": ("pytorch_model.bin", lambda path: build_encoder("auto", str(path.parent))),
    "--weights, said to be safe": ("model.safetensors", lambda path: build_encoder("auto", str(path.parent))),
    "hf:": ("pytorch_model.bin", as_image_encoder("hf")),
    "medclip:": ("model.safetensors", as_image_encoder("medclip")),
    "a checkpoint": ("weights-00000001.safetensors", of_checkpoint),
}


@pytest.mark.parametrize("pickled", [plain, saved, older])
@pytest.mark.parametrize("door", DOORS)
def test_a_pickle_with_code_is_refused_at_every_door(
    door: str, pickled: Callable[[Path, Path], None], tmp_path: Path, mark: Path
) -> None:
    name, enter = DOORS[door]
    path = weights(tmp_path / "weights", name)
    (tmp_path / "checkpoints").mkdir()
    pickled(path, mark)
    with pytest.raises(LpdsegError) as caught:
        enter(path)
    assert "\n" not in str(caught.value)


YAML_DOORS: dict[str, Callable[[Path], object]] = {
    "classes.yaml": lambda path: read_classes(path.parent),
    "settings.yaml": load_settings,
    "edits.yaml": read_edits,
    "benchmark.yaml": read_config,
}


@pytest.mark.parametrize("name", YAML_DOORS)
@pytest.mark.parametrize("kind", ["code", "self", "laughs", "deep", "long", "digits"])
def test_yaml_is_data_and_no_bomb(name: str, kind: str, tmp_path: Path, mark: Path) -> None:
    laughs = "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))])
    texts = {
        "code": f"a: !!python/object/apply:os.mkdir ['{mark}']", "self": "a: &a [*a]", "laughs": laughs,
        "deep": "a: " + "[" * 5000, "long": "a: " + "x" * (1 << 21), "digits": "a: " + "9" * 9999,
    }  # fmt: skip
    path = tmp_path / name
    path.write_text(texts[kind])
    with pytest.raises(LpdsegError) as caught:
        YAML_DOORS[name](path)
    assert len(str(caught.value)) <= 500


@pytest.mark.parametrize("read", [read_yaml, read_yaml_words])
def test_yaml_may_refer_to_itself_where_that_stays_small(read: Callable[[str], Any]) -> None:
    assert read("a: &a [x, y]\nb: *a") == {"a": ["x", "y"], "b": ["x", "y"]}
    with pytest.raises(yaml.YAMLError, match="more than 262,144 letters"):
        read("#" * (1 << 19))


def test_a_pickle_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": torch.ones(3)}, path)
    assert read_pickle(path)["a"].tolist() == read_pickle(path.read_bytes())["a"].tolist() == [1, 1, 1]
    torch.save({"state_dict": {"a": [torch.ones(1).expand(10**12)]}}, path)
    with pytest.raises(RefusedError, match="larger than what it has of them"):
        read_pickle(path)
    torch.save({"a": torch.zeros(10**6)}, path)
    packed = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for entry in archive.infolist():
            out.writestr(entry.filename, archive.read(entry))
    with pytest.raises(RefusedError, match="would unpack to more"):
        read_pickle(packed.getvalue())
    monkeypatch.setattr("lpdseg.model.pickles.MOST", 99)
    with pytest.raises(RefusedError, match="and 99 are the most"):
        read_pickle(path)


def test_a_refused_pickle_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": torch.ones(1).expand(10**12)}, path)
    with pytest.raises(LpdsegError, match=r"w\.pth is not read: it holds tensors .* get the same weights as safet"):
        convert(str(path), tmp_path / "out")


def test_safetensors_with_a_header_of_lies_are_refused(tmp_path: Path) -> None:
    path = weights(tmp_path / "weights", "model.safetensors")
    save_file({"a": torch.ones(4)}, path)
    path.write_bytes(path.read_bytes().replace(b"[4]", b"[9]"))
    with pytest.raises(LpdsegError):
        build_encoder("auto", str(path.parent))
    with pytest.raises(LpdsegError):
        read_tensors(tmp_path, {"files": {"weights": "../weights/model.safetensors"}}, "weights")
