"""A trained model as a segmenter: images in, masks, probabilities and scores out (method §4).

B images, C classes, n = C or C + 1 channels (background last), H x W pixels; scale l has H_l x W_l pixels.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8, UInt16
from torch import Tensor
from torch.nn import functional as F

from lpdseg.choices import ImageMerge
from lpdseg.data.corrected import NOBODY, LearntFrom
from lpdseg.errors import SettingsError
from lpdseg.maps.background import background_score, glass_share, outside_glass
from lpdseg.maps.crf import dense_crf
from lpdseg.maps.fuse import activation, fuse_scales
from lpdseg.maps.gate import open_gate
from lpdseg.maps.labelling import gated_logits, likeliest
from lpdseg.maps.merge import sum_parts
from lpdseg.maps.pad import as_pixels, pad_to_stride
from lpdseg.maps.winners import numbered, winners
from lpdseg.model.network import Network, Reading, Wanted
from lpdseg.pictures.html import classes_html
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.effective import effective
from lpdseg.segmenting.prediction import Prediction, check_computed
from lpdseg.segmenting.segmentation import Segmentation, rgb_array
from lpdseg.segmenting.uncertainty import Uncertainty
from lpdseg.segmenting.views import make_views, mean_of_views
from lpdseg.settings import change_section
from lpdseg.tissue import TissueClasses

SMALLEST = 1e-6
"""Probabilities below it count as it: an open class can always be chosen."""

SPOT = 3
"""Side in pixels of the finest scale over which dense probabilities are averaged for the image-level one."""


@dataclass(frozen=True, repr=False)
class Evidence:
    """What the network says of a batch, before any gate: small, so that a whole split fits in memory.

    - `activations`: per scale, B x C x H_l x W_l in [0, 1], mean over the views.
    - `probabilities`: image-level, B x C.
    - `size`, `padded`: (H, W) of the images, and of what the network saw.
    - `parts`: of the prototypes that make the mask, P of them (see `Network.parts`); the activations are their sums
      by class. None where they are not asked for, or there are none.
    """

    activations: dict[int, Float[Tensor, "B _c H_l W_l"]]
    probabilities: Float[Tensor, "B C"]
    size: tuple[int, int]
    padded: tuple[int, int]
    parts: Float[Tensor, "B P H_0 W_0"] | None = None


@dataclass(frozen=True)
class Calibration:
    """What was chosen on validation masks, per class.

    - `thresholds`: of the image-level probability.
    - `offsets`: added to the class's logit at every pixel.
    - `offsets_data`: fingerprint of the data that the offsets were chosen anew on under edits; None: with the run.
    - `temperature`: of reported probabilities, see `lpdseg.maps.uncertainty.tempered`; masks do not depend on it.
    """

    thresholds: Float[Tensor, " C"]
    offsets: Float[Tensor, " C"]
    offsets_data: str | None = None
    temperature: float = 1.0

    @classmethod
    def plain(cls, classes: int) -> "Calibration":
        """Thresholds of 0.5, no offsets, temperature 1."""
        return cls(torch.full((classes,), 0.5), torch.zeros(classes))


class Segmenter:
    """Everything that turns images into masks.

    **Arguments:**

    - `model`: in evaluation mode.
    - `settings`: source, views, merge, gate, fusion, background, refinement.
    - `calibration`: thresholds and offsets per class.
    - `level_weights`: of each scale in the image-level probability (the loss's scale weights).
    - `train_merge`: how prototypes were merged into classes for the image-level loss.
    - `autocast`: run the network in bfloat16.

    Settings that mean nothing for the classes are dropped; `notes` say which, and `settings` are those that act.
    """

    edits_sha256: str | None = None
    """Of the file of edits, see `lpdseg.segmenting.edited`."""

    learnt: LearntFrom = NOBODY
    """Patches of valid and test that the model has learnt from: its figures leave their patients out."""

    def __init__(
        self,
        model: Network,
        classes: TissueClasses,
        settings: PredictSettings,
        calibration: Calibration,
        level_weights: Sequence[float],
        train_merge: ImageMerge,
        autocast: bool = False,
    ) -> None:
        if len(settings.fusion) != model.scales:
            raise SettingsError(
                f"predict.fusion has {len(settings.fusion)} weights but the encoder {model.scales} scales"
            )
        settings, self.notes = effective(settings, classes)
        self.model, self.settings = model, settings
        self._classes, self.classes = classes, classes.in_palette(settings.palette)
        self.calibration, self.level_weights = calibration, tuple(level_weights)
        self.train_merge, self.autocast = train_merge, autocast
        if settings.source == "head" and not model.has_head:
            raise SettingsError("predict.source = 'head' needs a segmentation head, which this model does not have")
        if settings.source == "maps" and not model.has_maps:
            raise SettingsError("predict.source = 'maps' needs class maps, which this method lacks; use head")
        self.by_head = model.has_head if settings.source == "auto" else settings.source == "head"
        self.fusion = {level: weight for level, weight in enumerate(settings.fusion) if weight > 0}

    def __repr__(self) -> str:
        return (
            f"Segmenter({type(self.model).__name__} for {', '.join(self.channel_names)}; "
            f"gate {self.settings.gate}, refine {self.settings.refine}, on {self.device})"
        )

    def _repr_html_(self) -> str:
        return classes_html(f"{self!r}; thresholds", self.classes, self.calibration.thresholds.tolist(), ".2f")

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    @cached_property
    def _placed(self) -> Calibration:
        """The calibration where the model is: an upload for each batch would wait for the batch before."""
        chosen = self.calibration
        return Calibration(chosen.thresholds.to(self.device), chosen.offsets.to(self.device))

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The channels of its probabilities: its classes, and background where it finds any."""
        return self.classes.names if self.settings.background == "none" else self.classes.channel_names

    @property
    def how_sure(self) -> dict[str, float]:
        """What reported uncertainty depends on, besides the probabilities that make the mask."""
        return {"temperature": self.calibration.temperature, "unsure": self.settings.unsure}

    @property
    def winning(self) -> tuple[int, ...] | None:
        """Of each prototype that makes the mask the class whose pixels it may win; −1 for none: it is retired.

        None where no prototypes make the mask.
        """
        parts, retired = self.model.parts, self.model.retired
        if not self.by_head or parts is None:
            return None
        return tuple(-1 if index in retired else c for index, c in enumerate(parts))

    @property
    def prototype_paths(self) -> tuple[tuple[str, str], ...]:
        """Of each prototype that makes the mask, by index, its class and its name in it: `("TUM", "3")`."""
        parts = (self.model.parts if self.by_head else None) or ()
        return tuple((self.classes.names[c], str(n)) for c, n in zip(parts, numbered(parts), strict=True))

    @property
    def prototype_names(self) -> tuple[str, ...]:
        """What people call the prototypes that make the mask, by index, such as `TUM 3`."""
        return tuple(" ".join(path) for path in self.prototype_paths)

    @property
    def wanted(self) -> Wanted:
        """What the network is asked for."""
        weighted = {level for level, weight in enumerate(self.level_weights) if weight > 0}
        levels = weighted if self.by_head else weighted | set(self.fusion)
        return Wanted(tuple(sorted(levels)), self.settings.merge, self.train_merge, self.by_head)

    @torch.inference_mode()
    def observe(self, images: UInt8[Tensor, "B 3 H W"], parts: bool = False) -> Evidence:
        """Runs the network on all views of a batch; `parts` asks for the prototypes that make the mask."""
        size = (images.shape[-2], images.shape[-1])
        pixels = pad_to_stride(as_pixels(images.to(self.device)), self.model.stride)
        views, by_head = self.settings.views, self.by_head
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            reading = self.model.read(make_views(pixels, views), *astuple(self.wanted))
        shown: Tensor | None = None
        if by_head:
            assert reading.dense is not None
            shown = mean_of_views(self._probabilities(reading.dense.float()), views)
            activations = self._activations(shown)
        else:
            activations = {level: mean_of_views(activation(reading.maps[level]), views) for level in self.fusion}
        probabilities = torch.stack(self._image_level(reading).chunk(len(views))).mean(0)
        kept = shown if parts and self.model.parts is not None else None
        return Evidence(activations, probabilities, size, (pixels.shape[-2], pixels.shape[-1]), kept)

    def _probabilities(self, dense: Float[Tensor, "VB P H_0 W_0"]) -> Float[Tensor, "VB P H_0 W_0"]:
        return dense.softmax(1)

    def _activations(self, parts: Float[Tensor, "B P H_0 W_0"]) -> dict[int, Float[Tensor, "B _c H_0 W_0"]]:
        return {0: self._by_class(parts)}

    def _by_class(self, values: Float[Tensor, "B P H_0 W_0"]) -> Float[Tensor, "B C H_0 W_0"]:
        parts = self.model.parts
        return values if parts is None else sum_parts(values, parts, len(self.classes))

    def _image_level(self, reading: Reading) -> Float[Tensor, "VB C"]:
        """Weighted mean of the scales' logits; of dense logits alone, the highest mean of 3 x 3 pixels."""
        if not reading.logits:
            assert reading.dense is not None
            return F.avg_pool2d(self._by_class(reading.dense.float().softmax(1)), SPOT, stride=1).amax((2, 3))
        weights = {level: self.level_weights[level] for level in reading.logits if self.level_weights[level] > 0}
        total = sum(weights.values())
        logits = torch.stack([reading.logits[level] * (weight / total) for level, weight in weights.items()]).sum(0)
        return logits.sigmoid()

    @torch.inference_mode()
    def decide(
        self,
        evidence: Evidence,
        images: UInt8[Tensor, "B 3 H W"],
        labels: Bool[Tensor, "B C"] | None = None,
    ) -> Prediction:
        """Gate, fusion, background, refinement, argmax."""
        settings = self.settings
        scores, gate, unrefined = self._gated(evidence, images, labels)
        probabilities = unrefined
        if settings.refine == "crf":
            forbidden = (probabilities[:, : len(self.classes)] == 0) & ~gate[:, :, None, None]
            unary = -probabilities.clamp(min=1e-8).log()
            unary[:, : len(self.classes)].masked_fill_(forbidden, torch.inf)
            probabilities = dense_crf(unary, images.to(scores.device), **settings.crf.model_dump())
        mask = likeliest(probabilities)
        prototypes = self._prototypes(evidence, mask, labels)
        return Prediction(mask.to(torch.uint8), probabilities, unrefined, scores, gate, prototypes)

    def _prototypes(
        self, evidence: Evidence, mask: Int[Tensor, "B H W"], labels: Bool[Tensor, "B C"] | None
    ) -> UInt16[Tensor, "B H W"] | None:
        claims = self.claims(evidence, labels)
        winning = None if claims is None else self.winning  # to look at which are retired is to wait for the device
        if claims is None or winning is None:
            return None
        return winners(claims, winning, mask, evidence.padded).to(torch.uint16)

    def claims(
        self, evidence: Evidence, labels: Bool[Tensor, "B C"] | None = None
    ) -> Float[Tensor, "B P H_0 W_0"] | None:
        """With what weight each prototype claims a pixel of the class whose pixels it may win, see `winning`.

        None where they were not asked for. `labels` are those of an oracle gate.
        """
        del labels
        return evidence.parts

    def _gated(
        self, evidence: Evidence, images: UInt8[Tensor, "B 3 H W"], labels: Bool[Tensor, "B C"] | None
    ) -> tuple[Float[Tensor, "B C H W"], Bool[Tensor, "B C"], Float[Tensor, "B n H W"]]:
        """Scores, gate and probabilities, before refinement."""
        scores = self.fuse(evidence)
        gate = open_gate(
            self.settings.gate,
            evidence.probabilities,
            self._placed.thresholds,
            None if labels is None else labels.to(scores.device),
            may_be_empty=self.settings.background == "power",
        )
        return scores, gate, self.logits(scores, gate, self.glass(images)).softmax(1)

    def fuse(self, evidence: Evidence) -> Float[Tensor, "B C H W"]:
        """Class scores in [0, 1] at the size of the images."""
        height, width = evidence.size
        fusion = {0: 1.0} if self.by_head else self.fusion
        return fuse_scales(evidence.activations, fusion, evidence.padded)[..., :height, :width]

    @torch.inference_mode()
    def glass(self, images: UInt8[Tensor, "B 3 H W"], step: int = 1) -> Float[Tensor, "B 1 h w"] | None:
        """The share of glass at every `step`-th pixel, where background is found by it."""
        if self.settings.background != "glass":
            return None
        return glass_share(_to_unit(images, self.device), step)

    @torch.inference_mode()
    def logits(
        self,
        scores: Float[Tensor, "B C H W"],
        gate: Bool[Tensor, "B C"],
        glass: Float[Tensor, "B 1 H W"] | None,
    ) -> Float[Tensor, "B n H W"]:
        """Logits of the classes that pass the gate, and of background where it has a score; the others are −inf.

        Each pixel's depend on that pixel's scores and glass alone.
        """
        power = self.settings.background == "power"
        highest = (scores * gate[:, :, None, None]).amax(1, keepdim=True) if power else None
        offsets = self._placed.offsets[:, None, None]
        return gated_logits(self.class_logits(scores, glass) + offsets, gate, self.background_logit(highest, glass))

    @torch.inference_mode()
    def class_logits(
        self, scores: Float[Tensor, "B C H W"], glass: Float[Tensor, "B 1 H W"] | None
    ) -> Float[Tensor, "B C H W"]:
        """Logits of the classes before gate and offsets."""
        return self._to_logits(outside_glass(scores, glass))

    @torch.inference_mode()
    def background_logit(
        self, highest: Float[Tensor, "B _k H W"] | None, glass: Float[Tensor, "B 1 H W"] | None
    ) -> Float[Tensor, "B _n H W"] | None:
        """The logit of background, where it has one; see `lpdseg.maps.background.background_score`."""
        score = background_score(self.settings.background, highest, glass, self.settings.background_power)
        return None if score is None else self._to_logits(score)

    def _to_logits(self, scores: Float[Tensor, "B _n H W"]) -> Float[Tensor, "B _n H W"]:
        """Scores of class maps are divided by the temperature; a head's are probabilities: their logarithm."""
        return scores.clamp(min=SMALLEST).log() if self.by_head else scores / self.settings.temperature

    def segment(self, image: UInt8[np.ndarray, "H W 3"]) -> Segmentation:
        """Segments one 8-bit RGB image of any size, with its uncertainty, and the map of prototypes where they make
        the mask.

        **Raises:** `DataError` for an array of another kind; `SettingsError` for the oracle gate, which needs
        ground truth.
        """
        return self.segment_batch(rgb_array(image, "segment")[None], prototypes=True, uncertainty=True)[0]

    def segment_batch(
        self, images: UInt8[np.ndarray, "B H W 3"], prototypes: bool = False, uncertainty: bool = False
    ) -> list[Segmentation]:
        """Segments RGB images of one size at once; `prototypes` asks for their map, where they make the mask, and
        `uncertainty` for how sure it is.

        **Raises:** `SettingsError` for the oracle gate.
        """
        batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        evidence = self.observe(batch, parts=prototypes)
        prediction = self.decide(evidence, batch)
        masks = self.classes.to_disk()[prediction.mask.cpu().numpy()]
        found = prediction.prototypes
        won = [None] * len(masks) if found is None else list(found.cpu().numpy())
        probabilities, scores, image_level = (
            values.float().cpu().numpy()
            for values in (prediction.probabilities, prediction.scores, evidence.probabilities)
        )
        check_computed(probabilities, image_level)
        said = probabilities
        if uncertainty and prediction.unrefined is not prediction.probabilities:
            said = prediction.unrefined.float().cpu().numpy()
        unsure = [Uncertainty(one, *self.how_sure.values()) if uncertainty else None for one in said]
        arrays = zip(masks, probabilities, scores, image_level, strict=True)
        names, classes = self.prototype_names, self.classes
        each = zip(arrays, won, unsure, strict=True)
        return [Segmentation(*one, classes, winner, names, how_sure) for one, winner, how_sure in each]

    def with_settings(self, **changes: object) -> "Segmenter":
        """The same model with other prediction settings, for instance `gate="oracle"`.

        **Raises:** `SettingsError` for a setting or value that does not exist.
        """
        settings = change_section(self.settings, changes, "predict")
        return self._like(settings, self.calibration)

    def calibrated(self, calibration: Calibration) -> "Segmenter":
        """The same model with other thresholds and offsets."""
        return self._like(self.settings, calibration)

    def computed_by(self, model: Network) -> "Segmenter":
        """The same with another network, such as its own in another runtime."""
        return self._like(self.settings, self.calibration, model)

    def _like(
        self, settings: PredictSettings, calibration: Calibration, model: Network | None = None
    ) -> "Segmenter":
        made = Segmenter(
            self.model if model is None else model,
            self._classes,
            settings,
            calibration,
            self.level_weights,
            self.train_merge,
            self.autocast,
        )
        made.notes, made.learnt = made.notes or self.notes, self.learnt
        return made


def _to_unit(images: UInt8[Tensor, "B 3 H W"], device: torch.device) -> Float[Tensor, "B 3 H W"]:
    return images.to(device).float().div(255)
