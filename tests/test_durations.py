import pytest

from lpdseg.durations import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.4, "3 s"), (119.4, "119 s"), (600, "10 min"), (7199, "2 h 0 min"), (9000, "2 h 30 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
