"""Which runs a benchmark consists of, with the settings of each, all checked before the first one starts."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lpdseg.benchmark.config import Config, DataSet, Variant
from lpdseg.benchmark.sources import Loaded, expand
from lpdseg.data.records import content_digest
from lpdseg.errors import SettingsError
from lpdseg.methods.table import METHODS
from lpdseg.sections import DataSettings
from lpdseg.settings import Settings, load_settings, parse_settings
from lpdseg.training.fallback import settle_weights
from lpdseg.version import __version__

Place = tuple[str, str, int]
"""Data set, variant, seed."""

_OF_DATA = ("data.classes=", "data.mask_values=")


@dataclass(frozen=True)
class Run:
    """One training and its evaluation. Runs with the same key have the same results."""

    data: str
    variant: str
    seed: int
    settings: Settings
    key: str

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.data}, {self.variant}, seed {self.seed}"


def all_settings(
    config: Config, data: Mapping[str, DataSet], environment: Mapping[str, str]
) -> dict[Place, Settings]:
    """The settings of every run, in the order in which they are run: a seed of all variants, then the next seed.

    Later ones stand above earlier ones: the preset of the data set, or of the variant where it names one; the
    overrides of the benchmark, of the data set, of the variant, and of the variant for this data set; the method;
    the seed; and the data set's weights, unless the variant sets `model.weights` itself.

    **Raises:** `SettingsError` that names variant and data set.
    """
    found = {}
    for seed in config.seeds:
        for name, source in data.items():
            for label, variant in config.variants.items():
                if not variant.runs_on(name):
                    continue
                try:
                    found[name, label, seed] = _settings(config, name, source, variant, seed, environment)
                except SettingsError as error:
                    raise SettingsError(f"variant {label!r} on {name!r}: {error}") from error
    return found


def data_settings(config: Config, data: DataSet, runs: Sequence[Settings]) -> tuple[DataSettings, bool]:
    """What settings say of a data set, and whether the benchmark's file names its classes or only a preset does.

    The data set's own preset counts, else the first of its `runs` that has classes.
    """
    overrides = [override for override in (*config.overrides, *data.overrides) if override.startswith(_OF_DATA)]
    own = load_settings(data.preset, overrides).data
    if own.classes is None:
        classes = next((run.data.classes for run in runs if run.data.classes), None)
        own = own.model_copy(update={"classes": classes})
    return own, any(override.startswith("data.classes=") for override in overrides)


def _settings(
    config: Config, name: str, data: DataSet, variant: Variant, seed: int, environment: Mapping[str, str]
) -> Settings:
    own = [expand(override, environment) for override in (*variant.overrides, *variant.data.get(name, ()))]
    for override in own:
        if override.startswith(_OF_DATA):
            raise SettingsError(f"{override} belongs to the data set, which all variants share; set it there")
    shared = [expand(override, environment) for override in config.overrides]
    method = [] if variant.method is None else [f"method={variant.method}"]
    values = load_settings(variant.preset or data.preset, [*shared, *data.overrides, *own, *method]).model_dump()
    values["description"] = ""  # of the preset, not of what became of it
    values["train"]["seed"] = seed
    if data.weights is not None and not any(override.startswith("model.weights=") for override in own):
        values["model"]["weights"] = data.weights
    return settle_weights(parse_settings(values, source="the benchmark"))[0]


def plan(config: Config, settings: Mapping[Place, Settings], loaded: Mapping[str, Loaded]) -> list[Run]:
    """The runs with their keys."""
    return [
        Run(name, label, seed, entry, content_key(entry, loaded[name], config.split))
        for (name, label, seed), entry in settings.items()
    ]


def chosen(config: Config, runs: Iterable[Run], only: Sequence[str]) -> list[Run]:
    """The runs of the variants and data sets named in `only`; of all variants, or data sets, where it names none.

    **Raises:** `SettingsError` for a name that is neither.
    """
    for name in only:
        if name not in config.variants and name not in config.data:
            raise SettingsError(
                f"{name!r} is no variant and no data set of the benchmark {config.name!r}; it has "
                f"{', '.join([*config.variants, *config.data])}"
            )
    variants = {name for name in only if name in config.variants} or set(config.variants)
    data = {name for name in only if name in config.data} or set(config.data)
    return [run for run in runs if run.variant in variants and run.data in data]


def content_key(settings: Settings, data: Loaded, split: str) -> str:
    """Tells runs apart by what they would compute: settings, data, split, version of the package; 16 hex digits.

    Weights in a folder count by their content, so that moving them changes nothing.
    """
    values = settings.model_dump(mode="json")
    weights = settings.model.weights
    if weights is not None and Path(weights).is_dir():
        files = sorted(path for path in Path(weights).iterdir() if path.is_file())
        values["model"]["weights"] = [(path.name, content_digest(path)) for path in files]
    fingerprint = data.fingerprint_with_masks if METHODS[settings.method].needs_masks else data.fingerprint
    parts = [values, data.manifest.classes.as_dict(), fingerprint, split, __version__]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
