"""What a benchmark compares: its YAML file, typed and checked.

name: main
split: valid                     # which split is scored
seeds: [0, 1, 2]
reference: LPD                   # the variant that the others are compared with
data:
  generated: {preset: demo, generate: {size: 112, mpp: 1.0, patches: {train: 1200, valid: 160}}}
  glas: {preset: glas, path: "${LPDSEG_DATA}/glas-wsss", optional: true}
  own: {path: binary, set: ["data.classes=stroma,gland", "data.mask_values=[255=gland]"]}
set: [train.epochs=6]            # settings of all runs: the equal budget
variants:
  LPD: {}
  CAM: {method: cam, set: [model.prototypes=1], data: {glas: [train.lr=1e-4]}}
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from lpdseg.choices import Split
from lpdseg.errors import SettingsError
from lpdseg.files import read_text
from lpdseg.plain_yaml import read_yaml

Overrides = tuple[str, ...]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Generated(_Part):
    """A generated data set; the meaning and limits of each value are those of `lpdseg.generate`."""

    seed: int = 0
    size: int = 224
    mpp: float = 0.5
    patches: dict[Split, int]
    patients: dict[Split, int] = {"train": 24, "valid": 6, "test": 8}


class DataSet(_Part):
    """One data set, and the settings that belong to it.

    - `path`: a manifest CSV or the folder of a data set; or else `generate`.
    - `preset`: settings to start from: the name of a preset, or a YAML file beside this one.
    - `weights`: of the encoder, a folder or hub id. A variant that sets `model.weights` keeps its own.
    - `optional`: whether it is left out, with a sentence, where a variable or a path of it is missing.
    - `set`: overrides.

    `path`, `weights` and overrides may hold `${VARIABLE}` of the environment.
    """

    path: str | None = None
    generate: Generated | None = None
    preset: str | None = None
    weights: str | None = None
    optional: bool = False
    overrides: Overrides = Field((), alias="set")

    @model_validator(mode="after")
    def _has_one_source(self) -> "DataSet":
        if (self.path is None) == (self.generate is None):
            raise ValueError("a data set needs either 'path' or 'generate'")
        return self


class Variant(_Part):
    """What is compared: a method, a preset in place of the data set's, overrides, and more of them per data set.

    `only` names the data sets on which it can be run; none: all. An `optional` one is left out where a variable or
    weights folder that it names is not there.
    """

    method: str | None = None
    preset: str | None = None
    overrides: Overrides = Field((), alias="set")
    data: dict[str, Overrides] = {}
    only: tuple[str, ...] = ()
    optional: bool = False

    def runs_on(self, data: str) -> bool:
        """Whether it is compared on that data set."""
        return not self.only or data in self.only


def _or_empty(value: Any) -> Any:
    return {} if value is None else value  # `LPD:` is a variant without changes


AnyPart = TypeVar("AnyPart", DataSet, Variant)


class Config(_Part):
    """A benchmark; every variant is trained once per data set and seed.

    `coverage` asks for the measures of `lpdseg.insight.coverage` as well.
    """

    name: Annotated[str, Field(min_length=1)]
    description: str = ""
    split: Split = "valid"
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    reference: str
    data: Annotated[dict[str, DataSet], Field(min_length=1)]
    overrides: Overrides = Field((), alias="set")
    variants: dict[str, Annotated[Variant, BeforeValidator(_or_empty)]]
    coverage: bool = False

    @model_validator(mode="after")
    def _names_agree(self) -> "Config":
        if self.reference not in self.variants:
            raise ValueError(f"the reference {self.reference!r} is none of the variants {', '.join(self.variants)}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed is listed twice")
        for name, variant in self.variants.items():
            for data in (*variant.data, *variant.only):
                if data not in self.data:
                    raise ValueError(f"the variant {name!r} names {data!r}, which is no data set")
        if self.variants[self.reference].only or self.variants[self.reference].optional:
            raise ValueError(
                f"the reference {self.reference!r} must run on every data set; leave out its 'only' or 'optional'"
            )
        both = set(self.variants) & set(self.data)
        if both:
            raise ValueError(
                f"{sorted(both)[0]!r} is both a variant and a data set; --only could not tell them apart"
            )
        return self


def read_config(path: Path) -> Config:
    """Reads a benchmark's YAML file.

    **Raises:** `SettingsError` that names the file and the entry at fault.
    """
    try:
        values = read_yaml(read_text(path))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"cannot read the benchmark {path}: {why}; name a YAML file") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{path} is no benchmark; it needs name, reference, data and variants")
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise SettingsError(f"{path}: {_explain(error)}") from error
    except UnicodeEncodeError as error:
        raise SettingsError(
            f"{path} holds text that is no Unicode: {error.object[:80]!r}; write it anew"
        ) from error
    data = {name: _beside(path, part) for name, part in config.data.items()}
    return config.model_copy(
        update={"data": data, "variants": {name: _beside(path, part) for name, part in config.variants.items()}}
    )


def _beside(path: Path, part: AnyPart) -> AnyPart:
    """With the settings file of `preset` where it lies: beside the benchmark's, else as it is written."""
    named = Path(part.preset or "")
    if named.suffix not in {".yaml", ".yml"} or not (path.parent / named).is_file():
        return part
    return part.model_copy(update={"preset": str(path.parent / named)})


def _explain(error: ValidationError) -> str:
    """The first fault, in words."""
    fault = error.errors()[0]
    place = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        known = _keys(fault["loc"][:-1])
        near = difflib.get_close_matches(str(fault["loc"][-1]), known, 1)
        return f"unknown entry {place!r}" + (
            f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
        )
    if fault["type"] == "missing":
        return f"the entry {place!r} is missing"
    if fault["type"] == "value_error":
        return ": ".join([*([place] if place else []), str(fault["ctx"]["error"])])
    return f"{place} = {fault['input']!r} cannot be used: {fault['msg'].lower()}"


def _keys(place: tuple[int | str, ...]) -> list[str]:
    """What may be written at a place of the file."""
    match place:
        case ("data", _):
            part: type[BaseModel] = DataSet
        case ("data", _, "generate"):
            part = Generated
        case ("variants", _):
            part = Variant
        case _:
            part = Config
    return [field.alias or name for name, field in part.model_fields.items()]
