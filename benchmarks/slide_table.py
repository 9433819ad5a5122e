"""What benchmarks of slides are asked and what they say: drawn slides of some sizes, a row of a table for each."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from lpdseg.files import write_text
from slide_drawing import draw_slide


def options_of(about: str | None, sides: Sequence[int], **numbers: float) -> argparse.Namespace:
    """What the command line says: sides of slides, a number by each name, the folder of slides, a file to write."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=sides)
    for name, number in numbers.items():
        parser.add_argument(f"--{name}", type=type(number), default=number)
    parser.add_argument("--folder", type=Path, default=Path("runs/slides"))
    parser.add_argument("--out", type=Path, help="also write the table there, as Markdown")
    return parser.parse_args()


def tell(
    options: argparse.Namespace,
    title: str,
    about: str,
    titles: Sequence[str],
    cells: Callable[[int, Path], Sequence[str]],
    *,
    full: bool = False,
) -> None:
    """Prints the row of each slide as it is there, and writes all of them in the end; `full` of tissue, or not."""
    lines: list[str] = []

    def say(*rows: str) -> None:
        print("\n".join(rows), flush=True)
        lines.extend(rows)

    say("| " + " | ".join(titles) + " |", "|" + "---:|" * len(titles))
    for side in options.sides:
        slide = options.folder / f"{'full-' if full else ''}{side}.tif"
        if not slide.is_file():
            slide.parent.mkdir(parents=True, exist_ok=True)
            draw_slide(slide, side, full)
        say("| " + " | ".join(cells(side, slide)) + " |")
    if options.out is not None:
        write_text(options.out, f"# {title}\n\n{about}\n\n" + "\n".join(lines) + "\n")
