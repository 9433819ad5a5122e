"""A benchmark's page as files: Markdown, HTML, CSV and JSON."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2

from lpdseg.benchmark.config import Config
from lpdseg.benchmark.outcome import Outcome
from lpdseg.benchmark.page import Page, Table
from lpdseg.benchmark.spread import Spread
from lpdseg.benchmark.summary import PrototypeSection, Section
from lpdseg.errors import OutputError
from lpdseg.evaluation.bootstrap import Interval
from lpdseg.files import write_json, write_text


def check_folder(out: Path) -> None:
    """Whether tables may be written there: a folder of a benchmark has `runs`, and another no files of their names.

    **Raises:** `OutputError`.
    """
    for path in map(out.joinpath, ("table.md", "table.html", "table.csv", "results.json")):
        if path.exists() and not (out / "runs").is_dir():
            raise OutputError(f"{path} is there already and of no benchmark; choose another --out, or move it away")


def write_page(page: Page, out: Path) -> None:
    """Writes `table.md` and `table.html`; neither needs another file.

    **Raises:** `OutputError`.
    """
    write_text(out / "table.md", markdown(page))
    write_text(out / "table.html", html(page))


def markdown(page: Page) -> str:
    """The page as Markdown."""
    parts = [f"# {page.title}"]
    parts += [page.description] if page.description else []
    parts.append(
        "\n".join(f"- {what}: {_code(value) if what == 'Command' else value}" for what, value in page.facts)
    )
    parts += ["How to read the tables:", "\n".join(f"- {line}" for line in page.reading)]
    for table in page.tables:
        parts.append(f"## {table.title}")
        parts += [_capital(table.lead)] if table.lead else []
        parts.append(_markdown_table(table))
        parts += ["<br>\n".join(table.notes)] if table.notes else []
    return "\n\n".join(parts) + "\n"


def html(page: Page) -> str:
    """The page as HTML without scripts; tables that are wider than the window scroll."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lpdseg.benchmark", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("benchmark.html.j2").render(page=page, capital=_capital)


def write_csv(sections: Sequence[Section], prototypes: Sequence[PrototypeSection], path: Path) -> None:
    """One row per data set, gate and variant, unrounded; figures about prototypes stand in every gate's row.

    **Raises:** `OutputError`.
    """
    by_data = {section.data: section.rows for section in prototypes}
    rows = []
    for section in sections:
        for row in section.rows:
            difference = row.difference
            cells: dict[str, Any] = {
                "data": section.data,
                "gate": section.gate,
                "variant": row.variant,
                "seeds": " ".join(map(str, row.seeds)),
                "images": section.images,
                "patients": section.patients,
                **_both("miou", row.miou),
                **_ends("miou", row.interval),
                "difference": None if difference is None else difference.value,
                **_ends("difference", None if difference is None else difference.interval),
            }
            for name, spread in row.classes.items():
                cells |= _both(f"iou_{name}", spread)
            cells |= _both("train_minutes", row.minutes) | _both("prediction_ms", row.prediction_ms)
            cells |= {"parameters": row.parameters}
            for name, measure in by_data.get(section.data, {}).get(row.variant, {}).items():
                cells |= _both(name, measure.value) | {f"{name}_difference": measure.difference}
                cells |= _ends(f"{name}_difference", measure.interval)
            rows.append(cells | {"failure": row.failure, "notes": "; ".join(row.notes)})
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_results(
    config: Config,
    page: Page,
    outcomes: Sequence[Outcome],
    sections: Sequence[Section],
    prototypes: Sequence[PrototypeSection],
    path: Path,
) -> None:
    """Everything behind the tables as JSON: the page's facts, the sections, and each run with its key.

    A run's own folder, `runs/KEY`, has its confusion matrices and settings.

    **Raises:** `OutputError`.
    """
    write_json(
        path,
        {
            "name": config.name,
            "description": config.description,
            "split": config.split,
            "seeds": config.seeds,
            "reference": config.reference,
            "facts": [{"what": what, "value": value} for what, value in page.facts],
            "sections": [asdict(section) for section in sections],
            "prototypes": [asdict(section) for section in prototypes],
            "runs": [_run(one) for one in outcomes],
        },
    )


def _run(outcome: Outcome) -> dict[str, Any]:
    run, result = outcome.run, outcome.result
    told: dict[str, Any] = {
        "data": run.data,
        "variant": run.variant,
        "seed": run.seed,
        "key": run.key,
        "status": outcome.status,
        "failure": outcome.failure,
    }
    if result is not None:
        kept = ("finished", "steps", "parameters", "training_seconds", "prediction_ms", "code", "coverage")
        told |= {key: result[key] for key in kept}
        told["miou"] = {record["gate"]: record["miou"] for record in result["records"]}
    return told


def _both(name: str, spread: Spread | None) -> dict[str, float | None]:
    return {name: None if spread is None else spread.mean, f"{name}_sd": None if spread is None else spread.sd}


def _ends(name: str, ends: Interval | None) -> dict[str, float | None]:
    return {f"{name}_low": None if ends is None else ends[0], f"{name}_high": None if ends is None else ends[1]}


def _markdown_table(table: Table) -> str:
    lines = [table.columns, ("---", *["---:"] * (len(table.columns) - 1)), *table.rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
