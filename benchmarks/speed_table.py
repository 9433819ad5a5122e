"""What a benchmark says: to the terminal as it goes, and as Markdown in the end."""


class Table:
    """Sections of rows: what, time, ratio to the reference, GFLOP, share of the matrix-product rate."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def say(self, sentence: str) -> None:
        self._add(f"{sentence[0].upper()}{sentence[1:]}.", "")

    def section(self, title: str) -> None:
        self._add(
            "", f"## {title}", "", "| what | measured | faster than the reference | GFLOP | share of the rate |"
        )
        self._add("|---|---|---|---|---|")

    def row(self, what: str, *cells: str) -> None:
        padded = [*cells, *[""] * (4 - len(cells))]
        self._add(f"| {what} | {' | '.join(padded)} |")

    def markdown(self, date: str) -> str:
        return "\n".join(
            [f"# Speed beside the plain references, {date}", "", "`make bench-speed`", "", *self._lines, ""]
        )

    def _add(self, *lines: str) -> None:
        for line in lines:
            print(line, flush=True)
            self._lines.append(line)
