"""The benchmark from its file to its tables: plan, run what is not there yet, write the tables after every run."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lpdseg.alone import alone_in
from lpdseg.benchmark.config import Config, read_config
from lpdseg.benchmark.job import Job
from lpdseg.benchmark.outcome import Outcome, is_done, read_outcome
from lpdseg.benchmark.page import make_page
from lpdseg.benchmark.plan import Run, all_settings, chosen, data_settings, plan
from lpdseg.benchmark.pool import run_here, run_in_processes
from lpdseg.benchmark.sources import Loaded, available, load, possible
from lpdseg.benchmark.summary import Section, summarise, summarise_prototypes
from lpdseg.benchmark.write import check_folder, write_csv, write_page, write_results
from lpdseg.checkpoint import check_apart
from lpdseg.durations import duration
from lpdseg.insight.subtypes import told_subtypes
from lpdseg.methods.table import METHODS

Say = Callable[[str], None]
Told = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Finished:
    """What a benchmark came to: its tables, and how many of the runs asked for have failed."""

    sections: list[Section]
    asked: int
    failed: int


def run_benchmark(
    path: str | Path,
    out: str | Path,
    *,
    only: Sequence[str] = (),
    jobs: int = 1,
    device: str = "auto",
    command: str = "",
    environment: Mapping[str, str] = os.environ,
    say: Say = lambda text: None,
    progress: Told = lambda what, done, total: None,
) -> Finished:
    """Trains and scores every variant of a benchmark, and writes the tables.

    Below `out` it leaves `runs/KEY/` for each run (see `lpdseg.benchmark.job`), generated data in `data/`, and
    `table.md`, `table.html`, `table.csv` and `results.json`, which are written anew after every run. Runs whose
    settings and data are those of a finished one are not run again, but measured anew where `coverage` is on and
    the manifest says other sub-types. Trainings that were interrupted are gone on with, and failed runs are tried
    again. All settings and data are checked before the first run starts.

    **Arguments:**

    - `path`: the YAML file, see `lpdseg.benchmark.config`.
    - `only`: names of variants and data sets to run; the tables still show all.
    - `jobs`: runs at a time; with more than one each is a process with one thread of PyTorch.
    - `device`: see `lpdseg.api.train`.
    - `command`: what the tables say to make them again with.
    - `environment`: the values of `${VARIABLE}`.
    - `say`, `progress`: told a sentence, and what is done of what.

    **Raises:** `SettingsError`, `DataError`, `OutputError`; `KeyboardInterrupt` where it was stopped.
    """
    out = Path(out)
    config, left_out = possible(read_config(Path(path)), environment)
    data, skipped = available(config, environment)
    skipped += left_out
    settings = all_settings(config, data, environment)
    for sentence in skipped:
        say(sentence)
    check_apart(out)
    with alone_in(out, "running a benchmark"):
        check_folder(out)
        loaded = {}
        for name, source in data.items():
            own = [entry for (data_name, _, _), entry in settings.items() if data_name == name]
            loaded[name] = load(
                name,
                source,
                config.split,
                *data_settings(config, source, own),
                out,
                train_masks=any(METHODS[entry.method].needs_masks for entry in own),
                progress=_bar(progress, f"generating {name}"),
                workers=jobs,
            )
            for note in loaded[name].manifest.notes:
                say(f"{name}: {note}")
        runs = plan(config, settings, loaded)
        bench = _Bench(config, out, runs, loaded, skipped, command or f"lpdseg benchmark {path} --out {out}", say)
        return bench.run(chosen(config, runs, only), jobs, device)


@dataclass
class _Bench:
    config: Config
    out: Path
    runs: list[Run]
    loaded: dict[str, Loaded]
    skipped: list[str]
    command: str
    say: Say
    began: dict[Path, float] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)
    left: int = 0

    def run(self, wanted: Sequence[Run], jobs: int, device: str) -> Finished:
        """Runs what is wanted and not there yet."""
        subtypes = {name: told_subtypes(data.manifest, self.config.split) for name, data in self.loaded.items()}
        todo = {
            self.folder(run): self._job(run, device, 1 if jobs > 1 else None)
            for run in wanted
            if not is_done(read_outcome(run, self.folder(run)), self.config.coverage, subtypes[run.data])
        }
        self.left = len(todo)
        there = len({run.key for run in wanted}) - len(todo)
        self.say(f"{len(todo)} runs to make, {there} there already; logs are in {self.out / 'runs'}")
        (self.out / "runs").mkdir(exist_ok=True)  # before the tables, which are known by it
        self.write()
        if jobs > 1:
            run_in_processes(todo, jobs, self._started, lambda folder: self._ended(folder, jobs))
        else:
            run_here(todo, self._started, lambda folder: self._ended(folder, jobs))
        failed = sum(read_outcome(run, self.folder(run)).result is None for run in wanted)
        return Finished(self.write(), len(wanted), failed)

    def folder(self, run: Run) -> Path:
        """Where a run lives."""
        return self.out / "runs" / run.key

    def write(self) -> list[Section]:
        """Writes the tables as far as they go."""
        outcomes = [read_outcome(run, self.folder(run)) for run in self.runs]
        trained_on = {name: _training(data) for name, data in self.loaded.items()}
        sections = summarise(self.config, outcomes, trained_on)
        prototypes = summarise_prototypes(self.config, outcomes)
        page = make_page(self.config, self.command, self.skipped, outcomes, sections, prototypes)
        write_page(page, self.out)
        write_csv(sections, prototypes, self.out / "table.csv")
        write_results(self.config, page, outcomes, sections, prototypes, self.out / "results.json")
        return sections

    def _job(self, run: Run, device: str, threads: int | None) -> Job:
        manifest = self.loaded[run.data].manifest
        return Job(
            title=run.title,
            settings=run.settings.model_dump(mode="json"),
            source=str(manifest.source),
            classes=manifest.classes.as_dict(),
            split=self.config.split,
            coverage=self.config.coverage,
            device=device,
            threads=threads,
        )

    def _outcome(self, folder: Path) -> Outcome:
        run = next(run for run in self.runs if run.key == folder.name)
        return read_outcome(run, folder)

    def _started(self, folder: Path) -> None:
        self.began[folder] = time.monotonic()
        self.say(f"{self._outcome(folder).run.title}: starts ({folder / 'log.txt'})")

    def _ended(self, folder: Path, jobs: int) -> None:
        outcome = self._outcome(folder)
        self.left -= 1
        self.took.append(time.monotonic() - self.began.pop(folder))
        if outcome.result is None:
            told = f"failed: {outcome.failure}"
        else:
            told = f"mIoU {outcome.record('predicted')['miou'] or 0:.2f} at the predicted gate"
        rest = self.left * sum(self.took) / len(self.took) / jobs
        after = f"; {self.left} left, about {duration(rest)}" if self.left else ""
        self.say(f"{outcome.run.title}: {told}, after {duration(self.took[-1])}{after}")
        self.write()


def _training(data: Loaded) -> tuple[int, int]:
    records = data.manifest.split("train")
    return len(records), len({record.patient for record in records})


def _bar(progress: Told, what: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(what, done, total)
