"""What a bundle's description must say, beside what a checkpoint's state does; see `lpdseg.checkpoint` for that."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lpdseg.errors import CheckpointError

_Text = Annotated[str, Field(max_length=500)]
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Counts = dict[_Text, Annotated[int, Field(ge=0)]]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)  # what a later version of a schema adds is let be


class _Licence(_Part):
    what: _Text
    licence: _Text
    source: _Text


class _Licences(_Part):
    started_from: list[_Licence]
    code: list[_Licence]


class _Corrected(_Part):
    images: list[_Digest]
    patients: dict[_Text, list[_Text]]


class _Offsets(_Part):
    values: list[float]
    data: _Text
    images: list[_Digest]


class _Edits(_Part):
    sha256: _Digest
    said: dict[_Text, dict[_Text, _Text | bool]]
    offsets: _Offsets | None


class _TrainingData(_Part):
    fingerprint: _Text | None
    patches: _Counts | None
    patients: _Counts | None
    patients_known: bool | None
    mpp: dict[_Text, _Counts] | None


class _Training(_Part):
    status: _Text
    started: _Text
    seed: int
    step: int
    steps: int
    seconds: float | None = None
    parameters: int = 0
    versions: dict[_Text, _Text]
    hardware: dict[_Text, _Text | int | None]
    losses: dict[_Text, _Text] = {}
    valid_miou: float | None = None


class _Description(_Part):
    title: _Text
    licence: _Text
    licences: _Licences
    checkpoint: _Text
    edits: _Edits | None
    corrected: _Corrected | None
    valid: dict[str, Any] | None
    training_data: _TrainingData
    training: _Training


def check_description(described: dict[str, Any], path: Path) -> None:
    """**Raises:** `CheckpointError` for a description that lacks something, or holds what it cannot."""
    try:
        _Description.model_validate(described)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))[:200]
        raise CheckpointError(f"{path}: {where}: {fault['msg'].lower()[:200]}; get the bundle again") from error
