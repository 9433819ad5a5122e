import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.errors import CheckpointError, DataError
from lpdseg.evaluation.protocol import Record
from lpdseg.evaluation.split import observe_split, read_labelled, score_split
from lpdseg.evaluation.worst import worst_first
from lpdseg.insight.figures import loss_charts, reliability_chart, warmup_end
from lpdseg.insight.paper.confusion import luminance
from lpdseg.insight.report import write_report
from lpdseg.insight.report_parts import look_at_each
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.segmenter import Calibration, Segmenter
from lpdseg.settings import Settings
from lpdseg.tissue import TissueClasses

WITH_BACKGROUND = TissueClasses(("<i>TUM</i>", "STR & co"), background=2)
WITHOUT = TissueClasses(("TUM", "STR"))


class Page(HTMLParser):
    """Collects what a page refers to, its pictures and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.alts: list[str | None] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.links += [found[key] or "" for key in ("href", "src", "srcset", "data") if key in found]
        if tag == "img":
            self.alts.append(found.get("alt"))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


Built = tuple[Path, Segmenter, Manifest, list[Record]]


@pytest.fixture
def build(tmp_path: Path, tiny_lpd: Callable[..., torch.nn.Module]) -> Callable[[TissueClasses], Built]:
    def made(classes: TissueClasses) -> Built:
        numbers = np.random.default_rng(0)
        records = []
        for index in range(5):
            path, mask = tmp_path / f"img{index}.png", tmp_path / f"mask{index}.png"
            Image.fromarray(numbers.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(path)
            values = np.zeros((40, 48), np.uint8)
            values[: 8 * index] = 1
            values[0, :2] = 255
            Image.fromarray(values).save(mask)
            records.append(PatchRecord(path, None, "test", f"p{index % 2}", mask))
        data = Manifest(classes, tuple(records), tmp_path)
        settings = PredictSettings(fusion=(0, 0.4, 0.6), refine="none", views=("plain",))
        model = tiny_lpd(counts=(2, 3)).eval()
        calibration = Calibration(torch.full((2,), 0.3), torch.zeros(2))
        segmenter = Segmenter(model, classes, settings, calibration, (0.0, 0.1, 1.0), "mean")
        observed = observe_split(segmenter, read_labelled(records, classes, 4, "test"))
        figures = [
            entry
            for gate in ("predicted", "oracle")
            for entry in score_split(segmenter.with_settings(gate=gate), observed, "test", ("keep", "ignore"))
        ]
        return tmp_path / "run", segmenter, data, figures

    return made


def write_run(run: Path, classes: TissueClasses, valid: bool) -> None:
    run.mkdir()
    settings = Settings(name="t").model_dump(mode="json")
    described = {
        "status": "finished", "started": "2026-01-01T00:00:00+00:00", "settings": settings, "seed": 3,
        "data": {"source": "d", "fingerprint": "ab" * 32, "classes": classes.as_dict(),
                 "patches": {"train": 1234, "test": 5}, "patients": {"train": 9, "test": 2}},
        "versions": {"lpdseg": "0.1", "torch": "2.0"}, "hardware": {"device": "cpu"},
        "steps": 20, "step": 20, "seconds": 61.2, "parameters": 4321,
    }  # fmt: skip
    (run / "run.json").write_text(json.dumps(described))
    rows = [{"kind": "train", "step": s, "loss": 1 / s, "classification": 0.9 / s, "lr": 1e-3} for s in (5, 10, 20)]
    if valid:
        rows += [{"kind": "valid", "step": s, "miou": 40.0 + s, "mdice": 60.0, "image_f1": 80.0} for s in (10, 20)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("classes", [WITH_BACKGROUND, WITHOUT], ids=["background", "no background"])
@pytest.mark.parametrize("valid", [True, False], ids=["validated", "not validated"])
def test_page_stands_alone_and_shows_the_records(
    build: Callable[[TissueClasses], Built], tmp_path: Path, classes: TissueClasses, valid: bool
) -> None:
    run, segmenter, data, records = build(classes)
    write_run(run, classes, valid)
    out = tmp_path / "report.html"
    write_report(run, segmenter, data, records, out, images=4)
    text = out.read_text(encoding="utf-8")
    page = Page(text)

    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert not re.search(r"https?://|\bfile:|url\(|@import", text)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert str(tmp_path) not in text

    words = " ".join(" ".join(page.words).split())
    for entry in records:
        for figure in (entry["miou"], entry["mdice"], entry["fwiou"], entry["image_level"]["f1"]):
            assert f"{figure:.2f}" in words
        assert all(f"{one['iou']:.2f}" in words for one in entry["classes"].values())
        low, high = entry["interval"]["miou"]
        assert f"[{low:.1f}, {high:.1f}]" in words
    assert all(name in words for name in classes.channel_names)
    assert "1,234 patches of 9 patients" in words
    assert "trained for 20 steps (61 s on cpu)" in words

    assert page.alts
    assert all(page.alts)
    assert "Best of 4:" in words
    assert "Median of 4:" in words
    assert "Worst of 4:" in words
    assert ("validation figures" in text) == valid


def test_the_gallery_is_of_the_whole_split_as_the_list_of_the_worst_is(
    build: Callable[[TissueClasses], Built], tmp_path: Path
) -> None:
    run, segmenter, data, records = build(WITHOUT)
    write_run(run, WITHOUT, valid=False)
    figures = look_at_each(segmenter, data, "test")
    order = worst_first(figures, "error")
    write_report(run, segmenter.with_settings(gate="oracle"), data, records, tmp_path / "r.html", images=5)
    words = " ".join(" ".join(Page((tmp_path / "r.html").read_text(encoding="utf-8")).words).split())
    assert "All 5 test patches with a mask are ranked here by pixel accuracy, and" in words
    assert "Gate: predicted" in words
    for title, one in (("Worst", order[0]), ("Median", order[2]), ("Best", order[-1])):
        right = f"{100 * (1 - (one.error or 0)):.1f} % of pixels right {one.record.path.name}"
        assert f"{title}: {right}" in words
    write_report(run, segmenter, data, records, tmp_path / "few.html", images=2, patches=figures)
    words = " ".join(" ".join(Page((tmp_path / "few.html").read_text(encoding="utf-8")).words).split())
    assert (
        "Of all 5 test patches with a mask, the 4 that truly show two or more classes are ranked here by pixel"
        in words
    )


def test_names_of_classes_and_files_are_escaped(build: Callable[[TissueClasses], Built], tmp_path: Path) -> None:
    run, segmenter, data, records = build(WITH_BACKGROUND)
    write_run(run, WITH_BACKGROUND, valid=True)
    write_report(run, segmenter, data, records, tmp_path / "r.html", images=2)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<i>" not in text
    assert "&lt;i&gt;TUM" in text
    assert "STR &amp; co" in text
    for part in ("worst", "data", "protocol", "licences"):
        assert f'<section id="{part}">' in text


def test_what_corrections_have_changed_is_told(build: Callable[[TissueClasses], Built], tmp_path: Path) -> None:
    run, segmenter, data, records = build(WITHOUT)
    write_run(run, WITHOUT, valid=True)
    write_report(run, segmenter, data, records, tmp_path / "r.html", images=1)
    assert "Corrections" not in (tmp_path / "r.html").read_text(encoding="utf-8")
    pair = {"before": 61.2, "after": 63.1, "difference": 1.9, "interval": [-0.4, 3.2]}
    changes = {
        "from": f"{tmp_path}/first", "split": "valid", "patients": 6, "notes": ["v0 is left out"], "miou": pair,
        "classes": {"<i>TUM": {**pair, "before": None, "interval": None}},
        "changed": [{"patient": "<b>p", "split": "train", "patches": 3, "share": 12.34}],
    }  # fmt: skip
    (run / "changes.json").write_text(json.dumps(changes))
    write_report(run, segmenter, data, records, tmp_path / "r.html", images=1)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    words = " ".join(" ".join(Page(text).words).split())
    assert "and what an expert has corrected, on top of an earlier run" in words and "no pixel masks" not in words
    assert "went on from first with" in words and "V0 is left out." in words and str(tmp_path) not in text
    assert "mIoU 61.20 63.10 +1.90 [−0.4, +3.2] IoU <i>TUM – 63.10 +1.90" in words
    assert "<b>p train 3 12.3" in words and "<b>p" not in text and "<i>TUM" not in text
    now = {"pixels": 1200, "before": 4, "after": None}
    changes["taught"] = {"strokes": 7, "areas": 2, "patches": 5, "labelled": 3, "other_label": 4}
    changes["taught"]["slides"] = [{"slide": "<b>s.svs", "split": "valid", "patient": "p", "patches": 1}]
    changes["corrected"] = {**now, "classes": {"<i>TUM": now}}
    changes["changed"][0]["held"] = 5.67
    (run / "changes.json").write_text(json.dumps(changes))
    write_report(run, segmenter, data, records, tmp_path / "r.html", images=1)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    words = " ".join(" ".join(Page(text).words).split())
    assert "corrected: strokes, 7; areas, 2; on patches, 5; images whose labels were said, 3;" in words
    assert "drawn on the slide <b>s.svs lies on 1 valid patch of p." in words and "<b>s.svs" not in text
    assert (
        "<i>TUM 1,200 4.0 – all 1,200 4.0 –" in words and "<b>p train 3 12.3 5.7" in words and "<i>TUM" not in text
    )
    (run / "changes.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"changes\.json cannot be read"):
        write_report(run, segmenter, data, records, tmp_path / "r.html", images=1)


def test_figures_on_shaded_cells_can_be_read() -> None:
    """At least 4.5 to 1, as WCAG 2.2 AA asks, whatever the share: on white, in dark mode and in print."""
    templates = resources.files("lpdseg.insight") / "templates"
    css, macro = (templates / "style.css").read_text(), (templates / "parts.html.j2").read_text()
    found = re.search(r"share > ([\d.]+)", macro)
    assert found is not None
    themes = re.findall(r"--paper: (#\w+);.*?--shade: ([\d ]+); --on-shade: (#\w+);", css, re.DOTALL)
    assert len(themes) == 3
    for paper, shade, ink in themes:
        for share in np.linspace(0, 1, 201).tolist():
            mixed = [0.9 * share * float(a) + (1 - 0.9 * share) * b
                     for a, b in zip(shade.split(), rgb(paper), strict=True)]  # fmt: skip
            letters = (255.0, 255.0, 255.0) if share > float(found[1]) else rgb(ink)
            low, high = sorted(luminance([value / 255 for value in one]) for one in (mixed, letters))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (paper, share)


def rgb(colour: str) -> tuple[float, ...]:
    digits = colour.removeprefix("#")
    return tuple(map(float, bytes.fromhex(digits if len(digits) == 6 else "".join(2 * one for one in digits))))


def test_same_input_gives_the_same_page(build: Callable[[TissueClasses], Built], tmp_path: Path) -> None:
    run, segmenter, data, records = build(WITHOUT)
    write_run(run, WITHOUT, valid=True)
    for name in ("a", "b"):
        write_report(run, segmenter, data, records, tmp_path / name, images=3)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_page_without_records_and_figures_without_values(
    build: Callable[[TissueClasses], Built], tmp_path: Path
) -> None:
    run, segmenter, data, records = build(WITHOUT)
    write_run(run, WITHOUT, valid=False)
    write_report(run, segmenter, data, [], tmp_path / "a.html", images=1)
    assert "was not scored" in (tmp_path / "a.html").read_text()
    bare = records[0] | {"interval": None, "image_level": None}
    bare["classes"] = {name: {"iou": None, "dice": None} for name in bare["classes"]}
    write_report(run, segmenter, data, [bare], tmp_path / "b.html", images=1)
    assert "there is no interval" in (tmp_path / "b.html").read_text()


def test_probabilities_are_shown_beside_how_often_they_are_right(
    build: Callable[[TissueClasses], Built], tmp_path: Path
) -> None:
    run, segmenter, data, records = build(WITHOUT)
    write_run(run, WITHOUT, True)
    bins = {"pixels": [10, 0, 30], "right": [20.0, None, 90.0], "confidence": [30.0, None, 70.0]}
    cold = {"pixels": [0, 10, 30], "right": [None, 20.0, 90.0], "confidence": [None, 60.0, 99.0]}
    found = {"temperature": 1.7, "ece": 17.5, "ece_unscaled": 21.25, "bins": bins, "bins_unscaled": cold}
    records[0]["reliability"] = found
    write_report(run, segmenter, data, records, tmp_path / "report.html", images=2)
    words = " ".join(" ".join(Page((tmp_path / "report.html").read_text(encoding="utf-8")).words).split())
    assert "Expected calibration error: 17.50 %, without the temperature 1.7" in words
    assert "21.25 %" in words

    chart = reliability_chart(records[0])
    assert chart is not None
    for said in ("T = 1.7, 30: 20", "T = 1.7, 70: 90", "T = 1, 60: 20", "T = 1, 99: 90"):
        assert f"<title>{said}</title>" in chart.svg
    records[0]["reliability"] = found | {"temperature": 1.0}
    alone = reliability_chart(records[0])
    assert alone is not None
    assert alone.svg.count("<polyline") == 2
    for nothing in (None, found | {"ece": None}):
        records[0]["reliability"] = nothing
        assert reliability_chart(records[0]) is None


def test_what_is_missing_is_named(build: Callable[[TissueClasses], Built], tmp_path: Path) -> None:
    run, segmenter, data, records = build(WITHOUT)
    with pytest.raises(CheckpointError, match=r"run\.json is missing"):
        write_report(run, segmenter, data, records, tmp_path / "r.html")
    write_run(run, WITHOUT, valid=False)
    with pytest.raises(DataError, match="'valid'"):
        write_report(run, segmenter, data, records, tmp_path / "r.html", split="valid")


def test_end_of_the_warm_up_is_read_from_the_losses() -> None:
    def row(step: int, **values: float) -> dict[str, object]:
        return {"kind": "train", "step": step, "loss": 1.0, **values}

    assert warmup_end([row(10), row(20), row(30, diversity=0.5)]) == 20
    assert warmup_end([row(10), row(20)]) is None
    assert warmup_end([row(10, foreground=1.0)]) is None
    assert warmup_end([row(10, composite=1.0), row(20, composite=1.0), row(30, composite=1.0, pseudo=1.0)]) == 20


def test_every_part_of_the_loss_has_a_chart_in_the_order_of_its_task() -> None:
    rows = [
        {"kind": "train", "step": 5, "loss": 2.0, "composite": 1.0, "classification": 0.7, "lr": 1e-3},
        {"kind": "valid", "step": 5, "miou": 40.0},
        {"kind": "train", "step": 9, "loss": 1.0, "one_more": 3.0, "pseudo": 0.5, "composite": 0.8,
         "classification": 0.6, "gradient_norm": 2.0, "lr": 1e-3},
    ]  # fmt: skip
    titles = {"classification": "L_cls", "diversity": "L_div", "composite": "composites", "pseudo": "masks"}
    found = [chart.title for chart in loss_charts(rows, 10, titles)]
    assert found == ["total loss", "L_cls", "composites", "masks", "one more", "gradient norm, before clipping"]
    untitled = [chart.title for chart in loss_charts(rows, 10)]
    assert untitled[0] == "total loss" and sorted(untitled[1:-1]) == [
        "classification", "composite", "one more", "pseudo",
    ]  # fmt: skip


def test_paper_shows_tables_whole_and_phones_lose_no_figure() -> None:
    """What scrolls on a screen would be cut off on paper; on a narrow screen only the bars of classes go."""
    style = resources.files("lpdseg.insight").joinpath("templates/style.css").read_text(encoding="utf-8")
    on_paper = style[style.index("@media print") :]
    assert "@page { margin: 15mm; }" in style  # also where a program prints, which leaves no margin by itself
    assert ".scroll { overflow: visible; }" in on_paper and "white-space: normal" in on_paper
    narrow = style[style.index("@media (max-width") : style.index("@media print")]
    assert [line for line in narrow.split("}") if "display: none" in line] == [" .bars .bar { display: none; "]


def test_resolution_gives_a_scale_bar_and_published_names_are_written_out(
    build: Callable[[TissueClasses], Built], tmp_path: Path
) -> None:
    run, segmenter, data, records = build(WITHOUT)
    write_run(run, WITHOUT, valid=False)
    write_report(run, segmenter, data, records, tmp_path / "a.html", images=1)
    assert 'class="scale"' not in (tmp_path / "a.html").read_text()
    known = Manifest(data.classes, tuple(replace(one, mpp=0.5) for one in data.records), data.source)
    write_report(run, segmenter, known, records, tmp_path / "b.html", images=1)
    # 48 px of 0.5 µm: 5 µm are the longest round length below two fifths of 24 µm.
    assert 'style="width:20.83%" title="scale bar">5 µm<' in (tmp_path / "b.html").read_text(encoding="utf-8")
    assert ">overlay<" in (tmp_path / "b.html").read_text(encoding="utf-8")
