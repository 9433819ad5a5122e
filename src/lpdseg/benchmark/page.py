"""The words and tables of a benchmark's page, before they become Markdown or HTML."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lpdseg.benchmark.config import Config
from lpdseg.benchmark.outcome import Outcome
from lpdseg.benchmark.spread import Spread
from lpdseg.benchmark.summary import Measure, PrototypeSection, Row, Section
from lpdseg.evaluation.bootstrap import Interval
from lpdseg.evaluation.protocol import difference_text, interval_text

NOTHING = "–"
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_VERSIONS = ("lpdseg", "python", "torch", "transformers", "numpy", "scipy", "scikit-learn")


@dataclass(frozen=True)
class Table:
    """A heading, a line about it, columns (the first is text, the others figures), rows and notes."""

    title: str
    lead: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """A title, a paragraph, facts as (what, value), how to read the tables, and the tables."""

    title: str
    description: str
    facts: tuple[tuple[str, str], ...]
    reading: tuple[str, ...]
    tables: tuple[Table, ...]


def make_page(
    config: Config,
    command: str,
    skipped: Sequence[str],
    outcomes: Sequence[Outcome],
    sections: Sequence[Section],
    prototypes: Sequence[PrototypeSection],
) -> Page:
    """The whole page. Its date is that of the newest result, since a page may be written again without any."""
    results = [one.result for one in outcomes if one.result]
    dates = [result["finished"][:10] for result in results] or [f"{datetime.now(UTC):%Y-%m-%d}"]
    facts = [
        ("Command", command),
        (
            "Scored",
            f"split {config.split}; seeds {', '.join(map(str, config.seeds))}; reference {config.reference}",
        ),
        ("Runs", _states(outcomes)),
        ("Machine", "; ".join(_distinct(_machine(result["hardware"]) for result in results)) or NOTHING),
        ("Versions", "; or ".join(_distinct(_versions(result["versions"]) for result in results)) or NOTHING),
        ("Code", _code([result["code"] for result in results])),
    ]
    facts += [("Data", sentence) for sentence in skipped]
    return Page(
        f"Benchmark {config.name}, {max(dates)}",
        " ".join(config.description.split()),
        tuple(facts),
        _reading(config, bool(prototypes)),
        (*map(_table, sections), *(_prototype_table(section, config.reference) for section in prototypes)),
    )


def _reading(config: Config, prototypes: bool) -> tuple[str, ...]:
    lines = [
        "mIoU and IoU are per cent over all pixels of the split, background kept, mean ± sd over seeds.",
        "Brackets are 95 % percentile bootstrap intervals that draw patients and seeds with replacement. "
        f"Differences to {config.reference} are paired: the same patients and seeds are drawn for both. "
        "An asterisk marks those whose interval excludes 0. With few patients such intervals are wide, and still "
        "rather too narrow.",
        "Gate predicted: a mask shows only classes found in its image, without any truth; the figure to quote. "
        "Gate oracle: the true classes of each image are given.",
        "Minutes are of training, validation included. Milliseconds are per image from pixels to mask, "
        "refinement included. Parameters are those that training updates.",
    ]
    if config.split == "valid":
        lines.append(
            "Checkpoints and image-level thresholds were chosen on this very split, for every variant alike, so "
            "expect less on new patients."
        )
    if prototypes:
        lines.append(
            "Differences between prototype figures are paired over seeds, with Student's t interval (95 %). "
            "Winners are those of the dense map where prototypes make the mask, else of cosines at the coarsest "
            "scale. A region is all of a class in one patch. Information is in bits; by chance: what winners that "
            "tell nothing would seem to tell of so few regions."
        )
    return tuple(lines)


def _table(section: Section) -> Table:
    names = tuple(dict.fromkeys(name for row in section.rows for name in row.classes))
    columns = ("variant", "mIoU", "interval", "difference", "interval", *(f"IoU {name}" for name in names))
    columns += ("train, min", "ms/image", "parameters, M")
    scored = (
        f"; {section.images:,} images of {section.patients} {_plural('patient', section.patients)} are scored"
        if section.images is not None and section.patients is not None
        else ""
    )
    lead = (
        f"{section.train_patches:,} training patches of {section.train_patients} "
        f"{_plural('patient', section.train_patients)}{scored}; {section.equal}."
    )
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for row in section.rows:
        marks = ""
        for note in row.notes:
            notes.append(f"{_mark(len(notes) + 1)} {note}")
            marks += f" {_mark(len(notes))}"
        rows.append((f"{row.variant}{marks}", *_cells(row, names)))
    return Table(f"{section.data}, gate {section.gate}", lead, columns, tuple(rows), tuple(notes))


def _cells(row: Row, names: Sequence[str]) -> tuple[str, ...]:
    if row.miou is None:
        state = f"failed: {row.failure}" if row.failure else "no pixel to compare" if row.seeds else "to come"
        return (state, *[""] * (6 + len(names)))
    difference = row.difference
    return (
        spread_text(row.miou),
        starred_interval(row.interval),
        NOTHING if difference is None else difference_text(difference.value, ".1f"),
        NOTHING if difference is None else starred_interval(difference.interval, sign=True),
        *(spread_text(row.classes.get(name)) for name in names),
        spread_text(row.minutes),
        spread_text(row.prediction_ms),
        NOTHING if row.parameters is None else f"{row.parameters / 1e6:.2f}",
    )


def _prototype_table(section: PrototypeSection, reference: str) -> Table:
    """A figure in each row, since there are many."""
    compared = {
        variant for variant, row in section.rows.items() if any(one.difference is not None for one in row.values())
    }
    columns = ["figure"]
    for variant in section.rows:
        columns += [variant, *([f"− {reference}"] if variant in compared else [])]
    rows = []
    for name in section.names:
        cells = [name.replace("_", " ")]
        for variant, measures in section.rows.items():
            one = measures.get(name)
            cells.append(NOTHING if one is None else spread_text(one.value, ".3g"))
            if variant in compared:
                cells.append(NOTHING if one is None else _change(one))
        rows.append(tuple(cells))
    notes = tuple(f"{variant}: {reason}" for variant, reason in section.notes.items())
    return Table(f"{section.data}, prototypes", "", tuple(columns), tuple(rows), notes)


def _change(measure: Measure) -> str:
    if measure.difference is None:
        return NOTHING
    ends = "" if measure.interval is None else f" {starred_interval(measure.interval, True, '.3g')}"
    return f"{difference_text(measure.difference, '.3g')}{ends}"


def spread_text(spread: Spread | None, form: str = ".1f") -> str:
    """Mean ± sd, or the mean alone where one seed has no spread."""
    if spread is None:
        return NOTHING
    return f"{spread.mean:{form}}" + ("" if spread.sd is None else f" ± {spread.sd:{form}}")


def starred_interval(ends: Interval | None, sign: bool = False, form: str = ".1f") -> str:
    """As `lpdseg.evaluation.protocol.interval_text`; of a difference with an asterisk where 0 lies outside."""
    if ends is None:
        return NOTHING
    star = " *" if sign and (ends[0] > 0 or ends[1] < 0) else ""
    return f"{interval_text(ends, sign, form)}{star}"


def _mark(number: int) -> str:
    return str(number).translate(_SUPERSCRIPTS)


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _states(outcomes: Sequence[Outcome]) -> str:
    counts = {state: sum(one.status == state for one in outcomes) for state in ("finished", "failed", "to come")}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) + f" of {len(outcomes)}"


def _machine(hardware: dict[str, object]) -> str:
    gpu = f", {hardware['gpu']}" if "gpu" in hardware else ""
    return (
        f"{hardware['machine']}, {hardware['cores']} cores, {hardware['cpu_capability']}{gpu}; device "
        f"{hardware['device']}, threads per run {hardware['threads']}"
    )


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {versions[name]}" for name in _VERSIONS if name in versions)


def _code(digests: Sequence[str]) -> str:
    found = _distinct(state for digest in digests for state in digest.split(" then "))
    if len(found) < 2:
        return "".join(found) or NOTHING
    return f"{len(found)} different states ({', '.join(found)}): remove the runs and make them again before quoting"


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
