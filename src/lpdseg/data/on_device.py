"""Batches whose pixels are made on the device: decoded patches lie there, and what is drawn on the host is sent.

B patches and n composites of at most S sources need P = B + n·S patches, in this order, of L layers: RGB, and the
mask where it is asked for. All numbers are those of `TrainingBatches`, and so are pixels but for rounding.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from lpdseg.cores import allowed_cores
from lpdseg.data.augment import DENSITIES, turned
from lpdseg.data.composites import Composites, Recipe, TrainingBatches
from lpdseg.data.dataset import Draw, TrainingPatches, Variation

_BLOCK = 128
"""Patches that are uploaded at once."""


class DrawnBatches(Dataset[dict[str, Any]]):
    """What is drawn for the batches of `TrainingBatches`, and the patches that the device does not hold.

    **Arguments:**

    - `held`: how many it holds; these are the first ones.
    """

    def __init__(self, batches: TrainingBatches, held: int) -> None:
        self.batches, self.held = batches, held

    @property
    def patches(self) -> TrainingPatches:
        """The patches that they are made of."""
        return self.batches.patches

    def __len__(self) -> int:
        """How many patches there are."""
        return len(self.patches)

    def __getitem__(self, draws: list[Draw]) -> dict[str, Any]:
        """What `Maker` makes a batch of:

        - `labels`: float32, B x C; `stains`, where they vary: float32, (B + n) x 3 x 3.
        - `rows`, `turns`: int64, P: which patch that the device holds, and its orientation.
        - `sent`: uint8, m x H x W x L, patches that it does not hold; `places`: int64, m, among the P.
        - with composites `absent`: bool, n x S, `classes`: uint8, n x S, `composite_source`: int64, n x C; and
          `fields`, a list of places among the n, and float32, g x S x cells x cells, by the number of cells.
        """
        patches, composites = self.patches, self.batches.composites
        varied, recipes = [patches.draw(draw) for draw in draws], self.batches.recipes(draws)
        wanted: list[Variation | None] = [*varied]
        for recipe in recipes:
            assert composites is not None
            wanted += [*recipe.patches, *[None] * (composites.most - len(recipe.patches))]
        missing = {p: one.index for p, one in enumerate(wanted) if one is not None and one.index >= self.held}
        rows = [0 if one is None or p in missing else one.index for p, one in enumerate(wanted)]
        layers = 3 + (patches.masks_of is not None)
        sent = np.empty((len(missing), *patches.shape, layers), np.uint8)
        for number, index in enumerate(missing.values()):
            sent[number] = patches.layers(index)
        drawn = {
            "labels": torch.tensor([patches.records[draw.index].labels for draw in draws], dtype=torch.float32),
            "rows": torch.tensor(rows),
            "turns": torch.tensor([0 if one is None else one.turn for one in wanted]),
            "sent": torch.from_numpy(sent),
            "places": torch.tensor(list(missing), dtype=torch.long),
        }
        if patches.jitter > 0:
            stains = [one.stains for one in varied] + [one.stains for one in recipes]
            drawn["stains"] = torch.from_numpy(np.array(stains, np.float32))
        return drawn if composites is None else drawn | _drawn_composites(composites, recipes)


def _drawn_composites(composites: Composites, recipes: list[Recipe]) -> dict[str, Any]:
    absent = torch.ones((len(recipes), composites.most), dtype=torch.bool)
    classes = torch.zeros(absent.shape, dtype=torch.uint8)
    by_cells: dict[int, list[int]] = {}
    for place, recipe in enumerate(recipes):
        absent[place, : len(recipe.classes)] = False
        classes[place, : len(recipe.classes)] = torch.from_numpy(recipe.classes)
        by_cells.setdefault(recipe.fields.shape[-1], []).append(place)
    fields = []
    for cells, places in by_cells.items():
        values = torch.zeros((len(places), composites.most, cells, cells))
        for row, place in zip(values, places, strict=True):
            row[: len(recipes[place].fields)] = torch.from_numpy(recipes[place].fields)
        fields.append((torch.tensor(places), values))
    source = composites.rows(recipes)
    return {"absent": absent, "classes": classes, "fields": fields, "composite_source": source}


class Maker:
    """Makes the batches of `TrainingBatches` from what is drawn for them, without a copy from the device.

    **Arguments:**

    - `room`: bytes of decoded patches that the device may hold.
    - `progress`: called with patches uploaded, and of how many.

    **Attributes:**

    - `held`: the patches that it holds, the first ones: uint8, held x L x H x W.
    """

    def __init__(
        self,
        patches: TrainingPatches,
        device: torch.device,
        room: int,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.size, self.flips = patches.shape, patches.flips
        self.densities = torch.from_numpy(DENSITIES).to(device)
        height, width = self.size
        places: np.ndarray = np.arange(height * width).reshape(height, width)
        turns = np.stack([turned(places, number).reshape(-1) for number in range(8)])
        self.turns = torch.from_numpy(turns).to(device)
        layers = 3 + (patches.masks_of is not None)
        held = min(len(patches), room // (layers * height * width))
        self.held = torch.empty((held, layers, height, width), dtype=torch.uint8, device=device)
        # What the device holds would only take room from what it does not.
        load = partial(patches.layers, keep=held == len(patches))
        with ThreadPoolExecutor(allowed_cores()) as pool:
            for first in range(0, held, _BLOCK):
                stop = min(held, first + _BLOCK)
                block = torch.from_numpy(np.stack(list(pool.map(load, range(first, stop)))))
                self.held[first:stop] = block.to(device).permute(0, 3, 1, 2)
                progress(stop, held)

    def __call__(self, drawn: dict[str, Any]) -> dict[str, Tensor]:
        """A batch as `TrainingBatches` describes it, of what lies on the device."""
        count, stains = len(drawn["labels"]), drawn.get("stains")
        layers = self._turned(drawn)
        images = layers[:count, :3]
        images = images.contiguous() if stains is None else self._stained(images, stains[:count])
        batch = {"image": images, "labels": drawn["labels"]}
        if layers.shape[1] > 3:
            batch["mask"] = layers[:count, 3].contiguous()
        if "absent" not in drawn:
            return batch
        owner = self._owner(drawn)
        composites = joined(layers[count:, :3].unflatten(0, drawn["absent"].shape), owner)
        return batch | {
            "composite": composites if stains is None else self._stained(composites, stains[count:]),
            "composite_mask": drawn["classes"].gather(1, owner.flatten(1)).view(owner.shape),
            "composite_source": drawn["composite_source"],
        }

    def _turned(self, drawn: dict[str, Any]) -> UInt8[Tensor, "P L H W"]:
        if len(self.held):
            layers = self.held.index_select(0, drawn["rows"])
        else:
            layers = self.held.new_zeros((len(drawn["rows"]), *self.held.shape[1:]))
        if len(drawn["places"]):
            layers.index_copy_(0, drawn["places"], drawn["sent"].permute(0, 3, 1, 2))
        if not self.flips:
            return layers
        places = self.turns.index_select(0, drawn["turns"])[:, None].expand(-1, layers.shape[1], -1)
        return layers.flatten(2).gather(2, places).view(layers.shape)

    def _stained(
        self, images: UInt8[Tensor, "n 3 H W"], stains: Float[Tensor, "n 3 3"]
    ) -> UInt8[Tensor, "n 3 H W"]:
        """See `lpdseg.data.augment.apply_density_map`; no matrix product, which could be one of TF32."""
        density = self.densities.index_select(0, images.int().flatten()).view(images.shape)
        maps = stains[..., None, None]
        mixed = density[:, :1] * maps[:, 0]
        for stain in (1, 2):
            mixed += density[:, stain : stain + 1] * maps[:, stain]
        return mixed.clamp_(min=0).neg_().exp_().mul_(255).round_().to(torch.uint8)

    def _owner(self, drawn: dict[str, Any]) -> Int[Tensor, "n H W"]:
        """See `lpdseg.data.composites.regions`."""
        absent = drawn["absent"]
        smooth = self.densities.new_empty((*absent.shape, *self.size))
        for places, fields in drawn["fields"]:
            fine = F.interpolate(fields, size=self.size, mode="bicubic", align_corners=False)
            smooth.index_copy_(0, places, fine)
        return smooth.masked_fill_(absent[..., None, None], -torch.inf).max(1).indices


def joined(sources: UInt8[Tensor, "n S 3 H W"], owner: Int[Tensor, "n H W"]) -> UInt8[Tensor, "n 3 H W"]:
    """See `lpdseg.data.composites.join_regions`."""
    numbers = torch.arange(sources.shape[1], device=owner.device)[:, None, None]
    shares = (owner[:, None] == numbers).float()
    shares = F.avg_pool2d(shares, 3, stride=1, padding=1, count_include_pad=False)
    pixels = sources[:, 0] * shares[:, :1]
    for source in range(1, sources.shape[1]):
        pixels += sources[:, source] * shares[:, source : source + 1]
    return pixels.round_().to(torch.uint8)
