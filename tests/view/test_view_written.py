"""What `segment` has written, as the viewer reads it, whatever somebody has done to its records."""

import json
from pathlib import Path

import numpy as np
import pytest

from lpdseg.errors import DataError
from lpdseg.view.written import WrittenFile, slide_results


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


def test_each_level_of_a_pyramid_is_read(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="the extra slides is not installed")
    path = tmp_path / "a.ome.tif"
    pixels = np.random.default_rng(0).integers(0, 5, (600, 900), np.uint8)
    coarse = 4 - pixels[::2, ::2]  # so that it tells which level was read
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(pixels, tile=(512, 512), compression="zlib", subifds=1)
        writer.write(coarse, tile=(512, 512), compression="zlib", subfiletype=1)
    file = WrittenFile(path, (900, 600))
    assert (file.read(np.arange(900), np.arange(600)) == pixels).all()
    assert (file.read(np.arange(0, 900, 2), np.arange(0, 600, 2)) == coarse).all()
