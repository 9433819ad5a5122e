"""One pass of the network over the patches of a split, counted patch by patch: small whatever the split.

N patches, B of them at once, C classes, K prototypes in all, k of one class, S sub-types; H x W pixels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from lpdseg.data.patches import check_patch, read_patch
from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.errors import DataError
from lpdseg.evaluation.split import read_labelled
from lpdseg.insight.evidence import is_dense, live_prototypes, predicted_mask, prototype_maps, prototypes_of
from lpdseg.insight.sample import draw
from lpdseg.insight.subtypes import pixel_subtypes, subtype_names
from lpdseg.insight.usage import usage
from lpdseg.losses.diversity import jeffrey_similarity
from lpdseg.model.prototypes import PrototypeBank
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.tissue import TissueClasses


@dataclass(frozen=True)
class PatchUse:
    """How the prototypes are used in one patch; only pixels that truly are of a class count for its prototypes.

    - `won`: pixels of its class at which the prototype's value is the highest of its class; values are those of
      `lpdseg.insight.evidence.PrototypeMaps`.
    - `strength`: mean value over them, NaN where there are none.
    - `pixels`, `claimed`, `shrinkage`: per class, see `lpdseg.insight.usage`; NaN where nothing is claimed.
    - `similarity`: exp(-D_J) of siblings over the class's pixels, see `lpdseg.losses.diversity`; NaN between
      classes, and where the class has fewer than 2 pixels.
    - `subtype_won`, `subtype_claimed`: won and claimed pixels by sub-type; zeros where none is known.
    """

    record: PatchRecord
    won: Int[np.ndarray, " K"]
    strength: Float[np.ndarray, " K"]
    pixels: Int[np.ndarray, " C"]
    claimed: Int[np.ndarray, " C"]
    shrinkage: Float[np.ndarray, " C"]
    similarity: Float[np.ndarray, "K K"]
    subtype_won: Int[np.ndarray, "S K"]
    subtype_claimed: Int[np.ndarray, "S C"]


@dataclass(frozen=True)
class Survey:
    """The patches that were looked at, and how.

    - `class_of`, `live`: the class of each of the K prototypes, and whether it is not retired.
    - `subtypes`: their names.
    - `map`: `dense` where prototypes make the mask, else `scale n`, counted from 1 for the finest.
    - `temperature`: τ_v of the activation distributions.
    - `predicted`: where nobody knows the truth the segmenter's own masks stand for it.
    """

    split: str
    patches: tuple[PatchUse, ...]
    names: tuple[str, ...]
    class_of: Int[np.ndarray, " K"]
    live: Bool[np.ndarray, " K"]
    subtypes: tuple[str, ...]
    map: str
    temperature: float
    predicted: bool = False


def survey_split(
    segmenter: Segmenter,
    manifest: Manifest,
    split: str,
    *,
    most: int | None = None,
    seed: int = 0,
    temperature: float = 0.1,
    predicted: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Looks at the patches of a split that have masks: at most `most` of them, drawn with `seed`.

    Maps are upsampled bilinearly to the patch. One batch of patches and the maps of one are in memory at a time.

    **Arguments:**

    - `temperature`: τ_v of the Jeffrey similarity, as in `DiversitySettings`.
    - `predicted`: take all patches, and predicted masks for true ones.
    - `progress`: called with patches done, and of how many.

    **Raises:** `SettingsError` for a method without prototypes; `DataError` where no patch has a mask, or a file
    cannot be read.
    """
    model, dense = prototypes_of(segmenter), is_dense(segmenter)
    manifest, _ = segmenter.learnt.leave_out(manifest, split)
    records = list(manifest.split(split) if predicted else manifest.with_masks(split))
    if not records:
        raise DataError(f"no patch of the split {split!r} has a mask, which says where a class truly is; add masks")
    records, names = draw(records, most, seed), subtype_names(records)
    for record in records:
        check_patch(record.path)
    found: list[PatchUse] = []
    looked_at = (
        _predicted(segmenter, records) if predicted else _looked_at(segmenter, records, manifest.classes, split)
    )
    for record, values, cosine, truth in looked_at:
        subtypes = pixel_subtypes(record, segmenter.classes, truth.shape, names)
        similarity = sibling_similarity(cosine, truth, model.bank, temperature)
        found.append(patch_use(record, values, truth, subtypes, similarity, model.bank, dense, len(names)))
        if progress is not None:
            progress(len(found), len(records))
    return Survey(
        split,
        tuple(found),
        segmenter.classes.names,
        model.bank.class_of.cpu().numpy(),
        live_prototypes(segmenter),
        names,
        "dense" if dense else f"scale {model.scales}",
        temperature,
        predicted,
    )


_Looked = tuple[PatchRecord, Float[Tensor, "K H W"], Float[Tensor, "K H W"], UInt8[np.ndarray, "H W"]]


def _predicted(segmenter: Segmenter, records: list[PatchRecord]) -> Iterator[_Looked]:
    for record in records:
        image = read_patch(record.path)
        mask = predicted_mask(segmenter, image)
        batch = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
        yield record, *prototype_maps(segmenter, batch).full(0, mask.shape), mask


def _looked_at(
    segmenter: Segmenter, records: list[PatchRecord], classes: TissueClasses, split: str
) -> Iterator[_Looked]:
    """Each patch with its values, its cosines and its true mask, a batch of the network at a time."""
    step = segmenter.settings.batch
    for first in range(0, len(records), step):
        order = iter(records[first : first + step])  # batches keep the order of the records
        for batch in read_labelled(records[first : first + step], classes, step, split):
            maps = prototype_maps(segmenter, batch.images)
            for index, truth in enumerate(batch.masks):
                yield next(order), *maps.full(index, truth.shape), truth


def patch_use(
    record: PatchRecord,
    values: Float[Tensor, "K H W"],
    truth: UInt8[np.ndarray, "H W"],
    subtypes: Int[np.ndarray, "H W"],
    similarity: Float[np.ndarray, "K K"],
    bank: PrototypeBank,
    dense: bool,
    kinds: int,
) -> PatchUse:
    """Counts one patch; `subtypes` are below `kinds`, or -1."""
    prototypes, classes = len(values), len(bank.counts)
    class_of = bank.class_of.to(values.device)
    mask = torch.from_numpy(truth.astype(np.int64)).to(values.device)
    won, strength = np.zeros(prototypes, np.int64), np.full(prototypes, np.nan)
    pixels, claimed = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    shrinkage = np.full(classes, np.nan)
    subtype_won, subtype_claimed = (np.zeros((kinds, width), np.int64) for width in (prototypes, classes))
    for index in sorted(set(np.unique(truth).tolist()) & set(range(classes))):
        at = np.flatnonzero(bank.class_of.cpu().numpy() == index)
        found = usage(values[:, mask == index], class_of, index, dense)
        winner, sure = at[found.winner.cpu().numpy()], found.claimed.cpu().numpy()
        pixels[index], claimed[index], shrinkage[index] = winner.size, sure.sum(), found.shrinkage
        wins = np.bincount(winner, minlength=prototypes)[at]
        sums = np.bincount(winner, found.strength.double().cpu().numpy(), minlength=prototypes)[at]
        won[at], strength[at] = wins, np.divide(sums, wins, out=np.full(len(at), np.nan), where=wins > 0)
        face = subtypes[truth == index]
        np.add.at(subtype_won, (face[face >= 0], winner[face >= 0]), 1)
        subtype_claimed[:, index] = np.bincount(face[(face >= 0) & sure], minlength=kinds)
    return PatchUse(record, won, strength, pixels, claimed, shrinkage, similarity, subtype_won, subtype_claimed)


def sibling_similarity(
    cosine: Float[Tensor, "K H W"], truth: UInt8[np.ndarray, "H W"], bank: PrototypeBank, temperature: float
) -> Float[np.ndarray, "K K"]:
    """exp(-D_J) of every two prototypes of a class over Ω_c = its pixels in `truth`.

    As in L_div, with the true mask in place of the pseudo mask. NaN between classes, and for classes with fewer
    than 2 pixels.
    """
    mask = torch.from_numpy(truth.astype(np.int64)).to(cosine.device)
    slots, real = bank.slots.to(cosine.device), bank.real.to(cosine.device)
    result = cosine.new_full((len(cosine), len(cosine)), torch.nan)
    for index in range(len(slots)):
        inside = mask == index
        if int(inside.sum()) < 2:
            continue
        wanted = (torch.zeros(1, dtype=torch.long, device=cosine.device), slots.new_tensor([index]))
        found = jeffrey_similarity(cosine.unsqueeze(0), inside.unsqueeze(0), slots, temperature, wanted)[0]
        at = slots[index][real[index]]
        result[at[:, None], at[None, :]] = found[: len(at), : len(at)]
    similarity: Float[np.ndarray, "K K"] = result.cpu().numpy()
    return similarity
