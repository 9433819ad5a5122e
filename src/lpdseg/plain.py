r"""Text that every file and terminal can hold.

A file name is bytes. Where they are no UTF-8, as from old Windows or Samba shares, Python carries each such byte as
half a surrogate pair, which nothing can encode. In texts it is written as `\xE4`.
"""

import codecs
import re
import unicodedata
from typing import Any

_LONE = re.compile("[\ud800-\udfff]")

ESCAPED = "lpdseg.escaped"
"""The name of an error handler for streams and files: they never fail for a letter that they do not have."""


def plain_text(text: str) -> str:
    r"""`text` with bytes that are no UTF-8 written as `\xE4`; all other text as it is."""
    return text if text.isascii() else _LONE.sub(lambda found: _escape(found[0]), text)


def one_line(text: str) -> str:
    """A text as every format and terminal can hold it in one line: bytes that are no UTF-8 written out, breaks of
    lines and what else would steer a terminal as `�`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if _shows(letter) else "�" for letter in plain_text(text))


def name_key(name: str) -> str:
    """What the spellings of a file's name have in common: letters may be composed or decomposed (Macs decompose
    them), and bytes that are no UTF-8 written out.
    """
    return unicodedata.normalize("NFC", plain_text(name))


def file_key(name: str) -> str:
    """As `name_key`, of what is one file where systems (Macs, Windows) do not tell cases apart."""
    return unicodedata.normalize("NFC", name_key(name).casefold())


def shortened(text: str, most: int) -> str:
    """`text` without its middle where it is longer: what it is about stands at its start, what to do at its end."""
    start = most * 3 // 5
    return text if len(text) <= most else f"{text[: start - 3]} … {text[start - most :]}"


def plain_values(value: Any) -> Any:
    """`plain_text` of all texts in nested lists, tuples and dictionaries."""
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, dict):
        return {plain_values(key): plain_values(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(entry) for entry in value]
    return value


def _shows(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs"  # spaces of other kinds


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code - 0xDC00:02X}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError) and _LONE.match(error.object[error.start]):
        return _escape(error.object[error.start]), error.start + 1
    return codecs.backslashreplace_errors(error)


codecs.register_error(ESCAPED, _escaped)
