"""Which regions are too small to say what a class looks like? Asked of held-out tissue; no sub-type is read.

python benchmarks/smallest_region.py RUN DATA [--weights FOLDER] [--classes NAME] [--dimensions 12 24]

RUN has prototypes that make the mask; DATA is what it was trained on. All regions of its training patches that
cover a twentieth of their patch are described once. Mixtures are fitted to those that are large enough, without
each quarter of the patients, and asked how likely they find *all* regions of those patients, each pixel of a
patch counting alike.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lpdseg import api
from lpdseg.data.dataset import TrainingPatches
from lpdseg.data.opening import open_data
from lpdseg.maps.background import glass_share
from lpdseg.methods.morphology import describe, sure_regions
from lpdseg.model.describing import build_describer
from lpdseg.model.lpd import LPD
from lpdseg.model.mixture import choose_components, fit_mixture
from lpdseg.model.morphologies import Described, widest, within
from lpdseg.tissue import tissue_classes

TRIED = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7)
FOLDS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--weights", default="imagenet", help="of the encoder that describes: `imagenet` or a folder"
    )
    parser.add_argument("--classes", default=None, help="of the data, where its files do not say them")
    parser.add_argument("--dimensions", type=int, nargs="+", default=[12, 24])
    asked = parser.parse_args()
    presumed = None if asked.classes is None else tissue_classes(asked.classes)
    described, share = regions(
        api.load(asked.run).model,
        TrainingPatches(open_data(asked.data, chosen=None, presumed=presumed, mask_values=()).split("train"), 0),
        asked.weights,
    )
    print(f"{len(share)} regions, {int(described.alone.sum())} of patches of one class\n")
    print(
        "| dimensions | smallest | "
        + "log-likelihood of a held-out pixel's region | components |\n|---:|---:|---:|---:|"
    )
    values = described.values.astype(np.float64)
    centre, axes = widest(values, described.classes)
    for wide in asked.dimensions:
        space = (values - centre) @ axes[:, :wide]
        for smallest in TRIED:
            likelihood, components = score(described, space, share, smallest)
            print(f"| {wide} | {smallest} | {likelihood:.2f} | {components:.2f} |", flush=True)


@torch.no_grad()
def regions(model: torch.nn.Module, patches: TrainingPatches, weights: str) -> tuple[Described, np.ndarray]:
    """Descriptions of all regions of at least the first of `TRIED`, and the share of its patch that each covers."""
    assert isinstance(model, LPD)
    model.eval()
    shares: list[Tensor] = []

    def where(images: Tensor, labels: Tensor) -> Tensor:
        shown = sure_regions(model, images, labels) * (1 - glass_share(images))
        shares.append(shown.mean((2, 3)))
        return shown

    indices = range(len(patches))
    describer = build_describer(weights, model.encoder)
    described = describe(patches, indices, describer, model.device, where, smallest=TRIED[0])
    return described, torch.cat(shares).cpu().numpy()[described.patches, described.classes]


def score(described: Described, space: np.ndarray, share: np.ndarray, smallest: float) -> tuple[float, float]:
    """Nats, and components of a class."""
    names, owner = np.unique(np.array(described.patients), return_inverse=True)
    fold = (np.random.default_rng(5).permutation(len(names)) % FOLDS)[owner]
    total, counts = 0.0, []
    for held in range(FOLDS):
        inside = (fold != held) & ((share >= smallest) | described.alone)
        prior = within(space[inside], described.classes[inside]).var(0)
        for c in np.unique(described.classes[inside]):
            own, rng = np.flatnonzero(inside & (described.classes == c)), np.random.default_rng(11)
            count = choose_components(space[own], 5, prior, rng).count
            mixture = fit_mixture(space[own], [described.patients[n] for n in own], count, prior, rng)
            other = (fold == held) & (described.classes == c)
            total += float((mixture.log_likelihood(space[other]) * share[other]).sum())
            counts.append(count)
    return total / float(share.sum()), float(np.mean(counts))


if __name__ == "__main__":
    main()
