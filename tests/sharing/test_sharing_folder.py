import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from lpdseg.errors import CheckpointError
from lpdseg.sharing import folder as sharing
from lpdseg.sharing.folder import DESCRIPTION, FILES, SUMS, check, read_description, read_sums, seal

SAID: dict[str, Any] = {
    "schema": 1,
    "title": "small",
    "licence": "mit",
    "licences": {"started_from": [{"what": "weights", "licence": "MIT", "source": "-"}], "code": []},
    "checkpoint": "best",
    "edits": None,
    "corrected": None,
    "valid": None,
    "training_data": {
        "fingerprint": "ab", "patches": {"train": 3}, "patients": {"train": 1}, "patients_known": True, "mpp": None
    },
    "training": {
        "status": "finished", "started": "now", "seed": 0, "step": 1, "steps": 2, "versions": {}, "hardware": {}
    },
}  # fmt: skip
DIGEST = "0" * 64


def write(folder: Path, said: Any = SAID) -> Path:
    for name in FILES[1:3]:
        (folder / name).write_bytes(name.encode())
    (folder / DESCRIPTION).write_text(said if isinstance(said, str) else json.dumps(said), "utf-8")
    seal(folder)
    return folder


def test_sums_are_those_that_sha256sum_reads(tmp_path: Path) -> None:
    write(tmp_path)
    lines = (tmp_path / SUMS).read_text("utf-8").splitlines()
    assert lines == [f"{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}  {name}" for name in FILES[:3]]
    assert check(tmp_path) == (*FILES[:3], SUMS)
    assert read_description(tmp_path) == SAID


@pytest.mark.parametrize("name", FILES[:3])
def test_a_changed_byte_is_noticed(tmp_path: Path, name: str) -> None:
    path = write(tmp_path) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{re.escape(str(path))} has changed: its SHA-256 is not the one in"):
        check(tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError, match=rf"{re.escape(str(path))} cannot be read \(No such file"):
        check(tmp_path)


def test_a_changed_description_is_not_read(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / DESCRIPTION).write_text(json.dumps(SAID).replace("small", "smell"), "utf-8")
    with pytest.raises(CheckpointError, match=f"{DESCRIPTION} has changed"):
        read_description(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "does not name bundle.json"),
        ("hello", "is no list of SHA-256 and names: 'hello'"),
        (f"{DIGEST}  ../../home/run.py\n", r"names '../../home/run.py', which no bundle has"),
        (f"{DIGEST}  /etc/passwd\n", "names '/etc/passwd', which no bundle has"),
        (f"{DIGEST}  model.pt\n", "names 'model.pt', which no bundle has"),
        (f"{DIGEST}  README.md\n{DIGEST}  README.md\n", "is no list of SHA-256"),
        ("x" * 5000, "has more than 4,096 bytes"),
        ("\udcff", "is no text in UTF-8"),
    ],
)
def test_sums_that_are_none(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / SUMS).write_text(text, "utf-8", errors="surrogateescape")
    with pytest.raises(CheckpointError, match=told) as caught:
        read_sums(tmp_path)
    assert str(tmp_path / SUMS) in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "does not say its schema"),
        ({**SAID, "schema": True}, "does not say its schema"),
        ({**SAID, "schema": 2}, r"has schema 2, and lpdseg \S+ knows those up to 1; install a later lpdseg"),
        ({**SAID, "schema": 10**4000}, "has schema 10000"),
        ({**SAID, "schema": 0}, "has schema 0, which there never was"),
        ({name: SAID[name] for name in SAID if name != "training"}, "training: field required"),
        ({**SAID, "licences": []}, "licences: input should be"),
        ({**SAID, "title": "x" * 100_000}, "title: string should have at most 500"),
        ({**SAID, "edits": {"sha256": DIGEST, "said": {}, "offsets": {"values": [float("nan")]}}}, "finite number"),
    ],
)
def test_descriptions_that_are_none(tmp_path: Path, said: Any, told: str) -> None:
    write(tmp_path, said)
    with pytest.raises(CheckpointError, match=told) as caught:
        read_description(tmp_path)
    assert str(tmp_path / DESCRIPTION) in str(caught.value) and len(str(caught.value)) < 500


def test_an_earlier_schema_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none yet: one is made up, in which a title was called a name."""
    early = {**SAID, "schema": 0, "name": SAID["title"]}
    early.pop("title")
    write(tmp_path, early)

    def to_1(said: dict[str, Any]) -> dict[str, Any]:
        return {**said, "schema": 1, "title": said.pop("name")}

    monkeypatch.setitem(sharing._NEWER, 0, to_1)
    found = read_description(tmp_path)
    assert found["title"] == "small" and found["schema"] == 1
