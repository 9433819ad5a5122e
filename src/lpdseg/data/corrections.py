"""What an expert corrects: strokes and areas drawn on images, and image-level labels, as GeoJSON.

A feature per stroke or area, in pixels of its image at full resolution: a Polygon, MultiPolygon, LineString or
MultiLineString with the properties

- `image`: as the manifest names it; what has none, as in files of QuPath, is of the image that its file is named
  after;
- `classification`: `{"name": CLASS}`;
- `width`: of a line, in pixels; `STROKE` where it does not tell.

Labels are a feature without a geometry and with the properties `image` and `labels`: `{CLASS: 0 or 1, …}`.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lpdseg.data.crossings import Crossings
from lpdseg.data.qupath import area_of, class_of, lines_of, reason_to_pass, taken_class
from lpdseg.data.region_file import REGION_SUFFIXES, read_features, read_value
from lpdseg.errors import DataError
from lpdseg.extras import needed
from lpdseg.files import write_text
from lpdseg.plain import name_key, plain_values

STROKE = 8.0
"""Width in pixels of a line that does not tell its own."""

WIDEST = 1000.0
"""Width in pixels that a line may have."""

_MOST_BYTES = 1 << 26
_MOST_FEATURES = 100_000
_LONGEST = 4096
"""Letters of an image's name."""


@dataclass(frozen=True)
class Drawn:
    """A stroke or an area of one class.

    - `image`: as the file calls it; `name`: of the class.
    - `shape`: shapely Polygon, MultiPolygon, LineString or MultiLineString in pixels of the image.
    - `width`: of a line, in pixels; None of an area.
    """

    image: str
    name: str
    shape: Any
    width: float | None = None

    @property
    def area(self) -> Any:
        """What it covers, shapely Polygon or MultiPolygon; ends and bends of strokes are round."""
        return self.shape if self.width is None else self.shape.buffer(self.width / 2)


@dataclass(frozen=True, repr=False)
class Corrections:
    """All that a file, or a folder of files, corrects.

    - `source`: where it was read from, for errors.
    - `drawn`: in the order of the file; where they overlap, the last one counts.
    - `labels`: by image and class 0 or 1; the last one said counts.
    - `notes`: what a person should know that is no error.
    """

    source: str
    drawn: tuple[Drawn, ...] = ()
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """As GeoJSON, a line per feature, which `read_corrections` reads back."""
        features = [_drawn_feature(one) for one in self.drawn]
        features += [_label_feature(image, labels) for image, labels in self.labels.items()]
        lines = ",\n".join(json.dumps(plain_values(one), ensure_ascii=False, allow_nan=False) for one in features)
        return '{"type": "FeatureCollection", "features": [\n' + lines + "\n]}\n"

    @property
    def sha256(self) -> str:
        """Of that text, in hex digits."""
        return hashlib.sha256(self.text().encode()).hexdigest()


def read_corrections(path: str | Path, names: Sequence[str]) -> Corrections:
    """Reads corrections.

    What is no correction, such as features without a class, points, and regions that QuPath ignores, is passed over
    and counted in the notes. Outlines that cross themselves are repaired.

    **Arguments:**

    - `path`: a file, see `lpdseg.data.region_file.read_features`, or a folder of them, of which each may be named
      after its image.
    - `names`: the classes.

    **Raises:** `DataError` that names the file and the feature: one that cannot be read, another class, a figure
    that is not finite or too large, no image; `SettingsError` where the extra `slides` is missing.
    """
    path = Path(path)
    if not path.is_dir():
        return _collect(_read_file(path), str(path), names)
    files = sorted(one for one in path.iterdir() if _stem(one) is not None and one.is_file())
    if not files:
        raise DataError(f"{path} holds no corrections, such as IMAGE.geojson; name a file or a folder of them")
    return _collect((one for file in files for one in _read_file(file)), str(path), names)


def parse_corrections(value: Any, names: Sequence[str], source: str) -> Corrections:
    """Corrections from what a JSON text held; each must name its image. `source` is what errors name.

    **Raises:** as `read_corrections`.
    """
    return _collect(((where, one, "") for where, one in read_value(value, source)), source, names)


def write_corrections(path: Path, corrections: Corrections) -> None:
    """Writes corrections, whole or not at all.

    **Raises:** `OutputError`.
    """
    write_text(path, corrections.text())


def _read_file(path: Path) -> Iterable[tuple[str, dict[str, Any], str]]:
    stem = _stem(path) or path.stem
    return ((where, feature, stem) for where, feature in read_features(path, _MOST_BYTES))


def _stem(path: Path) -> str | None:
    """The image that a file is named after; None of a file of another kind."""
    ends = [suffix for suffix in REGION_SUFFIXES if path.name.lower().endswith(suffix)]
    return path.name[: -len(max(ends, key=len))] if ends and not path.name.startswith(".") else None


def _collect(features: Iterable[tuple[str, dict[str, Any], str]], source: str, names: Sequence[str]) -> Corrections:
    """From features, where each stands, and the image that those are of which do not tell."""
    needed("slides", "shapely")
    spelt = {name_key(name): name for name in names}
    drawn: list[Drawn] = []
    labels: dict[str, dict[str, int]] = {}
    passed, crossings = Counter[str](), Crossings()
    for count, (where, feature, image) in enumerate(features, 1):
        if count > _MOST_FEATURES:
            raise DataError(f"{source} has more than {_MOST_FEATURES:,} features; split it")
        properties = feature.get("properties") or {}
        image = _image(properties.get("image", image), where)
        if "labels" in properties:
            labels.setdefault(image, {}).update(_labels(properties["labels"], spelt, where))
            if feature.get("geometry") is None:
                continue
        parts, _ = class_of(properties, where)
        reason = reason_to_pass(feature, parts, list(spelt))
        if reason is not None or any(part.endswith("*") for part in parts if part not in spelt):
            passed[reason if reason is not None else "areas of ignored classes"] += 1
            continue
        name = spelt[taken_class(parts, list(spelt), where)]
        shapes, reason = _shapes(feature.get("geometry"), properties, where, crossings)
        drawn += [Drawn(image, name, *shape) for shape in shapes]
        passed[reason] += 1
    notes = tuple(f"{source}: passed over {kind} ({number})" for kind, number in passed.items() if kind)
    return Corrections(source, tuple(drawn), labels, notes)


def _shapes(
    told: Any, properties: Mapping[str, Any], where: str, crossings: Crossings
) -> tuple[list[tuple[Any, float | None]], str]:
    """Area and lines of a geometry, each with its width, and what was passed over where it has neither."""
    import shapely

    area, reason = area_of(told, where, crossings)
    lines = lines_of(told, where, crossings)
    found: list[tuple[Any, float | None]] = [] if area is None else [(shapely.normalize(area), None)]
    if lines is not None:
        found.append((lines, _width(properties.get("width", STROKE), where)))
    return found, "" if found else reason


def _image(told: Any, where: str) -> str:
    if not isinstance(told, str) or not told.strip() or len(told) > _LONGEST:
        raise DataError(
            f"{where} does not tell which image it is of; name it in the property `image` as the manifest does"
        )
    return told


def _width(told: Any, where: str) -> float:
    if isinstance(told, bool) or not isinstance(told, int | float) or not 1 <= told <= WIDEST:
        raise DataError(f"{where} has the width {_short(told)}; a stroke is 1 to {WIDEST:g} pixels wide")
    return float(told)


def _labels(told: Any, spelt: Mapping[str, str], where: str) -> dict[str, int]:
    if not isinstance(told, dict) or not told:
        raise DataError(f"{where} has labels that cannot be read; write them as {{CLASS: 0 or 1}}")
    found = {}
    for name, value in told.items():
        if name_key(name) not in spelt:
            raise DataError(
                f"{where} labels the class {_short(name)}, but the classes are {', '.join(spelt.values())}; "
                "correct its name"
            )
        if not isinstance(value, int) or value not in (0, 1):
            raise DataError(f"{where} gives {name} the label {_short(value)}; a label is 0 or 1")
        found[spelt[name_key(name)]] = int(value)
    return found


def _short(told: Any) -> str:
    text = repr(told) if not isinstance(told, float) or math.isfinite(told) else str(told)
    return text if len(text) <= 60 else text[:59] + "…"


def _drawn_feature(drawn: Drawn) -> dict[str, Any]:
    import shapely.geometry

    properties = {"objectType": "annotation", "image": drawn.image, "classification": {"name": drawn.name}}
    width = {} if drawn.width is None else {"width": drawn.width}
    return {
        "type": "Feature",
        "geometry": shapely.geometry.mapping(drawn.shape),
        "properties": properties | width,
    }


def _label_feature(image: str, labels: Mapping[str, int]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": None, "properties": {"image": image, "labels": dict(labels)}}
