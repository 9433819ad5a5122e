"""One pass of the network over the masked patches of a split, counted patch by patch: small whatever the split.

N patches, B of them at once, C classes, K prototypes in all, k of one class, S sub-types; H x W pixels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from lpdseg.data.records import Manifest, PatchRecord
from lpdseg.data.synthetic import SUBTYPES
from lpdseg.errors import DataError
from lpdseg.evaluation.split import read_labelled
from lpdseg.insight.evidence import prototype_maps, prototypes_of
from lpdseg.insight.sample import draw, with_masks
from lpdseg.insight.subtypes import read_subtypes
from lpdseg.insight.usage import foregrounds, usage
from lpdseg.losses.diversity import jeffrey_similarity
from lpdseg.model.prototypes import PrototypeBank
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.tissue import TissueClasses


@dataclass(frozen=True)
class PatchUse:
    """How the prototypes are used in one patch; only true pixels of a class count for its prototypes.

    - `won`: pixels of its class at which the prototype's cosine is the highest of its class.
    - `strength`: mean cosine over them, NaN where there are none.
    - `pixels`, `claimed`, `shrinkage`: per class, see `lpdseg.insight.usage`; NaN where nothing is claimed.
    - `similarity`: exp(-D_J) of siblings over the class's pixels, see `lpdseg.losses.diversity`; NaN between
      classes, and where the class has fewer than 2 pixels.
    - `subtype_won`, `subtype_claimed`: the same counts by sub-type of the pixel; zeros where none is known.
    - `subtype_covered`, `subtype_alone`: those in the foreground of some prototype of their class, and in that of
      the prototype alone that wins most of the class.
    - `covered`: per class, its pixels in such foregrounds, and all pixels in them; zeros where the class is not.
    """

    record: PatchRecord
    won: Int[np.ndarray, " K"]
    strength: Float[np.ndarray, " K"]
    pixels: Int[np.ndarray, " C"]
    claimed: Int[np.ndarray, " C"]
    shrinkage: Float[np.ndarray, " C"]
    similarity: Float[np.ndarray, "K K"]
    subtype_won: Int[np.ndarray, "S K"]
    subtype_claimed: Int[np.ndarray, " S"]
    subtype_covered: Int[np.ndarray, " S"]
    subtype_alone: Int[np.ndarray, " S"]
    covered: Int[np.ndarray, "C 2"]


@dataclass(frozen=True)
class Survey:
    """The patches that were looked at, and how.

    - `class_of`: the class of each of the K prototypes.
    - `level`: the scale, counted from 0 for the finest.
    - `temperature`: τ_v of the activation distributions.
    """

    split: str
    patches: tuple[PatchUse, ...]
    names: tuple[str, ...]
    class_of: Int[np.ndarray, " K"]
    level: int
    temperature: float


def survey_split(
    segmenter: Segmenter,
    manifest: Manifest,
    split: str,
    *,
    most: int | None = None,
    seed: int = 0,
    temperature: float = 0.1,
    progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Looks at the patches of a split that have masks: at most `most` of them, drawn with `seed`.

    Cosines are those of the coarsest scale, in float32, upsampled bilinearly to the patch. One batch of patches and
    one map of K x H x W are in memory at a time.

    **Arguments:**

    - `temperature`: τ_v of the Jeffrey similarity, as in `DiversitySettings`.
    - `progress`: called with patches done, and of how many.

    **Raises:** `SettingsError` for a method without prototypes; `DataError` where no patch has a mask, or a file
    cannot be read.
    """
    model = prototypes_of(segmenter)
    records = with_masks(manifest.split(split))
    if not records:
        raise DataError(f"no patch of the split {split!r} has a mask, which says where a class truly is; add masks")
    records = draw(records, most, seed)
    found: list[PatchUse] = []
    for record, cosine, truth in _looked_at(segmenter, records, manifest.classes, split):
        subtypes = read_subtypes(record, segmenter.classes, truth.shape)
        found.append(patch_use(record, cosine, truth, subtypes, model.bank, temperature))
        if progress is not None:
            progress(len(found), len(records))
    class_of = model.bank.class_of.cpu().numpy()
    return Survey(split, tuple(found), segmenter.classes.names, class_of, model.scales - 1, temperature)


def _looked_at(
    segmenter: Segmenter, records: list[PatchRecord], classes: TissueClasses, split: str
) -> Iterator[tuple[PatchRecord, Float[Tensor, "K H W"], UInt8[np.ndarray, "H W"]]]:
    """Each patch with its cosines and its true mask, a batch of the network at a time."""
    step = segmenter.settings.batch
    for first in range(0, len(records), step):
        order = iter(records[first : first + step])  # batches keep the order of the records
        for batch in read_labelled(records[first : first + step], classes, step, split):
            maps = prototype_maps(segmenter, batch.images)
            for index, truth in enumerate(batch.masks):
                yield next(order), maps.full(index, truth.shape), truth


def patch_use(
    record: PatchRecord,
    cosine: Float[Tensor, "K H W"],
    truth: UInt8[np.ndarray, "H W"],
    subtypes: UInt8[np.ndarray, "H W"],
    bank: PrototypeBank,
    temperature: float,
) -> PatchUse:
    """Counts one patch."""
    prototypes, classes, faces = len(cosine), len(bank.counts), len(SUBTYPES)
    class_of = bank.class_of.to(cosine.device)
    mask = torch.from_numpy(truth.astype(np.int64)).to(cosine.device)
    won, strength = np.zeros(prototypes, np.int64), np.full(prototypes, np.nan)
    pixels, claimed = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    shrinkage = np.full(classes, np.nan)
    subtype_won, covered = np.zeros((faces, prototypes), np.int64), np.zeros((classes, 2), np.int64)
    subtype_claimed, subtype_covered, subtype_alone = (np.zeros(faces, np.int64) for _ in range(3))
    foreground = foregrounds(cosine)
    for index in sorted(set(np.unique(truth).tolist()) & set(range(classes))):
        inside, own = mask == index, class_of == index
        found = usage(cosine[:, inside], own)
        at, count = own.cpu().numpy(), int(own.sum())
        winner, sure = found.winner.cpu().numpy(), found.claimed.cpu().numpy()
        pixels[index], claimed[index], shrinkage[index] = winner.size, sure.sum(), found.shrinkage
        wins = np.bincount(winner, minlength=count)
        sums = np.bincount(winner, found.strength.double().cpu().numpy(), minlength=count)
        won[at], strength[at] = wins, np.divide(sums, wins, out=np.full(count, np.nan), where=wins > 0)
        face = subtypes[truth == index].astype(np.int64)
        known = face < faces
        subtype_won[:, at] += np.bincount(face[known] * count + winner[known], minlength=faces * count).reshape(
            faces, count
        )
        subtype_claimed += np.bincount(face[known & sure], minlength=faces)
        union, most = foreground[own].any(0), foreground[own][int(wins.argmax())]
        covered[index] = int(union[inside].sum()), int(union.sum())
        subtype_covered += np.bincount(face[known & union[inside].cpu().numpy()], minlength=faces)
        subtype_alone += np.bincount(face[known & most[inside].cpu().numpy()], minlength=faces)
    return PatchUse(
        record,
        won,
        strength,
        pixels,
        claimed,
        shrinkage,
        sibling_similarity(cosine, mask, bank, temperature).cpu().numpy(),
        subtype_won,
        subtype_claimed,
        subtype_covered,
        subtype_alone,
        covered,
    )


def sibling_similarity(
    cosine: Float[Tensor, "K H W"], mask: Int[Tensor, "H W"], bank: PrototypeBank, temperature: float
) -> Float[Tensor, "K K"]:
    """exp(-D_J) of every two prototypes of a class over Ω_c = the pixels that `mask` gives to it.

    As in L_div, with the true mask in place of the pseudo mask. NaN between classes, and for classes with fewer
    than 2 pixels.
    """
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
    return result
