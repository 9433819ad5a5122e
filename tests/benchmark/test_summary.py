"""Tables from hand-made results."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lpdseg.benchmark.config import Config
from lpdseg.benchmark.outcome import Outcome
from lpdseg.benchmark.page import Page, make_page, spread_text, starred_interval
from lpdseg.benchmark.spread import Spread, seed_interval
from lpdseg.benchmark.summary import Section, summarise, summarise_prototypes
from lpdseg.benchmark.write import html, markdown, write_csv, write_results
from lpdseg.evaluation import Scores, mean_miou, paired_difference

MakeConfig = Callable[..., Config]
MakeOutcome = Callable[..., Outcome]
TRAINED_ON = {"tiles": (1200, 24)}


def tell(config: Config, outcomes: list[Outcome]) -> tuple[list[Section], Page]:
    sections = summarise(config, outcomes, TRAINED_ON)
    prototypes = summarise_prototypes(config, outcomes)
    return sections, make_page(config, "lpdseg benchmark b.yaml --out o", [], outcomes, sections, prototypes)


@pytest.fixture
def four(outcome: MakeOutcome) -> list[Outcome]:
    return [
        outcome("LPD", 0, [90, 80, 70]), outcome("LPD", 1, [88, 78, 68]),
        outcome("CAM", 0, [80, 70, 60]), outcome("CAM", 1, [76, 66, 56]),
    ]  # fmt: skip


def test_figures_are_means_over_seeds_and_differences_are_paired(config: MakeConfig, four: list[Outcome]) -> None:
    sections, _ = tell(config(), four)
    assert [(one.data, one.gate) for one in sections] == [("tiles", "predicted"), ("tiles", "oracle")]
    first, second = sections[0].rows
    ours, theirs = (np.stack([one.matrices("predicted") for one in pair]) for pair in (four[:2], four[2:]))
    each = [100 * Scores.of(run.sum(0), 2).miou for run in ours]
    assert each[0] == pytest.approx(100 * 240 / 360)
    assert first.miou is not None and first.miou.mean == pytest.approx(np.mean(each), abs=1e-3)
    assert first.miou.sd == pytest.approx(np.std(each, ddof=1), abs=1e-3)
    assert first.interval == pytest.approx([100 * end for end in mean_miou(ours, 2).interval])
    assert first.difference is None and first.classes["A"] == first.miou
    expected = paired_difference(theirs, ours, 2)
    assert second.difference is not None
    assert second.difference.value == pytest.approx(100 * expected.value)
    assert second.difference.interval == pytest.approx([100 * end for end in expected.interval])
    assert second.difference.interval[1] < 0
    assert first.minutes == Spread(1.5, pytest.approx(0.5**0.5)) and first.parameters == 2_500_000
    assert (sections[0].images, sections[0].patients, sections[0].train_patches) == (7, 3, 1200)


def test_seeds_that_one_of_the_two_lacks_are_left_out_of_the_difference(
    config: MakeConfig, four: list[Outcome]
) -> None:
    lost = replace(four[0], result=None, failure="the loss is no number")
    sections, page = tell(config(), [lost, *four[1:]])
    ours, theirs = (one.matrices("predicted")[None] for one in (four[3], four[1]))
    row = sections[0].rows[1]
    assert row.difference is not None
    assert row.difference.value == pytest.approx(100 * paired_difference(ours, theirs, 2).value)
    assert row.notes == ("difference to the reference over seed 1",)
    assert sections[0].rows[0].notes == ("seed 1 only", "seed 0 failed: the loss is no number")
    assert page.tables[0].notes[0] == "¹ seed 1 only"
    assert page.tables[0].rows[0][0] == "LPD ¹ ²" and page.tables[0].rows[1][0] == "CAM ³"


def test_runs_that_failed_or_are_to_come_say_so(config: MakeConfig, four: list[Outcome]) -> None:
    failed = [replace(one, result=None, failure="no | weights") for one in four[2:]]
    pending = [replace(one, result=None) for one in four[2:]]
    _, page = tell(config(), [*four[:2], *failed])
    assert page.tables[0].rows[1][:3] == ("CAM", "failed: no | weights", "")
    assert ("Runs", "2 finished, 2 failed of 4") in page.facts
    assert "| CAM | failed: no \\| weights |" in markdown(page)
    assert '<td class="says" colspan="9">failed: no | weights</td>' in html(page)
    _, page = tell(config(), [*four[:2], *pending])
    assert page.tables[0].rows[1][1] == "to come"
    _, page = tell(config(), [replace(one, result=None) for one in four])  # nothing is there yet
    assert [row[1] for row in page.tables[0].rows] == ["to come", "to come"]


def test_what_is_not_equal_is_said(config: MakeConfig, outcome: MakeOutcome) -> None:
    unlike = ("train.epochs=4", "predict.views=[plain]", "model.weights=/somewhere/secret/resnet")
    outcomes = [outcome("LPD", seed, [90, 80]) for seed in (0, 1)]
    outcomes += [outcome("CAM", seed, [90, 80], unlike) for seed in (0, 1)]
    sections, page = tell(config(), outcomes)
    assert sections[0].rows[1].notes == (
        "budget unlike the reference's: weights resnet, not random; steps 480, not 960; "
        "views plain, not plain + flip",
    )
    assert "equal for all: encoder pvt_v2_b1, batch 10, refinement none; not equal" in page.tables[0].lead
    assert "secret" not in markdown(page)
    outcomes[2:] = [outcome("CAM", seed, [90, 80], ("method=supervised",)) for seed in (0, 1)]
    assert "learns from the true masks" in tell(config(), outcomes)[1].tables[0].notes[0]
    _, page = tell(config(), outcomes[:2] + [outcome("CAM", seed, [90, 80]) for seed in (0, 1)])
    assert page.tables[0].notes == () and "not equal" not in page.tables[0].lead


def test_the_page_can_be_committed_as_it_is(config: MakeConfig, four: list[Outcome], tmp_path: Path) -> None:
    sections, page = tell(config(description="Why <this>"), four)
    text = markdown(page)
    assert text.startswith("# Benchmark hand made, 2026-11-20\n\nWhy <this>\n\n- Command: `lpdseg benchmark b.yaml")
    for part in ("2 cores", "lpdseg 1.2.3, python 3.11, torch 2.13.0", "split valid; seeds 0, 1; reference LPD",
                 "7 images of 3 patients are scored", "chosen on this very split"):  # fmt: skip
        assert part in text
    lines = [line for line in text.splitlines() if line.startswith("| CAM")]
    assert len(lines) == 2 and lines[0].count("|") == 11
    assert lines[0].startswith("| CAM | 51.5 ± 3.2 | [") and lines[0].count("] * |") == 1
    shown = html(page)
    assert "Why &lt;this&gt;" in shown and "src=" not in shown and "http" not in shown
    assert shown.count("<table>") == 2 and "overflow-x: auto" in shown

    write_csv(sections, [], tmp_path / "t.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text())))
    assert [(row["gate"], row["variant"]) for row in rows] == [
        ("predicted", "LPD"), ("predicted", "CAM"), ("oracle", "LPD"), ("oracle", "CAM"),
    ]  # fmt: skip
    assert rows[0]["difference"] == "" and float(rows[1]["difference_high"]) < 0
    assert float(rows[0]["iou_A"]) == sections[0].rows[0].classes["A"].mean

    write_results(config(), page, four, sections, [], tmp_path / "r.json")
    results = json.loads((tmp_path / "r.json").read_text())
    assert results["sections"][0]["rows"][1]["difference"]["value"] < 0
    assert results["runs"][3]["miou"]["predicted"] == four[3].record("predicted")["miou"]


def test_code_that_changed_between_runs_is_told(
    config: MakeConfig, four: list[Outcome], outcome: MakeOutcome
) -> None:
    _, page = tell(config(), [*four[:3], outcome("CAM", 1, [1, 2, 3], code="def")])
    assert any(what == "Code" and "2 different states (abc, def)" in value for what, value in page.facts)
    _, page = tell(config(), [outcome(name, 0, [80], code="abc then def") for name in ("LPD", "CAM")])
    assert any(what == "Code" and "2 different states (abc, def)" in value for what, value in page.facts)


def test_one_patient_has_no_interval(config: MakeConfig, outcome: MakeOutcome) -> None:
    sections, page = tell(config(), [outcome(name, 0, [80]) for name in ("LPD", "CAM")])
    assert sections[0].rows[1].difference.interval is None
    assert page.tables[0].rows[1][1:5] == ("66.7", "–", "+0.0", "–")
    assert "of 1 patient are scored" in page.tables[0].lead


def test_prototype_figures_are_paired_over_seeds(config: MakeConfig, outcome: MakeOutcome, tmp_path: Path) -> None:
    def covered(variant: str, seed: int, dead: int, share: float | None) -> Outcome:
        measures: dict[str, Any] = {"dead_prototypes": dead, "subtype_coverage": share, "patches": 9, "dead": []}
        return outcome(variant, seed, [9, 8], coverage={"measures": measures})

    none = {"measures": None, "reason": "it has no prototypes"}
    outcomes = [
        covered("LPD", 0, 1, 0.5), covered("LPD", 1, 3, 0.7),
        covered("CAM", 0, 2, 0.4), covered("CAM", 1, 5, None),
        outcome("none", 0, [5, 5], coverage=none), outcome("none", 1, [5, 5], coverage=none),
    ]  # fmt: skip
    bench = config(variants={"LPD": {}, "CAM": {}, "none": {}})
    (section,) = summarise_prototypes(bench, outcomes)
    assert section.names == ("dead_prototypes", "subtype_coverage")
    assert section.notes == {"none": "it has no prototypes"} and list(section.rows) == ["LPD", "CAM"]
    dead = section.rows["CAM"]["dead_prototypes"]
    assert (dead.value.mean, dead.difference) == (3.5, 1.5)
    assert dead.interval == pytest.approx((1.5 - 12.706 * 0.5, 1.5 + 12.706 * 0.5), abs=1e-3)  # t of 1 degree
    assert section.rows["CAM"]["subtype_coverage"].interval is None
    assert section.rows["LPD"]["dead_prototypes"].difference is None
    sections, page = tell(bench, outcomes)
    table = page.tables[-1]
    assert table.columns == ("figure", "LPD", "CAM", "− LPD")
    assert table.rows[0] == ("dead prototypes", "2 ± 1.41", "3.5 ± 2.12", "+1.5 [−4.85, +7.85]")
    assert table.rows[1] == ("subtype coverage", "0.6 ± 0.141", "0.4", "−0.1")
    assert table.notes == ("none: it has no prototypes",)
    write_csv(sections, [section], tmp_path / "t.csv")
    assert ",dead_prototypes," in (tmp_path / "t.csv").read_text().splitlines()[0]


def test_texts_of_figures() -> None:
    assert Spread.of([None, float("nan")]) is None
    assert spread_text(Spread.of([1.0, None, 3.0])) == "2.0 ± 1.4"
    assert spread_text(Spread.of([1.0])) == "1.0"
    assert starred_interval((-1.0, 2.0), sign=True) == "[−1.0, +2.0]"
    assert starred_interval((0.5, 2.0), sign=True) == "[+0.5, +2.0] *"
    assert starred_interval((-2.0, -0.5), sign=True).endswith("*")
    assert not starred_interval((0.5, 2.0)).endswith("*")
    assert seed_interval([1.0]) is None and seed_interval([1.0, 1.0]) == (1, 1)
