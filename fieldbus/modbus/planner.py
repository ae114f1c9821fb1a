"""Which requests read a list of points, and everything that has to be read along with them.

Pure: no device is touched. A plan is made once for a tuple of points and used every cycle; carrying it out and
remembering refusals is the driver's business (read.py). How places become few requests is blocks.py's, how
answers become values read_plan.py's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from domain.errors import InvalidInput
from fieldbus.codec import LARGEST_EXPONENT, Column, UnitColumns
from fieldbus.modbus.blocks import Memory, Span, gather, split_block
from fieldbus.modbus.read_plan import Block, Companions, PlacedColumn, PlacedText, ReadPlan
from fieldbus.profile import Conversion, ModbusPlace, PointBinding, Profile, RawFormat, Register, Table
from fieldbus.raw import byte_positions
from fieldbus.values import PointAddress

__all__ = ["Block", "Memory", "ReadPlan", "Span", "plan_reads", "plan_scale_factors", "read_span", "split_block"]

_NOWHERE: Final = Span(Table.HOLDING, 0, 0)  # the place of points that this copy of the product does not have
_PLAIN: Final = Conversion()


def plan_reads(profile: Profile, points: Sequence[PointAddress], memory: Memory | None = None) -> ReadPlan:
    """The plan for points of a Modbus profile. Raises InvalidInput for points that it does not have."""
    return _plan(profile, points, [profile.binding(address) for address in points], memory or Memory())


def plan_scale_factors(profile: Profile, points: Sequence[PointAddress], memory: Memory | None = None) -> ReadPlan:
    """The plan that reads, as the value of each point, the exponent in its scale factor register: what `encode` needs
    for a command. Raises InvalidInput for points that have none."""
    bindings: list[PointBinding] = []
    for address in points:
        binding = profile.binding(address)
        register = binding.modbus.scale_factor if binding.modbus is not None else None
        if register is None:
            raise InvalidInput.of("point", f"{address} has no scale factor")
        place = ModbusPlace(register.table, register.address, register.table, None, register.format)
        bindings.append(
            replace(
                binding,
                modbus=place,
                conversion=_absence(register.format),
                minimum=-LARGEST_EXPONENT,
                maximum=LARGEST_EXPONENT,
            )
        )
    return _plan(profile, points, bindings, memory or Memory())


def read_span(binding: PointBinding, address: PointAddress) -> Span:
    """Where a point is read. Raises InvalidInput for a point that can only be written, or is not located yet."""
    if binding.absent:
        return _NOWHERE
    place = binding.modbus
    if place is None and binding.models:
        raise InvalidInput.of("point", f"where {address} is must be discovered in the device first")
    if place is None or place.address is None:
        raise InvalidInput.of("point", f"{address} cannot be read, only written")
    return Span(place.table, place.address.at(binding.scope, address.index), place.format.registers)


@dataclass(frozen=True, slots=True)
class _Row:
    """What is read for one row."""

    span: Span
    format: RawFormat
    conversion: Conversion


class _Rows:
    """The rows of a plan: points first, then what is read along with them, each of that once."""

    def __init__(self, points: Sequence[PointAddress], bindings: Sequence[PointBinding]) -> None:
        self.rows: list[_Row] = []
        self._known: dict[_Row, int] = {}
        self._sums: list[dict[int, int]] = []
        self._factors: dict[int, int] = {}
        self._requirements: list[tuple[dict[int, int], tuple[int, ...]]] = []
        self._times: dict[int, dict[int, int]] = defaultdict(dict)
        for binding, address in zip(bindings, points, strict=True):
            place = binding.modbus
            span = read_span(binding, address)
            self.rows.append(_Row(span, place.format if place else RawFormat("b", 1), binding.conversion))
        for row, (binding, address) in enumerate(zip(bindings, points, strict=True)):
            if binding.modbus is not None and not binding.modbus.is_plain:
                self._add_companions(row, binding, binding.modbus, address.index)

    def companions(self) -> Companions | None:
        """How the rows belong together; None where there are only points."""
        if not (self._sums or self._factors or self._requirements or self._times):
            return None
        return Companions(
            sums=tuple(_columns_of(pairs) for pairs in self._sums),
            factors=_columns_of(self._factors) if self._factors else None,
            requirements=tuple(
                (*_columns_of(pairs), np.array(allowed, dtype=np.float64)) for pairs, allowed in self._requirements
            ),
            times=tuple((*_columns_of(pairs), epoch_s) for epoch_s, pairs in self._times.items()),
        )

    def _add_companions(self, row: int, binding: PointBinding, place: ModbusPlace, index: int | None) -> None:
        for number, formula in enumerate(place.sum_addresses):
            if number == len(self._sums):
                self._sums.append({})
            span = Span(place.table, formula.at(binding.scope, index), place.format.registers)
            self._sums[number][row] = self._row_of(_Row(span, place.format, binding.conversion))
        if place.scale_factor is not None:
            register = place.scale_factor
            self._factors[row] = self._register(register, binding, index, _absence(register.format))
        if place.timestamp is not None:
            pairs = self._times[place.timestamp.epoch.unix_s]
            pairs[row] = self._register(place.timestamp.register, binding, index, _PLAIN)
        for requirement in place.require:
            condition = self._register(requirement.register, binding, index, _PLAIN)
            for pairs, allowed in self._requirements:
                if allowed == requirement.equals and row not in pairs:
                    break
            else:
                pairs = {}
                self._requirements.append((pairs, requirement.equals))
            pairs[row] = condition

    def _register(self, register: Register, binding: PointBinding, index: int | None, conversion: Conversion) -> int:
        address = register.address.at(binding.scope, index)
        return self._row_of(_Row(Span(register.table, address, register.format.registers), register.format, conversion))

    def _row_of(self, row: _Row) -> int:
        found = self._known.get(row)
        if found is None:
            found = self._known[row] = len(self.rows)
            self.rows.append(row)
        return found


def _plan(
    profile: Profile, points: Sequence[PointAddress], bindings: Sequence[PointBinding], memory: Memory
) -> ReadPlan:
    collected = _Rows(points, bindings)
    rows = collected.rows
    left_out = [row for row, one in enumerate(rows) if one.span.length == 0 or one.span in memory.refused]
    rows_of_span: dict[Span, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        rows_of_span[row.span].append(number)
    for number in left_out:
        rows_of_span.pop(rows[number].span, None)
    blocks: list[Block] = []
    start_of_span: dict[Span, int] = {}
    offset = 0
    for group in gather(list(rows_of_span), profile.modbus, memory):
        start = group[0].address
        count = max(span.end for span in group) - start
        served = np.array([row for span in group for row in rows_of_span[span]], dtype=np.intp)
        block = Block(group[0].table, start, count, offset, tuple(group), served)
        blocks.append(block)
        unit = 1 if block.table.is_bits else 2
        for span in group:
            start_of_span[span] = offset + unit * (span.address - start)
        offset += block.size
    columns, texts = _place(rows, start_of_span)
    return ReadPlan(
        points=tuple(points),
        blocks=tuple(blocks),
        buffer_size=offset,
        spans=tuple(row.span for row in rows),
        refused_rows=np.array(left_out, dtype=np.intp),
        columns=columns,
        units=UnitColumns.of(bindings),
        texts=texts,
        companions=collected.companions(),
    )


def _place(
    rows: Sequence[_Row], start_of_span: dict[Span, int]
) -> tuple[tuple[PlacedColumn, ...], tuple[PlacedText, ...]]:
    """Rows grouped by kind and size, with the places of their bytes."""
    members: dict[tuple[str, int, bool], list[int]] = defaultdict(list)
    texts: list[PlacedText] = []
    for number, row in enumerate(rows):
        start = start_of_span.get(row.span)
        if start is None:
            continue
        if row.format.is_text:
            texts.append(PlacedText(number, start + np.array(byte_positions(row.format), dtype=np.intp)))
        else:
            members[Column.key(row.format)].append(number)
    columns: list[PlacedColumn] = []
    for numbers in members.values():
        formats = [rows[number].format for number in numbers]
        positions = np.array([byte_positions(one) for one in formats], dtype=np.intp)
        positions += np.array([start_of_span[rows[number].span] for number in numbers], dtype=np.intp)[:, None]
        column = Column.of(formats, [rows[number].conversion for number in numbers])
        columns.append(PlacedColumn(column, np.array(numbers, dtype=np.intp), positions))
    return tuple(columns), tuple(texts)


def _columns_of(pairs: dict[int, int]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    return np.array(list(pairs), dtype=np.intp), np.array(list(pairs.values()), dtype=np.intp)


def _absence(raw_format: RawFormat) -> Conversion:
    """A scale factor that says "not there": the most negative number of its type (SunSpec's 0x8000)."""
    if raw_format.kind == "i":
        return Conversion(not_available=(1 << (8 * raw_format.size - 1),))
    return _PLAIN
