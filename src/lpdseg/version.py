"""The version, where everything that writes a record can take it without opening the front door."""

import sys
from importlib.metadata import PackageNotFoundError, version

__version__ = "0.2.0.dev0"


def told_version() -> str:
    """The version as people are told it, which says where the package runs from its sources alone."""
    try:
        version("lpdseg")
    except PackageNotFoundError:
        return f"{__version__} (source tree)"
    return __version__


def version_of(package: str, module: str = "") -> str:
    """The version of another package: from its metadata, else as its module says it where that has been imported.

    `module` is what it is imported as, where that is another name.
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return str(getattr(sys.modules.get(module or package), "__version__", "unknown"))
