"""A folder of images → a folder of masks, with a record of how they were made."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from torch import Tensor

from lpdseg.alone import alone_in
from lpdseg.checkpoint import check_apart
from lpdseg.data.patches import read_image
from lpdseg.errors import DataError, OutputError
from lpdseg.export.masks import write_overlay, write_probabilities, write_uncertainty
from lpdseg.files import absolute, as_on_disk, check_name, is_there, write_json
from lpdseg.folders import RECORD, RESULT_FOLDERS
from lpdseg.outputs import SEGMENTED, is_known
from lpdseg.pictures.html import table_html
from lpdseg.pictures.masks import area_shares, write_mask
from lpdseg.plain import file_key
from lpdseg.segmenting.patches import ImageFile, check_image_file, segment_files
from lpdseg.segmenting.prototype_classes import check_prototypes, described_prototypes, write_prototypes
from lpdseg.segmenting.segmentation import Segmentation
from lpdseg.segmenting.segmenter import Segmenter
from lpdseg.segmenting.uncertainty import meaning
from lpdseg.workflows.tables import read_table, write_table


@dataclass(frozen=True, repr=False)
class Exported:
    """What `export_patches` wrote.

    - `written`: images with a mask.
    - `skipped`: one sentence for each image without.
    - `shares`: mean area share of each class over the images, in 0..1.
    - `notes`: sentences that a person should read.
    """

    written: int
    skipped: tuple[str, ...]
    shares: dict[str, float]
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        rows = [(name, f"{share:.1%}") for name, share in self.shares.items()]
        return table_html(f"{self.written:,} masks, {len(self.skipped):,} images skipped; mean area", rows)

    def __repr__(self) -> str:
        found = ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())
        return f"Exported({self.written:,} masks, {len(self.skipped):,} skipped: {found or 'nothing'})"


_SHORT = 12
"""Digits of a model's digest that people are shown."""


@dataclass
class _Summary:
    """Rows of `summary.csv`; `model` is the digest of its weights."""

    model: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, image: Path, place: PurePath, segmentation: Segmentation, segmenter: Segmenter) -> None:
        classes = segmenter.classes
        shares = area_shares(segmentation.mask, classes)
        found = zip(classes.names, segmentation.image_probabilities, strict=True)
        self.rows.append(
            {"image": absolute(image), "mask": str(_named("masks", place, ".png"))}
            | {f"share_{name}": round(share, 6) for name, share in shares.items()}
            | {f"probability_{name}": round(float(value), 6) for name, value in found}
            | {f"prototype_{name}": round(share, 6) for name, share in segmentation.prototype_shares.items()}
            | self._unsure(segmentation)
            | {"model": self.model[:_SHORT], "edits": (segmenter.edits_sha256 or "")[:_SHORT]}
            | {"offsets_data": (segmenter.calibration.offsets_data or "")[:_SHORT]}
        )

    @staticmethod
    def _unsure(segmentation: Segmentation) -> dict[str, Any]:
        if segmentation.uncertainty is None:
            return {}
        share = segmentation.unsure_share
        return {"unsure_share": "" if share is None else round(share, 6)}

    def write(self, path: Path) -> None:
        columns = dict.fromkeys(name for row in self.rows for name in row) or ("image", "mask")
        write_table(path, "image", list(columns), self.rows)

    def shares(self) -> dict[str, float]:
        names = [name for name in (self.rows[0] if self.rows else ()) if name.startswith("share_")]
        return {name.removeprefix("share_"): sum(row[name] for row in self.rows) / len(self.rows) for name in names}


def export_patches(
    segmenter: Segmenter,
    images: list[ImageFile],
    out: Path,
    *,
    probabilities: bool = False,
    overlays: bool = False,
    prototypes: bool = False,
    uncertainty: bool = False,
    skip_bad: bool = False,
    batch: int | None = None,
    described: dict[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Segments images and writes what is asked for below `out`, in the folders that the images had:

    - `masks/`: palette PNGs; `probabilities/`: npz; `overlays/`: PNGs; see `lpdseg.export.masks`.
    - `prototypes/`: PNGs of the prototype that won each pixel, see `write_prototypes`.
    - `uncertainty/`: grey PNGs, 255 · (1 − gap of the two likeliest classes), see `lpdseg.segmenting.uncertainty`.
    - `summary.csv`: per image the area share of each class (0..1), the probability that the image holds it, with
      `prototypes` the area share of each, with `uncertainty` the share of tissue that is unsure, and the first
      digits of the digests of the model, of edits, and of the data that offsets were chosen anew on. Rows of images
      that earlier runs have segmented stay.
    - `segment.json`: settings, thresholds and counts, whether the run has finished, the folders of this list that
      it filled (`outputs`), what the values in maps of
      prototypes are (`prototypes`: names by value, and `background`; null without them), what those of
      `uncertainty` mean, and `described`.

    Every file is whole or not there. `summary.csv` is written last, `segment.json` before the
    first mask and at the end.

    **Arguments:**

    - `images`: see `find_images`.
    - `skip_bad`: pass over images that cannot be read. Otherwise all headers are read before anything is written,
      and what they tell, or damaged pixels later, is an error.
    - `batch`: images at once; halved where they do not fit in memory.
    - `progress`: called with (done, total) after each image, also after one that was passed over.

    **Raises:** `DataError` for an image that cannot be read; `OutputError`, also where the mask of another image
    would be replaced, another process works in `out`, or a name is too long, and `SettingsError` where prototypes
    are wanted of masks that none make: before anything is computed.
    """
    if prototypes:
        check_prototypes(segmenter)
    wanted = {"masks": True, "prototypes": prototypes, "uncertainty": uncertainty}
    wanted |= {"probabilities": probabilities, "overlays": overlays}
    places = {image.path: image.place for image in images}
    if not skip_bad:
        for path in places:
            check_image_file(path)
    summary, skipped = _Summary((described or {}).get("weights_sha256", "")), list[str]()

    def tell() -> None:
        if progress is not None:
            progress(len(summary.rows) + len(skipped), len(images))

    def skip(error: DataError) -> None:
        skipped.append(str(error))
        tell()

    def record(status: str) -> None:
        write_json(
            out / RECORD,
            {
                **(described or {}),
                "status": status,
                "classes": segmenter.classes.as_dict(),
                "predict": segmenter.settings.model_dump(mode="json"),
                "thresholds": _by_class(segmenter, segmenter.calibration.thresholds),
                "offsets": _by_class(segmenter, segmenter.calibration.offsets),
                "edits_sha256": segmenter.edits_sha256,
                "offsets_data": segmenter.calibration.offsets_data,
                "device": str(segmenter.device),
                "images": len(images),
                "segmented": len(summary.rows),
                "skipped": skipped,
                "outputs": [name for name, asked in wanted.items() if asked],
                "prototypes": described_prototypes(segmenter) if prototypes else None,
                "uncertainty": meaning(**segmenter.how_sure) if uncertainty else None,
                "notes": list(segmenter.notes),
            },
        )

    check_apart(out)
    with alone_in(out, "segmenting patches", RESULT_FOLDERS):
        _check_places(images, out, [name for name, asked in wanted.items() if asked])
        done = segment_files(
            segmenter,
            places,
            batch=batch,
            prototypes=prototypes,
            uncertainty=uncertainty,
            on_error=skip if skip_bad else None,
        )
        for path, segmentation in done:
            place = places[path]
            if not summary.rows:  # so that masks of a run that is ended are known as results, see `is_result`
                record("running")
            write_mask(out / _named("masks", place, ".png"), segmentation.mask, segmenter.classes)
            if segmentation.prototypes is not None:
                write_prototypes(out / _named("prototypes", place, ".png"), segmentation.prototypes, segmenter)
            if segmentation.uncertainty is not None:
                write_uncertainty(out / _named("uncertainty", place, ".png"), segmentation.uncertainty)
            if probabilities:
                write_probabilities(out / _named("probabilities", place, ".npz"), segmentation)
            if overlays:
                picture = out / _named("overlays", place, ".png")
                write_overlay(picture, read_image(path), segmentation.mask, segmenter.classes)
            summary.add(path, place, segmentation, segmenter)
            tell()
        summary.write(out / "summary.csv")
        record("finished")
    return Exported(len(summary.rows), tuple(skipped), summary.shares(), segmenter.notes)


def _check_places(images: list[ImageFile], out: Path, folders: list[str]) -> None:
    if not is_known(out / RECORD, SEGMENTED):
        suffixes = {folder: ".npz" if folder == "probabilities" else ".png" for folder in folders}
        results = (_named(name, image.place, suffix) for image in images for name, suffix in suffixes.items())
        for path in (out / RECORD, out / "summary.csv", *(out / result for result in results)):
            if path.exists():
                raise OutputError(
                    f"{path} is there already, and no masks of this command are in {out}; choose another folder"
                )
    rows = read_table(out / "summary.csv", "image").items()
    before = {file_key(row.get("mask", "")): (row.get("mask", ""), path) for path, row in rows}
    for image in images:
        mask = _named("masks", image.place, ".png")
        check_name(out / mask)
        there, other = before.get(file_key(str(mask)), ("", absolute(image.path)))
        if other != absolute(image.path) and as_on_disk(out / there).exists() and not _is_same(image.path, other):
            raise OutputError(
                f"{out / there} is the mask of {other}, and {image.path} would replace it; choose another folder, "
                "or rename the image"
            )


def _is_same(path: Path, other: str) -> bool:
    """Whether it is the same file in another spelling."""
    return file_key(absolute(path)) == file_key(other) and is_there(Path(other)) and path.samefile(other)


def _named(folder: str, place: PurePath, suffix: str) -> Path:
    """Not `with_suffix`: a stem may hold points of its own, as in `MPP-0.2500`."""
    return Path(folder, place.parent, place.name + suffix)


def _by_class(segmenter: Segmenter, values: Tensor) -> dict[str, float]:
    return dict(zip(segmenter.classes.names, values.tolist(), strict=True))
