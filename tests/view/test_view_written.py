"""What `segment` has written, as the viewer reads it, whatever somebody has done to its records."""

import json
from pathlib import Path

import pytest

from lpdseg.errors import DataError
from lpdseg.view.written import slide_results


@pytest.mark.parametrize("odd", [{"settings": [1]}, {"settings": None}, {"outputs": 3}, {"outputs": ["geojson"]}])
def test_a_state_of_another_shape_is_refused(odd: dict[str, object], tmp_path: Path) -> None:
    state = {"path": str(tmp_path), "settings": {}, "outputs": {}} | odd
    (tmp_path / "states").mkdir()
    (tmp_path / "states" / "a.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match="no record of this program"):
        list(slide_results(tmp_path))


def test_a_state_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    (tmp_path / "states").mkdir()
    (tmp_path / "states" / "a.json").write_text("[" * 5000)
    with pytest.raises(DataError, match="cannot be read"):
        list(slide_results(tmp_path))
