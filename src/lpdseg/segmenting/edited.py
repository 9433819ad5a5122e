"""A segmenter whose prototypes an expert has edited.

B images, C classes, P prototypes, n = C or C + 1 channels (background last), H x W pixels; G groups of prototypes
that share the class that they were trained for and the one that they count for.
"""

from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from lpdseg.errors import DataError, SettingsError
from lpdseg.maps.constants import constant
from lpdseg.maps.gate import open_gate
from lpdseg.maps.merge import sum_parts
from lpdseg.model.network import Network
from lpdseg.sections import PredictSettings
from lpdseg.segmenting.edits import BACKGROUND, Edits, as_read, plan
from lpdseg.segmenting.segmenter import Calibration, Evidence, Segmenter

_LAST = 1e-30


class EditedSegmenter(Segmenter):
    """The same model under edits: a prototype acts where the class that it was trained for passes the gate, with
    that class's offset, and its probability is added to the class that it counts for.

    So thresholds and offsets mean what they meant when they were chosen. The oracle gate, which knows the classes
    of the truth, opens the prototypes that count for them, and those that count for background. Where nothing acts
    and there is no background, everything does: each pixel must belong to a class.

    - Hidden prototypes are left out before the softmax, so that the others share their pixels.
    - Merged ones add up, as all prototypes of a class do; the map of prototypes shows the one merged into.

    **Attributes:**

    - `edits`, `plan`: as read, and what they mean here.
    - `groups`: of each the class that its prototypes were trained for, and the one that they count for.

    **Raises:** `SettingsError` where the masks are not made of prototypes; `DataError` as
    `lpdseg.segmenting.edits.plan`.
    """

    def __init__(self, plain: Segmenter, edits: Edits) -> None:
        calibration, chosen = plain.calibration, edits.offsets
        if chosen is not None:
            if len(chosen.values) != len(plain.classes):
                raise DataError(
                    f"{edits.source} holds {len(chosen.values)} offsets for {len(plain.classes)} classes; choose "
                    "them anew"
                )
            calibration = replace(calibration, offsets=torch.tensor(chosen.values), offsets_data=chosen.data)
        super().__init__(
            plain.model,
            plain._classes,
            plain.settings,
            calibration,
            plain.level_weights,
            plain.train_merge,
            plain.autocast,
        )
        self.notes, self.learnt = plain.notes, plain.learnt
        parts = plain.model.parts
        if parts is None or not plain.by_head:
            raise SettingsError(
                f"{edits.source} cannot be used with this run, whose masks are not made of prototypes; leave "
                "--edits out"
            )
        background = self.settings.background != "none"
        self.edits, self.edits_sha256 = edits, edits.sha256
        self.plan = plan(edits, self.classes.names, parts, plain.model.retired, background)
        pairs = list(zip(self.plan.trained, self.plan.target, strict=True))
        self._gone = plain.model.retired.union(self.plan.hidden)
        self.groups = sorted({pair for k, pair in enumerate(pairs) if k not in self._gone})
        # Prototypes that are gone have no group and the probability 0: where they are added does not matter.
        self._group_of = [self.groups.index(pair) if pair in self.groups else 0 for pair in pairs]

    @property
    def counts_for(self) -> tuple[int, ...]:
        """Of each prototype the class that its probability is added to, C for background; −1 where it is gone."""
        return tuple(-1 if k in self._gone else c for k, c in enumerate(self.plan.target))

    @property
    def winning(self) -> tuple[int, ...]:
        """See `Segmenter.winning`; what was merged into another wins nothing itself."""
        at = zip(self.counts_for, self.plan.shown, strict=True)
        return tuple(c if shown == k and c < len(self.classes) else -1 for k, (c, shown) in enumerate(at))

    @property
    def prototype_paths(self) -> tuple[tuple[str, str], ...]:
        """See `Segmenter.prototype_paths`: the class that each counts for now, and its name or else its number; of
        one that was moved `("STR", "TUM 3")`. What was merged into another is called as that."""
        paths, channels = super().prototype_paths, (*self.classes.names, BACKGROUND)
        called: list[tuple[str, str]] = []
        for path, name, before, now in zip(
            paths, self.plan.names, self.plan.trained, self.plan.target, strict=True
        ):
            number = path[1] if before == now else " ".join(path)
            called.append((channels[now], number if name is None else name))
        return tuple(called[k] for k in self.plan.shown)

    def claims(
        self, evidence: Evidence, labels: Bool[Tensor, "B C"] | None = None
    ) -> Float[Tensor, "B P H_0 W_0"] | None:
        """See `Segmenter.claims`: terms of the sums that the classes' scores are. Those that do not act come after
        all that do; among themselves they tell whose tissue it is where other windows of a slide show the class.
        """
        parts = evidence.parts
        if parts is None:
            return None
        acting = self.acting(evidence, labels)[:, constant(self._group_of, parts.device)]
        weights = self._placed.offsets.exp()[constant(self.plan.trained, parts.device)]
        factors = weights * acting.float().clamp(min=_LAST)
        weighted = parts * factors[:, :, None, None]
        shown = constant(self.plan.shown, parts.device)
        return torch.zeros_like(weighted).index_add_(1, shown, weighted)

    def _probabilities(self, dense: Float[Tensor, "VB P H_0 W_0"]) -> Float[Tensor, "VB P H_0 W_0"]:
        hidden = constant(self.plan.hidden, dense.device)
        return super()._probabilities(dense.index_fill(1, hidden, -torch.inf))

    def _activations(self, parts: Float[Tensor, "B P H_0 W_0"]) -> dict[int, Float[Tensor, "B _G H_0 W_0"]]:
        return {0: sum_parts(parts, self._group_of, len(self.groups))}

    def _gated(
        self, evidence: Evidence, images: UInt8[Tensor, "B 3 H W"], labels: Bool[Tensor, "B C"] | None
    ) -> tuple[Float[Tensor, "B C H W"], Bool[Tensor, "B C"], Float[Tensor, "B n H W"]]:
        scores, glass = self.fuse(evidence), self.glass(images)
        acting = self.acting(evidence, labels)
        logits = self.channel_logits(*self.group_logits(scores, glass, acting), self._placed.offsets)
        classes = len(self.classes)
        gate = torch.stack([acting[:, constant(self._members(c), acting.device)].any(1) for c in range(classes)], 1)
        by_class = sum_parts(scores, [now for _, now in self.groups], classes + 1)[:, :classes]
        return by_class, gate, logits.softmax(1)

    @torch.inference_mode()
    def group_logits(
        self,
        scores: Float[Tensor, "B G H W"],
        glass: Float[Tensor, "B 1 H W"] | None,
        acting: Bool[Tensor, "B G"],
    ) -> tuple[Float[Tensor, "B G H W"], Float[Tensor, "B 1 H W"] | None]:
        """Logits of the groups before offsets, −inf where they do not act, and of background where it has one."""
        behind: Tensor | None = None
        if self.settings.background == "power":
            trained = [before for before, _ in self.groups]
            by_trained = sum_parts(scores * acting[:, :, None, None], trained, len(self.classes))
            behind = by_trained.amax(1, keepdim=True)
        logits = self.class_logits(scores, glass).masked_fill(~acting[:, :, None, None], -torch.inf)
        return logits, self.background_logit(behind, glass)

    @torch.inference_mode()
    def channel_logits(
        self,
        logits: Float[Tensor, "B G H W"],
        background: Float[Tensor, "B 1 H W"] | None,
        offsets: Float[Tensor, " C"],
    ) -> Float[Tensor, "B n H W"]:
        """Logits of the mask's channels, from those of `group_logits`."""
        trained = [before for before, _ in self.groups]
        logits = logits + offsets.to(logits.device)[constant(trained, logits.device)][:, None, None]
        classes = len(self.classes)
        channels = [self._joined(logits, c) for c in range(classes)]
        if background is not None:
            channels.append(torch.logaddexp(background[:, 0], self._joined(logits, classes)))
        return torch.stack(channels, 1)

    def acting(self, evidence: Evidence, labels: Bool[Tensor, "B C"] | None = None) -> Bool[Tensor, "B G"]:
        """The groups that may appear."""
        settings, device = self.settings, evidence.probabilities.device
        gate = open_gate(
            settings.gate,
            evidence.probabilities,
            self._placed.thresholds,
            None if labels is None else labels.to(device),
            may_be_empty=settings.background == "power",
        )
        if settings.gate == "oracle":
            always = gate.new_ones(len(gate), 1)
            acting = torch.cat([gate, always], 1)[:, constant([now for _, now in self.groups], device)]
        else:
            acting = gate[:, constant([before for before, _ in self.groups], device)]
        return acting if settings.background != "none" else acting | ~acting.any(1, keepdim=True)

    def _members(self, channel: int) -> list[int]:
        return [g for g, (_, now) in enumerate(self.groups) if now == channel]

    def _joined(self, logits: Float[Tensor, "B G H W"], channel: int) -> Float[Tensor, "B H W"]:
        """log Σ exp over the groups that count for a channel; −inf where none does."""
        members = self._members(channel)
        if not members:
            return torch.full_like(logits[:, 0], -torch.inf)
        return (
            logits[:, members[0]] if len(members) == 1 else logits[:, constant(members, logits.device)].logsumexp(1)
        )

    def _like(self, settings: PredictSettings, calibration: Calibration, model: Network | None = None) -> Segmenter:
        edits = self.edits if calibration is self.calibration else replace(self.edits, offsets=None)
        return EditedSegmenter(super()._like(settings, calibration, model), edits)


def names_in(segmenter: Segmenter, edits: str | Path | Edits | None) -> dict[int, str]:
    """What people call those that the edits speak of, by index, such as `TUM 3: cribriform (moved to STR)`.

    **Raises:** as `edited`.
    """
    read = as_read(edits)
    if read is None:
        return {}
    plan, keys = EditedSegmenter(segmenter, read).plan, segmenter.prototype_names
    channels, called = (*segmenter.classes.names, BACKGROUND), list(keys)
    for k, name in enumerate(plan.names):
        called[k] += "" if name is None else f": {name}"
        if plan.shown[k] != k:
            called[k] += f" (merged into {keys[plan.shown[k]]})"
        elif k in plan.hidden:
            called[k] += " (hidden)"
        elif k in plan.moved:
            called[k] += f" (moved to {channels[plan.target[k]]})"
    return {k: now for k, (now, key) in enumerate(zip(called, keys, strict=True)) if now != key}


def edited(segmenter: Segmenter, edits: str | Path | Edits | None) -> Segmenter:
    """The segmenter under edits, given as a file or as they were read; with None it is as it was.

    **Raises:** `DataError` for a file that cannot be read or does not fit the run; `SettingsError` where the run's
    masks are not made of prototypes.
    """
    read = as_read(edits)
    return segmenter if read is None else EditedSegmenter(segmenter, read)
