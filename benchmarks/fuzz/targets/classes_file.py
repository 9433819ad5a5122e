"""`classes.yaml`, and what `--mask-value` says on top of it. What was taken is the same once it was written."""

from pathlib import Path
from random import Random

from lpdseg.data.classes_file import read_classes, write_classes
from lpdseg.data.mask_values import declare_values
from mutations import bytes_changed, json_changed

__all__ = ["KIND", "LONGEST", "mutate", "parse", "seeds"]

KIND = "text"
LONGEST = 400


def seeds(folder: Path) -> list[bytes]:
    return [
        b'{"names": ["a", "b"], "colours": ["#FF0000", "#00FF00"], "indices": [1, 2], "background": 0}',
        b"names: [TUM, STR]\nbackground: ~\nbackground_colour: '#FFFFFF'\n",
        b"names:\n- gland\n- NO\ncolours: [[1, 2, 3], '#123456']\n",
    ]


def mutate(data: bytes, random: Random) -> bytes:
    return json_changed(data, random) if data.startswith(b"{") else bytes_changed(data, random)


def parse(data: bytes, folder: Path) -> None:
    (folder / "classes.yaml").write_bytes(data)
    classes = read_classes(folder)
    assert classes is not None
    again = folder / "again"
    again.mkdir(exist_ok=True)
    write_classes(classes, again)
    assert read_classes(again) == classes
    declare_values(classes, ["7=background"])
