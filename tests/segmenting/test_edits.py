"""A file of edits: what it may say, and the sentence for all that it may not."""

from pathlib import Path

import pytest

from lpdseg.errors import DataError
from lpdseg.segmenting.edits import Edit, Plan, plan, prototype_keys, read_edits

NAMES = ("TUM", "STR", "late NEC")
PARTS = (0, 0, 0, 1, 1, 2, 2)


def planned(path: Path, text: str, retired: frozenset[int] = frozenset(), background: bool = True) -> Plan:
    path.write_text(text, encoding="utf-8")
    return plan(read_edits(path), NAMES, PARTS, retired, background)


def test_all_that_can_be_said(tmp_path: Path) -> None:
    path = tmp_path / "edits.yaml"
    path.write_text(
        "TUM 1: {name: cribriform}\nTUM 2:\n  merge: TUM 1\nSTR 1: {hide: true}\n"
        "late NEC 1: {move: background, name: debris}\nlate NEC 2: {move: STR}\n"
    )
    edits = read_edits(path)
    assert edits.entries["late NEC 1"] == Edit(name="debris", move="background")
    assert len(edits.sha256) == 64 and edits.source == str(path)
    found = plan(edits, NAMES, PARTS, frozenset({4}), background=True)
    assert found.trained == PARTS
    assert found.target == (0, 0, 0, 1, 1, 3, 1)
    assert found.shown == (0, 0, 2, 3, 4, 5, 6)
    assert found.hidden == (3,)
    assert found.names == ("cribriform", None, None, None, None, "debris", None)
    assert found.moved == (5, 6)


def test_what_is_merged_follows_to_another_class(tmp_path: Path) -> None:
    found = planned(tmp_path / "e.yaml", "TUM 2: {merge: TUM 3}\nTUM 3: {move: STR}\nTUM 1: {merge: late NEC 2}\n")
    assert found.target == (2, 1, 1, 1, 1, 2, 2) and found.shown == (6, 2, 2, 3, 4, 5, 6)


def test_prototypes_are_numbered_within_their_class() -> None:
    assert prototype_keys(PARTS, NAMES) == (
        "TUM 1", "TUM 2", "TUM 3", "STR 1", "STR 2", "late NEC 1", "late NEC 2"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("TUM 9: {hide: true}", "TUM 9 is no prototype of this run; TUM has the numbers 1 to 3"),
        ("TUM 0: {hide: true}", "TUM 0 is no prototype of this run; TUM has the numbers 1 to 3"),
        ("GUT 1: {hide: true}", "GUT 1 is no prototype of this run; write a class and a number, as in 'TUM 1'"),
        ("3: {hide: true}", "3 is no prototype of this run"),
        ("TUM 1: {move: GUT}", "TUM 1 cannot be moved to 'GUT', which is no class; use TUM, STR, late NEC or back"),
        ("TUM 1: {move: TUM}", "TUM 1 is of the class TUM already"),
        ("TUM 1: {merge: TUM 1}", "TUM 1 cannot be merged into TUM 1, itself"),
        ("TUM 1: {merge: TUM 8}", "TUM 1: TUM 8 is no prototype of this run"),
        ("TUM 1: {merge: TUM 2}\nTUM 2: {merge: TUM 1}", "into TUM 2, one that is merged into TUM 1"),
        ("TUM 1: {merge: TUM 2}\nTUM 2: {merge: TUM 3}", "into TUM 2, one that is merged into TUM 3"),
        ("TUM 1: {merge: TUM 2}\nTUM 2: {hide: true}", "into TUM 2, one that is hidden"),
        ("TUM 1: {merge: STR 2}", "TUM 1: STR 2 is retired"),
        ("STR 2: {hide: true}", "STR 2 is retired"),
        ("TUM 1: {hide: true, move: STR}", "TUM 1: hide and move contradict each other"),
        ("TUM 1: {merge: TUM 2, name: a}", "TUM 1: merge and name contradict each other"),
        ("TUM 1: {name: a}\nTUM 2: {name: A}", "TUM 1 and TUM 2 of one class are both named 'A'"),
        ("TUM 1: {name: a}\nSTR 1: {name: a, move: TUM}", "TUM 1 and STR 1 of one class are both named 'a'"),
        ("TUM 1: {name: STR 1}", "TUM 1 cannot be named 'STR 1', as prototypes are numbered"),
        ("TUM 1: {name: 2}", "TUM 1 cannot be named '2', as prototypes are numbered"),
        ("TUM 1: {name: 'a: b'}", "a name is one line of at most 64 letters without colons"),
        ("TUM 1: {name: ' a'}", "a name is one line"),
        ('TUM 1: {name: "a\\nb"}', "a name is one line"),
        (f"TUM 1: {{name: {'a' * 65}}}", "a name is one line"),
        ("TUM 1: {name: [a]}", "TUM 1: name needs one word or name"),
        ("TUM 1: {name: }", "TUM 1: name needs one word or name"),
        ("TUM 1: {hide: yes}", "TUM 1: hide can be true alone, got 'yes'"),
        ("TUM 1: {paint: red}", "TUM 1: there is no action 'paint'; use name, merge, hide, move"),
        (f"? {'x' * 999}\n: {{hide: true}}", "xxx… is no prototype of this run"),
        (f"TUM 1: {{move: {'x' * 999}}}", "which is no class"),
        (f"TUM 1: {{{'x' * 999}: a}}", "there is no action"),
        (f"TUM 1: {{hide: {'x' * 999}}}", "hide can be true alone"),
        (f"{'x' * 99}: {{hide: true}}\n{'x' * 99}: {{hide: true}}", "no valid YAML"),
        ('"a\\nb": {hide: true}', "a b is no prototype of this run"),
        ("TUM 1: hide", "TUM 1 says nothing that can be done"),
        ("TUM 1: {}", "TUM 1 says nothing that can be done"),
        ("[TUM 1]", "names no prototype"),
        ("", "names no prototype"),
        ("TUM 1: {hide: true}\nTUM 1: {name: a}", "is no valid YAML: TUM 1 is there twice"),
        ("TUM 1: {hide", "is no valid YAML"),
        ("? [a, b]\n: {hide: true}", "is no valid YAML"),
        ("TUM 1: " + "[" * 5000, "nested too deeply|no valid YAML"),
        ("".join(f"{one}: {{hide: true}}\n" for one in ("TUM 1", "TUM 2", "TUM 3", "STR 1", "late NEC 1"))
         + "late NEC 2: {move: background}", "leaves no class with a prototype"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_told(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "edits.yaml"
    with pytest.raises(DataError, match=sentence) as told:
        planned(path, text, retired=frozenset({4}))
    assert str(told.value).startswith(str(path)) and "\n" not in str(told.value) and len(str(told.value)) < 500


def test_background_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be moved to background, for masks of this run have none"):
        planned(tmp_path / "e.yaml", "TUM 1: {move: background}", background=False)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*missing.yaml: No such file"):
        read_edits(tmp_path / "missing.yaml")
    with pytest.raises(DataError, match="cannot read"):
        read_edits(tmp_path)
    (tmp_path / "large.yaml").write_bytes(b"#" * (1 << 20) + b"\n#")
    with pytest.raises(DataError, match="has more than 1 MiB"):
        read_edits(tmp_path / "large.yaml")
    (tmp_path / "latin.yaml").write_bytes("TUM 1: {name: drüsig}".encode("latin-1"))
    with pytest.raises(DataError, match="no valid YAML"):
        read_edits(tmp_path / "latin.yaml")
