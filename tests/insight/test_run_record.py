"""What a run folder says of itself, whatever somebody has done to its files."""

import json
from pathlib import Path

import pytest

from lpdseg.checkpoint import read_state
from lpdseg.errors import CheckpointError
from lpdseg.insight.run_record import data_of, read_run


@pytest.mark.parametrize("data", [False, ["/data"], {"source": [["/data"]]}, {"source": None}, {}])
def test_data_of_another_shape_is_no_data(data: object, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"settings": {}, "data": data}))
    with pytest.raises(CheckpointError, match="with --data"):
        data_of(tmp_path)


def test_a_file_in_place_of_a_run_is_no_run_and_not_a_damaged_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"run\.json is missing; name the folder of a run"):
        read_run(tmp_path / "file")
    with pytest.raises(CheckpointError, match="is no folder; name the folder"):
        read_state(tmp_path / "file", "best")
