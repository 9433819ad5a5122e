"""What the map of prototypes costs on a whole slide: processor time of `lpdseg segment` with it and without it.

python benchmarks/slide_prototypes.py [--sides 5000 20000] [--rounds 2] [--folder runs/slides] [--out FILE.md]

Slides are drawn, and a model trained for 120 steps, once; both are kept in the folder. The two kinds of run take
turns, each in a process of its own whose user and system time, readers included, is what is compared.
"""

import os
import resource
import subprocess
import sys
from pathlib import Path

from lpdseg import api
from lpdseg.data.synthetic import generate
from slide_drawing import MPP
from slide_table import options_of, tell

KINDS = "geojson,ome-tiff,csv"
TITLES = ("side, px", "without, s", "with, s", "more")


def main() -> None:
    options = options_of(__doc__, [5_000, 20_000], rounds=2)
    run = trained_run(options.folder)
    about = f"`python benchmarks/slide_prototypes.py`: processor time, the mean of {options.rounds} runs each."

    def row(side: int, slide: Path) -> list[str]:
        return cells(
            side, [[cpu(run, slide, more) for more in ([], ["--prototypes"])] for _ in range(options.rounds)]
        )

    tell(options, "Maps of prototypes of slides", about, TITLES, row)


def trained_run(folder: Path) -> Path:
    """A run whose masks are of regions: one that has learned nothing draws specks, of which there are many."""
    run = folder / "trained"
    if not (run / "checkpoints" / "best.json").is_file():
        data = generate(folder / "learned", size=224, mpp=MPP, patches={"train": 160}, patients={"train": 8})
        api.train(data, run, preset="demo", overrides=["train.epochs=6", "train.batch=8"], device="cpu")
    return run


def cpu(run: Path, slide: Path, more: list[str]) -> float:
    """Seconds of user and system time."""
    out = run.parent / "out"
    words = ["segment", str(run), str(slide), "--out", str(out), "--to", KINDS, "--device", "cpu", "--redo", *more]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "lpdseg", *words], env=os.environ, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cells(side: int, found: list[list[float]]) -> list[str]:
    """A row of the table, from the seconds without and with the map in each round."""
    without, more = (sum(times) / len(found) for times in zip(*found, strict=True))
    return [f"{side:,}", f"{without:.1f}", f"{more:.1f}", f"{more / without - 1:+.0%}"]


if __name__ == "__main__":
    main()
