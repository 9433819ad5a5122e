"""A file that a person changes in the page, and maybe elsewhere at the same time: nothing of it is lost."""

import hashlib
from pathlib import Path

from lpdseg.errors import OutputError
from lpdseg.files import write_text


class KeptFile:
    """A file that is read once and written when somebody says so.

    **Arguments:**

    - `path`: which may not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = self._digest()

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
        if text is not None:
            write_text(self.path, text)
        else:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"cannot remove {self.path}: {error.strerror}; change its rights") from error
        self._known = self._digest()

    def _digest(self) -> str | None:
        try:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        except OSError:
            return None
