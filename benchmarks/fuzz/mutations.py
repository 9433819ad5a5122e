"""Changes to inputs of parsers, made by chance: of bytes, and of what they hold, so that many still parse.

All take what is to be changed and a generator, and give bytes.
"""

import csv
import io
import json
import math
import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

Mutation = Callable[[bytes, Random], bytes]

_BYTES = (b"\0", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r", b"\n", b"\x85", b'"', b"'", b"[")
_TEXTS = (
    "", " ", "\0", "\ud800", "\x85", "\u2028", "ö", "o\u0308", "\U0001f9ec", "..", "../../x", "/etc/hostname",
    "a/b", "nan", "inf", "-inf", "1e308", "1e-400", "9" * 400, "9" * 5000, "-1", "0", "256", "0x10", "1_0", "٣",
    "true", "null", "~", "*", "&a", "!!python/object:x", "<script>", "%s{}{0}", "x" * 300, "=1+1", "#FFFFFF", "#12",
)  # fmt: skip
_NUMBERS = (
    0, -1, 1, 2, 255, 256, 2**31, 2**63, 10**12, 10**30, -(10**30), 0.5, -0.0, 1e-320, 1e308, math.nan, math.inf,
    -math.inf,
)  # fmt: skip
_OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": None}, [1, 2, 3], {"name": 1})
_WORDS_32 = (0, 1, 2, 3, 7, 8, 255, 4096, 65535, 65536, 2**24, 2**30, 2**31 - 1, 2**31, 2**32 - 1)
_TIMES = (*(1,) * 20, *(2,) * 20, *(20,) * 4, 1200)
"""How often something is repeated or nested: seldom too often."""


def bytes_changed(data: bytes, random: Random) -> bytes:
    """A bit, a byte or a piece: changed, taken out, put in, repeated or moved."""
    at, end = sorted((random.randint(0, len(data)), random.randint(0, len(data))))
    end = min(end, at + random.choice((1, 4, 64, 4096)))
    piece = data[at:end]
    match random.randrange(7):
        case 0:
            return data[:at] + random.choice(_BYTES) + data[at:]
        case 1:
            return data[:at] + data[end:]
        case 2:
            return data[:end] + piece * random.choice(_TIMES) + data[end:]
        case 3 if data:
            at = random.randrange(len(data))
            return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
        case 4:
            return data[:at] + random.choice(_TEXTS).encode("utf-8", "surrogatepass") + data[end:]
        case 5:
            return data[:at] + data[end:] + piece
        case _:
            return data[:at] if random.random() < 0.2 else data[:at] + random.randbytes(end - at) + data[end:]


def json_changed(data: bytes, random: Random) -> bytes:
    """A value of a JSON text: replaced, taken out, renamed, repeated, nested or moved."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return bytes_changed(data, random)
    root = [value]
    places = list(_places(root))
    holder, key = random.choice(places)
    found = holder[key]
    match random.randrange(8):
        case 0 | 1:
            holder[key] = _like(found, random)
        case 2:
            holder[key] = random.choice((*_TEXTS, *_NUMBERS, *_OTHERS))
        case 3 if len(places) > 1:
            other, where = random.choice(places)
            holder[key] = json.loads(json.dumps(other[where]))
        case 4 if holder is not root:
            del holder[key]
        case 5 if isinstance(holder, dict):
            holder[random.choice(_TEXTS)] = holder.pop(key)
        case 6 if isinstance(found, list):
            found += json.loads(json.dumps(found)) * random.choice(_TIMES[:-1])
        case _:
            for _ in range(random.choice(_TIMES)):
                holder[key] = {"a": holder[key]} if random.random() < 0.3 else [holder[key]]
    try:
        return json.dumps(root[0], ensure_ascii=random.random() < 0.7).encode("utf-8", "surrogatepass")
    except RecursionError:
        return data


def _places(holder: Any) -> Any:
    for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
        yield holder, key
        if isinstance(holder[key], dict | list):
            yield from _places(holder[key])


def _like(value: Any, random: Random) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return random.choice((*_NUMBERS, value + 1, -value, value * 0.5 if abs(value) < 1e300 else 0, value * 1000))
    if isinstance(value, str):
        at = random.randint(0, len(value))
        return random.choice((random.choice(_TEXTS), value[:at] + random.choice(_TEXTS) + value[at:], value * 2))
    return random.choice((*_OTHERS, value))


def csv_changed(data: bytes, random: Random) -> bytes:
    """A cell, a line or a column of a CSV."""
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8"), newline="")))
    except (UnicodeDecodeError, csv.Error):
        return bytes_changed(data, random)
    row = random.choice(rows) if rows else []
    match random.randrange(6):
        case 0 | 1 if row:
            row[random.randrange(len(row))] = random.choice((*_TEXTS, random.choice(random.choice(rows) or [""])))
        case 2:
            rows.insert(random.randint(0, len(rows)), list(row))
        case 3 if rows:
            rows.remove(row)
        case 4 if rows:
            at, name = random.randint(0, len(rows[0])), random.choice(_TEXTS)
            rows = [[*one[:at], name if one is rows[0] else random.choice("01"), *one[at:]] for one in rows]
        case _:
            return bytes_changed(data, random)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def png_changed(data: bytes, random: Random) -> bytes:
    """A chunk of a PNG: its bytes, its place, or whether it is there; its sum is right again most of the time."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks or random.random() < 0.2:
        return bytes_changed(data, random)
    at = random.randrange(len(chunks))
    kind, content = chunks[at]
    match random.randrange(5):
        case 0:
            chunks.insert(random.randint(0, len(chunks)), chunks[at])
        case 1:
            del chunks[at]
        case 2 if kind == b"IHDR" and len(content) == 13:
            field = random.randrange(4)
            width, height, rest = content[:4], content[4:8], bytearray(content[8:])
            side = struct.pack(">I", random.choice((*_WORDS_32, 16, 12_289)))
            width, height = (side, height) if field == 0 else (width, side) if field == 1 else (width, height)
            rest[random.randrange(5)] = random.choice((0, 1, 2, 3, 4, 6, 8, 16)) if field > 1 else rest[0]
            chunks[at] = kind, width + height + bytes(rest)
        case 3:
            names = (b"acTL", b"fcTL", b"fdAT", b"iCCP", b"zTXt", b"eXIf", b"tRNS", b"PLTE", b"IDAT", b"gAMA")
            chunks.insert(at, (random.choice(names), zlib.compress(content) if random.random() < 0.3 else content))
        case _:
            chunks[at] = kind, bytes_changed(content, random)
    parts = [data[:8]]
    for kind, content in chunks:
        right = zlib.crc32(kind + content) if random.random() < 0.98 else 0
        parts.append(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", right))
    return b"".join(parts)


def tiff_changed(data: bytes, random: Random) -> bytes:
    """An entry of a directory of a TIFF: its tag, type, count or value; or where the next one is said to be."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 16 or data[2:4] not in (b"\x2a\0", b"\0\x2a") or random.random() < 0.15:
        return bytes_changed(data, random)
    found, places = bytearray(data), []
    (at,) = struct.unpack_from(order + "I", data, 4)
    while 0 < at <= len(data) - 6 and at not in places and len(places) < 50:
        places.append(at)
        (count,) = struct.unpack_from(order + "H", data, at)
        at += 2 + 12 * count
        at = struct.unpack_from(order + "I", data, at)[0] if at + 4 <= len(data) else 0
    if not places:
        return bytes_changed(data, random)
    start = random.choice(places)
    (count,) = struct.unpack_from(order + "H", data, start)
    entry = start + 2 + 12 * random.randrange(max(count, 1))
    if entry + 16 > len(data):
        return bytes_changed(data, random)
    match random.randrange(6):
        case 0:
            struct.pack_into(
                order + "H", found, entry, random.choice((256, 257, 258, 259, 262, 273, 277, 322, 330))
            )
        case 1:
            struct.pack_into(order + "H", found, entry + 2, random.randrange(19))
        case 2:
            struct.pack_into(order + "I", found, entry + 4, random.choice(_WORDS_32))
        case 3:
            end = start + 2 + 12 * count
            if end + 4 <= len(data):
                struct.pack_into(order + "I", found, end, random.choice((*places, 8, len(data))))
        case 4:
            struct.pack_into(
                order + "H", found, entry + 8, random.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 32773, 50000))
            )
        case _:
            struct.pack_into(order + "I", found, entry + 8, random.choice((*_WORDS_32, *places)))
    return bytes(found)


_DTYPES = (
    "F64",
    "F32",
    "F16",
    "BF16",
    "F8_E4M3",
    "F8_E5M2",
    "F8_E8M0",
    "C64",
    "I64",
    "I32",
    "I8",
    "U8",
    "U64",
    "BOOL",
    "F4",
)
_FLOATS = (math.nan, math.inf, -math.inf, 0.0, -1.0, 1e-45, 3e38, -3e38, 1e20, 1e4)


def tensors_changed(data: bytes, random: Random) -> bytes:
    """A tensor of a safetensors file: its values, name, kind, shape or place; or whether it is there."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
        held = {name: bytes(data[8 + length + a : 8 + length + b]) for name, (a, b) in _spans(header).items()}
    except (struct.error, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return bytes_changed(data, random)
    if not held or random.random() < 0.1:
        return bytes_changed(data, random)
    name = random.choice(list(held))
    told, values = header[name], held[name]
    match random.randrange(9):
        case 0 | 1 if len(values) >= 4:
            count = len(values) // 4
            number = struct.pack("<f", random.choice(_FLOATS))
            if random.random() < 0.5:
                held[name] = number * count + values[4 * count :]
            else:
                at = 4 * random.randrange(count)
                held[name] = values[:at] + number + values[at + 4 :]
        case 2:
            del held[name], header[name]
        case 3:
            other = random.choice((*_TEXTS, name + "x", f"model.{name}", random.choice(list(held))))
            held[other], header[other] = values, dict(told)
        case 4:  # another kind, with as many bytes as it needs
            told["dtype"] = random.choice(_DTYPES)
            wide = {"F64": 8, "C64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2}
            held[name] = bytes(wide.get(told["dtype"], 1) * math.prod(told["shape"]))
        case 5:  # as many values in another shape
            told["shape"] = random.choice(
                ([*told["shape"], 1], [1, *told["shape"]], [math.prod(told["shape"])], [])
            )
        case 6:
            told["shape"] = random.choice(
                ([2**31, 2**31, 4], [2**63], [0], [0, 2**62], [2**32, 0, 2**32], [1] * 70)
            )
            held[name] = values if random.random() < 0.5 else b""
        case 7:
            header["__metadata__"] = random.choice((*_OTHERS, {"a": random.choice(_TEXTS)}))
        case _:
            text = json_changed(json.dumps(header).encode(), random)
            return struct.pack("<Q", len(text)) + text + data[8 + length :]
    packed, at = bytearray(), 0
    for one, values in held.items():
        header[one]["data_offsets"] = [at, at := at + len(values)]
        packed += values
    text = json.dumps(header, ensure_ascii=False).encode("utf-8", "surrogatepass")
    size = len(text) if random.random() < 0.95 else random.choice((*_WORDS_32, 2**63, 2**64 - 1, len(text) - 1))
    return struct.pack("<Q", size) + text + bytes(packed)


def _spans(header: Any) -> dict[str, tuple[int, int]]:
    return {name: tuple(told["data_offsets"]) for name, told in header.items() if name != "__metadata__"}
