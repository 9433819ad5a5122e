"""How much of what descriptions tell of hidden sub-types reaches the map? The teacher beside its pupil.

python benchmarks/described.py RUN DATA [--split valid] [--weights FOLDER] [--classes NAME]

RUN's prototypes make the mask and were taught morphologies; DATA has masks and sub-types. The tissue of each class
in a patch, cut out by its true mask, is described as it was before training, and its pixels are all given to the
likeliest component of RUN's own mixture. What that would tell is printed beside what the winners of the map tell.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from lpdseg import api
from lpdseg.checkpoint import read_state, read_tensors
from lpdseg.data.opening import open_data
from lpdseg.data.patches import read_image, read_mask
from lpdseg.insight.coverage import coverage_record
from lpdseg.insight.survey import PatchUse, Survey, survey_split
from lpdseg.maps.background import glass_share
from lpdseg.maps.pad import as_pixels
from lpdseg.model.describing import Describer, build_describer
from lpdseg.model.mixture import Mixture
from lpdseg.model.morphologies import Morphologies
from lpdseg.tissue import TissueClasses, tissue_classes

TOLD = {
    "a pixel, bits": "mutual_information", "a pixel, NMI": "normalised_mutual_information",
    "a region, bits": "region_information", "a region, NMI": "normalised_region_information",
    "a region's patient, bits": "patient_information", "the same by chance": "patient_by_chance",
    "effective prototypes": "effective_prototypes",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="valid")
    parser.add_argument(
        "--weights", default="imagenet", help="of the encoder that described: `imagenet` or a folder"
    )
    parser.add_argument("--classes", default=None, help="of the data, where its files do not say them")
    asked = parser.parse_args()
    segmenter, morphologies = api.load(asked.run), found_by(asked.run)
    if morphologies is None:
        parser.error(f"{asked.run} was taught no morphologies")
    presumed = None if asked.classes is None else tissue_classes(asked.classes)
    data = open_data(asked.data, chosen=None, presumed=presumed, mask_values=())
    survey = survey_split(segmenter, data, asked.split)
    described = by_description(
        survey, morphologies, build_describer(asked.weights, segmenter.model.encoder), segmenter.classes
    )
    columns = [coverage_record(one) for one in (described, survey)]
    for name in (None, *segmenter.classes.names):
        parts = columns if name is None else [one["classes"][name] for one in columns]
        print(f"\n| {name or 'mean over classes'} | component of its description | winner of the map |")
        print("|---|---:|---:|")
        for title, key in TOLD.items():
            print(
                f"| {title} | " + " | ".join("–" if one[key] is None else f"{one[key]:.2f}" for one in parts) + " |"
            )


def found_by(run: Path) -> Morphologies | None:
    """The mixtures of a finished run, kept in its best state; None where it has none."""
    prefix = "morphologies."
    state = read_state(run, "best")
    held = {
        key.removeprefix(prefix): one
        for key, one in read_tensors(run, state, "weights").items()
        if key.startswith(prefix)
    }
    if not held:
        return None
    counts = api.load(run).model.bank.counts
    morphologies = Morphologies(counts)
    morphologies.load_state_dict(held)
    return morphologies if morphologies.fitted else None


@torch.no_grad()
def by_description(
    survey: Survey, morphologies: Morphologies, describer: Describer, classes: TissueClasses
) -> Survey:
    """The same patches, as if the component of a region's description won all of its pixels.

    Regions of classes without a mixture, and those that glass covers, keep the winners of the map.
    """
    patches = []
    for use in survey.patches:
        image = as_pixels(torch.from_numpy(read_image(use.record.path).transpose(2, 0, 1).copy())[None])
        truth = torch.from_numpy(read_mask(use.record.mask, classes).astype(np.int64))
        tissue = (truth == torch.arange(len(classes))[:, None, None]) * (1 - glass_share(image)[:, 0])
        values = describer(image, tissue[None])[0].cpu().numpy()
        given = {
            c: likeliest_component(morphologies, c, values[c])
            for c in range(len(classes))
            if tissue[c].any() and (mixture_of(morphologies, c)[1].size > 0)
        }
        patches.append(given_to(use, given, survey.class_of))
    return replace(survey, patches=tuple(patches))


def given_to(use: PatchUse, given: dict[int, int], class_of: Int[np.ndarray, " K"]) -> PatchUse:
    """All pixels of class c go to its prototype `given[c]`, counted from 0 within the class."""
    won, faces = use.won.copy(), use.subtype_won.copy()
    for c, number in given.items():
        own = np.flatnonzero(class_of == c)
        pixels, shown = won[own].sum(), faces[:, own].sum(1)
        won[own], faces[:, own] = 0, 0
        won[own[number]], faces[:, own[number]] = pixels, shown
    return replace(use, won=won, subtype_won=faces)


def mixture_of(morphologies: Morphologies, c: int) -> tuple[Mixture, Int[np.ndarray, " m"]]:
    """The mixture of a class, and the prototype that each of its m components belongs to."""
    first = sum(morphologies.prototypes[:c])
    weights = morphologies.weights[first : first + morphologies.prototypes[c]].double().numpy()
    live = np.flatnonzero(weights > 0)
    means = morphologies.means[first + torch.from_numpy(live)].double().numpy()
    return Mixture(means, morphologies.variance[c].double().numpy(), weights[live]), live


def likeliest_component(morphologies: Morphologies, c: int, described: Float[np.ndarray, " D"]) -> int:
    """The prototype of the component that most likely looks like that."""
    mixture, live = mixture_of(morphologies, c)
    space = (described - morphologies.centre.numpy()) @ morphologies.axes.numpy()
    return int(live[mixture.responsibilities(space[None].astype(np.float64))[0].argmax()])


if __name__ == "__main__":
    main()
