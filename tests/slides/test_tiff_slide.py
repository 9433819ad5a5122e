"""TIFFs of every kind that slides come in: the pixels, the levels, and what is refused."""

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_slides import cut, lose_tile, reduced, scene, spoil_tile, tifffile, write_pyramid, write_svs
from PIL import Image

from lpdseg.slides.slide import Mpp, Slide, SlideError
from lpdseg.slides.tiff_segments import Segments
from lpdseg.slides.tiff_slide import TiffSlide, open_tiff

IMAGE = scene(301, 203)
LEVELS = (IMAGE, reduced(IMAGE, 2), reduced(IMAGE, 4))


Opening = Callable[[Path], TiffSlide]


@pytest.fixture
def opened() -> Iterator[Opening]:
    """Opens slides that are closed after the test."""
    slides: list[TiffSlide] = []

    def opening(path: Path) -> TiffSlide:
        slide = open_tiff(path)
        assert slide is not None
        slides.append(slide)
        return slide

    yield opening
    for slide in slides:
        slide.close()


@pytest.mark.parametrize("subifds", [True, False])
@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"compression": None},
        {"compression": "lzw", "predictor": True},
        {"compression": "zstd", "tile": (48, 80)},
        {"planarconfig": "separate"},
        {"tile": None, "rowsperstrip": 7},
        {"tile": None, "compression": None},
        {"tile": None, "compression": None, "rowsperstrip": 1000, "planarconfig": "separate"},
        {"tile": None, "planarconfig": "separate", "rowsperstrip": 50},
        {"bigtiff": True, "byteorder": ">"},
    ],
    ids=str,
)
def test_every_rectangle_of_every_level(
    stored: dict[str, Any], subifds: bool, tmp_path: Path, opened: Opening
) -> None:
    slide = opened(write_pyramid(tmp_path / "a.tif", LEVELS, subifds=subifds, **stored))
    assert isinstance(slide, Slide)
    assert [level.downsample for level in slide.facts.levels] == [(1, 1), (2, 2), (4, 4)]
    rng = np.random.default_rng(1)
    for level, image in enumerate(LEVELS):
        for _ in range(12):
            x, y = (int(rng.integers(-40, side + 20)) for side in image.shape[1::-1])
            width, height = (int(value) for value in rng.integers(1, 150, 2))
            assert (slide.read(level, x, y, width, height) == cut(image, x, y, width, height)).all()


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_jpeg_as_pillow_decodes_it(subsampling: str, tmp_path: Path, opened: Opening) -> None:
    path = tmp_path / "a.tif"
    options = {"compression": "jpeg", "compressionargs": {"subsampling": subsampling, "level": 95}}
    write_pyramid(path, LEVELS, **options)
    with Image.open(path) as image:
        wanted = np.array(image)
    slide = opened(path)
    assert (slide.read(0, 3, -5, 200, 150) == cut(wanted, 3, -5, 200, 150)).all()
    for level, drawn in enumerate(LEVELS):
        assert np.abs(slide.read(level, 0, 0, *drawn.shape[1::-1]).astype(int) - drawn).mean() < 6


def test_only_the_tiles_of_a_rectangle_are_decoded_and_few_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lpdseg.slides.tiff_segments._KEPT_BYTES", 2 * 64 * 64 * 3)
    path = write_pyramid(tmp_path / "a.tif", LEVELS)
    with tifffile.TiffFile(path) as tiff:
        segments = Segments(tiff.pages[0])
        decoded, decode = [], segments._decode
        monkeypatch.setattr(
            segments, "_decode", lambda data, n, **more: decoded.append(n) or decode(data, n, **more)
        )
        segments.read(60, 70, 10, 10)
        assert decoded == [5, 6]  # five tiles to a row
        segments.read(62, 72, 5, 5)
        assert decoded == [5, 6]
        segments.read(0, 0, 301, 203)
        assert len(segments._kept) == 2


def test_tiles_that_were_left_out_are_white(tmp_path: Path, opened: Opening) -> None:
    path = tmp_path / "a.tif"
    tiles = (IMAGE[y : y + 64, x : x + 64] if (x, y) != (64, 64) else None for y in (0, 64) for x in (0, 64))
    tifffile.imwrite(
        path, tiles, shape=(128, 128, 3), dtype="uint8", tile=(64, 64), photometric="rgb", compression="deflate"
    )
    found = opened(path).read(0, 0, 0, 128, 128)
    assert (found[64:, 64:] == 255).all() and (found[:64] == IMAGE[:64, :128]).all()


@pytest.mark.parametrize("subifds", [True, False])
@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_tiles_of_a_coarser_level_that_were_left_out_are_made_from_finer_ones(
    subifds: bool, planarconfig: str, tmp_path: Path, opened: Opening
) -> None:
    levels = (scene(400, 300), *(reduced(scene(400, 300), factor) for factor in (2, 4)))
    path = write_pyramid(tmp_path / "a.tif", levels, subifds=subifds, planarconfig=planarconfig)
    planes = range(3 if planarconfig == "separate" else 1)
    across = [-(-level.shape[1] // 64) * -(-level.shape[0] // 64) for level in levels]
    codes = (324,) if subifds else (324, 325)
    lose_tile(
        path, 2, *(0 + plane * across[2] for plane in planes), codes=codes
    )  # 64 x 64 pixels, of 128 x 128 of level 1
    lose_tile(path, 1, *(1 + plane * across[1] for plane in planes))  # 64 to 128 of its columns
    slide = opened(path)
    assert [note.removeprefix(str(path)) for note in slide.facts.notes] == [
        f" lacks 1 tile of level {level} that finer levels have; they are made from those" for level in (1, 2)
    ]
    for level, (x, y, width, height) in ((1, (50, -5, 100, 90)), (2, (0, 0, 100, 75)), (2, (30, 30, 40, 40))):
        found = slide.read(level, x, y, width, height)
        assert np.abs(found.astype(int) - cut(levels[level], x, y, width, height)).max() <= 2
    whole, part = slide.read(2, 0, 0, 100, 75), slide.read(2, 17, 9, 60, 50)
    assert (part == whole[9:59, 17:77]).all()  # the same pixel in every rectangle


def test_tiles_that_no_level_has_are_white_without_a_word(tmp_path: Path, opened: Opening) -> None:
    levels = (scene(256, 256), reduced(scene(256, 256), 2))
    path = write_pyramid(tmp_path / "a.tif", levels)
    lose_tile(path, 0, 0, 1, 4, 5)
    lose_tile(path, 1, 0)
    slide = opened(path)
    assert slide.facts.notes == ()
    assert (slide.read(1, 0, 0, 64, 64) == 255).all() and (slide.read(0, 0, 0, 128, 128) == 255).all()


def test_tiles_of_level_0_that_are_lost_are_told_where_coarser_levels_show_tissue(
    tmp_path: Path, opened: Opening
) -> None:
    image = scene(512, 256)
    image[:, 256:] = 250  # glass
    path = write_pyramid(tmp_path / "a.tif", (image, reduced(image, 2), reduced(image, 4)))
    lose_tile(path, 0, 6, 7)  # of eight to a row, and of glass
    assert opened(path).facts.notes == ()
    lose_tile(path, 0, 0, 1)
    lose_tile(path, 1, 0)
    assert [note.removeprefix(str(path)) for note in opened(path).facts.notes] == [
        " lacks 2 tiles of level 0 where coarser levels show tissue, which may be read as white; copy or export it "
        "again",
        " lacks 1 tile of level 1 that finer levels have; they are made from those",
    ]


def write_scenes(path: Path, *scenes: np.ndarray, names: Sequence[str] = (), mpp: float | None = 0.5) -> Path:
    """An OME-TIFF with a pyramid for each image."""
    told = {} if mpp is None else {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
    options = {"photometric": "rgb", "tile": (64, 64), "compression": "deflate"}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for image, name in zip_longest(scenes, names):
            tiff.write(
                image, subifds=1, metadata={"axes": "YXS", **told, **({"Name": name} if name else {})}, **options
            )
            tiff.write(reduced(image, 2), subfiletype=1, **options)
    return path


@pytest.mark.parametrize("mpp", [0.5, None])
def test_a_further_scene_is_told(mpp: float | None, tmp_path: Path, opened: Opening) -> None:
    slide = opened(write_scenes(tmp_path / "a.ome.tif", scene(150, 100), IMAGE, mpp=mpp))
    assert slide.facts.size == (301, 203)
    assert slide.facts.notes == (
        f"{slide.path} holds 2 scenes; only the largest, 301 x 203 pixels, is read, and not 150 x 100 (20% of what "
        "was scanned): export each scene to a file of its own",
    )
    labelled = write_scenes(tmp_path / "b.ome.tif", IMAGE, scene(150, 100), names=("", "label image"), mpp=mpp)
    assert opened(labelled).facts.notes == ()


def test_a_further_scene_of_a_plain_tiff_is_told_by_its_resolution(tmp_path: Path, opened: Opening) -> None:
    options = {"photometric": "rgb", "tile": (64, 64), "metadata": None, "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(IMAGE, resolution=(2e4, 2e4), **options)
        tiff.write(scene(200, 190), resolution=(2e4, 2e4), **options)
        tiff.write(scene(180, 170), resolution=(100, 100), **options)  # a macro image
        tiff.write(LEVELS[1], resolution=(2e4, 2e4), **options)  # a copy that does not say so
    [note] = opened(tmp_path / "a.tif").facts.notes
    assert "holds 2 scenes" in note and "not 200 x 190 (38%" in note


def test_scenes_of_one_size_are_no_stack(tmp_path: Path) -> None:
    with pytest.raises(
        SlideError, match=r"a\.ome\.tif holds 2 scenes of 301 x 203 pixels, and a slide is one; export"
    ):
        open_tiff(write_scenes(tmp_path / "a.ome.tif", IMAGE, scene(301, 203, seed=2)))
    stack = tmp_path / "b.ome.tif"
    tifffile.imwrite(
        stack, np.stack([IMAGE] * 2), photometric="rgb", tile=(64, 64), metadata={"axes": "ZYXS"}, ome=True
    )
    with pytest.raises(SlideError, match=r"b\.ome\.tif holds 2 images of 301 x 203 pixels \(a stack, or single"):
        open_tiff(stack)


def test_a_label_before_the_slide_and_a_macro_after_it_are_no_levels(tmp_path: Path, opened: Opening) -> None:
    path, options = tmp_path / "a.tif", {"photometric": "rgb", "metadata": None, "compression": "deflate"}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(scene(120, 90), **options)
        tiff.write(IMAGE, tile=(64, 64), **options)
        tiff.write(scene(150, 101, seed=3), subfiletype=9, tile=(64, 64), **options)  # of the slide's proportions
        tiff.write(scene(150, 101, seed=4), subfiletype=1, **options)  # in strips
        tiff.write(scene(150, 80), subfiletype=1, tile=(64, 64), **options)
        tiff.write(LEVELS[2], subfiletype=1, tile=(64, 64), **options)
    slide = opened(path)
    assert [(level.width, level.height) for level in slide.facts.levels] == [(301, 203), (75, 50)]
    assert (slide.read(1, 0, 0, 75, 50) == LEVELS[2]).all()


def test_aperios_layout(tmp_path: Path, opened: Opening) -> None:
    slide = opened(write_svs(tmp_path / "a.svs", LEVELS))
    assert [level.width for level in slide.facts.levels] == [301, 150, 75]
    assert slide.facts.vendor == "aperio"
    assert slide.facts.mpp == Mpp(0.25, 0.25, "MPP in ImageDescription")
    assert (slide.read(1, 0, 0, 150, 101) == LEVELS[1]).all()


@pytest.mark.parametrize(
    ("unit", "value", "mpp"), [("µm", 0.25, 0.25), ("nm", 250.0, 0.25), ("mm", 0.0005, 0.5), ("inch", 1.0, None)]
)
def test_ome(unit: str, value: float, mpp: float | None, tmp_path: Path, opened: Opening) -> None:
    path = tmp_path / "a.ome.tif"
    sizes = {f"PhysicalSize{axis}": value for axis in "XY"} | {f"PhysicalSize{axis}Unit": unit for axis in "XY"}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        options = {"photometric": "rgb", "tile": (64, 64), "compression": "deflate"}
        tiff.write(IMAGE, subifds=2, metadata={"axes": "YXS", **sizes}, **options)
        for level in LEVELS[1:]:
            tiff.write(level, subfiletype=1, **options)
    slide = opened(path)
    assert slide.facts.vendor == "ome" and len(slide.facts.levels) == 3
    found = slide.facts.mpp
    assert (found is None) == (mpp is None)
    if found is not None:
        assert found.x == found.y == pytest.approx(mpp) and "PhysicalSizeX" in found.source


def test_microns_from_resolution_tags_and_imagej(tmp_path: Path, opened: Opening) -> None:
    by_centimetre = {"resolution": (40_000, 20_000), "resolutionunit": "CENTIMETER"}
    found = opened(write_pyramid(tmp_path / "a.tif", LEVELS, **by_centimetre)).facts.mpp
    assert found is not None and (found.x, found.y) == (0.25, 0.5) and "40000 x 20000" in found.source
    tifffile.imwrite(
        tmp_path / "b.tif", IMAGE, imagej=True, resolution=(4, 4), metadata={"unit": "um", "axes": "YXS"}
    )
    found = opened(tmp_path / "b.tif").facts.mpp
    assert found is not None and (found.x, found.y) == (0.25, 0.25)
    assert opened(write_pyramid(tmp_path / "c.tif", LEVELS)).facts.mpp is None


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("grey", "1 channel of 8 bits"),
        ("16-bit", "3 channels of 16 bits"),
        ("float", "3 channels of 32 bits"),
        ("alpha", "4 channels"),
        ("palette", "1 channel"),
        ("lab", "colour model CIELAB"),
        ("stack", "holds 3 images of 64 x 64 pixels"),
        ("one big tile", "tiles of 320 x 208 pixels, too large"),
    ],
)
def test_what_is_no_8_bit_rgb_slide(
    kind: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Opening
) -> None:
    path, small = tmp_path / "a.tif", IMAGE[:64, :64]
    if kind == "grey":
        tifffile.imwrite(path, small[..., 0])
    elif kind == "16-bit":
        tifffile.imwrite(path, small.astype(np.uint16) * 257, photometric="rgb")
    elif kind == "float":
        tifffile.imwrite(path, small.astype(np.float32), photometric="rgb")
    elif kind == "alpha":
        tifffile.imwrite(path, np.dstack([small, small[..., 0]]), photometric="rgb", extrasamples=["unassalpha"])
    elif kind == "palette":
        tifffile.imwrite(path, small[..., 0], photometric="palette", colormap=np.zeros((3, 256), np.uint16))
    elif kind == "lab":
        tifffile.imwrite(path, small, photometric="cielab", planarconfig="contig")
    elif kind == "stack":
        tifffile.imwrite(path, np.stack([small] * 3), photometric="rgb", metadata=None)
    else:
        monkeypatch.setattr("lpdseg.slides.tiff_pages.MAX_SEGMENT", 100_000)
        write_pyramid(path, [IMAGE], tile=(208, 320))
    with pytest.raises(SlideError) as error:
        opened(path)
    assert str(error.value).startswith(f"{path} ") and told in str(error.value) and "; save " in str(error.value)


def test_an_image_without_pixels_is_refused(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "x.tif", [scene(96, 64)])
    with tifffile.TiffFile(path) as tiff:
        at = tiff.pages[0].tags["ImageLength"].valueoffset
    data = bytearray(path.read_bytes())
    data[at : at + 4] = bytes(4)
    path.write_bytes(bytes(data))
    with pytest.raises(SlideError, match="holds no pixels"):
        open_tiff(path)


def test_a_file_that_is_no_tiff(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("not a slide")
    assert open_tiff(tmp_path / "a.tif") is None


@pytest.mark.parametrize("kept", [2, 8, 100, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off(kept: float, tmp_path: Path, silent: Callable[[], bool], opened: Opening) -> None:
    path = write_pyramid(tmp_path / "a.tif", LEVELS)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept if kept > 1 else kept * len(data))])
    with pytest.raises(SlideError) as error:
        opened(path)
    assert str(error.value).startswith(f"{path} ") and "\n" not in str(error.value)
    assert silent()


@pytest.mark.parametrize("bigtiff", [True, False])
def test_a_file_that_lost_its_last_pages(bigtiff: bool, tmp_path: Path, silent: Callable[[], bool]) -> None:
    path = write_pyramid(tmp_path / "a.tif", LEVELS, bigtiff=bigtiff)
    with tifffile.TiffFile(path) as tiff:
        end = tiff.pages[2].offset
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(SlideError, match=rf"a\.tif ends before its last image, after {end} bytes; copy it again"):
        open_tiff(path)
    assert silent()


def test_a_spoilt_tile_is_told_by_its_place_and_the_others_are_read(
    tmp_path: Path, silent: Callable[[], bool], opened: Opening
) -> None:
    path = write_pyramid(tmp_path / "a.tif", LEVELS)
    spoil_tile(path, 0, 6)
    slide = opened(path)
    with pytest.raises(SlideError, match=r"a\.tif cannot be read at level 0, x 50 to 150, y 100 to 110 \("):
        slide.read(0, 50, 100, 100, 10)
    assert (slide.read(0, 0, 0, 64, 64) == IMAGE[:64, :64]).all()
    assert (slide.read(1, 0, 0, 64, 64) == LEVELS[1][:64, :64]).all()
    assert silent()


@pytest.mark.parametrize("kept", [0, 0.5, 0.9])
def test_a_jpeg_tile_without_its_end_is_not_filled_with_grey(kept: float, tmp_path: Path, opened: Opening) -> None:
    path = write_pyramid(tmp_path / "a.tif", LEVELS, compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        start, count = tiff.pages[0].dataoffsets[6], tiff.pages[0].databytecounts[6]
    data = bytearray(path.read_bytes())
    data[start + int(kept * count) : start + count] = bytes(count - int(kept * count))
    path.write_bytes(bytes(data))
    with pytest.raises(SlideError, match="cannot be read at level 0"):
        opened(path).read(0, 64, 64, 10, 10)


def test_levels_do_not_each_keep_what_they_have_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight levels in one tile each of 192 MiB, a GiB was kept."""
    levels = [scene(400, 300), *(reduced(scene(400, 300), factor) for factor in (2, 4, 8))]
    slide = open_tiff(write_pyramid(tmp_path / "a.tif", levels))
    assert slide is not None
    monkeypatch.setattr("lpdseg.slides.tiff_slide._KEPT_ELSEWHERE", 64 * 64 * 3 * 12)
    for number in (0, 1, 2, 3, 1, 0):
        height, width = levels[number].shape[:2]
        assert (slide.read(number, 0, 0, width, height) == levels[number]).all()
        kept = [segments.kept_bytes for segments in slide._segments]
        assert sum(kept) - kept[number] <= 64 * 64 * 3 * 12 and kept[number] > 0
    slide.close()
