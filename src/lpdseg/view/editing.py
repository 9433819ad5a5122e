"""What an expert says of prototypes in the page: it acts at once, and is saved when she says so."""

from collections.abc import Mapping

from lpdseg.plain_yaml import write_yaml
from lpdseg.segmenting.edits import Edits, parse_edits
from lpdseg.view.kept_file import KeptFile
from lpdseg.view.run import ShownRun

FILE = "edits.yaml"
"""Of a run: edits that act when it is opened, and that are saved."""

Entries = Mapping[str, Mapping[str, str | bool]]


class Editing:
    """The edits of a run.

    **Arguments:**

    - `file`: looked at before its edits were read; they act already where it is there.
    - `edits`: as it was read.
    """

    def __init__(self, run: ShownRun, file: KeptFile, edits: Edits | None) -> None:
        self._run, self.file = run, file
        self.entries = {} if edits is None else {key: one.as_dict() for key, one in edits.entries.items()}
        if self.entries:
            file.understood_as(write_yaml(self.entries))
        self._saved = self.entries

    @property
    def changed(self) -> bool:
        """Whether others act than those that are saved."""
        return self.entries != self._saved

    def change(self, entries: Entries) -> None:
        """From now on these edits act, and no others.

        **Raises:** `DataError` for edits that cannot be, `SettingsError` where masks are not made of prototypes; by
        then nothing has changed.
        """
        said = {key: dict(one) for key, one in entries.items() if one}
        self._run.edit(parse_edits(write_yaml(said).encode(), str(self.file.path)) if said else None)
        self.entries = said

    def save(self) -> None:
        """Writes the edits, or removes the file where there are none.

        **Raises:** `OutputError` where it cannot be written, or somebody else has changed it meanwhile.
        """
        self.file.write(write_yaml(self.entries) if self.entries else None)
        self._saved = self.entries
