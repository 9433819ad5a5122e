"""How long a mask takes."""

import time

from lpdseg.data.records import Manifest
from lpdseg.evaluation.split import read_labelled
from lpdseg.segmenting.segmenter import Segmenter

_IMAGES = 32


def prediction_ms(segmenter: Segmenter, manifest: Manifest, split: str) -> float:
    """Milliseconds per image from pixels in memory to the mask, gate and refinement included.

    The mean over at most 32 images evenly spread over the split, in the run's own batches; the first batch is
    predicted once before, so that nothing is measured that happens only once.
    """
    records = [record for record in manifest.split(split) if record.mask is not None]
    step = max(1, len(records) // _IMAGES)
    picked = read_labelled(records[::step][:_IMAGES], manifest.classes, segmenter.settings.batch, split)
    batches = [batch.images.permute(0, 2, 3, 1).numpy() for batch in picked]
    segmenter.segment_batch(batches[0])
    began = time.perf_counter()
    for batch in batches:
        segmenter.segment_batch(batch)
    return round(1000 * (time.perf_counter() - began) / sum(map(len, batches)), 3)
