"""The figures of a run as it goes, whatever somebody has done to their file."""

from pathlib import Path

import pytest

from lpdseg.training.metrics import read_metrics

ROW = b'{"kind": "train", "step": 1, "loss": 0.5}\n'


@pytest.mark.parametrize("line", [b'{"step": 2, "lo', b"\xa0\xff", b"[1]", b"{}", b'{"step": "2"}', b"[" * 3000])
def test_rows_end_before_a_line_that_is_none(line: bytes, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(ROW + line + b"\n" + ROW)
    assert read_metrics(tmp_path) == [{"kind": "train", "step": 1, "loss": 0.5}]
