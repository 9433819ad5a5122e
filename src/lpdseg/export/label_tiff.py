"""A segmented slide as a plain pyramid of labels, for readers that know slides but not OME."""

import json
from pathlib import Path
from typing import Any

from lpdseg.export.describing import described
from lpdseg.export.label_pyramid import write_label_pyramid
from lpdseg.slides.label_map import LabelMap


def write_label_tiff(label_map: LabelMap, path: Path) -> None:
    """Writes a grey 8-bit TIFF of labels, see `write_label_pyramid`: each level is an image after the finest.

    OpenSlide, large_image and ASAP read it as a slide whose values are labels: no palette, no XML, and no levels
    within others. The description of the first level is the JSON that `described` gives. Where the classes have no
    background, pixels without a class have value 255.

    **Raises:** `SettingsError` where the extra `slides` is missing; `OutputError`.
    """

    def options(level: int, levels: int) -> dict[str, Any]:
        first = {"description": json.dumps(described(label_map))} if level == 0 else {}
        return {"photometric": "minisblack", "metadata": None, **first}

    write_label_pyramid(label_map, path, options)
