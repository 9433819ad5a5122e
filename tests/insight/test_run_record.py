"""What a run folder says of itself, whatever somebody has done to its files."""

import json
from pathlib import Path

import pytest

from lpdseg.errors import CheckpointError
from lpdseg.insight.run_record import data_of


@pytest.mark.parametrize("data", [False, ["/data"], {"source": [["/data"]]}, {"source": None}, {}])
def test_data_of_another_shape_is_no_data(data: object, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"settings": {}, "data": data}))
    with pytest.raises(CheckpointError, match="with --data"):
        data_of(tmp_path)
