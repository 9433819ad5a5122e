"""Everything between a graph's outputs and the mask, as plain values: enough to do without this package.

`docs/how-to/onnx.md` reads it with NumPy alone.
"""

import json
from pathlib import Path
from typing import Any

from lpdseg.maps.glass import GLASS_DENSITY, GLASS_STEP, GLASS_WINDOW
from lpdseg.segmenting.edited import EditedSegmenter
from lpdseg.segmenting.loading import TrainedOn, about, trained_on
from lpdseg.segmenting.segmenter import SMALLEST, SPOT, Segmenter
from lpdseg.segmenting.views import BRIGHTNESS

RECIPE = "lpdseg_recipe"
"""Of the graph's metadata: a JSON object, see `recipe`."""


def as_text(segmenter: Segmenter, run: Path, checkpoint: str = "best") -> str:
    """The recipe of a run's segmenter, as text for the graph's metadata.

    **Raises:** `CheckpointError` where there is no such checkpoint.
    """
    told = about(run, checkpoint, segmenter)
    return json.dumps(recipe(segmenter, trained_on(run, checkpoint), told), ensure_ascii=False)


def recipe(segmenter: Segmenter, trained: TrainedOn, told: str) -> dict[str, Any]:
    """What a segmenter does, in the order in which it does it.

    `told` is the sentence of `lpdseg.segmenting.loading.about`. In what it gives:

    - `about`: what the model was trained on and what its masks are for; `mpp`, `patch`: of its patches, as far as
      known.
    - `input`: pixels are RGB / 255; the graph itself subtracts the mean and divides by the deviation. Both sides
      are filled up to multiples of `multiple_of` (images below 32 px first to 32), mirrored at the right and below.
    - `views`: predicted and averaged, `flip` left to right, with `brightness` times that.
    - `source`: `head`, softmax of `dense`; or `maps`, each made non-negative and shifted and scaled to [0, 1].
    - `parts`: the class of each channel of `dense` where they are prototypes, the one that gate and offsets read;
      None where they are classes.
    - `edits_sha256`: of edits of prototypes; None without any.
    - `hidden`: channels of `dense` that are left out before softmax, but for the image-level probability.
    - `counts_for`: the class that each prototype's probability is added to, the number of classes for background,
      −1 for none. Those that share this and `parts` are a group, with the logit, offset and gate of its class in
      `parts`; logits of groups that count for one class are joined by log-sum-exp. Where no group passes, and there
      is no background, all do. The highest score of the rule `power` is of sums by `parts`.
    - `shown`: the prototype that each is shown as.
    - `winning`, `prototypes`: the class whose pixels each prototype may win, −1 for none, and its name. The winner
      of a pixel is the likeliest of those of its class in the mask, after views are averaged and maps enlarged. A
      probability counts exp(offset) times, next to nothing where the gate is closed, and for the one of `shown`.
    - `fusion`: weights of the scales, enlarged bilinearly to the size of the input; of the head alone 1.
    - `image_level`: weights of the scales in the mean of `logits`, whose sigmoid it is; or `spot`, the side of the
      square over which the head's classes are averaged before its maximum.
    - `gate`: `predicted` opens classes whose image-level probability reaches `thresholds`; where none does, the
      nearest, but for the background rule `power`. `none` opens all.
    - `background`: its rule and figures, see `lpdseg.maps.background`.
    - `temperature`: scores are divided by it; None where their logarithm is taken, above `smallest`.
    - `offsets`: added then. The mask is the likeliest open class or background. `offsets_data` is the fingerprint
      of the data that they were chosen anew on under edits, else None.
    - `uncertainty`: the probabilities are those before refinement; `temperature` divides their logarithms before
      another softmax, and a pixel is unsure where the two highest differ by less than `unsure`.
    - `refine`: `none`, or `crf` with its figures, which is a step further.
    """
    settings, head = segmenter.settings, segmenter.by_head
    weights = {
        str(level): segmenter.level_weights[level]
        for level in segmenter.wanted.levels
        if segmenter.level_weights[level] > 0
    }
    edited = segmenter if isinstance(segmenter, EditedSegmenter) else None
    parts = None if segmenter.winning is None else list(segmenter.model.parts or ())
    fusion = {"0": 1.0} if head else {str(level): weight for level, weight in segmenter.fusion.items()}
    return {
        "format": 3,
        "about": told,
        "classes": segmenter.classes.as_dict(),
        "mpp": trained.mpp,
        "patch": None if trained.patch is None else list(trained.patch),
        "input": {"name": "images", "colour": "RGB", "range": [0, 1], "multiple_of": segmenter.model.stride},
        "views": [{"flip": view.startswith("flip"), "brightness": BRIGHTNESS[view]} for view in settings.views],
        "source": "head" if head else "maps",
        "parts": parts,
        "edits_sha256": segmenter.edits_sha256,
        "hidden": [] if edited is None else list(edited.plan.hidden),
        "counts_for": parts if edited is None else list(edited.counts_for),
        "shown": (None if parts is None else [*range(len(parts))]) if edited is None else list(edited.plan.shown),
        "winning": None if segmenter.winning is None else list(segmenter.winning),
        "prototypes": list(segmenter.prototype_names),
        "fusion": fusion,
        "image_level": {"weights": weights} if segmenter.model.has_maps else {"spot": SPOT},
        "gate": settings.gate,
        "thresholds": segmenter.calibration.thresholds.tolist(),
        "background": {
            "rule": settings.background,
            "power": settings.background_power,
            "density": GLASS_DENSITY,
            "step": GLASS_STEP,
            "window": GLASS_WINDOW,
        },
        "temperature": None if head else settings.temperature,
        "smallest": SMALLEST,
        "offsets": segmenter.calibration.offsets.tolist(),
        "offsets_data": segmenter.calibration.offsets_data,
        "uncertainty": segmenter.how_sure,
        "refine": settings.refine,
        "crf": settings.crf.model_dump() if settings.refine == "crf" else None,
    }
