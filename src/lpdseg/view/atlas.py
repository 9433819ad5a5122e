"""The atlas beside the picture: each prototype, its training regions and its siblings."""

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from lpdseg.data.patches import read_image
from lpdseg.errors import LpdsegError
from lpdseg.files import as_on_disk
from lpdseg.insight.evidence import has_prototypes, is_dense, prototype_angles
from lpdseg.training.regions import Kept, Region, read_regions
from lpdseg.view.items import AbsentError
from lpdseg.view.pixels import encoded
from lpdseg.view.run import ShownRun

_SIDE, _NARROWEST, _AROUND = 120, 96, 1.25
_SHOWN = 4


class Atlas:
    """Of one run; regions whose image is not there any more, or lies outside the data's folder, are left out."""

    def __init__(self, run: ShownRun) -> None:
        self._run, self._note = run, ""
        self._kept: Kept | None = None
        try:
            kept = read_regions(run.folder)
            if kept is not None and len(kept.prototypes) == len(run.plain.prototype_names):
                self._kept = kept
        except LpdsegError as error:
            self._note = str(error)
        self._places = {} if self._kept is None else self._found(self._kept)

    def _found(self, kept: Kept) -> dict[tuple[int, int], tuple[Path, Region]]:
        opened, root = {item.path.resolve() for item in self._run.items}, kept.root.resolve()
        found = {}
        for k, one in enumerate(kept.prototypes):
            for n, region in enumerate(one.regions[:_SHOWN]):
                path = as_on_disk(kept.root / region.path).resolve()
                if path.is_file() and (path.is_relative_to(root) or path in opened):
                    found[k, n] = path, region
        return found

    def described(self) -> dict[str, Any]:
        """For each prototype its share of the training patches, its regions, and its siblings, most alike first.

        There are none where the masks are not made of prototypes.
        """
        loaded, names = self._run.loaded, self._run.plain.prototype_names
        if not (has_prototypes(loaded) and is_dense(loaded)):
            return {"prototypes": [], "note": self._note}
        angles, parts = prototype_angles(loaded), loaded.model.parts or ()
        prototypes = []
        for k in range(len(names)):
            siblings = [
                j for j, c in enumerate(parts) if c == parts[k] and j != k and j not in loaded.model.retired
            ]
            prototypes.append(
                {
                    "trained": None if self._kept is None else self._kept.prototypes[k].share,
                    "regions": [
                        {"number": n, "patient": region.patient, "title": Path(region.path).name}
                        for (of, n), (_, region) in sorted(self._places.items())
                        if of == k
                    ],
                    "siblings": [
                        {"prototype": j, "cosine": round(float(angles[k, j]), 3)}
                        for j in sorted(siblings, key=lambda j: -angles[k, j])
                    ],
                }
            )
        return {"prototypes": prototypes, "note": self._note}

    def picture(self, k: int, n: int) -> bytes:
        """A training region and what is around it, as a PNG with its box.

        **Raises:** `AbsentError` where there is none; `DataError` where its image cannot be read.
        """
        if (k, n) not in self._places:
            raise AbsentError(f"there is no region {n} of prototype {k}")
        path, region = self._places[k, n]
        x, y, width, height = region.box
        image = Image.fromarray(read_image(path))
        side = max(_NARROWEST, round(_AROUND * max(width, height)))
        left = max(0, min(round(x + width / 2 - side / 2), image.width - side))
        top = max(0, min(round(y + height / 2 - side / 2), image.height - side))
        cut = image.crop((left, top, min(left + side, image.width), min(top + side, image.height)))
        scale = _SIDE / max(cut.size)
        small = cut.resize((max(1, round(cut.width * scale)), max(1, round(cut.height * scale))))
        box = [
            (x - left) * scale,
            (y - top) * scale,
            (x - left + width) * scale - 1,
            (y - top + height) * scale - 1,
        ]
        ImageDraw.Draw(small).rectangle([max(value, 0) for value in box], outline=(20, 20, 20), width=2)
        return encoded(small, lossless=True)
