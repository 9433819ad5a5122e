"""Worst first: figures of each patch, and the order in which somebody should look at them.

B patches of one size, n channels (background last), H x W pixels; M masks of a patch.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from lpdseg.choices import Background, WorstBy
from lpdseg.data.records import PatchRecord
from lpdseg.errors import SettingsError
from lpdseg.evaluation.confusion import Scores, sum_by_patient
from lpdseg.evaluation.counts import confusion_matrices, count_pairs
from lpdseg.evaluation.split import LabelledBatch, Progress, there
from lpdseg.files import absolute
from lpdseg.maps.uncertainty import gap_of_two_best, is_unsure, tempered
from lpdseg.segmenting.segmenter import Evidence, Segmenter
from lpdseg.tissue import TissueClasses


@dataclass(frozen=True, repr=False, eq=False)
class PatchFigures:
    """What is known of one patch; shares are in 0..1.

    - `confusion`: pixels, rows truth, columns prediction; 0 everywhere where the truth is not known.
    - `unsure`: the share of its pixels that are unsure, see `lpdseg.maps.uncertainty`.
    - `uncertainty`: the mean over its pixels of 1 − gap of the two best.
    - `disagreement`: see `disagreement`; None where nobody else was asked.
    """

    record: PatchRecord
    confusion: Int[np.ndarray, "n n"]
    unsure: float
    uncertainty: float
    disagreement: float | None = None

    @property
    def pixels(self) -> int:
        """How many have a truth."""
        return int(self.confusion.sum())

    @property
    def error(self) -> float | None:
        """The share of pixels with a truth whose mask is wrong; None where there are none."""
        return 1 - float(np.trace(self.confusion)) / self.pixels if self.pixels else None

    def figure(self, by: WorstBy) -> float | None:
        """What it is ordered by."""
        return self.unsure if by == "uncertainty" else self.error if by == "error" else self.disagreement

    def __repr__(self) -> str:
        known = {"error": self.error, "unsure": self.unsure, "disagreement": self.disagreement}
        told = ", ".join(f"{name} {value:.0%}" for name, value in known.items() if value is not None)
        return f"PatchFigures({self.record.path.name}: {told})"


def disagreement(masks: UInt8[Tensor, "M B H W"], channels: int) -> Float[Tensor, " B"]:
    """Of two of the masks, drawn at random, the share of a patch's pixels on which they differ.

    At a pixel that m_c masks give channel c it is 1 − Σ m_c (m_c − 1) / (M (M − 1)).
    """
    count = len(masks)
    votes = torch.stack([(masks == c).sum(0) for c in range(channels)])
    return 1 - (votes * (votes - 1)).sum(0).float().mean((1, 2)) / (count * (count - 1))


def patch_figures(
    segmenter: Segmenter,
    records: Sequence[PatchRecord],
    batches: Iterable[LabelledBatch],
    *,
    evidence: Iterable[Evidence] | None = None,
    others: Sequence[Segmenter] = (),
    progress: Progress | None = None,
) -> list[PatchFigures]:
    """The figures of each patch, in order.

    **Arguments:**

    - `records`, `batches`: the same patches; see `labelled_batches`, which needs no more memory than one batch.
    - `evidence`: what the network has said of the batches already.
    - `others`: what else segments them, such as another run, or members of a benchmark; all classes are the same.
    - `progress`: told how many patches are done.

    **Raises:** `CheckpointError` as `check_computed`.
    """
    found, order, known = list[PatchFigures](), iter(records), None if evidence is None else iter(evidence)
    channels, device = segmenter.classes.channels, segmenter.device
    for batch in batches:
        images, truth = there(batch.images, device), there(batch.truth, device)
        labels = batch.labels(len(segmenter.classes)).to(device)
        evidence_of = segmenter.observe(images) if known is None else next(known)
        said = segmenter.decide(evidence_of, images, labels).computed()
        gap = gap_of_two_best(tempered(said.unrefined, segmenter.calibration.temperature)).float()
        matrices = confusion_matrices(count_pairs(truth, said.mask, channels))
        shares = torch.stack([is_unsure(gap, segmenter.settings.unsure).float().mean((1, 2)), 1 - gap.mean((1, 2))])
        apart: list[float | None] = [None] * len(matrices)
        if others:
            masks = [said.mask, *(_mask(other, batch).to(device) for other in others)]
            apart = disagreement(torch.stack(masks), channels).tolist()
        each = zip(matrices, *shares.tolist(), apart, strict=True)
        found += [PatchFigures(next(order), *figures) for figures in each]
        if progress is not None:
            progress(len(found), len(records))
    return found


def _mask(segmenter: Segmenter, batch: LabelledBatch) -> UInt8[Tensor, "B H W"]:
    images = there(batch.images, segmenter.device)
    labels = batch.labels(len(segmenter.classes)).to(segmenter.device)
    return segmenter.decide(segmenter.observe(images), images, labels).computed().mask


def worst_first(figures: Sequence[PatchFigures], by: WorstBy) -> list[PatchFigures]:
    """The patches that have the figure, from the worst on; of equals the less certain, then by path.

    **Raises:** `SettingsError` where none has it.
    """
    known = [(value, one) for one in figures if (value := one.figure(by)) is not None]
    if figures and not known:
        missing = "masks of the truth" if by == "error" else "another run to compare with"
        raise SettingsError(f"patches cannot be ordered by {by} without {missing}; order them by uncertainty")
    known.sort(key=lambda pair: (-pair[0], -pair[1].uncertainty, str(pair[1].record.path)))
    return [one for _, one in known]


def worst_together(runs: Sequence[Sequence[PatchFigures]]) -> list[tuple[PatchFigures, ...]]:
    """The patches whose error is known of all runs, each as every run sees it, from the largest mean error on; of
    equals as `worst_first`."""
    seen = [{one.record.path: one for one in figures if one.error is not None} for figures in runs]
    together = [tuple(own[path] for own in seen) for path in seen[0] if all(path in own for own in seen)]

    def key(shown: tuple[PatchFigures, ...]) -> tuple[float, float, str]:
        errors, unsure = ([getattr(one, name) for one in shown] for name in ("error", "uncertainty"))
        return -float(np.mean(errors)), -float(np.mean(unsure)), str(shown[0].record.path)

    return sorted(together, key=key)


def in_cell(figures: Sequence[PatchFigures], truth: int, predicted: int) -> list[tuple[PatchFigures, int]]:
    """The patches that a cell of the split's confusion matrix is made of, with their pixels in it, most first."""
    there_ = [(one, int(one.confusion[truth, predicted])) for one in figures]
    found = [pair for pair in there_ if pair[1]]
    return sorted(found, key=lambda pair: (-pair[1], str(pair[0].record.path)))


def confused(figures: PatchFigures, names: Sequence[str]) -> str:
    """The commonest mistake, such as `TUM as STR`; nothing where there is none. `names` are of the channels."""
    wrong = figures.confusion.copy()
    np.fill_diagonal(wrong, 0)
    truth, predicted = divmod(int(wrong.argmax()), len(wrong))
    return f"{names[truth]} as {names[predicted]}" if wrong.any() else ""


def patch_rows(figures: Sequence[PatchFigures], classes: TissueClasses) -> Iterator[dict[str, Any]]:
    """A row per patch, in per cent: `patch`, `patient`, `split`, `pixels` with a truth, `error`, `iou_CLASS`,
    `unsure`, `uncertainty`, `disagreement`, and `confused`, see there."""
    for one in figures:
        iou = Scores.of(one.confusion, len(classes)).iou
        yield {
            "patch": absolute(one.record.path),
            "patient": one.record.patient,
            "split": one.record.split,
            "pixels": one.pixels,
            "error": _percent(one.error),
            **{f"iou_{name}": _percent(value) for name, value in zip(classes.names, iou, strict=False)},
            "unsure": _percent(one.unsure),
            "uncertainty": _percent(one.uncertainty),
            "disagreement": _percent(one.disagreement),
            "confused": confused(one, classes.channel_names),
        }


def patient_rows(
    figures: Sequence[PatchFigures], classes: TissueClasses, background: Background = "keep"
) -> list[dict[str, Any]]:
    """A row per patient, the lowest mIoU first and those without truth last, in per cent: `patient`, `patches`,
    `pixels` with a truth, `miou`, `error`, `iou_CLASS`, and means over patches of `unsure` and `disagreement`."""
    if not figures:
        return []
    patients = [one.record.patient for one in figures]
    names, sums = sum_by_patient(np.stack([one.confusion for one in figures]), patients)
    scores = Scores.of(sums, len(classes), background)
    rows = []
    for p, name in enumerate(names):
        own = [one for one, patient in zip(figures, patients, strict=True) if patient == name]
        apart = [one.disagreement for one in own if one.disagreement is not None]
        rows.append(
            {
                "patient": name,
                "patches": len(own),
                "pixels": int(sums[p].sum()),
                "miou": _percent(scores.miou[p]),
                "error": _percent(1 - scores.pixel_accuracy[p]),
                **{f"iou_{c}": _percent(value) for c, value in zip(classes.names, scores.iou[p], strict=False)},
                "unsure": _percent(np.mean([one.unsure for one in own])),
                "disagreement": _percent(np.mean(apart) if apart else None),
            }
        )
    return sorted(rows, key=lambda row: (row["miou"] is None, row["miou"] or 0.0))


def _percent(value: "float | np.floating[Any] | np.ndarray | None") -> float | None:
    return None if value is None or np.isnan(value) else round(100 * float(value), 4)
