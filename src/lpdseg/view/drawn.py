"""What an expert draws and ticks in the page, as a file of corrections."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lpdseg.data.corrections import parse_corrections, read_corrections
from lpdseg.errors import OutputError
from lpdseg.view.kept_file import KeptFile

FILE = "corrections.geojson"
"""In a run's folder, where no other file is named."""


class Drawings:
    """The corrections of a visit.

    **Arguments:**

    - `path`: the file, which may not be there yet.
    - `names`: the classes.

    **Raises:** `DataError` for a file that cannot be read.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.file, self._names = KeptFile(path), tuple(names)
        self.notes: tuple[str, ...] = ()
        self.features: list[Any] = []
        self.version = 0
        """Grows with what is saved."""
        if self.file.is_there:
            found = read_corrections(path, names)
            self.file.understood_as(found.text())
            self.notes, self.features = found.notes, json.loads(found.text())["features"]

    def save(self, features: list[Any]) -> None:
        """Writes features, in place of those that were there; see `lpdseg.data.corrections` for what they are.

        **Raises:** `DataError` for a feature that is none; `OutputError` where the file cannot be written, holds
        something else that would be lost, or was changed by somebody else meanwhile.
        """
        if self.notes:
            raise OutputError(
                f"{self.file.path} holds what is no correction, which would be lost; name another file with "
                "--corrections"
            )
        value = {"type": "FeatureCollection", "features": features}
        found = parse_corrections(value, self._names, str(self.file.path))
        text = found.text()
        self.file.write(text if found.drawn or found.labels else None)
        self.features, self.version = json.loads(text)["features"], self.version + 1
