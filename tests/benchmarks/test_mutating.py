"""The small faults that tests are tried with: which there are, and what is left alone."""

import ast
from collections.abc import Callable
from textwrap import dedent
from types import ModuleType

import pytest

SOURCE = dedent(
    '''
    """A file."""

    import math
    from typing import Literal

    Kind = Literal["plain", "soft"]
    __all__ = ["better"]


    def better(found: int, kind: Kind = "plain", *, much: bool = False) -> int:
        """The better one, 1 of 2."""
        if not much and kind == "soft":
            raise ValueError(f"{found + 1} is no number, 3")
        total = max(found, 2)
        total += 5
        for value in range(total):
            total = value * 0.5
        return found if total < 7 else math.floor(total)
    '''
)


@pytest.fixture
def mutating(load_benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return load_benchmark("mutating")


def changed(mutating: ModuleType) -> dict[str, str]:
    """What each fault says → the lines that it changes."""
    found = {}
    for one in mutating.mutants(SOURCE, mutating.choice_groups([SOURCE])):
        after = one.apply(SOURCE.encode()).decode()
        lines = [line.strip() for line in after.splitlines() if line not in SOURCE.splitlines()]
        found[one.what] = "; ".join(lines)
    return found


def test_every_kind_of_fault_is_made(mutating: ModuleType) -> None:
    found = changed(mutating)
    assert found["better returns found at once"] == "return found"
    assert found["without total += 5"] == "pass"
    assert found["not much without its sign"] == 'if (much) and kind == "soft":'
    assert found['and → or in if not much and kind == "soft":'] == 'if not much or kind == "soft":'
    assert 'kind: Kind = "soft"' in found['"plain" → "soft"']
    assert "much: bool = True" in found["False → True"]
    assert found["max → min"] == "total = min(found, 2)"
    assert found["+= → -= in total += 5"] == "total -= 5"
    assert (found["2 → 3"], found["2 → 1"]) == ("total = max(found, 3)", "total = max(found, 1)")
    assert found["0.5 → 1.0"] == "total = value * 1.0"
    assert found["* → / in total = value * 0.5"] == "total = value / 0.5"
    assert found["floor → ceil"].endswith("math.ceil(total)")
    assert {what.split(" in ")[0] for what in found if "total < 7 else" in what} == {"< → <=", "< → >"}
    assert {"if total < 7 → True", "if total < 7 → False"} <= found.keys()


def test_words_messages_and_annotations_are_left_alone(mutating: ModuleType) -> None:
    lines = "; ".join(changed(mutating).values())
    assert "no number" not in lines and "A file" not in lines and "better one" not in lines
    assert "Literal" not in lines and "__all__" not in lines and "import" not in lines


def test_each_fault_is_another_program_that_compiles(mutating: ModuleType) -> None:
    plain = ast.dump(ast.parse(SOURCE))
    faults = mutating.mutants(SOURCE, mutating.choice_groups([SOURCE]))
    programs = [ast.dump(ast.parse(one.apply(SOURCE.encode()))) for one in faults]
    assert plain not in programs and len(programs) > 25
    assert [one.line for one in faults] == sorted(one.line for one in faults)


def test_letters_of_several_bytes_do_not_move_the_place(mutating: ModuleType) -> None:
    source = "σ = 1  # µm\nλ = σ < 3\n"
    found = [one.apply(source.encode()).decode() for one in mutating.mutants(source, {})]
    assert "σ = 1  # µm\nλ = σ <= 3\n" in found and "σ = 1  # µm\nλ = σ < 4\n" in found


def test_calls_lose_a_method_or_have_their_arguments_swapped(mutating: ModuleType) -> None:
    found = [one.apply(b"y = f(a.relu(), b)").decode() for one in mutating.mutants("y = f(a.relu(), b)", {})]
    assert set(found) == {"y = f(a, b)", "y = f(b, a.relu())"}
