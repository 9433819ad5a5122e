"""One decision on which classes count, and every command that makes it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lpdseg.benchmark.config import Config
from lpdseg.benchmark.plan import all_settings, data_settings
from lpdseg.benchmark.sources import load
from lpdseg.cli.main import app
from lpdseg.data.classes_file import write_classes
from lpdseg.data.opening import open_data, same_classes
from lpdseg.errors import DataError, SettingsError
from lpdseg.settings import load_settings
from lpdseg.tissue import PRESETS, TissueClasses
from lpdseg.training.options import training_data

OTHER_ORDER = TissueClasses(("STR", "TUM", "NEC", "LYM"), indices=(1, 0, 3, 2), background=7)
OTHER_VALUES = TissueClasses(PRESETS["bcss"].names, indices=(5, 6, 7, 8), background=0)


def data_set(folder: Path, label: str = "[1000]", value: int = 0) -> Path:
    for split in ("train", "valid/img", "valid/mask"):
        (folder / split).mkdir(parents=True)
    Image.new("RGB", (8, 8), "red").save(folder / "train" / f"p1_a{label}.png")
    Image.new("RGB", (8, 8), "blue").save(folder / "valid/img" / f"p2_a{label}.png")
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(folder / "valid/mask" / f"p2_a{label}.png")
    return folder


def of_benchmark(folder: Path, *overrides: str, variant: dict[str, object] | None = None) -> TissueClasses:
    config = Config.model_validate(
        {
            "name": "b",
            "reference": "LPD",
            "data": {"own": {"preset": "bcss", "path": str(folder), "set": overrides}},
            "variants": {"other": {"preset": "luad"}, "LPD": variant or {}},
        }
    )
    runs = list(all_settings(config, config.data, {}).values())
    settings, chosen = data_settings(config, config.data["own"], runs)
    return load("own", config.data["own"], "valid", settings, chosen, folder / "out").manifest.classes


@pytest.mark.parametrize("own", [OTHER_ORDER, OTHER_VALUES, None])
@pytest.mark.parametrize("mask_values", [(), ("9=NEC",)])
def test_every_command_decides_alike(
    own: TissueClasses | None, mask_values: tuple[str, ...], tmp_path: Path
) -> None:
    folder = data_set(tmp_path / "data")
    if own is not None:
        write_classes(own, folder)
    told = open_data(folder, mask_values=mask_values).classes
    assert told.names == (own or PRESETS["bcss"]).names
    assert told.indices[told.names.index("NEC")] == (9 if mask_values else (own or PRESETS["bcss"]).indices[
        told.names.index("NEC")])  # fmt: skip
    preset = load_settings("bcss", [f"data.mask_values=[{','.join(mask_values)}]"])
    assert training_data(preset, folder, chosen=False)[1].classes == told
    overrides = [f"data.mask_values=[{','.join(mask_values)}]"] if mask_values else []
    assert of_benchmark(folder, *overrides) == told
    # A run that was trained on them, for evaluate, prototypes and export.
    assert same_classes(told, folder, None, mask_values).classes == told


def test_a_person_s_word_goes_first_everywhere(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "data")
    write_classes(OTHER_VALUES, folder)
    names = "a,b,c,d"
    wanted = open_data(folder, chosen=names).classes
    assert wanted.names == ("a", "b", "c", "d")
    settings = load_settings("bcss", [f"data.classes={names}"])
    assert training_data(settings, folder, chosen=True)[1].classes == wanted
    assert of_benchmark(folder, f"data.classes={names}") == wanted
    assert same_classes(wanted, folder, names).classes == wanted


def test_classes_of_a_data_set_are_no_matter_of_a_variant(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"data\.classes=luad belongs to the data set"):
        of_benchmark(data_set(tmp_path / "data"), variant={"set": ["data.classes=luad"]})


def test_published_data_sets_are_not_taken_for_each_other(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "data", "[1 0 0 0]")
    with pytest.raises(DataError, match=r"as 'luad' does.*TE, NEC, LYM, TAS, but TUM.*--classes luad"):
        open_data(folder, presumed=PRESETS["bcss"])
    own = TissueClasses(("a", "b", "c", "d"))
    assert open_data(folder, presumed=own).classes == own
    assert open_data(folder, chosen="bcss").classes == PRESETS["bcss"]


def test_a_set_that_leaves_nothing_out_says_so(tmp_path: Path) -> None:
    notes = open_data(data_set(tmp_path / "data"), mask_values=["255=NEC"]).notes
    assert "the mask value 255 stands for NEC, so no value of a mask leaves pixels out" in notes


def test_the_command_line_takes_mask_values(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "data", "[10]", value=255)
    arguments = ["data", "check", str(folder), "--classes", "gland,stroma"]
    wrong = CliRunner().invoke(app, arguments)
    assert wrong.exit_code == 1 and "--mask-value 255=NAME" in wrong.output
    right = CliRunner().invoke(app, [*arguments, "--mask-value", "255=gland"])
    assert "share of mask pixels" in right.output and "100.0%" in right.output
    assert "leaves pixels out" in right.output


def test_a_background_that_is_declared_allows_patches_of_no_class(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "data", "[0]")
    with pytest.raises(DataError, match="has no background"):
        open_data(folder, chosen="gland,")
    classes = open_data(folder, chosen="gland,", mask_values=["0=background", "255=gland"]).classes
    assert (classes.indices, classes.background) == ((255,), 0)
