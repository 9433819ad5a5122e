import pytest

from lpdseg.durations import Pacer, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.4, "3 s"), (119.4, "119 s"), (600, "10 min"), (7199, "2 h 0 min"), (9000, "2 h 30 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_pacer_speaks_now_and_then() -> None:
    now = [0.0]
    pacer = Pacer(first=5, every=60, clock=lambda: now[0])
    told = []
    for done in range(101):
        told.append(pacer.tell(done, 200))
        now[0] += 2
    assert [(index, text) for index, text in enumerate(told) if text] == [
        (3, "3/200, 7 min left"), (33, "33/200, 6 min left"),
        (63, "63/200, 5 min left"), (93, "93/200, 4 min left"),
    ]  # fmt: skip


def test_a_pacer_that_has_seen_nothing_done_promises_nothing() -> None:
    assert Pacer(first=0).tell(0, 9) == "0/9"
