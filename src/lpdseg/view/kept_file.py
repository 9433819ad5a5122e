"""A file that a person changes in the page, and maybe elsewhere at the same time: nothing of it is lost."""

import hashlib
import os
from pathlib import Path

from lpdseg.errors import OutputError
from lpdseg.files import replacing
from lpdseg.plain import ESCAPED


class KeptFile:
    """A file that is read once and written when somebody says so.

    **Arguments:**

    - `path`: which may not be there yet; a link stays one, and the file that it leads to is written.

    **Raises:** `OutputError` where it is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = self._digest()
        self._has_more = False

    def understood_as(self, text: str) -> None:
        """Tells what `write` would make of the file: one that holds more, such as remarks, is copied first."""
        self._has_more = hashlib.sha256(text.encode("utf-8", ESCAPED)).hexdigest() != self._known

    @property
    def is_there(self) -> bool:
        """Whether it was there when it was last looked at here."""
        return self._known is not None

    def write(self, text: str | None) -> None:
        """Writes it whole or not at all; None removes it.

        **Raises:** `OutputError` where it cannot be written, or somebody else has changed it meanwhile.
        """
        if self._digest() != self._known:
            raise OutputError(
                f"{self.path} was changed by somebody else since it was opened here; keep a copy of it, and open "
                "the viewer again"
            )
        place = Path(os.path.realpath(self.path))
        if self._has_more and self._known is not None:
            with replacing(place.with_name(f"{place.name}.{self._known[:8]}.before")) as temporary:
                temporary.write_bytes(place.read_bytes())
            self._has_more = False
        if text is None:
            try:
                place.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"cannot remove {self.path}: {error.strerror}; change its rights") from error
            self._known = None
            return
        content = text.encode("utf-8", ESCAPED)
        with replacing(place) as temporary:
            temporary.write_bytes(content)
        self._known = hashlib.sha256(content).hexdigest()  # not what is there by now, which may be somebody else's

    def _digest(self) -> str | None:
        try:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(
                f"cannot read {self.path}: {error.strerror}; change its rights, or name another file"
            ) from error
