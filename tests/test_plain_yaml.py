"""A word is a word, in settings and in names."""

from collections.abc import Callable

import pytest
import yaml

from lpdseg.plain_yaml import read_yaml, read_yaml_words, write_yaml


@pytest.mark.parametrize(
    "word", ["NO", "no", "yes", "on", "Off", "y", "010", "0x1F", "1:30", "2020-01-01", "1_000", "=", "NA"]
)
def test_words_stay_words(word: str) -> None:
    assert read_yaml(f"a: [{word}]") == {"a": [word]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("12", 12), ("-3", -3), ("0", 0),
        ("1e-4", 1e-4), ("1E3", 1e3), (".5", 0.5), ("2.", 2.0), ("-1.5e+2", -150.0), ("'12'", "12"), ("'NO'", "NO"),
    ],
)  # fmt: skip
def test_numbers_truth_and_nothing(text: str, value: object) -> None:
    found = read_yaml(f"a: {text}")["a"]
    assert found == value and type(found) is type(value)


def test_infinity_and_no_number() -> None:
    assert read_yaml("[.inf, -.inf]") == [float("inf"), float("-inf")]
    assert read_yaml(".nan") != read_yaml(".nan")


def test_names_are_taken_as_they_stand() -> None:
    text = "names: [NO, yes, null, 1e3, 1.0, 007, 2020-01-01, true, 'NO ', ~]"
    assert read_yaml_words(text) == {
        "names": ["NO", "yes", "null", "1e3", "1.0", "007", "2020-01-01", "true", "NO ", "~"]
    }


@pytest.mark.parametrize(
    "value", ["NO", "a\u2028b", "1e3", "null", "010", "0.5", "1e-4", "", "true", 1e-5, 1e22, 3, None, True, [1.0]]
)
def test_what_is_written_is_read_back_by_old_and_new_readers(value: object) -> None:
    text = write_yaml({"a": value})
    assert read_yaml(text) == yaml.safe_load(text) == {"a": value}


def test_no_objects_are_built() -> None:
    for read in (read_yaml, read_yaml_words):
        try:
            found = read("!!python/object/apply:os.system ['true']")
        except yaml.YAMLError:
            continue
        assert found == ["true"]


@pytest.mark.parametrize("read", [read_yaml, read_yaml_words])
def test_a_key_that_is_there_twice_is_an_error(read: Callable[[str], object]) -> None:
    with pytest.raises(yaml.YAMLError, match="names is there twice"):
        read("names: [A, B]\nother:\n  names: x\nnames: [C, D]\n")


@pytest.mark.parametrize("read", [read_yaml, read_yaml_words])
@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000,
        "a: " * 5000,
        "[" * 900 + "]" * 900,
        "a: &a [*a]",
        "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9 if n else ['x'])}]\n" for n in range(9)),
        "a: &a0 {x: 1}\n" + "".join(f"b{n}: &a{n + 1} {{x: *a{n}, y: *a{n}}}\n" for n in range(40)),
        "- a\n" * (1 << 17),
    ],
    ids=["brackets", "keys", "lists", "itself", "aliases", "mappings", "long"],
)
def test_what_is_deep_endless_or_huge_is_an_error_of_yaml(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        read(text)


@pytest.mark.parametrize(
    "text", ["!!int x", "!!timestamp x", "!!float ''", "!!bool 7", "9" * 5000, "!!binary é", "!!int ''"]
)
def test_a_tag_or_a_number_that_cannot_be_is_an_error_of_yaml(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        read_yaml(f"a: {text}")


def test_an_alias_stands_for_its_value() -> None:
    assert read_yaml("a: &x {k: 1}\nb: *x\nc: {<<: *x, l: 2}") == {
        "a": {"k": 1},
        "b": {"k": 1},
        "c": {"k": 1, "l": 2},
    }
