"""What the tests of slides share; `drawn_slides` draws them."""

from collections.abc import Callable

import pytest


@pytest.fixture
def silent(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], bool]:
    """Whether no library has said anything so far."""

    def nothing_said() -> bool:
        told = capfd.readouterr()
        return told.out == told.err == "" and not caplog.records

    return nothing_said
