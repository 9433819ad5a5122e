"""What files say is held to a schema, with ranges, before anything is made of it."""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lpdseg.errors import LpdsegError

Share = Annotated[float, Field(ge=0, le=1)]
PerCent = Annotated[float, Field(ge=0, le=100)]
Whole = Annotated[int, Field(ge=0, le=10**12)]
Seconds = Annotated[float, Field(ge=0, le=1e12)]
SCALES = (1e-3, 1e3)
Scale = Annotated[float, Field(ge=SCALES[0], le=SCALES[1])]
"""Microns per pixel."""

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$", max_length=200)]
"""Of a file in the same folder: no path leads out of it."""


class Described(BaseModel):
    """A file's content: numbers are finite, and a text is no number. What else it holds is left as it is."""

    # pydantic 2.9 warns of every field called `model_...`, such as `model_mpp`.
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, protected_namespaces=())


Kind = TypeVar("Kind")


def conform(kind: type[Kind], value: Any, source: object, error: type[LpdsegError], remedy: str) -> Kind:
    """`value` as a model or data class, once it is known to be one.

    **Raises:** `error`, a sentence that names the `source`, the value and the `remedy`.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except UnicodeEncodeError as fault:
        raise error(f"{source} holds text that is no Unicode; {remedy}") from fault
    except ValidationError as fault:
        first = fault.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            raise error(f"{source} is incomplete: {name!r} is missing; {remedy}") from fault
        said = f"{name} = {first['input']!r}" if name else "its content"
        raise error(f"{source}: {said} cannot be used: {first['msg'].lower()}; {remedy}") from fault


def fits(kind: type[BaseModel], value: Any) -> bool:
    """Whether a value is what a model says."""
    try:
        kind.model_validate(value)
    except (ValidationError, UnicodeEncodeError):
        return False
    return True
