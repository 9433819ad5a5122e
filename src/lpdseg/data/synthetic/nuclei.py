"""Kinds of nuclei and other small bodies: size in microns, dye density, chromatin, membrane, nucleoli."""

from dataclasses import dataclass, replace

from lpdseg.data.synthetic.noise import Field, Mask
from lpdseg.data.synthetic.places import Places, place
from lpdseg.data.synthetic.scene import Ground, Scene


@dataclass(frozen=True)
class Kind:
    """A kind of nucleus, or of any body with an elliptic outline.

    **Arguments:**

    - `length`: range of long axes in microns; `ratio`: range of short / long axis.
    - `h`: range of haematoxylin density; `e`: eosin density.
    - `vesicular`: 0..1, how much paler the inside is than the membrane.
    - `clumps`: contrast of the chromatin texture, as a share of the density.
    - `nucleoli`: odds of a nucleolus (twice: each nucleus may have two).
    - `wobble`: how far the outline leaves an ellipse, as a share of the radius.
    - `softness`: width of the edge in microns.
    - `cover`: 0..1, opacity over what lies below.
    """

    length: tuple[float, float]
    ratio: tuple[float, float]
    h: tuple[float, float]
    e: float = 0.38
    vesicular: float = 0.0
    clumps: float = 0.2
    nucleoli: float = 0.0
    wobble: float = 0.08
    softness: float = 0.7
    cover: float = 1.0

    def broader(self, factor: float) -> "Kind":
        """The same kind, less elongated."""
        return replace(self, ratio=(min(self.ratio[0] * factor, 1.0), min(self.ratio[1] * factor, 1.0)))

    def scaled(self, factor: float) -> "Kind":
        """The same kind, larger or smaller."""
        return replace(self, length=(self.length[0] * factor, self.length[1] * factor))


CARCINOMA = Kind((8.5, 12.0), (0.68, 0.95), (0.85, 1.35), vesicular=0.5, clumps=0.32, nucleoli=0.5, wobble=0.1)
COLUMNAR = Kind((9.5, 13.0), (0.4, 0.58), (1.0, 1.5), vesicular=0.38, clumps=0.28, nucleoli=0.25)
SPINDLE = Kind((13.0, 20.0), (0.26, 0.42), (0.9, 1.35), vesicular=0.3, clumps=0.22, nucleoli=0.2, wobble=0.1)
MITOSIS = Kind((6.0, 9.0), (0.35, 0.7), (2.0, 2.5), clumps=0.15, wobble=0.3, softness=0.6)
FIBROCYTE = Kind((12.0, 21.0), (0.11, 0.2), (1.0, 1.6), clumps=0.1, wobble=0.08)
FIBROBLAST = Kind((11.0, 17.0), (0.27, 0.44), (0.7, 1.15), vesicular=0.35, clumps=0.22, nucleoli=0.25)
STELLATE = Kind((8.0, 13.0), (0.28, 0.55), (0.8, 1.3), vesicular=0.15, clumps=0.15, wobble=0.2)
LYMPHOCYTE = Kind((5.8, 7.4), (0.86, 1.0), (1.5, 2.1), clumps=0.2, wobble=0.05)
CENTROBLAST = Kind((8.0, 10.5), (0.8, 1.0), (0.9, 1.2), vesicular=0.5, clumps=0.25, nucleoli=0.6)
PLASMA = Kind((6.4, 7.8), (0.82, 1.0), (1.4, 1.8), vesicular=0.25, clumps=0.42, wobble=0.05)
PYKNOTIC = Kind((3.2, 6.0), (0.6, 1.0), (1.7, 2.6), clumps=0.08, wobble=0.14)
FRAGMENT = Kind((1.1, 2.8), (0.6, 1.0), (1.2, 2.3), clumps=0.0, wobble=0.1)
GHOST = Kind((8.0, 12.0), (0.65, 0.95), (0.25, 0.6), e=0.66, vesicular=0.2, clumps=0.2, softness=1.8, cover=0.75)


@dataclass(frozen=True)
class Bodies:
    """Bodies of one kind at their places, to be painted once the ground of all tissues has been joined."""

    kind: Kind
    places: Places


@dataclass(frozen=True)
class Tissue:
    """A painted sub-type: its ground over the whole canvas, its bodies inside its area, lowest first."""

    ground: Ground
    bodies: tuple[Bodies, ...]


def settle(
    scene: Scene,
    kind: Kind,
    where: Mask,
    gap: float,
    *,
    along: tuple[Field, Field] | None = None,
    straying: float = 0.06,
    per_mm2: float | None = None,
) -> Bodies:
    """Throws bodies of a kind into an area; the arguments are those of `place`."""
    places = place(scene, where, kind.length, kind.ratio, gap, along=along, straying=straying, per_mm2=per_mm2)
    return Bodies(kind, places)
