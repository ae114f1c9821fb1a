"""Raw registers without a profile: what the command line names, a profile made of it in memory, and decoding.

Reading asks for plain 16-bit words (or bits), so that the raw bytes can be shown beside the value; nothing that was not
named is touched. Writing uses the driver's own encoding and read-back.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cli.field.addressing import number_word
from cli.field.display import seen
from domain.errors import InvalidInput
from fieldbus.device import Device
from fieldbus.format.formula import Formula
from fieldbus.format.tables import ORDERS, REGISTER_TYPES
from fieldbus.profile import (
    ONE_BIT,
    Conversion,
    ModbusLimits,
    ModbusPlace,
    PointBinding,
    Profile,
    Protocol,
    RawFormat,
    Table,
    WriteMode,
)
from fieldbus.values import PointAddress, Quality, ValueBatch
from fieldbus.vocabulary import Direction, Point, PointType, Scope

WORD: Final = RawFormat("u", 2)
_TYPES: Final = {**REGISTER_TYPES, "string": ("s", 2)}
_CODES: Final = {"u": {2: "H", 4: "I", 8: "Q"}, "i": {2: "h", 4: "i", 8: "q"}, "f": {4: "f", 8: "d"}}
_HIGHEST_ADDRESS: Final = 65535
_WORDS_PER_READ: Final = 120  # below 125, which some gateways do not take


@dataclass(frozen=True, slots=True)
class RegisterValue:
    """One value in registers: where it starts, and how it lies there."""

    table: Table
    address: int
    type: str
    format: RawFormat

    @property
    def name(self) -> str:
        """As on the command line."""
        return f"{self.table.value}:{self.address}"

    @property
    def words(self) -> list[str]:
        """Names of the single addresses it occupies."""
        return [f"{self.table.value}:{self.address + offset}" for offset in range(self.format.registers)]


def parse_registers(text: str) -> list[RegisterValue]:
    """table:address[:type[:byte,word order]], where an address may be a range. Raises InvalidInput."""
    table_name, _, rest = text.strip().partition(":")
    place, _, rest = rest.partition(":")
    type_name, _, order = rest.partition(":")
    try:
        table = Table(table_name.lower())
    except ValueError:
        tables = ", ".join(table.value for table in Table)
        raise InvalidInput.of("register", f"{text!r} does not begin with a table ({tables})") from None
    low, high = _range(place, text)
    ranged = "-" in place
    if table.is_bits:
        if type_name or order:
            raise InvalidInput.of("register", f"{text!r}: a {table.value} is a bit and has no type")
        return [RegisterValue(table, address, "bit", ONE_BIT) for address in range(low, high + 1)]
    type_name = type_name.lower() or "uint16"
    if type_name not in _TYPES:
        raise InvalidInput.of("register", f"{type_name!r} is none of {', '.join(_TYPES)}")
    kind, size = _TYPES[type_name]
    byte_order, word_order = _order(order, text)
    if kind == "s":
        if not ranged:
            raise InvalidInput.of(
                "register", f"{text!r}: a text needs its registers, like {table.value}:{low}-{low + 9}"
            )
        size = 2 * (high - low + 1)
    layout = RawFormat(kind, size, byte_order, word_order)
    width = layout.registers
    count = (high - low + 1) // width if ranged else 1
    if not count or (ranged and (high - low + 1) % width):
        raise InvalidInput.of("register", f"{text!r}: {high - low + 1} registers are no whole number of {type_name}")
    if low + count * width - 1 > _HIGHEST_ADDRESS:
        raise InvalidInput.of("register", f"{text!r} ends beyond address {_HIGHEST_ADDRESS}")
    return [RegisterValue(table, low + position * width, type_name, layout) for position in range(count)]


def _range(place: str, text: str) -> tuple[int, int]:
    first, dash, last = place.strip().partition("-")
    try:
        low = int(first, 0)
        high = int(last, 0) if dash else low
    except ValueError:
        raise InvalidInput.of("register", f"{text!r}: {place!r} is no address; write 40, 0x28 or 40-49") from None
    if not 0 <= low <= high <= _HIGHEST_ADDRESS:
        raise InvalidInput.of("register", f"{text!r}: addresses are 0 to {_HIGHEST_ADDRESS}, the lower one first")
    return low, high


def _order(order: str, text: str) -> tuple[str, str]:
    if not order:
        return "big", "big"
    parts = [part.strip().lower() for part in order.split(",")]
    if len(parts) != 2 or any(part not in ORDERS for part in parts):
        reason = "the order is BYTES,WORDS, each big or little: big,little has the low word first"
        raise InvalidInput.of("register", f"{text!r}: {reason}")
    return parts[0], parts[1]


def reading_profile(values: Sequence[RegisterValue]) -> Profile:
    """A profile whose points are the single words and bits of the values."""
    points: dict[str, PointBinding] = {}
    for value in values:
        layout = ONE_BIT if value.table.is_bits else WORD
        for offset, name in enumerate(value.words):
            points[name] = _binding(name, value.table, value.address + offset, layout, Direction.READ)
    return _profile(points, WriteMode.AUTO)


def writing_profile(values: Sequence[RegisterValue], *, multiple: bool) -> Profile:
    """A profile whose points are the values, to be written and read back. Raises InvalidInput for a read-only table."""
    points: dict[str, PointBinding] = {}
    for value in values:
        if not value.table.writable:
            raise InvalidInput.of("register", f"{value.name}: Modbus has no function to write a table of inputs")
        points[value.name] = _binding(value.name, value.table, value.address, value.format, Direction.READ_WRITE)
    return _profile(points, WriteMode.MULTIPLE if multiple else WriteMode.AUTO)


def number_for(value: RegisterValue, text: str) -> float:
    """A number as typed, checked against what the registers hold. Raises InvalidInput."""
    layout = value.format
    if layout.kind in ("s", "bcd"):
        raise InvalidInput.of("register", f"{value.name}: {value.type} can only be read here")
    number = number_word(text, value.type, is_flag=layout.kind == "b", is_float=layout.kind == "f", where=value.name)
    if layout.kind in ("u", "i"):
        bits = 8 * layout.size
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if layout.kind == "i" else (0, (1 << bits) - 1)
        if not low <= number <= high:
            raise InvalidInput.of("value", f"{text} does not fit into {value.type} ({low} to {high})")
    return number


async def read_registers(device: Device, values: Sequence[RegisterValue]) -> ValueBatch:
    """All words of the values. Asked for in parts, so that no value is torn between two requests."""
    parts: list[list[PointAddress]] = []
    known: set[str] = set()
    for value in sorted(values, key=lambda each: (each.table.value, each.address)):
        fresh = [PointAddress(word) for word in value.words if word not in known]
        known.update(value.words)
        if parts and len(parts[-1]) + len(fresh) <= _WORDS_PER_READ:
            parts[-1] += fresh
        else:
            parts.append(fresh)
    return ValueBatch.concatenate([await device.read(tuple(part)) for part in parts if part])


def register_rows(values: Sequence[RegisterValue], batch: ValueBatch) -> list[dict[str, Any]]:
    """One row per value: raw words in hexadecimal as they came, and what they mean."""
    where = {address.point: row for row, address in enumerate(batch.points)}
    rows = []
    for value in values:
        of_words = [where[word] for word in value.words]
        usable = all(batch.quality[row] == Quality.GOOD for row in of_words)
        words = [int(batch.values[row]) for row in of_words] if usable else []
        worst = max(of_words, key=lambda row: int(batch.quality[row]))
        rows.append(
            {
                "register": value.name,
                "type": value.type,
                "raw": _hex(value, words),
                "value": decode(value, words) if usable else None,
                **seen(batch, worst),
            }
        )
    return rows


def decode(value: RegisterValue, words: Sequence[int]) -> float | int | bool | str | None:
    """The value of words as they came over the wire; None for NaN, or BCD with a digit above 9."""
    layout = value.format
    if layout.kind == "b":
        return bool(words[0])
    in_order = words if layout.word_order == "big" else list(reversed(words))
    natural = struct.pack(f"{'>' if layout.byte_order == 'big' else '<'}{len(words)}H", *in_order)
    if layout.kind == "s":
        return natural.decode("utf-8", "replace").strip("\0 ")
    if layout.kind == "bcd":
        digits = natural.hex()
        return int(digits) if digits.isdecimal() else None
    number: float | int = struct.unpack(f">{_CODES[layout.kind][layout.size]}", natural)[0]
    return number if math.isfinite(number) else None


def _hex(value: RegisterValue, words: Sequence[int]) -> str:
    if value.format.kind == "b":
        return " ".join(str(word) for word in words)
    return " ".join(f"{word:04X}" for word in words)


def _binding(name: str, table: Table, address: int, layout: RawFormat, direction: Direction) -> PointBinding:
    kind = PointType.BOOLEAN if layout.kind == "b" else PointType.NUMBER
    endless = (0.0, 1.0) if layout.kind == "b" else (-math.inf, math.inf)
    return PointBinding(
        point=Point(name, "", kind, direction, Scope.DEVICE, *endless, "a raw register"),
        direction=direction,
        index_range=None,
        conversion=Conversion(),
        minimum=endless[0],
        maximum=endless[1],
        modbus=ModbusPlace(
            table=table,
            address=Formula(address),
            write_table=table,
            write_address=Formula(address) if direction.writable else None,
            format=layout,
        ),
        confirm=name if direction.writable else "",
    )


def _profile(points: dict[str, PointBinding], write_mode: WriteMode) -> Profile:
    return Profile(
        name="raw registers",
        kind="registers",
        vendor="",
        product="",
        protocol=Protocol.MODBUS,
        source="the command line",
        points=points,
        modbus=ModbusLimits(max_gap=0, write_mode=write_mode),
    )
