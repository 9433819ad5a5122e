"""`dataset.json` of generated data, and `slides.json` of patches that were cut from slides."""

import json
from pathlib import Path

from lpdseg.data.corrections import Drawn
from lpdseg.data.cut_slides import CutSlides
from lpdseg.data.manifest import read_manifest
from lpdseg.data.synthetic.dataset import generate
from mutations import json_changed as mutate

__all__ = ["KIND", "mutate", "parse", "seeds"]

KIND = "text"


def seeds(folder: Path) -> list[bytes]:
    generate(folder / "made", size=56, patches={"train": 1}, patients={"train": 1})
    slide = {"path": "/slides/a.svs", "slide": {"sha256": "0" * 64}, "scale": [1.0, 1.0], "origin": [0, 0]}
    return [(folder / "made" / "dataset.json").read_bytes(), json.dumps({"a": slide, "b": slide}).encode()]


def parse(data: bytes, folder: Path) -> None:
    import shapely

    made = folder / "made"
    (made / "slides.json").write_bytes(data)
    slides = CutSlides(read_manifest(made / "manifest.csv"))
    drawn = Drawn("a.svs", "TUM", shapely.box(0, 0, 9, 9))
    if drawn.image in slides:
        list(slides.on_patches(drawn))
    (made / "dataset.json").write_bytes(data)
    generate(made, size=56, patches={"train": 1}, patients={"train": 1})
