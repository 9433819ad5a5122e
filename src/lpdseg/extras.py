"""Parts of the package that need libraries of their own."""

from importlib.util import find_spec

from lpdseg.errors import SettingsError


def absent(*modules: str) -> list[str]:
    """Those of the modules that are not installed."""
    return [name for name in modules if find_spec(name) is None]


def needed(extra: str, *modules: str) -> None:
    """Makes sure that the modules of an extra of the package are there.

    **Raises:** `SettingsError` that names the extra.
    """
    missing = absent(*modules)
    if missing:
        raise SettingsError(
            f"{missing[0]} is not installed; it comes with the extra {extra!r}: pip install 'lpdseg[{extra}]'"
        )
