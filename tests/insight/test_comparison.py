"""One page of several runs: what it shows, and that nothing in it comes from or leads to elsewhere."""

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from test_insight_report import Page

import lpdseg
from lpdseg.data.opening import open_data
from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.errors import CheckpointError, SettingsError
from lpdseg.evaluation.protocol import Protocol, record
from lpdseg.evaluation.worst import PatchFigures, worst_first, worst_together
from lpdseg.insight.comparison import _difference, _differing
from lpdseg.insight.data_card import data_card
from lpdseg.insight.report_parts import Looked, atlas_plates, look_at_each, worst_patches
from lpdseg.insight.run_record import run_names
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.settings import Settings
from lpdseg.tissue import TissueClasses

CLASSES = TissueClasses(("TUM", "STR"))
NAME = '<img src=x onerror=alert(1)>"&'


@pytest.fixture
def hostile(small_data: Path, tmp_path: Path) -> Path:
    """The patches under names that would be markup."""
    folder = Path(shutil.copytree(small_data, tmp_path / f"{NAME} data"))
    for path in sorted(folder.rglob("v*.png")):
        path.rename(path.with_name(f"v{NAME}{path.name}"))
    return folder


def test_runs_stand_side_by_side_on_a_page_of_its_own(
    small_run: Path, prototype_run: Path, hostile: Path, tmp_path: Path
) -> None:
    runs = [Path(shutil.copytree(small_run, tmp_path / NAME)), prototype_run]
    out = tmp_path / "below" / "page.html"
    assert lpdseg.report(runs, hostile, out, classes="pink,blue", images=2, device="cpu") == out
    text = out.read_text(encoding="utf-8")
    page = Page(text)
    assert all(link.startswith(("data:image/png;base64,", "data:image/jpeg;base64,", "#")) for link in page.links)
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(page.tags)
    assert all(page.alts) and len(page.alts) == 3 * 4  # two worst and the median: image, truth and two masks
    assert "<img src=x" not in text and "url(" not in text and "prefers-color-scheme" in text
    words = " ".join(" ".join(page.words).split())
    assert f"{NAME} : LPD" in words and "prototypes : LPD" in words and f"{NAME} data: 2 runs side by side" in words
    for run in runs:
        for entry in lpdseg.evaluate(run, hostile, "valid", ("predicted", "oracle"), classes="pink,blue"):
            assert f"{entry['miou']:.2f}" in words
    assert "model.head_width" in words and "train.lr" not in words  # settings that differ, and no others
    for part in ("Worst 1:", "Median:", "Protocol", "Licences", "validation mIoU", "total loss", "lpdseg MIT"):
        assert part in words, part


def test_a_page_of_several_needs_a_name_and_the_same_classes(
    small_run: Path, prototype_run: Path, small_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="name it with out"):
        lpdseg.report([small_run, prototype_run], small_data)
    other = Path(shutil.copytree(small_run, tmp_path / "other"))
    for state in (other / "checkpoints").glob("*.json"):
        state.write_text(state.read_text(encoding="utf-8").replace('"pink"', '"rose"'), encoding="utf-8")
    with pytest.raises(CheckpointError, match="trained for the classes rose, blue"):
        lpdseg.report([small_run, other], small_data, tmp_path / "p.html", device="cpu")


def figures(errors: list[int | None]) -> list[PatchFigures]:
    """Of patches of 10 pixels, of which so many are wrong; None: nothing is known of the truth."""
    return [
        PatchFigures(
            PatchRecord(Path(f"{n}.png"), None, "test", f"p{n}"),
            np.zeros((2, 2), int) if wrong is None else np.array([[10 - wrong, wrong], [0, 0]]), 0.0, 0.1,
        )
        for n, wrong in enumerate(errors)
    ]  # fmt: skip


def test_the_worst_come_first_by_the_mean_over_runs() -> None:
    one, other = figures([1, 8, 2, 9, 3]), figures([5, 8, 8, 1, None])
    assert [first.record.path.stem for first, _ in worst_together([one, other])] == ["1", "2", "3", "0"]
    alone = [shown.record.path for (shown,) in worst_together([one])]
    assert alone == [shown.record.path for shown in worst_first(one, "error")]


def test_the_worst_of_a_report_are_those_of_evaluate(small_run: Path, small_data: Path) -> None:
    """Of the whole split, and not of a sample of it."""
    segmenter = lpdseg.load(small_run, device="cpu")
    data = open_data(small_data, chosen="pink,blue", presumed=None, mask_values=())
    told: list[list[PatchFigures]] = []
    lpdseg.evaluate(small_run, data, "valid", device="cpu", patches=told.append)
    found = worst_patches([Looked("", segmenter, told[0])], data, "valid", 3)
    first, last = worst_first(told[0], "error"), [tile["heading"] for tile in found["rows"][0]["tiles"]][-1]
    assert [row["file"] for row in found["rows"]] == [first[n].record.path.name for n in range(3)]
    assert found["rows"][0]["title"] == f"Worst 1: {100 * (1 - (first[0].error or 0)):.1f} % of pixels right"
    assert last == "errors" and f"Of all {len(told[0])} valid patches" in found["told"]
    again = look_at_each(segmenter, data, "valid")
    assert [one.confusion.tolist() for one in again] == [one.confusion.tolist() for one in told[0]]
    both = worst_patches([Looked(name, segmenter, told[0]) for name in "ab"], data, "valid", 2)["rows"]
    assert [tile["heading"][:2] for tile in both[0]["tiles"]] == ["im", "tr", "a:", "b:"]
    assert worst_patches([Looked("", segmenter, [])], data, "valid", 2)["rows"] == []


def test_a_difference_pairs_patients() -> None:
    rng = np.random.default_rng(0)
    easy, noise = rng.integers(1, 500, (6, 2, 2)), rng.integers(0, 30, (6, 2, 2))
    better = easy + 300 * np.eye(2, dtype=int)
    one, other = (
        record(Protocol("test"), CLASSES, matrices, 6, patients=list("abcdef"))
        for matrices in (easy, better + noise)
    )
    found = _difference(one, other, 2)
    assert found is not None and float(found.text) == pytest.approx(other["miou"] - one["miou"], abs=0.006)
    low, high = (float(end.replace("−", "-")) for end in found.interval.strip("[]").split(", "))
    assert low <= float(found.text) <= high
    back = _difference(other, one, 2)
    assert back is not None and back.text == found.text.replace("+", "−")


def test_settings_that_differ_have_their_full_names() -> None:
    changed = Settings().model_copy(update={"train": Settings().train.model_copy(update={"lr": 0.5})})
    assert _differing([Settings(), changed]) == [("train.lr", [str(Settings().train.lr), "0.5"])]
    assert _differing([Settings(), Settings()]) == []
    third = changed.model_copy(update={"train": changed.train.model_copy(update={"lr": 8 / 3})})
    assert _differing([changed, third]) == [("train.lr", ["0.5", "2.66667"])]


def test_runs_are_called_by_what_tells_them_apart(tmp_path: Path) -> None:
    assert run_names([tmp_path / "a" / "run"]) == ["run"]
    assert run_names([tmp_path / "a" / "run", tmp_path / "b" / "run"]) == ["a/run", "b/run"]
    assert run_names([tmp_path / "run", tmp_path / "run"]) == ["run (1)", "run (2)"]


def test_a_data_card_counts_what_is_there(tmp_path: Path) -> None:
    records = (
        PatchRecord(tmp_path / "a.png", (1, 0), "train", "p", mpp=0.5),
        PatchRecord(tmp_path / "b.png", (1, 1), "train", "p"),
        PatchRecord(tmp_path / "c.png", None, "valid", "q", tmp_path / "m.png", 0.25, patient_known=False),
    )
    card = data_card(Manifest(CLASSES, records, tmp_path, ("a note with a path",)))
    train, valid = card.splits
    assert (train.patches, train.patients, train.masks, train.labelled) == (2, 1, 0, (2, 1))
    assert train.mpp == "0.5 (1), unknown (1)" and valid.mpp == "0.25"
    assert valid.labelled is None and valid.masks == 1 and not card.patients_known
    assert str(tmp_path.parent) not in str(asdict(card))


def test_a_network_without_prototypes_has_no_atlas(tiny_lpd: Callable[..., object], segmenter: Segmenter) -> None:
    assert atlas_plates(Path("nowhere"), segmenter, []) is None
