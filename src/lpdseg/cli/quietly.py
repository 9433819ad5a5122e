"""`--quiet`, which every command has."""

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Annotated, Any

import typer

_QUIET = ContextVar("quiet", default=False)
_OPTION = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result and errors.")]


def is_quiet() -> bool:
    """Whether the command at work was asked to say no more than its result."""
    return _QUIET.get()


def quietly(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the option `--quiet`, of which `is_quiet` tells."""

    @wraps(command)
    def asked(*, quiet: bool, **given: Any) -> None:
        before = _QUIET.set(quiet)
        try:
            command(**given)
        finally:
            _QUIET.reset(before)

    own = [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in inspect.signature(command).parameters.values()
    ]
    added = inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_OPTION)
    asked.__signature__ = inspect.Signature([*own, added])  # type: ignore[attr-defined]
    asked.__annotations__ = {one.name: one.annotation for one in (*own, added)}
    return asked
