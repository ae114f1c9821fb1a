"""Where a point lies on Modbus: addresses of the value and of all that is read or written along with it, checked.

The format of the raw value is tables.py's, OPC UA nodes are nodes.py's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from fieldbus.format.formula import VARIABLES, Formula
from fieldbus.format.numbering import what_was_meant
from fieldbus.format.tables import FORMAT_KEYS, read_format, read_order
from fieldbus.format.toml_entry import Entry, did_you_mean, is_whole
from fieldbus.profile import (
    CommandSequence,
    DeviceTime,
    Epoch,
    ModbusPlace,
    RawFormat,
    Register,
    Requirement,
    Table,
    WriteMode,
)
from fieldbus.vocabulary import Direction, Point, PointType

PLACE_KEYS: Final = FORMAT_KEYS | {
    "table",
    "address",
    "write_table",
    "write_address",
    "write_mode",
    "sequence",
    "scale_factor",
    "sum_addresses",
    "timestamp",
    "require",
}
_REGISTER_KEYS: Final = FORMAT_KEYS - {"length"} | {"table", "address"}
SCALE_FACTOR_KEYS: Final = _REGISTER_KEYS - {"bit"}
TIMESTAMP_KEYS: Final = _REGISTER_KEYS - {"bit", "bits", "of"} | {"epoch"}
REQUIRE_KEYS: Final = _REGISTER_KEYS | {"equals"}
SEQUENCE_KEYS: Final = {"register", "counter_bits", "index_bits", "fixed"}
_HIGHEST_ADDRESS: Final = 65535
_NAME: Final = re.compile(r"[a-z_]{2,}")

Orders = tuple[str, str]  # of bytes and words


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a point takes from its profile when it says nothing."""

    table: Table
    byte_order: str
    word_order: str
    namespace: str
    wire_addresses: bool = False  # addresses that look like 40001 are meant as they stand


class PlaceReader:
    """Reads the place of one point, or of one point in one SunSpec model."""

    def __init__(
        self, point: Point, direction: Direction, index_range: tuple[int, int] | None, defaults: Defaults
    ) -> None:
        self._point = point
        self._direction = direction
        self._index_range = index_range
        self._defaults = defaults

    def read(self, entry: Entry) -> ModbusPlace | None:
        """The place, or None when an error keeps it from being built; errors go to the entry's violations."""
        before = len(entry.violations)
        table = _table(entry, "table", self._defaults.table)
        write_table = _table(entry, "write_table", table)
        raw_format = read_format(entry, table, self._defaults.byte_order, self._defaults.word_order)
        address = self._formula(entry, "address")
        write_address = self._formula(entry, "write_address")
        if raw_format is None:
            return None
        self._check_type(entry, raw_format)
        if self._direction.readable and address is None and "address" not in entry:
            entry.wrong("is missing", "address")
        if self._direction.writable:
            self._check_writing(entry, raw_format, table, write_table)
            if write_address is None:
                write_address = address
            if not self._direction.readable and "address" not in entry and "write_address" not in entry:
                entry.wrong("is missing", "write_address")
        mode, sequence = self._write_mode(entry, raw_format, write_address)
        shared = sequence is not None and sequence.index_bits is not None
        only_written = shared and not self._direction.readable
        self._check_range(entry, "address", table, address, raw_format.registers, one_for_all=only_written)
        if "write_address" in entry:
            length = raw_format.registers
            self._check_range(entry, "write_address", write_table, write_address, length, one_for_all=shared)
        orders = (
            read_order(entry, "byte_order", self._defaults.byte_order),
            read_order(entry, "word_order", self._defaults.word_order),
        )
        place = ModbusPlace(
            table=table,
            address=address if self._direction.readable else None,
            write_table=write_table,
            write_address=write_address if self._direction.writable else None,
            format=raw_format,
            write_mode=mode,
            sequence=sequence,
            scale_factor=self._scale_factor(entry, raw_format, table, orders),
            sum_addresses=self._sum(entry, raw_format, table, address),
            timestamp=self._timestamp(entry, table, orders),
            require=self._require(entry, table, orders),
        )
        return place if len(entry.violations) == before else None

    # --- the value -----------------------------------------------------------------------------------------------

    def _check_type(self, entry: Entry, raw_format: RawFormat) -> None:
        is_text = self._point.type is PointType.TEXT
        if is_text and not raw_format.is_text:
            entry.wrong(f'{self._point.name} is a text: its type is "string"', "type")
        if raw_format.is_text and not is_text:
            entry.wrong(f"{self._point.name} is no text", "type")

    def _check_writing(self, entry: Entry, raw_format: RawFormat, table: Table, write_table: Table) -> None:
        if not write_table.writable:
            entry.wrong(f"the {write_table.value} table cannot be written", "access")
        if raw_format.bit >= 0 and not write_table.is_bits:
            entry.wrong("a bit of a register cannot be written: it would need the other bits", "access")
        if write_table.is_bits and not table.is_bits and self._point.type is not PointType.BOOLEAN:
            entry.wrong(f"{self._point.name} is not a yes or no, which is all that a coil can take", "write_table")
        if table.is_bits and not write_table.is_bits:
            entry.wrong("what is read as a bit cannot be written as a register", "write_table")
        if raw_format.is_text:
            entry.wrong("a text cannot be written", "access")

    def _write_mode(
        self, entry: Entry, raw_format: RawFormat, write_address: Formula | None
    ) -> tuple[WriteMode | None, CommandSequence | None]:
        mode = entry.choice("write_mode", WriteMode, WriteMode.AUTO) if "write_mode" in entry else None
        for key in ("write_mode", "sequence", "write_address", "write_table"):
            if key in entry and not self._direction.writable:
                entry.wrong("is for points that can be written", key)
        if mode is WriteMode.SINGLE and raw_format.registers > 1:
            entry.wrong(f"{raw_format.registers} registers cannot be written one by one", "write_mode")
        if (mode is WriteMode.SEQUENCE) != ("sequence" in entry):
            entry.wrong(
                'write_mode = "sequence" and sequence = { register = ... } belong together',
                "sequence" if "sequence" in entry else "write_mode",
            )
        return mode, self._sequence(entry, raw_format, write_address)

    def _sequence(self, entry: Entry, raw_format: RawFormat, write_address: Formula | None) -> CommandSequence | None:
        sequence = entry.table("sequence")
        if sequence is None:
            return None
        sequence.only(SEQUENCE_KEYS)
        if "register" not in sequence:
            sequence.wrong("is missing: the register that makes the device take the command", "register")
        register = self._formula(sequence, "register")
        counter = sequence.range("counter_bits") or (8, 15)
        index = sequence.range("index_bits")
        table = _table(entry, "write_table", self._defaults.table)
        if raw_format.kind == "b" or table.is_bits:
            sequence.wrong("is for registers, not for coils")
        for key, bits in (("counter_bits", counter), ("index_bits", index)):
            if bits is not None and bits[1] > 15:
                sequence.wrong("a register has the bits 0..15", key)
        if index is not None:
            if self._index_range is None:
                sequence.wrong(f"{self._point.name} has no index", "index_bits")
            elif self._index_range[1] >= 1 << (index[1] - index[0] + 1):
                sequence.wrong(f"cannot hold the index {self._index_range[1]}", "index_bits")
            if index[0] <= counter[1] and counter[0] <= index[1]:
                sequence.wrong("overlaps counter_bits", "index_bits")
        fixed = sequence.integer("fixed", 0, 0, 0xFFFF)
        for key, bits in (("counter_bits", counter), ("index_bits", index)):
            if bits is not None and fixed >> bits[0] & (1 << (bits[1] - bits[0] + 1)) - 1:
                sequence.wrong(f"has bits of {key}", "fixed")
        if register is None or write_address is None:
            return None
        self._check_range(sequence, "register", table, register, 1, one_for_all=True)
        for at in self._indices():
            distance = write_address.at(self._point.scope, at) - register.at(self._point.scope, at)
            if distance not in (1, -raw_format.registers):
                sequence.wrong("must lie right before or right after the value: one write covers both", "register")
                break
        return CommandSequence(register, counter, index, fixed)

    # --- what lies beside it -------------------------------------------------------------------------------------

    def _scale_factor(self, entry: Entry, raw_format: RawFormat, table: Table, orders: Orders) -> Register | None:
        factor = entry.table("scale_factor")
        if factor is None:
            return None
        factor.only(SCALE_FACTOR_KEYS)
        self._check_plain_number(entry, raw_format, "scale_factor", "is scaled")
        register = self._register(factor, table, orders, "int16")
        if register is not None and register.format.kind not in ("i", "u"):
            factor.wrong("is a power of ten held as an integer", "type")
        return register

    def _sum(self, entry: Entry, raw_format: RawFormat, table: Table, address: Formula | None) -> tuple[Formula, ...]:
        parts: list[Formula] = []
        if "sum_addresses" not in entry:
            return ()
        self._check_plain_number(entry, raw_format, "sum_addresses", "can be summed")
        if self._direction.writable:
            entry.wrong("a sum cannot be written", "sum_addresses")
        if not entry.elements("sum_addresses"):
            entry.wrong("is a list of further addresses", "sum_addresses")
        for text in entry.elements("sum_addresses"):
            try:
                part = Formula.parse(text, self._point.scope)
            except ValueError as error:
                entry.wrong(str(error), "sum_addresses")
                continue
            if part == address or part in parts:
                entry.wrong(f"{text!r} would be counted twice", "sum_addresses")
            self._check_range(entry, "sum_addresses", table, part, raw_format.registers)
            parts.append(part)
        return tuple(parts)

    def _check_plain_number(self, entry: Entry, raw_format: RawFormat, key: str, what: str) -> None:
        """Only a number with scale and offset can be multiplied by a power of ten, or added to another."""
        if raw_format.kind in ("b", "s") or raw_format.bit >= 0:
            entry.wrong(f"neither a bit nor a text {what}", key)
        for other in ("level", "curve", "special"):
            if other in entry:
                entry.wrong(f"does not go with {other}", key)
        if key == "sum_addresses" and "offset" in entry:
            entry.wrong("does not go with offset: of which part would it be?", key)

    def _timestamp(self, entry: Entry, table: Table, orders: Orders) -> DeviceTime | None:
        stamp = entry.table("timestamp")
        if stamp is None:
            return None
        stamp.only(TIMESTAMP_KEYS)
        register = self._register(stamp, table, orders, "uint32")
        if register is not None and (register.format.kind not in ("i", "u") or register.format.size < 4):
            stamp.wrong("seconds since an epoch need an integer of 32 or 64 bits", "type")
        epoch = stamp.choice("epoch", Epoch, Epoch.UNIX)
        return DeviceTime(register, epoch) if register is not None else None

    def _require(self, entry: Entry, table: Table, orders: Orders) -> tuple[Requirement, ...]:
        requirements: list[Requirement] = []
        for condition in entry.tables("require"):
            condition.only(REQUIRE_KEYS)
            register = self._register(condition, table, orders, "uint16")
            numbers = condition.elements("equals")
            if not numbers or not all(map(is_whole, numbers)):
                condition.wrong("is a list of the integers that may stand there", "equals")
            if register is None:
                continue
            if register.format.kind not in ("i", "u", "b"):
                condition.wrong("is compared with integers and must be one", "type")
            requirements.append(Requirement(register, tuple(number for number in numbers if is_whole(number))))
        return tuple(requirements)

    def _register(self, entry: Entry, table: Table, orders: Orders, default_type: str) -> Register | None:
        """A register beside the point; it lies as the point does where it does not say otherwise."""
        table = _table(entry, "table", table)
        default = "" if table.is_bits else default_type
        found = read_format(entry, table, *orders, default)
        if "address" not in entry:
            entry.wrong("is missing", "address")
        address = self._formula(entry, "address")
        if found is None or address is None:
            return None
        self._check_range(entry, "address", table, address, found.registers, one_for_all=True)
        return Register(table, address, found)

    # --- addresses -----------------------------------------------------------------------------------------------

    def _formula(self, entry: Entry, key: str) -> Formula | None:
        if key not in entry:
            return None
        try:
            return Formula.parse(entry.data[key], self._point.scope)
        except ValueError as error:
            known = VARIABLES[self._point.scope]
            names = [name for name in _NAME.findall(str(entry.data[key])) if name not in known]
            entry.wrong(f"{error}{did_you_mean(names[0], known) if names else ''}", key)
            return None

    def _indices(self) -> Sequence[int | None]:
        """All the product has: between lines a formula may jump either way."""
        if self._index_range is None:
            return [None]
        return range(self._index_range[0], self._index_range[1] + 1)

    def _check_range(
        self, entry: Entry, key: str, table: Table, formula: Formula | None, length: int, *, one_for_all: bool = False
    ) -> None:
        """Addresses must exist, be meant as addresses, and differ for every index unless one serves all."""
        if formula is None:
            return
        indices = self._indices() if formula.factors else self._indices()[:1]
        addresses = [(formula.at(self._point.scope, index), index or 0) for index in indices]
        if not self._defaults.wire_addresses and (meant := what_was_meant(min(addresses)[0], max(addresses)[0], table)):
            entry.wrong(meant, key)
            return
        for address, index in {min(addresses), max(addresses)}:
            where = f"address {address} at index {index}" if self._index_range is not None else f"address {address}"
            if not 0 <= address <= _HIGHEST_ADDRESS:
                entry.wrong(f"{where} is not within 0..{_HIGHEST_ADDRESS}", key)
            elif (last := address + length - 1) > _HIGHEST_ADDRESS:
                needed = f"{address} {'and' if length == 2 else 'to'} {last}"
                entry.wrong(f"{where} needs {needed}, and the last register is {_HIGHEST_ADDRESS}", key)
        if len(self._indices()) > 1 and not one_for_all:
            self._check_each_has_its_own(entry, key, formula, sorted(addresses), length)

    def _check_each_has_its_own(
        self, entry: Entry, key: str, formula: Formula, addresses: list[tuple[int, int]], length: int
    ) -> None:
        """What is read or written for one index must not be another's. `addresses` are sorted, with their index."""
        if not formula.factors:
            entry.wrong("is the same for every index: use a formula, or narrow index to one", key)
            return
        for (address, index), (following, other) in pairwise(addresses):
            if address == following:
                entry.wrong(f"address {address} is that of index {index} and of {other}: each needs its own", key)
                return
            if following < address + length:
                reason = f"{length} addresses from {address} on, of index {index}, reach into those of index {other}"
                entry.wrong(reason, key)
                return


def _table(entry: Entry, key: str, default: Table) -> Table:
    return entry.choice(key, Table, default) if key in entry else default
