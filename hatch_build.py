"""The README as a package index shows it, where neither the pictures nor the pages of the repository are.

`source` in pyproject.toml says where the repository can be seen, such as https://HOST/OWNER/NAME; pictures and
links lead there. Without it pictures are left out, and a link to a page becomes its text and the page's name.
"""

import re
from pathlib import Path
from typing import Any

_PICTURE = re.compile(r"!\[([^]]*)\]\((?!https?://)([^)]+)\)")
_LINK = re.compile(r"(?<!!)\[([^]]*)\]\((?!https?://|#)([^)]+)\)")
_CAPTION = re.compile(r"!\[[^]]*\]\((?!https?://)[^)]+\)\n\n\*[^*]+\*\n+")


def for_index(text: str, source: str) -> str:
    """The Markdown of a README with no link or picture that is relative; `source` may be empty."""
    if source:
        text = _PICTURE.sub(rf"![\1]({source.rstrip('/')}/raw/HEAD/\2)", text)
        return _LINK.sub(rf"[\1]({source.rstrip('/')}/blob/HEAD/\2)", text)
    text = _PICTURE.sub("", _CAPTION.sub("", text))
    return _LINK.sub(lambda link: _named(link[1], link[2].partition("#")[0]), text)


def _named(text: str, page: str) -> str:
    return text if text == page else f"{text} ({page})"


def get_metadata_hook() -> Any:
    """What hatchling asks for."""
    from hatchling.metadata.plugin.interface import MetadataHookInterface

    class Readme(MetadataHookInterface):
        def update(self, metadata: dict[str, Any]) -> None:
            text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
            text = for_index(text, self.config.get("source", ""))
            metadata["readme"] = {"content-type": "text/markdown", "text": text}

    return Readme
