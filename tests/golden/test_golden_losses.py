"""A change that should change nothing shows the same losses, step by step."""

from pathlib import Path

import pytest
from recorded_losses import CASES, FOLDER, recorded, train_briefly

from lpdseg.methods.table import METHODS
from lpdseg.settings import load_settings
from no_waiting import as_on_a_gpu


@pytest.mark.parametrize("name", CASES)
def test_the_losses_are_those_recorded(name: str, tmp_path: Path) -> None:
    found, expected = train_briefly(name, tmp_path), recorded(name)
    assert len(found) == len(expected)
    for step, (now, then) in enumerate(zip(found, expected, strict=True), 1):
        assert now == pytest.approx(then, rel=1e-4, abs=1e-7), f"step {step}"


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"cam"}))
def test_what_spares_a_gpu_waiting_changes_no_loss(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs that fill up, classes that are compared though an image lacks them, an optimiser of one kernel.

    But for rounding, which moves a pixel over the edge of a mask of the contrast now and then.
    """
    as_on_a_gpu(monkeypatch)
    for step, (now, then) in enumerate(zip(train_briefly(name, tmp_path), recorded(name), strict=True), 1):
        assert now == pytest.approx(then, rel=5e-3, abs=1e-7), f"step {step}"


def test_every_method_has_a_record() -> None:
    methods = [load_settings(FOLDER / "settings.yaml", CASES[name]).method for name in CASES]
    assert set(methods) == set(METHODS)
    assert {path.stem for path in FOLDER.glob("*.json")} == set(CASES)
