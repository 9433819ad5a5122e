"""What each prototype stands for, by real tissue: the regions of training patches in which it wins.

N training patches, K prototypes in all, k of one class at most; H x W pixels.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8, UInt16

from lpdseg.checkpoint import read_state, read_tensors
from lpdseg.data.composites import alone
from lpdseg.data.patches import read_patch
from lpdseg.data.records import Manifest, PatchRecord, path_below
from lpdseg.errors import CheckpointError, DataError
from lpdseg.files import read_json, write_json
from lpdseg.maps.fuse import fuse_scales
from lpdseg.maps.winners import numbered
from lpdseg.schema import Share, Whole, conform
from lpdseg.segmenting.loading import load_segmenter
from lpdseg.segmenting.segmenter import Segmenter

FILE = "prototypes.json"
_FORMAT = 1
_REMEDY = "delete it to do without it"
_SHARES = "morphologies.shares"  # of the task, see `lpdseg.model.morphologies`
_LOOKED_AT, _KEPT = 12, 8
_BELONGS = 0.5
"""A patch is looked at where it is of a morphology by at least as much."""
_SMALLEST = 0.01
"""Share of a patch below which an area shows nothing."""


@dataclass(frozen=True)
class Region:
    """Where a prototype wins in a training patch that shows its class alone.

    - `path`: of the image, relative to the data set's folder where it lies below it.
    - `box`: x, y, width and height in pixels of the file, around the largest connected area that it wins.
    - `share`: of the patch that this area covers; `strength`: the prototype's mean probability over it.
    """

    path: str
    patient: str
    box: tuple[Whole, Whole, Whole, Whole]
    share: Share
    strength: Share


@dataclass(frozen=True)
class Shown:
    """A prototype and its nearest training regions, the most telling first, of different patients where there are.

    - `name`: of its class.
    - `number`: within it, from 1.
    - `share`: of the morphologies of its class's training patches; None where nothing was found out about them.
    - `retired`: it takes no part in any mask.
    """

    name: str
    number: int
    retired: bool
    share: Share | None
    regions: tuple[Region, ...]


@dataclass(frozen=True)
class Kept:
    """The prototypes of a run by index, and the folder of the data set when it was trained."""

    root: Path
    prototypes: tuple[Shown, ...]


def keep_regions(run: Path, data: Manifest, device: str) -> str | None:
    """Writes `FILE` for a finished run whose prototypes make the mask and were taught morphologies.

    Other runs have none. What is missing for it is told in a sentence, for a run is worth keeping without it.

    **Raises:** `OutputError`, `CheckpointError`.
    """
    shares = read_tensors(run, read_state(run, "best"), "weights").get(_SHARES)
    records = data.split("train")
    if shares is None or len(shares) != len(records):
        return None
    segmenter = load_segmenter(run, device=device)
    try:
        found = find_regions(segmenter, records, shares.numpy(), data.root)
    except DataError as error:
        return f"no regions are kept that show what the prototypes stand for: {error}"
    kept = {"format": _FORMAT, "root": str(data.root.absolute()), "prototypes": [asdict(one) for one in found]}
    write_json(run / FILE, kept)
    return None


def read_regions(run: Path) -> Kept | None:
    """What `keep_regions` wrote; None where there is nothing.

    **Raises:** `CheckpointError` for a file that cannot be read.
    """
    path = run / FILE
    try:
        found = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); {_REMEDY}") from error
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise CheckpointError(f"{path} is not of format {_FORMAT}; it was made by another version")
    return conform(Kept, found, path, CheckpointError, _REMEDY)


def find_regions(
    segmenter: Segmenter, records: Sequence[PatchRecord], shares: Float[np.ndarray, "N k"], root: Path
) -> list[Shown]:
    """The regions of every prototype in those patches that are most of its morphology.

    **Arguments:**

    - `shares`: of a patch that shows one class alone, by how much it is of the class's morphologies.
    - `root`: the folder that paths are told relative to.

    **Raises:** `DataError` for a patch that cannot be read.
    """
    shown, parts, by_class = of_one_class(segmenter), segmenter.model.parts or (), alone(records)
    found = []
    for k, (c, number) in enumerate(zip(parts, numbered(parts), strict=True)):
        retired = k in segmenter.model.retired
        own = np.array(by_class.get(c, ()), np.int64)
        belongs = shares[own, number - 1]
        regions: list[Region] = []
        for index in own[_nearest(belongs, [records[index].patient for index in own])]:
            image = read_patch(records[index].path)
            winners, values = winners_of_class(shown, image, c)
            region = _region(records[index], winners == k, values[k], root)
            regions += [] if region is None or retired else [region]
        told = float(belongs.sum() / shares[own].sum()) if shares[own].any() else None
        name = segmenter.classes.names[c]
        found.append(Shown(name, number, retired, told, tuple(_most_telling(regions)[:_KEPT])))
    return found


def of_one_class(segmenter: Segmenter) -> Segmenter:
    """The segmenter as `winners_of_class` needs it: it is told the class, and there is nothing to refine."""
    return segmenter.with_settings(gate="oracle", refine="none")


def winners_of_class(
    segmenter: Segmenter, image: UInt8[np.ndarray, "H W 3"], c: int
) -> tuple[UInt16[np.ndarray, "H W"], Float[np.ndarray, "K H W"]]:
    """Which prototype wins each pixel of a patch of class `c` alone, see `Prediction`, and all probabilities.

    **Arguments:**

    - `segmenter`: of `of_one_class`; its prototypes make the mask.
    """
    batch = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
    evidence = segmenter.observe(batch, parts=True)
    labels = torch.arange(len(segmenter.classes))[None] == c
    winners = segmenter.decide(evidence, batch, labels).prototypes
    assert winners is not None
    assert evidence.parts is not None
    height, width = evidence.size
    values = fuse_scales({0: evidence.parts}, {0: 1.0}, evidence.padded)[0, :, :height, :width]
    return winners[0].cpu().numpy(), values.float().cpu().numpy()


def turns(patients: Sequence[str]) -> list[int]:
    """How often each patient has come before: sorted by it, none comes again before all others have as often."""
    seen: Counter[str] = Counter()
    found = []
    for patient in patients:
        found.append(seen[patient])
        seen[patient] += 1
    return found


def _nearest(belongs: Float[np.ndarray, " n"], patients: Sequence[str]) -> list[int]:
    """Places of the patches to look at: the nearest ones of each patient by turns."""
    order = [place for place in np.argsort(-belongs, kind="stable").tolist() if belongs[place] >= _BELONGS]
    turn = turns([patients[place] for place in order])
    return [order[place] for place in np.argsort(turn, kind="stable").tolist()][:_LOOKED_AT]


def _region(
    record: PatchRecord, won: Bool[np.ndarray, "H W"], value: Float[np.ndarray, "H W"], root: Path
) -> Region | None:
    from scipy import ndimage  # half a second that nobody else waits for

    areas, count = ndimage.label(won)
    if not count:
        return None
    largest = 1 + int(np.bincount(areas.ravel())[1:].argmax())
    down, across = ndimage.find_objects(areas)[largest - 1]
    inside = areas == largest
    if inside.mean() < _SMALLEST:
        return None
    return Region(
        path_below(record.path, root),
        record.patient,
        (across.start, down.start, across.stop - across.start, down.stop - down.start),
        float(inside.mean()),
        float(value[inside].mean()),
    )


def _most_telling(regions: Sequence[Region]) -> list[Region]:
    """By how much of the patch they win, and how surely; patients by turns."""
    order = sorted(regions, key=lambda one: -one.share * one.strength)
    turn = turns([region.patient for region in order])
    return [order[place] for place in np.argsort(turn, kind="stable")]
