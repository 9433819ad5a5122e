"""The viewer: time to the first picture, tiles a second, and the memory of its server over many tiles.

python benchmarks/viewing.py [--demo runs/demo] [--side 20000] [--tiles 10000] [--folder runs/viewing]

`lpdseg view` is started as a person starts it, once on the patches of the demo (`make demo`) and once on a slide
that is drawn (see `slide_drawing`). Chromium, where there is one, opens the address: seconds until the first tile
of the picture has come, by the browser's own clock. Then four connections that stay open ask for tiles, as a page
does, by turns one of the picture and one of the mask, at random places of all levels; the mask is known where it
was computed before, on 36 fields. Resident memory (VmRSS) is that of the server, read from Linux.
"""

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lpdseg.files import write_text
from lpdseg.view.pixels import TILE, level_size, levels
from measuring import processor, resident
from slide_drawing import draw_slide

CONNECTIONS, OPENED = 4, 5
BOX = 6144
"""Side in pixels of the corner of a slide whose mask is computed: 6 x 6 fields of 512 at twice the slide's mpp."""
FIRST = """() => Math.min(...performance.getEntriesByType("resource")
  .filter((one) => one.name.includes("/pictures/")).map((one) => one.responseEnd))"""

Row = tuple[str, str]


@dataclass(frozen=True)
class Client:
    """One connection that stays open, with the cookie that a page would have."""

    connection: HTTPConnection
    headers: dict[str, str]

    @classmethod
    def of(cls, address: str) -> "Client":
        """Goes in by the address that `lpdseg view` prints."""
        parts = urlsplit(address)
        connection = HTTPConnection(str(parts.hostname), parts.port, timeout=600)
        connection.request("GET", f"/?{parts.query}")
        answer = connection.getresponse()
        answer.read()
        cookie = str(answer.getheader("set-cookie")).partition(";")[0]
        origin = f"http://{parts.netloc}"
        return cls(connection, {"Cookie": cookie, "Origin": origin, "Content-Type": "application/json"})

    def ask(self, path: str, sent: Any = None) -> bytes:
        """What comes back. **Raises:** `RuntimeError` where it is no answer."""
        method, body = ("GET", None) if sent is None else ("POST", json.dumps(sent))
        self.connection.request(method, path, body, self.headers)
        answer = self.connection.getresponse()
        found = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {found[:200]!r}")
        return found


@contextmanager
def viewer(run: Path, *sources: Path, **options: float) -> Iterator[tuple[str, int, float]]:
    """The address, the process, and the seconds from the command to the address."""
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "lpdseg", "view", str(run), *map(str, sources), "--no-browser", *words]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = next((line for line in process.stdout if "http://" in line), None)
            if told is None:
                raise RuntimeError(f"{' '.join(command)} has ended")
            yield told.split()[-1], process.pid, time.perf_counter() - began
        finally:
            process.terminate()


def first_pictures(address: str) -> list[float]:
    """Seconds from opening the address to the first tile, in a browser that keeps nothing; none without one."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        return []
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        found = []
        for _ in range(OPENED):
            page = browser.new_page(viewport={"width": 1300, "height": 900})
            page.goto(address)
            seconds = float("inf")
            while seconds == float("inf"):
                page.wait_for_timeout(50)
                seconds = page.evaluate(FIRST) / 1000
            found.append(seconds)
            page.close()
        browser.close()
    return found


def computed(client: Client, box: Sequence[int]) -> float:
    """Seconds until the mask is known in a box of the first image."""
    began = time.perf_counter()
    client.ask("/api/fields", {"image": 0, "box": box, "what": "box"})
    while True:
        [state] = json.loads(client.ask("/api/fields", {"image": 0, "what": "look"}))
        if "reason" in state or state["faults"]:
            raise RuntimeError(state)
        if not state["waiting"] and state["known"]:
            return time.perf_counter() - began
        time.sleep(0.02)


def addresses(size: tuple[int, int], known: int, seed: int) -> Iterator[str]:
    """Tiles without end, by turns of the picture, anywhere, and of the mask, where it is known."""
    rng = random.Random(seed)
    while True:
        for kind, (width, height) in (("pictures/0", size), ("layers/0/0/mask", (known, known))):
            level = rng.randint(max(levels(size) - 6, 0), levels(size))
            down = 1 << (levels(size) - level)
            sides = zip((width, height), level_size(size, level), strict=True)
            column, row = (rng.randrange(-(-min(-(-side // down), most) // TILE)) for side, most in sides)
            yield f"/{kind}/{level}/{column}/{row}"


def take(address: str, size: tuple[int, int], known: int, count: int, seed: int) -> dict[str, list[float]]:
    """Asks for tiles over all connections; seconds of each answer by kind, and of all in `wall`."""
    took: dict[str, list[float]] = {"pictures": [], "layers": []}
    faults: list[BaseException] = []

    def work(number: int) -> None:
        try:
            client = Client.of(address)
            wanted = addresses(size, known, 1000 * seed + number)
            for _ in range(count // CONNECTIONS):
                path = next(wanted)
                began = time.perf_counter()
                client.ask(path)
                took[path.split("/")[1]].append(time.perf_counter() - began)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CONNECTIONS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return {**took, "wall": [time.perf_counter() - began]}


def patches(demo: Path) -> Iterator[Row]:
    """The demo's patches: how soon the first is there."""
    with viewer(demo / "run", demo / "data") as (address, process, started):
        yield "patches of the demo: from the command to the address", starting(started, process)
        yield "the mask of the first", f"{computed(Client.of(address), (0, 0, 111, 111)):.2f} s"
        yield "from the address to the first picture", told(first_pictures(address))
        yield "memory of the server then", f"{resident(process):,.0f} MiB"


def slide(demo: Path, path: Path, side: int, tiles: int) -> Iterator[Row]:
    """A slide: how soon it is there, tiles a second, and what memory does."""
    with viewer(demo / "run", path, mpp=0.5, model_mpp=1.0) as (address, process, started):
        yield f"slide of {side:,} px: from the command to the address", starting(started, process)
        yield "from the address to the first picture", told(first_pictures(address))
        known = min(BOX, side)
        before = processor(process)
        seconds = computed(Client.of(address), (0, 0, known - 1, known - 1))
        yield "the mask of 36 fields of 512 px", f"{seconds:.0f} s ({processor(process) - before:.0f} s of a core)"
        yield "memory of the server before any of the tiles below", f"{resident(process):,.0f} MiB"
        done = 0
        for upto in (tiles // 10, tiles // 2, tiles):
            before = processor(process)
            took, count = take(address, (side, side), known, upto - done, upto), upto - done
            own = 1000 * (processor(process) - before) / count
            each = ", ".join(
                f"{name} after {1000 * statistics.median(took[kind]):.0f} ms"
                for name, kind in (("a picture", "pictures"), ("a mask", "layers"))
            )
            yield (
                f"tiles {done + 1:,} to {upto:,}, over {CONNECTIONS} connections",
                f"{count / took['wall'][0]:.0f} a second, {own:.1f} ms of a core each ({each})",
            )
            yield f"memory of the server after {upto:,} tiles", f"{resident(process):,.0f} MiB"
            done = upto


def starting(seconds: float, process: int) -> str:
    return f"{seconds:.1f} s ({processor(process):.1f} s of a core)"


def told(seconds: Sequence[float]) -> str:
    """The first opening apart from the later ones, which find the server warm."""
    if not seconds:
        return "not measured: there is no Chromium"
    first, *later = seconds
    ends = f"{min(later):.2f} to {max(later):.2f}"
    return (
        f"{first:.2f} s at first, then {statistics.median(later):.2f} s ({ends}, {len(later)} times), in Chromium"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"), help="what `make demo` left")
    parser.add_argument("--side", type=int, default=20_000, help="of the slide, in pixels")
    parser.add_argument("--tiles", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=Path("runs/viewing"), help="where the slide is kept")
    parser.add_argument("--out", type=Path, help="also write the table there, as Markdown")
    asked = parser.parse_args()
    drawn = asked.folder / f"{asked.side}.tif"
    if not drawn.is_file():
        asked.folder.mkdir(parents=True, exist_ok=True)
        draw_slide(drawn, asked.side)
    lines = ["| | |", "|---|---|"]
    print(*lines, sep="\n")
    for row in chain(patches(asked.demo), slide(asked.demo, drawn, asked.side, asked.tiles)):
        lines.append("| " + " | ".join(row) + " |")
        print(lines[-1], flush=True)
    if asked.out is not None:
        write_text(asked.out, "# The viewer\n\n`python benchmarks/viewing.py`\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
