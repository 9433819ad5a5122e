import time

import pytest

from lpdseg.insight import demo, demo_time
from lpdseg.insight.demo_time import expected_seconds
from lpdseg.settings import load_settings

COUNTS = {"train": 24, "valid": 8, "test": 12}


def test_the_estimate_adds_up_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_time, "_seconds_per_patch", lambda size, mpp: 0.5)
    monkeypatch.setattr(demo_time, "seconds_per_step", lambda settings, size: 3.0)
    asked = (
        "train.batch=8",
        "train.epochs=2",
        "train.validations=4",
        "loss.composite.every=2",
        "predict.views=[plain]",
    )
    seconds = expected_seconds(load_settings("demo", asked), COUNTS, 64, 1.0, workers=2)
    # 44 patches by two workers; 6 steps; 4 x 8 + 12 predictions at a third of a twelfth of a step, as are two
    # looks at each of 24 training patches.
    assert seconds == pytest.approx(44 * 0.5 / 2 + 6 * 3.0 + (44 + 48) * 3.0 / 12 / 3)


def test_it_is_measured_on_this_machine() -> None:
    settings = load_settings("demo", [*demo._QUICK_SETTINGS, "train.precision=32-true"])
    began = time.monotonic()
    seconds = expected_seconds(settings, COUNTS, 64, 1.0, workers=1)
    took = time.monotonic() - began  # one step more, and the model's start, than what is counted
    per_step = demo_time.seconds_per_step(settings, 64)
    assert 0 < per_step < took
    assert seconds > 0
