"""Names of files and folders: labels in brackets, patients, microns per pixel, splits, masks."""

import math
from pathlib import Path, PurePosixPath
from random import Random

from lpdseg.data.labels import bracket_label, known_patient, labels_from_name, mpp_from_name, patient_from_name
from lpdseg.data.layout import masks_beside, masks_by_stem, place_of, sounds_like_masks
from lpdseg.plain import name_key
from mutations import bytes_changed

__all__ = ["KIND", "LONGEST", "mutate", "parse", "seeds"]

KIND = "text"
LONGEST = 500
_PARTS = (
    "[1101]", "[1 0 0 1]", "[1, 0, 0]", "[", "]", "patient12", "_", "-", "TCGA-A1-A0SK", "MPP-0.2500", "train",
    "img", "/", "mask", "_mask", ".png", ".", "1.", " ", "labels", "valid_masks", "\u0308", "\udce4", "٣",
    "0" * 400,
)  # fmt: skip


def seeds(folder: Path) -> list[bytes]:
    return [
        b"train/436732-7680-29505-[1 0 0 1].png",
        b"1.training/TCGA-A1-A0SK-01Z_xmin1_MPP-0.2500[1101].png",
        b"valid/mask/patient3_7_mask.png",
    ]


def mutate(data: bytes, random: Random) -> bytes:
    if random.random() < 0.3:
        return bytes_changed(data, random)
    at = random.randint(0, len(data))
    end = at + random.choice((0, 0, 1, 8))
    return data[:at] + random.choice(_PARTS).encode("utf-8", "surrogateescape") + data[end:]


def parse(data: bytes, folder: Path) -> None:
    path = PurePosixPath(data.decode("utf-8", "surrogateescape"))
    assert patient_from_name(path) or not path.stem
    assert known_patient(path) != ""
    mpp = mpp_from_name(path)
    assert mpp is None or (mpp > 0 and math.isfinite(mpp))
    sounds_like_masks(path.name)
    name_key(str(path))
    if path.name and not path.is_absolute():
        place = place_of(folder / path, folder)
        masks_by_stem(masks_beside([place, place_of(folder / path.with_name(f"{path.stem}_mask.png"), folder)]))
    label = bracket_label(path)
    if label is not None:
        assert labels_from_name(path, len(label.values)) == label.values
