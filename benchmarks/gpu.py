"""How much of a GPU training, validation and slides use, beside what the card can do; also runs on a CPU, small.

python benchmarks/gpu.py [--rows products,published,presets,validation,slides,same] [--small] [--out FILE.md]

Busy is the time in which a kernel ran, by PyTorch's profiler, over 100 steps, divided by the wall time of 100 steps
without the profiler, both after 50 that do not count. Waiting is the share of the time in which the device had an
empty queue between two steps, by its own events; on a CPU that of the thread that trains.
"""

import argparse
import os
import platform
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

import gpu_slides as slides
import gpu_training as training
import speed_cases as cases
from gpu_clock import kernels_of, seconds_each
from lpdseg import api
from lpdseg.cores import allowed_cores
from lpdseg.data.records import Manifest
from lpdseg.data.synthetic import generate
from lpdseg.files import write_text
from lpdseg.model.device import pick_device, product_rate

BCSS = {"train": 23_422, "valid": 3_418}
"""Patches of BCSS-WSSS."""
EPOCHS, VALIDATIONS = 8, 8


@dataclass(frozen=True)
class Size:
    """How much is done: by default what a card is measured with."""

    side: int = 224
    batch: int = 10
    large: int = 64
    k: int = 10
    judge: str = "swin"
    chunks: tuple[int, ...] = (8, 64, 512)
    patches: int = 640
    encoders: tuple[str, ...] = ("efficientnet_lite0", "pvt_v2_b1")
    slide_encoders: tuple[str, ...] = ("resnet18", "pvt_v2_b1")
    settled: int = 50
    count: int = 100
    reference: tuple[int, int] = (1, 2)
    """Settling and counted steps of the plain reference, which takes seconds for each."""
    valid: int = BCSS["valid"]
    slide: int = 10_000
    slides: int = 20
    windows: int = 64
    same: int = 50
    workers: int | None = None
    """Loader processes and readers; None: what presets and slides take by themselves."""


SMALL = Size(
    side=56, batch=2, large=2, k=2, judge="tiny", patches=16, encoders=("resnet18",), slide_encoders=("resnet18",),
    settled=1, count=1, reference=(0, 1), chunks=(8,), valid=6, slide=300, slides=2, windows=16, same=2, workers=0,
)  # fmt: skip
"""Every row, in half a minute on a CPU: whether it can be measured, and nothing more."""


class Page:
    """Lines that are printed as they come and kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, *lines: str) -> None:
        for line in lines:
            print(line, flush=True)
            self.lines.append(line)

    def table(self, title: str, *columns: str) -> None:
        self.say("", f"## {title}", "")
        self.row(*columns)
        self.row("---", *["---:"] * (len(columns) - 1))

    def row(self, *cells: str) -> None:
        self.say(f"| {' | '.join(cells)} |")


class Bench:
    """Everything that the rows share: the device, its rate, sizes, generated patches."""

    def __init__(self, page: Page, device: torch.device, size: Size, folder: Path, runs: Path) -> None:
        self.page, self.device, self.size, self.folder, self.runs = page, device, size, folder, runs
        self.rates = {name: product_rate(device, getattr(torch, name)) for name in ("float32", "bfloat16")}
        self._data: Manifest | None = None

    @property
    def data(self) -> Manifest:
        """Generated once, on all cores."""
        if self._data is None:
            size = self.size
            patches = {"train": size.patches, "valid": max(4, size.patches // 5)}
            self._data = generate(
                self.folder / "patches", size=size.side, mpp=0.5, patches=patches,
                patients={"train": 4, "valid": 2}, workers=1 if size.workers == 0 else allowed_cores(),
            )  # fmt: skip
        return self._data

    def case(self, preset: str, *changes: str) -> training.Case:
        own = () if self.size.workers is None else (f"data.workers={self.size.workers}",)
        return training.Case(preset, self.data, (*own, *changes))

    def products(self) -> None:
        on_card = self.device.type == "cuda"
        name = torch.cuda.get_device_name(self.device) if on_card else platform.processor() or platform.machine()
        rates = ", ".join(f"{rate / 1000:.3g} TFLOP/s in {what}" for what, rate in self.rates.items())
        self.page.say(
            f"{name}, {allowed_cores()} cores, {torch.get_num_threads()} threads, PyTorch {torch.__version__}; "
            f"a product of matrices: {rates}. {self.size}"
        )

    def published(self) -> None:
        """One step of the published recipe; the plain reference in turn with ours."""
        size, device, page = self.size, self.device, self.page
        one = {name: value.to(device) for name, value in cases.batch(size.batch, size.side).items()}
        chosen = cases.settings(size.k)
        pairs = cases.active_pairs(cases.network(chosen).to(device), one)
        encoder = cases.forward_work(cases.network(chosen).encoder) * (size.side / cases.SIDE) ** 2
        judge = cases.task(chosen, size.judge).image_encoder
        assert judge is not None
        tower = cases.forward_work(judge)
        page.table(
            f"Published recipe, a step: batch {size.batch}, {size.side} px, MiT-B1, k = {size.k}, {pairs} pairs",
            "what", "ms a step", "of the product rate", "kernels", "their ms",
        )  # fmt: skip

        def show(title: str, step: Callable[[], object], half: bool, work: float, *counts: int) -> None:
            each = seconds_each(step, device, *counts)
            share = work / each / self.rates["bfloat16" if half else "float32"]
            seen = kernels_of(step, device, 1)
            kernels = ("–", "–") if seen is None else (f"{seen.count:,}", f"{1000 * seen.seconds:.1f}")
            page.row(title, f"{1000 * each:.1f}", f"{100 * share:.1f} %", *kernels)

        work = 3 * size.batch * encoder + 4 * pairs * tower
        for half in (False, True):
            step = cases.reference_step(cases.task(chosen, size.judge).to(device), chosen, one, frozen=True)

            def cast(step: Callable[[], object] = step, half: bool = half) -> None:
                with torch.autocast(device.type, torch.bfloat16) if half else nullcontext():
                    step()

            show(f"reference, {'bfloat16' if half else 'float32'}", cast, half, work, *size.reference)
        kept = chosen.loss.contrast.chunk
        plans = [("32-true", kept), *(("bf16-mixed", chunk) for chunk in dict.fromkeys((kept, *size.chunks)))]
        for precision, chunk in plans:
            asked = cases.settings(size.k, f"loss.contrast.chunk={chunk}")
            step = cases.our_step(cases.task(asked, size.judge), asked, precision, one, device)
            title = f"ours, {precision}, chunk {chunk}{' as the preset has it' if chunk == kept else ''}"
            show(title, step, precision != "32-true", work, -(-size.settled // 5), -(-size.count // 5))
        off = cases.settings(size.k, "loss.contrast.weight=0", "loss.diversity.weight=0")
        step = cases.our_step(cases.task(off, "none"), off, "bf16-mixed", one, device)
        show("classification alone, bf16-mixed", step, True, 3 * size.batch * encoder, size.settled, size.count)

    def presets(self) -> None:
        """Whole runs of the loop, and the same step on a batch that lies on the device."""
        size, page = self.size, self.page
        page.table(
            f"Training, {size.side} px, {size.count} steps after {size.settled}",
            "preset, encoder, batch", "ms a step", "patches/s", "waiting", "busy", "kernels a step",
            "ms on a batch on the device", "of the step", "making a batch on one core, ms",
            "8 epochs of BCSS-WSSS, min, without validation",
        )  # fmt: skip
        batches = dict.fromkeys((size.batch, size.large))
        plans = [("bcss", encoder, batch, False) for encoder in size.encoders for batch in batches]
        plans.append(("demo", size.encoders[0], min(16, size.large), False))
        if self.device.type == "cuda":
            plans.append(("bcss", size.encoders[0], size.batch, True))
        for number, (preset, encoder, batch, compiled) in enumerate(plans):
            title = [preset, encoder, str(batch), *(["compiled"] if compiled else [])]
            changes = f"model.encoder={encoder}", f"train.batch={batch}", f"train.compile={compiled}"
            case = self.case(preset, *changes)
            found = training.watch(case, self.runs / f"run-{number}", self.device, size.settled, size.count)
            alone = training.bare(case, self.device, size.settled, size.count)
            seen = found.kernels
            busy = ("–", "–") if seen is None else (f"{seen.seconds / found.seconds:.0%}", f"{seen.count:,}")
            page.row(
                ", ".join(title), f"{1000 * found.seconds:.1f}", f"{batch / found.seconds:.0f}",
                f"{found.waiting:.0%}", *busy, f"{1000 * alone.step:.1f}", f"{alone.step / found.seconds:.0%}",
                f"{1000 * alone.making:.1f}", f"{EPOCHS * (BCSS['train'] // batch) * found.seconds / 60:.1f}",
            )  # fmt: skip

    def validation(self) -> None:
        """Of the size of BCSS-WSSS's, thresholds and offsets included."""
        size = self.size
        case = self.case("bcss", f"model.encoder={size.encoders[0]}")
        reading, took = training.validation_seconds(case, self.device, size.valid)
        self.page.table("Validation", "patches", "s", f"{VALIDATIONS} of them, min", "reading them once, s")
        self.page.row(f"{size.valid:,}", f"{took:.1f}", f"{VALIDATIONS * took / 60:.1f}", f"{reading:.1f}")

    def slides(self) -> None:
        """A slide of tissue alone, then many in one call."""
        size, page, device = self.size, self.page, self.device
        slide = slides.draw(self.folder, size.slide)
        page.table(
            f"Slides of {size.slide:,} px, overlap {slides.OVERLAP}, {slides.KINDS}",
            "encoder", "windows", "windows/s", "model alone", "of it", "waiting", "s in all",
            f"{size.slides} in one call, s", "the larger of model and (tissue + files) / cores, s",
        )  # fmt: skip
        for encoder in size.slide_encoders:
            run = self.runs / f"slides-{encoder}"
            settings = self.case("bcss", f"model.encoder={encoder}", "train.batch=2").of_steps(1)
            api.train(self.data, run, preset=settings, device=str(device))
            common = (device, size.windows, size.workers)
            found = slides.one_slide(run, slide, self.runs / "out", device, size.side, *common[1:])
            together = slides.many_slides(run, slide, self.runs / f"many-{encoder}", *common, size.slides)
            model = size.slides * found.windows / found.alone
            rest = size.slides * max(0.0, found.seconds - found.windows / found.rate) / allowed_cores()
            page.row(
                encoder, f"{found.windows:,}", f"{found.rate:.1f}", f"{found.alone:.1f}",
                f"{found.rate / found.alone:.0%}", f"{found.waiting:.0%}", f"{found.seconds:.1f}",
                f"{together:.1f}", f"{max(model, rest):.1f}",
            )  # fmt: skip

    def same(self) -> None:
        """The device against the CPU, and the CPU against itself with another number of threads."""
        size = self.size
        case = self.case("bcss", f"model.encoder={size.encoders[0]}", f"train.batch={size.batch}")
        found = training.same_results(case, self.runs / "same", self.device, size.same)
        self.page.table(
            f"Same results: {size.same} steps in float32 without TF32, ‖Δa − Δb‖ / ‖Δb‖",
            "device, CPU", "CPU with 1 and 2 threads", "masks that agree",
        )  # fmt: skip
        self.page.row(f"{found.device:.2e}", f"{found.threads:.2e}", f"{found.masks:.4%}")


ROWS = ("products", "published", "presets", "validation", "slides", "same")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS), help="which parts, by name")
    parser.add_argument("--small", action="store_true", help="tiny sizes: whether all rows can be measured")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--folder", type=Path, help="keep patches and slides there")
    parser.add_argument("--out", type=Path, help="also write the page there, as Markdown")
    options = parser.parse_args(arguments)
    rows = options.rows.split(",")
    if unknown := sorted(set(rows) - set(ROWS)):
        parser.error(f"unknown rows {', '.join(unknown)}; there are {', '.join(ROWS)}")
    page = Page()
    with tempfile.TemporaryDirectory() as runs:
        folder = options.folder or Path(runs)
        bench = Bench(page, pick_device(options.device), SMALL if options.small else Size(), folder, Path(runs))
        for row in rows:
            getattr(bench, row)()
    if options.out is not None:
        date = datetime.now(UTC).date().isoformat()
        words = " ".join(["python benchmarks/gpu.py", *(["--small"] if options.small else [])])
        write_text(
            options.out, "\n".join([f"# What a device is used for, {date}", "", f"`{words}`", "", *page.lines, ""])
        )


if __name__ == "__main__":
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would write to standard error
    main()
