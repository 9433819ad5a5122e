"""What is told of the outputs of a slide."""

import pytest

from lpdseg.workflows.slides.kinds import _area


@pytest.mark.parametrize(("mm2", "text"), [(9.25e-6, "9.25 µm²"), (0.0041, "4100 µm²"), (0.0123, "0.0123 mm²")])
def test_small_areas_are_told_in_the_unit_of_their_limit(mm2: float, text: str) -> None:
    assert _area(mm2) == text
