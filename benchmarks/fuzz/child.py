"""One target in a process of its own: `python child.py NAME INPUTS SEED SHARED FAILURES`.

Coverage-guided by atheris where it is installed, else by changes to the seeds and to what was taken. What the
parent must know even if this process dies is in SHARED, a file in memory: the counts, and the present input.
"""

import json
import mmap
import struct
import sys
from pathlib import Path
from random import Random

from fuzzing import LONGEST, Trial, changed, load_target, longest, own_folder

HEAD = struct.Struct("<4Q")
"""Inputs tried, taken and refused, and bytes of the present one."""

SIZE = HEAD.size + LONGEST


def main(name: str, inputs: int, seed: int, shared: Path, failures: Path) -> None:
    guided = None
    try:
        import atheris as guided
    except ImportError:
        target = load_target(name)
    else:
        with guided.instrument_imports(include=["lpdseg"]):
            target = load_target(name)
    with own_folder() as folder, shared.open("r+b") as file, mmap.mmap(file.fileno(), SIZE) as memory:
        trial = Trial(target, folder)

        def one(data: bytes) -> None:
            count = trial.count
            HEAD.pack_into(memory, 0, count.tried, count.taken, count.refused, len(data))
            memory[HEAD.size : HEAD.size + len(data)] = data
            if trial.give(data) is not None:
                _write(trial, failures)
            HEAD.pack_into(memory, 0, count.tried, count.taken, count.refused, 0)

        if guided is None:
            random, known = Random(seed), list(trial.seeds)
            while trial.count.tried < inputs:
                data, taken = changed(known, target, random), trial.count.taken
                one(data)
                if trial.count.taken > taken and len(known) < 5000:
                    known.append(data)
            return

        def mutate(data: bytes, most: int, number: int) -> bytes:
            random = Random(number)
            if random.random() < 0.25:
                return guided.Mutate(data, most)
            return changed([data], target, random)[:most]

        corpus = folder.with_name(f"{folder.name}-corpus")
        corpus.mkdir()
        for number, data in enumerate(trial.seeds):
            (corpus / str(number)).write_bytes(data)
        options = {
            "runs": inputs,
            "seed": seed,
            "max_len": longest(target),
            "rss_limit_mb": 0,
            "mutate_depth": 1,
            "verbosity": 0,
            "len_control": 0,
        }
        words = [sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), "-print_final_stats=0"]
        guided.Setup([*words, f"-artifact_prefix={folder}/", str(corpus)], one, custom_mutator=mutate)
        guided.Fuzz()


def _write(trial: Trial, failures: Path) -> None:
    """All kinds of failures so far, with the first input of each in hex."""
    found = [
        {
            "kind": first.kind,
            "place": first.place,
            "told": first.told,
            "times": trial.count.failures[key],
            "input": data.hex(),
        }
        for key, (first, data) in trial.count.firsts.items()
    ]
    failures.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    name, inputs, seed, shared, failures = sys.argv[1:]
    main(name, int(inputs), int(seed or 0), Path(shared), Path(failures))
