"""The table of slides, where several processes end at once."""

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lpdseg.workflows.slides.result import SlideResult
from lpdseg.workflows.slides.summary import summary_path, write_summary


def test_no_row_of_another_process_is_lost(tmp_path: Path) -> None:
    table, slides = summary_path(tmp_path, None), [tmp_path / f"s{number:02}.tif" for number in range(32)]
    with ThreadPoolExecutor(8) as pool:
        for one in [pool.submit(write_summary, table, [SlideResult(slide, "failed")], []) for slide in slides]:
            one.result()
    with table.open(newline="") as file:
        assert [row["slide"] for row in csv.DictReader(file)] == [str(slide) for slide in slides]
    assert [path.name for path in tmp_path.iterdir()] == ["summary.csv"]
