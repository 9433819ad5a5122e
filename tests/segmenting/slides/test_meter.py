import pytest

from lpdseg.segmenting.slides import meter
from lpdseg.segmenting.slides.meter import Meter


def test_rate_time_left_and_share_of_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(meter.time, "monotonic", lambda: now[0])
    counts = Meter(40)
    assert counts.pace() == meter.Pace(0, 40, 0.0, None, 0.0)
    now[0] = 105.0
    pace = counts.add(10, waited=1.0, busy=4.0)
    assert (pace.done, pace.rate, pace.left, pace.waiting) == (10, 2.0, 15.0, 0.25)
    now[0] = 110.0
    pace = counts.add(10, waited=0.0, busy=1.0)
    assert (pace.done, pace.rate, pace.left, pace.waiting) == (20, 2.0, 10.0, 0.2)
