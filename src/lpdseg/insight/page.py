"""Pages that need no other file: templates with the look that they share."""

from typing import Any

import jinja2
import numpy as np

from lpdseg.insight.figures import css_colour
from lpdseg.insight.pictures import heat_palette
from lpdseg.outputs import WRITER


def render(template: str, **values: Any) -> str:
    """Fills a template of this package. Text is escaped, and a value that is missing is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lpdseg.insight", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    heat = [css_colour(heat_palette()[level].tolist()) for level in np.linspace(0, 255, 9).astype(int)]
    return environment.get_template(template).render(heat=heat, writer=WRITER, **values)
