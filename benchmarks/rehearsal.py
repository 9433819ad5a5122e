"""Two classes of a data set become one, and which of them a patch shows is hidden: a rehearsal on real tissue.

python benchmarks/rehearsal.py DATA OUT [--classes glas] [--merge BEN MAL] [--name GLAND]

DATA is what `lpdseg train` reads. OUT gets a manifest of the same images, masks of the merged classes,
and the column `subtype`, which measures alone read. Patches that show both classes have none. Then

LPDSEG_MERGED=OUT lpdseg benchmark benchmarks/configs/rehearsal.yaml --out runs/rehearsal
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from lpdseg.data.manifest import MANIFEST_FILE, write_manifest
from lpdseg.data.opening import open_data
from lpdseg.data.patches import read_mask
from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.tissue import TissueClasses, tissue_classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--classes", default="glas", help="of the data, where its files do not say them")
    parser.add_argument("--merge", nargs=2, default=["BEN", "MAL"], metavar="CLASS")
    parser.add_argument("--name", default="GLAND", help="of the class that they become")
    asked = parser.parse_args()
    data = open_data(asked.data, chosen=None, presumed=tissue_classes(asked.classes), mask_values=())
    for one in asked.merge:
        if one not in data.classes.names:
            parser.error(f"{one} is none of the classes {', '.join(data.classes.names)}")
    write_manifest(merged(data, asked.merge, asked.name, asked.out), asked.out / MANIFEST_FILE)


def merged(data: Manifest, pair: list[str], name: str, out: Path) -> Manifest:
    """The data set with one class for two, the last of its classes; masks are written below `out`."""
    first, second = (data.classes.names.index(one) for one in pair)
    kept = [index for index in range(len(data.classes)) if index not in (first, second)]
    background = None if data.classes.background is None else len(kept) + 1
    classes = TissueClasses((*(data.classes.names[index] for index in kept), name), background=background)
    becomes = np.full(256, 255, np.uint8)
    becomes[kept] = range(len(kept))
    becomes[[first, second]] = len(kept)
    if background is not None:
        becomes[len(data.classes)] = background
    (out / "masks").mkdir(parents=True, exist_ok=True)
    records = []
    for record in data.records:
        held = record.labels
        mask = None
        if record.mask is not None:
            truth = read_mask(record.mask, data.classes)
            mask = out / "masks" / f"{record.path.stem}.png"
            Image.fromarray(becomes[truth]).save(mask)
            if held is None:
                held = tuple(int((truth == index).any()) for index in range(len(data.classes)))
        records.append(_record(record, held, kept, (first, second), pair, name, mask))
    return Manifest(classes, tuple(records), out)


def _record(
    record: PatchRecord,
    held: tuple[int, ...] | None,
    kept: list[int],
    pair: tuple[int, int],
    names: list[str],
    name: str,
    mask: Path | None,
) -> PatchRecord:
    if held is None:
        return replace(record, mask=mask)
    shown = [called for index, called in zip(pair, names, strict=True) if held[index]]
    labels = (*(held[index] for index in kept), int(bool(shown)))
    subtype = f"{name}={shown[0]}" if len(shown) == 1 else None
    return replace(record, labels=labels, mask=mask, subtype=subtype)


if __name__ == "__main__":
    main()
