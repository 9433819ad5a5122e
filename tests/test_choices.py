import ast
from collections import Counter
from pathlib import Path
from typing import get_args

import lpdseg
from lpdseg import choices

ROOT = Path(lpdseg.__file__).parent


def sets_of_words(source: str) -> list[frozenset[str]]:
    """The words of every `Literal[...]` of two or more strings, and of every `StrEnum`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal":
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            words = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        elif isinstance(node, ast.ClassDef) and any("StrEnum" in ast.dump(base) for base in node.bases):
            words = [line.value.value for line in node.body if isinstance(line, ast.Assign)]
        else:
            continue
        if len(words) > 1:
            found.append(frozenset(words))
    return found


def test_every_set_of_words_is_written_once() -> None:
    """Those of two meanings may have the same words, but both stand in `choices`."""
    inside = set(sets_of_words((ROOT / "choices.py").read_text(encoding="utf-8")))
    others = [path for path in sorted(ROOT.rglob("*.py")) if path.name != "choices.py"]
    outside = Counter(words for path in others for words in sets_of_words(path.read_text(encoding="utf-8")))
    assert [sorted(words) for words in outside if words in inside or outside[words] > 1] == []


def test_a_second_place_is_noticed() -> None:
    both = 'X = Literal["a", "b"]\nclass Y(StrEnum):\n    a = "a"\n    b = "b"'
    assert sets_of_words(both) == [frozenset("ab")] * 2


def test_a_narrower_choice_is_part_of_the_wider() -> None:
    for narrow, wide in ((choices.OpenGate, choices.Gate), (choices.Source, choices.AnySource)):
        assert set(get_args(narrow)) < set(get_args(wide))
    assert set(get_args(choices.Merge)) < set(get_args(choices.ImageMerge))


def test_the_choices_are_those_of_the_code() -> None:
    """A word that nothing answers to would be an option that does nothing."""
    from lpdseg.data.records import SPLITS
    from lpdseg.methods.table import METHODS
    from lpdseg.model.encoders import AUTO, ENCODERS

    assert set(get_args(choices.MethodName)) == set(METHODS)
    assert set(get_args(choices.EncoderName)) == {*ENCODERS, AUTO}
    assert get_args(choices.Split) == SPLITS
