"""What a check of a data set finds: counts, shares, and problems with the files that have them."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """Something wrong.

    **Arguments:**

    - `kind`: a short name that stays the same from version to version.
    - `message`: one sentence for people: what is wrong, what it does, what to do.
    - `files`: what it is wrong with, one line each: usually a path, relative to the data set.
    """

    kind: str
    message: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckReport:
    """The state of a data set.

    **Arguments:**

    - `source`: the manifest CSV or folder.
    - `classes`: class names in the order of the labels.
    - `patches`, `patients`, `masks`: how many, by split.
    - `labels`: by split, the number of patches labelled with each class, in class order.
    - `unlabelled`: by split, the number of patches without a label.
    - `together`: for training, how many patches have both class i and class j; the diagonal counts class i.
    - `alone`: for training, how many patches have that class and no other; composites are made of those.
    - `sizes`: number of images by width x height.
    - `mask_shares`: by split, the share in 0..1 of all mask pixels that each class, background, and `ignored` has.
    - `notes`: what was concluded about the data set while it was read.
    - `errors`: what would make training or its figures wrong. `warnings`: what is worth knowing.
    """

    source: str
    classes: tuple[str, ...]
    patches: dict[str, int]
    patients: dict[str, int]
    masks: dict[str, int]
    labels: dict[str, tuple[int, ...]]
    unlabelled: dict[str, int]
    together: tuple[tuple[int, ...], ...]
    alone: tuple[int, ...]
    sizes: dict[str, int]
    mask_shares: dict[str, dict[str, float]]
    notes: tuple[str, ...] = ()
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the data set has no errors."""
        return not self.errors

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with every file of every problem."""
        return {"ok": self.ok, **asdict(self)}
