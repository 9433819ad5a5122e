"""What must be said beside the figures of a split: patients, magnifications, labels that contradict masks."""

from collections.abc import Sequence

from lpdseg.data.label_masks import compare
from lpdseg.data.origin import origin_notes, patients_unknown
from lpdseg.data.records import Manifest, content_digest
from lpdseg.errors import DataError
from lpdseg.evaluation.protocol import About
from lpdseg.evaluation.split import LabelledBatch
from lpdseg.segmenting.edited import EditedSegmenter
from lpdseg.segmenting.segmenter import Segmenter


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


def check_offsets(segmenter: Segmenter, data: Manifest, split: str) -> None:
    """**Raises:** `DataError` where offsets were chosen under edits on patches of a split that is no validation."""
    chosen = segmenter.edits.offsets if isinstance(segmenter, EditedSegmenter) else None
    if chosen is None or split == "valid":
        return
    known = sum(content_digest(record.path) in chosen.images for record in data.split(split))
    if known:
        raise DataError(
            f"offsets were chosen on {known} of the {split} patches of {data.source}, whose figures would flatter; "
            "choose the offsets on a validation split of other patches"
        )
