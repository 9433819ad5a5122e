"""What a page says of a data set: how many patches, of whom, labelled how, at what magnification."""

from collections.abc import Sequence
from dataclasses import dataclass

from lpdseg.data.origin import guessed, mpp_counts
from lpdseg.data.records import Manifest, PatchRecord


@dataclass(frozen=True)
class SplitCard:
    """One split.

    - `labelled`: of each class the patches whose label names it; None where no patch of the split has a label.
    - `mpp`: microns per pixel, such as `0.5`, or `0.25 (12), unknown (3)` where they differ.
    """

    name: str
    patches: int
    patients: int
    masks: int
    labelled: tuple[int, ...] | None
    mpp: str


@dataclass(frozen=True)
class DataCard:
    """A data set.

    - `name`: of its folder.
    - `patients_known`: else patients are taken from the beginnings of file names.
    """

    name: str
    classes: tuple[str, ...]
    splits: tuple[SplitCard, ...]
    patients_known: bool


def data_card(data: Manifest) -> DataCard:
    """Counts what is there. No path is told: pages are sent to others."""
    splits = tuple(_split(name, data.split(name), len(data.classes)) for name in data.splits)
    return DataCard(
        data.root.resolve().name,
        data.classes.names,
        splits,
        not guessed(data.records),
    )


def _split(name: str, records: Sequence[PatchRecord], classes: int) -> SplitCard:
    labels = [record.labels for record in records if record.labels is not None]
    counts = mpp_counts(records)
    return SplitCard(
        name,
        len(records),
        len({record.patient for record in records}),
        sum(record.mask is not None for record in records),
        tuple(sum(label[c] for label in labels) for c in range(classes)) if labels else None,
        next(iter(counts)) if len(counts) == 1 else ", ".join(f"{mpp} ({count})" for mpp, count in counts.items()),
    )
