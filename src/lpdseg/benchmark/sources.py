"""Where the data sets of a benchmark come from: variables, paths that may be missing, generated patches."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lpdseg.benchmark.config import Config, DataSet, Variant
from lpdseg.data.opening import open_data
from lpdseg.data.records import Manifest
from lpdseg.data.synthetic import VERSION, generate
from lpdseg.errors import DataError, SettingsError
from lpdseg.sections import DataSettings
from lpdseg.tissue import tissue_classes

Told = Callable[[int, int], None]
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Missing(SettingsError):  # noqa: N818 - it may be no error, where the data set is optional
    """A variable that is not set, or a path that does not exist."""


@dataclass(frozen=True)
class Loaded:
    """A data set that is there."""

    name: str
    manifest: Manifest

    @cached_property
    def fingerprint(self) -> str:
        """What identifies its contents, without masks of the training split."""
        return self.manifest.fingerprint()

    @cached_property
    def fingerprint_with_masks(self) -> str:
        """The same for methods that learn from masks of the training split."""
        return self.manifest.fingerprint(training_masks=True)


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Puts the values of the environment in place of each `${VARIABLE}`.

    **Raises:** `Missing` for one that is not set.
    """

    def value(match: re.Match[str]) -> str:
        if not environment.get(match[1]):
            raise Missing(f"the environment variable {match[1]} is not set")
        return environment[match[1]]

    return _VARIABLE.sub(value, text)


def available(config: Config, environment: Mapping[str, str]) -> tuple[dict[str, DataSet], list[str]]:
    """The data sets that are there, variables expanded, and a sentence for each optional one that is not.

    **Raises:** `SettingsError` where one that is not optional is missing, or none is left.
    """
    found: dict[str, DataSet] = {}
    skipped: list[str] = []
    for name, data in config.data.items():
        try:
            found[name] = _expanded(data, environment)
        except Missing as error:
            if not data.optional:
                raise SettingsError(f"data set {name!r}: {error}; mend that, or mark it optional: true") from error
            skipped.append(f"The data set {name!r} is left out: {error}.")
    if not found:
        raise SettingsError(f"the benchmark {config.name!r} has no data set left; " + " ".join(skipped).rstrip("."))
    return found, skipped


def possible(config: Config, environment: Mapping[str, str]) -> tuple[Config, list[str]]:
    """The benchmark without optional variants that name what is not there, and a sentence for each of these."""
    variants: dict[str, Variant] = {}
    skipped: list[str] = []
    for name, variant in config.variants.items():
        try:
            if variant.optional:
                for override in (*variant.overrides, *(one for own in variant.data.values() for one in own)):
                    setting, _, value = expand(override, environment).partition("=")
                    if setting == "model.weights":
                        _look_for_weights(value)
            variants[name] = variant
        except Missing as error:
            skipped.append(f"The variant {name!r} is left out: {error}.")
    return config.model_copy(update={"variants": variants}), skipped


def _look_for_weights(weights: str) -> None:
    """A name such as `owner/model` may be a hub id; only what is a path beyond doubt can be missed here."""
    if weights.startswith(("/", ".", "~")) and not Path(weights).expanduser().exists():
        raise Missing(f"the weights {weights} do not exist")


def _expanded(data: DataSet, environment: Mapping[str, str]) -> DataSet:
    path = None if data.path is None else expand(data.path, environment)
    weights = None if data.weights is None else expand(data.weights, environment)
    if path is not None and not Path(path).exists():
        raise Missing(f"{path} does not exist")
    if weights is not None:
        _look_for_weights(weights)
    overrides = tuple(expand(override, environment) for override in data.overrides)
    return data.model_copy(update={"path": path, "weights": weights, "overrides": overrides})


def load(
    name: str,
    data: DataSet,
    split: str,
    settings: DataSettings,
    chosen: bool,
    out: Path,
    *,
    train_masks: bool = False,
    progress: Told | None = None,
    workers: int = 1,
) -> Loaded:
    """Reads a data set, or generates it below `out/data`, where the same one is kept for later.

    **Arguments:**

    - `split`: must have masks.
    - `settings`: what they say of the data set's classes and mask values, see `open_data`; `chosen` says whether
      the benchmark's file itself names the classes, or they are a preset's.
    - `train_masks`, `progress`, `workers`: of generating.

    **Raises:** `DataError` where the benchmark's split has no masks, and what reading and generating raise.
    """
    if data.generate is not None:
        values = data.generate.model_dump()
        digest = hashlib.sha256(json.dumps([VERSION, values], sort_keys=True).encode()).hexdigest()[:8]
        folder = out / "data" / f"{name}-{digest}"
        manifest = generate(folder, train_masks=train_masks, workers=workers, progress=progress, **values)
    else:
        assert data.path is not None
        named = settings.classes
        presumed = None if chosen or named is None else tissue_classes(named)
        manifest = open_data(
            data.path, chosen=named if chosen else None, presumed=presumed, mask_values=settings.mask_values
        )
    if all(record.mask is None for record in manifest.split(split)):
        raise DataError(f"the data set {name!r} has no masks in its split {split!r}, so nothing can be scored")
    return Loaded(name, manifest)
