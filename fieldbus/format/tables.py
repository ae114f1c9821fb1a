"""How a value lies in registers, and what the raw number means: the keys of both checked, for points and for what lies
beside them.

Where it lies is registers.py's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from domain.level import DALI, DALI_LINEAR, PERCENT, PERMILLE
from fieldbus.format.toml_entry import Entry, did_you_mean, is_number, is_whole
from fieldbus.profile import ONE_BIT, Conversion, RawFormat, Table
from fieldbus.vocabulary import Point, PointType

FORMAT_KEYS: Final = {"type", "length", "bit", "bits", "of", "byte_order", "word_order"}
CONVERSION_KEYS: Final = {
    "scale",
    "offset",
    "level",
    "curve",
    "not_available",
    "special",
    "raw_minimum",
    "raw_maximum",
}
NUMBER_TYPES: Final = {
    "uint16": ("u", 2),
    "int16": ("i", 2),
    "uint32": ("u", 4),
    "int32": ("i", 4),
    "uint64": ("u", 8),
    "int64": ("i", 8),
    "float32": ("f", 4),
    "float64": ("f", 8),
}
_BCD_TYPES: Final = {"bcd16": ("bcd", 2), "bcd32": ("bcd", 4), "bcd64": ("bcd", 8)}
REGISTER_TYPES: Final = {**NUMBER_TYPES, **_BCD_TYPES}
TYPE_NAMES: Final = ("bit", "bits", *REGISTER_TYPES, "string")
_BITS_OF: Final = ("uint16", "uint32")
_LEVEL_SCALES: Final = {"percent": PERCENT, "permille": PERMILLE, "dali_log": DALI, "dali_linear": DALI_LINEAR}
ORDERS: Final = ("big", "little")
_LONGEST_TEXT: Final = 125  # registers: what one request can carry


def read_format(entry: Entry, table: Table, byte_order: str, word_order: str, default: str = "") -> RawFormat | None:
    """The format of a register or bit, None when it cannot be told. `default` is the type where none is given."""
    name = entry.data.get("type", default or None)
    _check_companions(entry, name)
    if table.is_bits:
        if name not in (None, "bit"):
            entry.wrong(f"an address of the {table.value} table is a bit", "type")
        if "bit" in entry:
            entry.wrong(f"an address of the {table.value} table is a bit and has no others", "bit")
        return ONE_BIT
    byte_order = read_order(entry, "byte_order", byte_order)
    word_order = read_order(entry, "word_order", word_order)
    if name == "bit":
        bit = entry.data.get("bit")
        if not is_whole(bit) or not 0 <= bit <= 15:
            entry.wrong("a bit of a register needs bit = 0..15", "bit")
            return None
        return RawFormat("u", 2, byte_order, word_order, bit)
    if name == "bits":
        return _read_bits(entry, byte_order, word_order)
    if name == "string":
        length = entry.data.get("length")
        if not is_whole(length) or not 1 <= length <= _LONGEST_TEXT:
            entry.wrong(f"a string needs length = 1..{_LONGEST_TEXT}, in registers", "length")
            return None
        return RawFormat("s", 2 * length, byte_order)
    if not isinstance(name, str) or name not in REGISTER_TYPES:
        wrong_type(entry, name, TYPE_NAMES)
        return None
    return RawFormat(*REGISTER_TYPES[name], byte_order, word_order)


def wrong_type(entry: Entry, name: Any, known: Sequence[str]) -> None:
    """Note that a type is missing, or that there is none of that name."""
    if name is None:
        entry.wrong(f"is missing: one of {', '.join(known)}", "type")
    else:
        entry.wrong(f"{name!r} is none of {', '.join(known)}{did_you_mean(name, known)}", "type")


def _check_companions(entry: Entry, name: Any) -> None:
    """Keys that mean something for one type only."""
    for key, owner in (("bit", "bit"), ("bits", "bits"), ("of", "bits"), ("length", "string")):
        if key in entry and name != owner and not (key == "bit" and name is None):
            entry.wrong(f'belongs to type = "{owner}"', key)


def _read_bits(entry: Entry, byte_order: str, word_order: str) -> RawFormat | None:
    of = entry.data.get("of", "uint16")
    if of not in _BITS_OF:
        entry.wrong(f"{of!r} is none of {', '.join(_BITS_OF)}", "of")
        return None
    size = NUMBER_TYPES[of][1]
    if "bits" not in entry:
        entry.wrong(f"a part of a word needs bits = [lowest, highest], 0..{8 * size - 1}", "bits")
        return None
    bits = entry.range("bits")
    if bits is None:
        return None
    low, high = bits
    if high >= 8 * size:
        entry.wrong(f"a {of} has the bits 0..{8 * size - 1}", "bits")
        return None
    return RawFormat("u", size, byte_order, word_order, low, high - low + 1)


def read_order(entry: Entry, key: str, default: str) -> str:
    """The order of bytes or words."""
    value = entry.data.get(key, default)
    if value not in ORDERS:
        entry.wrong(f"{value!r} is neither big nor little", key)
        return default
    return str(value)


def read_conversion(entry: Entry, point: Point, kind: str, size: int) -> Conversion:
    """From raw number to the vocabulary's unit, for numbers of a kind and of `size` bytes."""
    if point.type is PointType.TEXT:
        for key in entry:
            if key in CONVERSION_KEYS:
                entry.wrong("a text is no number to convert", key)
        return Conversion()
    level = entry.data.get("level")
    known = isinstance(level, str) and level in _LEVEL_SCALES
    if level is not None and not (known and point.unit == "permille" and kind in ("u", "i", "bcd")):
        entry.wrong(f"is one of {', '.join(_LEVEL_SCALES)}, for levels held as integers", "level")
        level = None
    scale = entry.number("scale", 1.0) or 0.0
    if scale == 0.0:
        entry.wrong("must not be 0", "scale")
        scale = 1.0
    _check_steps(entry, point, kind, scale)
    curve = entry.pairs("curve")
    if [raw for raw, _ in curve] != sorted({raw for raw, _ in curve}):
        entry.wrong("raw values must rise", "curve")
    if (level is not None) + bool(curve) + (scale != 1.0 or "offset" in entry) > 1:
        entry.wrong("level, curve and scale/offset exclude each other", "level" if level else "curve")
    minimum, maximum = entry.number("raw_minimum"), entry.number("raw_maximum")
    if minimum is not None and maximum is not None and minimum > maximum:
        entry.wrong("lies above raw_maximum: no value would be left", "raw_minimum")
    return Conversion(
        scale=scale,
        offset=entry.number("offset", 0.0) or 0.0,
        level_scale=_LEVEL_SCALES[level] if level is not None else None,
        curve=curve,
        not_available=_patterns(entry, size),
        special=_special(entry, kind, size),
        raw_minimum=minimum,
        raw_maximum=maximum,
    )


def _check_steps(entry: Entry, point: Point, kind: str, scale: float) -> None:
    """A counter holds whole units: what one step of its register is worth must be some of them."""
    if point.type is not PointType.COUNTER:
        return
    if abs(scale) < 1:
        reason = f"{point.name} counts whole {point.unit}: digits below 1 {point.unit} would be lost with {scale:g}"
        entry.wrong(reason, "scale")
    elif kind != "f" and scale != int(scale):
        reason = f"{point.name} counts whole {point.unit}, which steps of {scale:g} {point.unit} are not"
        entry.wrong(reason, "scale")


def _special(entry: Entry, kind: str, size: int) -> tuple[tuple[int, float], ...]:
    pairs = entry.pairs("special")
    if pairs and kind == "f":
        entry.wrong("is for integers", "special")
    for pattern, _ in pairs:
        _check_pattern(entry, "special", pattern, size)
    return tuple((int(pattern), value) for pattern, value in pairs)


def _patterns(entry: Entry, size: int) -> tuple[int, ...]:
    if not isinstance(entry.data.get("not_available", []), list):
        entry.wrong("is not a list of bit patterns", "not_available")
        return ()
    patterns = entry.elements("not_available")
    for pattern in patterns:
        _check_pattern(entry, "not_available", pattern, size)
    return tuple(pattern for pattern in patterns if is_whole(pattern))


def _check_pattern(entry: Entry, key: str, pattern: Any, size: int) -> None:
    if not is_number(pattern) or pattern != int(pattern) or not 0 <= pattern < 1 << (8 * size):
        entry.wrong(f"{pattern!r} is no bit pattern of {size} bytes (unsigned)", key)
