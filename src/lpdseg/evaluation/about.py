"""What must be said beside the figures of a split: patients, magnifications, labels that contradict masks."""

from collections.abc import Sequence

from lpdseg.data.label_masks import compare
from lpdseg.data.origin import origin_notes, patients_unknown
from lpdseg.data.records import Manifest
from lpdseg.evaluation.protocol import About
from lpdseg.evaluation.split import LabelledBatch


def about_split(data: Manifest, split: str, batches: Sequence[LabelledBatch], left_out: str | None = None) -> About:
    """What is known of a split; `batches` hold its patches that have masks, in their order.

    `left_out` says whose patches are not among them, see `LearntFrom.leave_out`.
    """
    records = [record for record in data.split(split) if record.mask is not None]
    masks = [held for batch in batches for held in batch.pixels]
    compared = wrong = 0
    for record, held in zip(records, masks, strict=True):
        if record.labels is not None:
            compared += 1
            wrong += compare(record.labels, held, data.classes) is not None
    notes = [*([left_out] if left_out else []), *origin_notes(data.records, split)]
    if wrong:
        notes.append(f"image-level labels of {wrong} of {compared} images contradict their masks")
    return About("files" if patients_unknown(data.records) else "patients", tuple(notes))
