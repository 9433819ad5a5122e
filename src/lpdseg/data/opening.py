"""A data set with the classes that count: the one place that decides between option, file, preset and run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lpdseg.data.classes_file import read_classes
from lpdseg.data.importers import load_data
from lpdseg.data.labels import PUBLISHED_STYLES, bracket_label
from lpdseg.data.mask_values import declare_values
from lpdseg.data.records import Manifest
from lpdseg.errors import CheckpointError, DataError
from lpdseg.tissue import IGNORE, PRESETS, TissueClasses, tissue_classes


def open_data(
    source: str | Path | Manifest,
    *,
    chosen: str | None = None,
    presumed: TissueClasses | None = None,
    mask_values: Sequence[str] = (),
) -> Manifest:
    """Reads a data set for any command. Which classes count, the first of:

    1. `chosen`: what a person said for this data set, a class preset or names separated by commas;
    2. `classes.yaml` beside the data;
    3. `presumed`: those of the settings' preset, or of the run that is to be used on the data;
    4. what the files tell, see `load_data`.

    A manifest has its classes already. In all cases `mask_values` (see `declare_values`) say on top of that what
    values of masks stand for. What was decided without being asked for is in the manifest's `notes`.

    **Raises:** `DataError` as `load_data`, and where labels are written as one published data set writes them, but
    the classes of another are presumed; `SettingsError` for classes or mask values that cannot be.
    """
    if isinstance(source, Manifest):
        manifest = source
    else:
        told = None if chosen is None else tissue_classes(chosen)
        if mask_values:  # before labels are read, since a background allows patches of no class
            path = Path(source)
            told = told or read_classes(path if path.is_dir() else path.parent) or presumed
            told = None if told is None else declare_values(told, mask_values)
        manifest = load_data(Path(source), told, presumed)
    if chosen is None and presumed is not None and not isinstance(source, Manifest):
        manifest = _against_presumed(manifest, presumed)
    classes = declare_values(manifest.classes, mask_values) if mask_values else manifest.classes
    notes = manifest.notes
    if not classes.left_out:
        named = "background" if classes.background == IGNORE else classes.names[classes.indices.index(IGNORE)]
        notes = (*notes, f"the mask value {IGNORE} stands for {named}, so no value of a mask leaves pixels out")
    return replace(manifest, classes=classes, notes=tuple(dict.fromkeys(notes)))


def same_classes(
    wanted: TissueClasses, data: str | Path | Manifest, classes: str | None, mask_values: Sequence[str] = ()
) -> Manifest:
    """The data set, once it is sure that its classes are those of the run, `wanted`.

    `classes` says what the data's classes are where its files do not, `mask_values` what values of masks stand for.

    **Raises:** `CheckpointError` where they are others, `DataError` where they cannot be read.
    """
    manifest = open_data(data, chosen=classes, presumed=wanted, mask_values=mask_values)
    found = manifest.classes
    if found.channel_names != wanted.channel_names:
        raise CheckpointError(
            f"the run was trained for the classes {', '.join(wanted.channel_names)}, but {manifest.source} has "
            f"{', '.join(found.channel_names)}; use data of the same classes in the same order, or name them with "
            "--classes if the data's own are wrong"
        )
    return manifest


def _against_presumed(manifest: Manifest, presumed: TissueClasses) -> Manifest:
    """Says where the data's own classes went before the presumed ones.

    Two published data sets are never taken for each other; classes of one's own may be written in any style.
    """
    own = manifest.classes
    if own.names != presumed.names:
        note = (
            f"{manifest.source} has classes of its own, {', '.join(own.names)}; those of the preset, "
            f"{', '.join(presumed.names)}, are not used"
        )
        return replace(manifest, notes=(*manifest.notes, note))
    if own in PRESETS.values() and manifest.source.is_dir() and read_classes(manifest.root) is None:
        styles = Counter(
            (label.style, len(label.values))
            for record in manifest.records
            if (label := bracket_label(record.path)) is not None
        )
        told = PUBLISHED_STYLES.get(styles.most_common(1)[0][0]) if styles else None
        if told is not None and PRESETS[told].names != presumed.names:
            raise DataError(
                f"{manifest.source} writes labels as {told!r} does, whose classes are "
                f"{', '.join(PRESETS[told].names)}, but {', '.join(presumed.names)} were expected; say which they "
                f"are with --classes {told} or --classes {','.join(presumed.names)}"
            )
    return manifest
