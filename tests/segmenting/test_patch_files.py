"""Many files: which they are, in which batches, and what happens where memory or an image is at fault."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lpdseg.data.patches import read_image
from lpdseg.errors import DataError
from lpdseg.model.lpd import LPD
from lpdseg.sections import PredictSettings
from lpdseg.segmenting import memory
from lpdseg.segmenting.patches import check_image_file, find_images, segment_files
from lpdseg.segmenting.segmentation import Segmentation
from lpdseg.segmenting.segmenter import Calibration, Segmenter
from lpdseg.tissue import TissueClasses


@pytest.fixture
def segmenter(tiny_lpd: Callable[..., LPD]) -> Segmenter:
    settings = PredictSettings(fusion=(0.0, 0.4, 0.6), refine="none", batch=3)
    classes = TissueClasses(("a", "b"), indices=(3, 5))
    return Segmenter(tiny_lpd().eval(), classes, settings, Calibration.plain(2), (0.0, 0.1, 1.0), "mean")


def save(path: Path, size: tuple[int, int] = (24, 20), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def places(inputs: list[Path], **options: object) -> list[str]:
    return [str(image.place) for image in find_images(inputs, **options)]


def test_folders_keep_their_structure_and_stems_their_points(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "sub/MPP-0.2500+0[1101].tif", ".hidden.png", ".cache/c.png", "notes.txt"):
        save(tmp_path / name) if name != "notes.txt" else (tmp_path / name).write_text("")
    assert places([tmp_path]) == ["a", "b", "sub/MPP-0.2500+0[1101]"]
    assert places([tmp_path], recurse=False) == ["a", "b"]
    assert places([tmp_path / "sub" / "MPP-0.2500+0[1101].tif"]) == ["MPP-0.2500+0[1101]"]


def test_results_inside_the_input_are_no_input(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "out" / "masks" / "a.png")
    assert places([tmp_path], leave_out=[tmp_path / "sub" / ".." / "out"]) == ["a"]
    assert places([tmp_path], leave_out=[tmp_path, tmp_path / "out" / "masks"]) == ["a"]


def test_a_whole_data_set_is_its_images_and_not_its_masks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in (
        "train/a.png",
        "test/img/b.png",
        "test/mask/b.png",
        "test/background-mask/b.png",
        "valid/labels/c.png",
    ):
        save(tmp_path / name)
    assert places([tmp_path]) == ["test/img/b", "train/a"]
    assert (
        "passed over masks and such beside the images: test/background-mask/b.png, test/mask/b.png" in caplog.text
    )
    caplog.clear()
    assert places([tmp_path / "valid"]) == ["labels/c"]
    assert places([tmp_path / "test" / "mask"]) == ["b"]
    assert not caplog.text


def test_an_image_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    assert [image.path for image in find_images([tmp_path, path])] == [path]


@pytest.mark.parametrize("other", ["a.jpg", "elsewhere/a.png"])
def test_two_images_of_one_name_are_refused(tmp_path: Path, other: str) -> None:
    first, second = save(tmp_path / "a.png"), save(tmp_path / other)
    inputs = [tmp_path] if second.parent == tmp_path else [first, second.parent]
    with pytest.raises(DataError, match=r"would both become a\.png"):
        find_images(inputs)


@pytest.mark.parametrize(
    ("one", "other"), [("a", "A"), ("sub/a", "Sub/a"), ("straße", "STRASSE"), ("sch\u00e4fer", "SCHA\u0308FER")]
)
def test_two_images_whose_names_differ_in_case_alone_are_refused(tmp_path: Path, one: str, other: str) -> None:
    """On Macs and Windows their masks are one file, and on other systems they become one when they are copied."""
    for folder, name in (("p1", one), ("p2", other)):
        save(tmp_path / folder / f"{name}.png")
    with pytest.raises(DataError, match=r"would both become .*\.png, where upper and lower case are one; rename"):
        find_images([tmp_path / "p1", tmp_path / "p2"])


def test_inputs_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        find_images([tmp_path / "none"])
    with pytest.raises(DataError, match="holds no images"):
        find_images([tmp_path])


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.png")
    closed = tmp_path / "closed"
    closed.mkdir()
    scan = os.scandir

    def refuse(path: str | Path) -> Iterator[os.DirEntry[str]]:
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)  # rights do not bind whoever may do everything
    with pytest.raises(DataError, match=r"closed cannot be read \(Permission denied\)"):
        find_images([tmp_path])


def test_files_come_in_order_and_as_if_segmented_alone(tmp_path: Path, segmenter: Segmenter) -> None:
    sizes = [(24, 20)] * 4 + [(16, 40)] + [(24, 20)] * 2
    paths = [save(tmp_path / f"{index}.png", size, index) for index, size in enumerate(sizes)]
    done = list(segment_files(segmenter, paths))
    assert [path for path, _ in done] == paths
    for path, found in done:
        alone = segmenter.segment(read_image(path))
        np.testing.assert_array_equal(found.mask, alone.mask)
        np.testing.assert_allclose(found.probabilities, alone.probabilities, atol=1e-5)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-5)
        np.testing.assert_allclose(found.image_probabilities, alone.image_probabilities, atol=1e-5)
        assert set(np.unique(found.mask)) <= {3, 5}


def test_any_size_works_down_to_one_pixel(tmp_path: Path, segmenter: Segmenter) -> None:
    for size in ((1, 1), (5, 33), (64, 2)):
        [(_, found)] = segment_files(segmenter, [save(tmp_path / "x.png", size)])
        assert found.mask.shape == size


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
        MemoryError(),
    ],
)
def test_a_batch_that_does_not_fit_is_halved_for_good(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    tried: list[int] = []
    whole = Segmenter.segment_batch

    def narrow(model: Segmenter, images: np.ndarray, **wanted: bool) -> list[Segmentation]:
        tried.append(len(images))
        if len(images) > 2:
            raise error
        return whole(model, images)

    monkeypatch.setattr(Segmenter, "segment_batch", narrow)
    paths = [save(tmp_path / f"{index:02}.png", seed=index) for index in range(13)]
    assert [path for path, _ in segment_files(segmenter, paths, batch=8)] == paths
    assert tried == [8, 4, 2, 2, 2, 2, 2, 2, 1]


def test_an_image_that_does_not_fit_alone_is_named(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(model: Segmenter, images: np.ndarray, **wanted: bool) -> list[Segmentation]:
        raise MemoryError

    monkeypatch.setattr(Segmenter, "segment_batch", full)
    with pytest.raises(DataError, match=r"x\.png \(20 x 24 pixels\) does not fit in memory even alone"):
        list(segment_files(segmenter, [save(tmp_path / "x.png")]))


def test_other_faults_of_the_network_are_not_taken_for_memory(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: Segmenter, images: np.ndarray, **wanted: bool) -> list[Segmentation]:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Segmenter, "segment_batch", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        list(segment_files(segmenter, [save(tmp_path / "x.png")]))


def test_bad_images_stop_or_are_told_and_passed_over(tmp_path: Path, segmenter: Segmenter) -> None:
    paths = [save(tmp_path / f"{name}.png") for name in "abc"]
    paths[1].write_bytes(b"no image")
    with pytest.raises(DataError, match=r"b\.png"):
        list(segment_files(segmenter, paths))
    told: list[DataError] = []
    assert [path.stem for path, _ in segment_files(segmenter, paths, on_error=told.append)] == ["a", "c"]
    assert len(told) == 1 and "b.png" in str(told[0])


def test_nothing_in_nothing_out(segmenter: Segmenter) -> None:
    assert list(segment_files(segmenter, [])) == []


def test_linked_folders_are_followed_and_notes_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "real" / "p.png")
    save(tmp_path / "else" / "q.bmp")
    (tmp_path / "real" / "case2").symlink_to(tmp_path / "else")
    (tmp_path / "else" / "circle").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "nothing").symlink_to(tmp_path / "nowhere")
    (tmp_path / "real" / "r.jp2").write_bytes(b"x")
    save(tmp_path / "real" / "before" / "masks" / "p.png")
    (tmp_path / "real" / "before" / "segment.json").write_text("{}")
    assert places([tmp_path / "real"]) == ["case2/q", "p"]
    for told in ("before/masks", "case2/circle", "r.jp2", "lead nowhere: nothing"):
        assert told in caplog.text


def test_a_link_that_leads_nowhere_is_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "nowhere.png")
    assert places([tmp_path]) == ["a", "b"]
    with pytest.raises(DataError, match=r"b\.png does not exist"):
        read_image(find_images([tmp_path])[1].path)


def test_large_images_share_no_batch(tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    whole = Segmenter.segment_batch

    def count(model: Segmenter, images: np.ndarray, **wanted: bool) -> list[Segmentation]:
        tried.append(len(images))
        return whole(model, images)

    monkeypatch.setattr(memory, "AT_ONCE", 2 * 24 * 20)
    monkeypatch.setattr(Segmenter, "segment_batch", count)
    sizes = [(24, 20)] * 5 + [(48, 20)] * 2
    paths = [save(tmp_path / f"{index}.png", size, index) for index, size in enumerate(sizes)]
    assert [path for path, _ in segment_files(segmenter, paths)] == paths
    assert tried == [2, 2, 1, 1, 1]


def test_an_image_that_would_take_all_memory_is_not_tried(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU's memory is given until the system ends the process: a small file can claim 8192 x 8192 pixels."""
    monkeypatch.setattr(memory, "AT_ONCE", 24 * 20)
    monkeypatch.setattr(memory, "free_memory", lambda: 40 * 40 * 250 - 1)
    paths = [save(tmp_path / f"{side}.png", (side, side)) for side in (20, 40, 39)]
    told: list[DataError] = []
    done = segment_files(segmenter, paths, on_error=told.append)
    assert [path for path, _ in done] == [paths[0], paths[2]]
    assert [str(error) for error in told] == [
        f"{paths[1]} (40 x 40 pixels) does not fit in memory even alone; cut it into smaller patches, or segment "
        "it with --to as a slide is"
    ]
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    assert len(list(segment_files(segmenter, paths))) == 3


def test_an_image_of_the_size_of_a_slide_is_refused_by_its_header(tmp_path: Path, segmenter: Segmenter) -> None:
    """One of 8190 x 8190 pixels and 200 KiB took 17 GB and minutes."""
    (small, large), told = (save(tmp_path / "a.png"), tmp_path / "b.png"), list[DataError]()
    Image.new("RGB", (4097, 4096)).save(large)
    assert [path for path, _ in segment_files(segmenter, [large, small], on_error=told.append)] == [small]
    assert str(told[0]).startswith(f"{large} has 4097 x 4096 pixels, and a patch has 16,777,216 at most, ")
    assert "with --to ome-tiff --mpp MICRONS" in str(told[0])
    with pytest.raises(DataError, match="4097 x 4096"):
        check_image_file(large)
    Image.new("RGB", (4096, 4096)).save(large)
    check_image_file(large)


def test_what_the_machine_has_left_is_known() -> None:
    free = memory.free_memory()
    assert free is None or 0 < free < 1 << 50
