"""Which faults are tried with which tests, and what is said of them."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CONFIG: dict[str, Any] = {
    "rooms": {"maps": ["maps/*.py"], "task": ["methods/task.py"]},
    "also": {"methods/task.py": ["maps/test_merge.py"]},
    "last": ["golden/test_golden.py"],
    "last_for": ["maps"],
}


@pytest.fixture
def mutants(load_benchmark: Callable[[str], ModuleType]) -> ModuleType:
    sys.modules["mutating"] = load_benchmark("mutating")
    return load_benchmark("mutants")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for path, text in {
        "src/lpdseg/maps/__init__.py": "",
        "src/lpdseg/maps/merge.py": "def merge(a, b):\n    return max(a, b) + 2\n",
        "src/lpdseg/methods/task.py": "WEIGHTS = (1, 2, 3, 4)\n",
        "tests/maps/test_merge.py": "",
        "tests/methods/test_task.py": "",
        "tests/golden/test_golden.py": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_a_file_is_tried_with_its_own_tests_and_those_named_for_it(mutants: ModuleType, tree: Path) -> None:
    found = {str(one.path): [str(test) for test in one.tests] for one in mutants.read_sources(tree, CONFIG)}
    assert found == {
        "maps/merge.py": ["tests/maps/test_merge.py", "tests/golden/test_golden.py"],
        "methods/task.py": ["tests/methods/test_task.py", "tests/maps/test_merge.py"],
    }


def test_the_same_seed_chooses_the_same_faults_of_every_file(mutants: ModuleType, tree: Path) -> None:
    sources = mutants.read_sources(tree, CONFIG)
    some = mutants.choose(sources, tree, 6, seed=1)
    assert some == mutants.choose(sources, tree, 6, seed=1) and some != mutants.choose(sources, tree, 6, seed=2)
    assert {one.source.room for one in some} == {"maps", "task"}
    every = mutants.choose(sources, tree, 10**6, seed=1)
    assert set(some) < set(every) and len(every) == len(set(every))


def test_rates_are_of_each_room_and_survivors_are_named(mutants: ModuleType, tree: Path) -> None:
    trials = mutants.choose(mutants.read_sources(tree, CONFIG), tree, 10**6, seed=0)
    outcomes = ["survived", *["noticed"] * (len(trials) - 2), "too long"]
    done = [mutants.Trial(one.source, one.mutant, outcome) for one, outcome in zip(trials, outcomes, strict=True)]
    text = mutants.table(done, [])
    assert mutants.rate(done) == pytest.approx(100 * (len(done) - 1) / len(done)) and mutants.rate([]) == 100
    assert f"| all | {len(done)} | {len(done) - 1} |" in text and "`maps/merge.py:2`" in text
    same = [{"file": "maps/merge.py", "line": "return max(a, b) + 2", "faults": ["max → min"], "why": "a test"}]
    assert [one.mutant.what for one in trials if mutants.is_same(one, tree, same)] == ["max → min"]
