"""Between bytes on the wire and raw numbers or texts, both ways. What a raw number means is codec.py's business.

Decoding works on columns, all values of one kind and size at a time: a row of bytes each, in order of significance.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
import numpy.typing as npt

from fieldbus.profile import RawFormat
from fieldbus.values import FloatColumn

ByteMatrix = npt.NDArray[np.uint8]
Patterns = npt.NDArray[np.unsignedinteger]

_DTYPES: Final = {(kind, size): np.dtype(f">{kind}{size}") for kind in "uif" for size in (1, 2, 4, 8)[kind == "f" :]}
_STRUCTS: Final = {
    (kind, size): struct.Struct(f">{code}")
    for kind, codes in (("u", "BHIQ"), ("i", "bhiq"), ("f", " efd"))
    for size, code in zip((1, 2, 4, 8), codes, strict=True)
    if code != " "
}
_HIGHEST_DIGIT: Final = 9
LONGEST_TEXT: Final = 1000  # of a serial number, a name, a version


def byte_positions(raw_format: RawFormat) -> tuple[int, ...]:
    """Which byte on the wire is the n-th most significant byte of the number, or the n-th character of the text.

    ABCD (big, big), CDAB (words little), BADC (bytes little), DCBA (both). The mapping is its own inverse.
    """
    if raw_format.kind == "b":
        return (0,)
    words = list(range(raw_format.size // 2))
    if raw_format.word_order == "little":
        words.reverse()
    high, low = (1, 0) if raw_format.byte_order == "little" else (0, 1)
    return tuple(offset for word in words for offset in (2 * word + high, 2 * word + low))


def raw_numbers(kind: str, size: int, data: ByteMatrix) -> FloatColumn:
    """Raw numbers of a kind; NaN where the bytes are none. Integers beyond 2^53 are rounded."""
    if kind == "b":
        return np.not_equal(data[:, 0], 0).astype(np.float64)
    if kind == "bcd":
        return _from_bcd(data)
    raw: npt.NDArray[np.number] = data.view(_DTYPES[kind, size])[:, 0]
    if kind != "f":
        return raw.astype(np.float64)
    with np.errstate(invalid="ignore"):  # a signalling NaN from the wire is a NaN like any other
        return raw.astype(np.float64)


def bit_patterns(size: int, data: ByteMatrix) -> Patterns:
    """The same bytes as unsigned integers, whatever they hold."""
    patterns: Patterns = data.view(_DTYPES["u", size])[:, 0]
    return patterns


def part_of_words(
    size: int, data: ByteMatrix, lowest: npt.NDArray[np.uint32], masks: npt.NDArray[np.uint32]
) -> npt.NDArray[np.uint32]:
    """Of each word the bits from `lowest` on, as many as its mask has."""
    return (bit_patterns(size, data).astype(np.uint32) >> lowest) & masks


def _from_bcd(data: ByteMatrix) -> FloatColumn:
    digits = np.empty((len(data), 2 * data.shape[1]), dtype=np.int64)
    digits[:, 0::2] = data >> 4
    digits[:, 1::2] = data & 0x0F
    weights = 10 ** np.arange(digits.shape[1] - 1, -1, -1, dtype=np.int64)
    numbers: FloatColumn = (digits @ weights).astype(np.float64)
    numbers[(digits > _HIGHEST_DIGIT).any(axis=1)] = np.nan
    return numbers


def text_of(data: bytes) -> str | None:
    """The text in registers, None where there is none: it ends at the first NUL, and blanks around it are padding.

    UTF-8, else ISO 8859-1, in which older devices keep their umlauts. Unprintable characters are no text, nor is a
    field of ones.
    """
    data = data.lstrip(b"\0").split(b"\0", 1)[0].strip()
    if not data or data.count(0xFF) == len(data):
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("iso-8859-1")
    return text if text.isprintable() else None


def shown_text(text: str | None) -> str | None:
    """A text of a protocol that has texts, as far as it is one: printable, and of a length that can be meant."""
    if text is None or len(text) > LONGEST_TEXT:
        return None
    text = text.strip("\0 \t\r\n")
    return text if text.isprintable() else None


def told(text: object, longest: int = LONGEST_TEXT) -> str:
    """What somebody else says, as it may stand on a terminal, in a log and in a database: printable, and not longer
    than anybody reads. Lists and other things without words say nothing."""
    if not isinstance(text, str):
        return ""
    if len(text) > longest:
        text = f"{text[: longest - 3]}..."
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def hold(kind: str, size: int, number: float) -> float | int:
    """The number as `size` bytes of a kind hold it. Raises ValueError with the reason when they cannot."""
    if kind == "bcd":
        if not 0 <= number < 100**size:
            raise ValueError(f"packed BCD of {2 * size} digits holds 0..{100**size - 1}")
        return int(number)
    form = _STRUCTS[kind, size]
    try:
        held: float | int = form.unpack(form.pack(number))[0]
    except (struct.error, OverflowError) as error:
        raise ValueError(str(error)) from None
    return held


def registers_of(raw_format: RawFormat, number: float) -> tuple[int, ...]:
    """The registers that hold a number for which `hold` has been asked."""
    if raw_format.kind == "bcd":
        natural = bytes.fromhex(f"{int(number):0{2 * raw_format.size}d}")
    else:
        natural = _STRUCTS[raw_format.kind, raw_format.size].pack(number)
    wire = bytes(natural[position] for position in byte_positions(raw_format))
    return struct.unpack(f">{raw_format.registers}H", wire)
