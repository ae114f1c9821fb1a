"""Long tables: a reading in a row, or several of one instant side by side. Columns are found by their names or said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from cli.importing.readings.amounts import unit_in
from cli.importing.readings.collect import Piece
from cli.importing.readings.declared import Declared
from cli.importing.readings.known import Status
from cli.importing.readings.source import Source
from cli.importing.readings.stamps import Instants, Stamps, zone_of
from cli.importing.readings.taking import Taker
from domain.errors import InvalidInput

TIME_NAMES: Final = (
    "time", "timestamp", "datetime", "datetime_utc", "zeit", "zeitstempel", "uhrzeit", "datum", "readdatetime", "slot",
    "start", "von", "ab", "ende", "bis", "time_rounded", "dt", "date",
)  # fmt: skip
DATE_NAMES: Final = ("datum", "date", "tag", "day")
CLOCK_NAMES: Final = ("uhrzeit", "zeit", "time", "von", "bis", "ab")
VALUE_NAMES: Final = (
    "value", "counter", "zaehlerstand", "zählerstand", "stand", "wert", "kwh", "wh", "reading", "verbrauch", "energy",
)  # fmt: skip
QUALITY_NAMES: Final = ("readtype", "quality", "status", "qualität", "qualitaet")
OWN_COLUMNS: Final = ("meter", "slot", "value", "unit", "status", "source", "observed_at", "revision")
"""What an export of ours has: it can be taken in again without a word."""


@dataclass(frozen=True, slots=True)
class LongLayout:
    """Where in a row what stands; -1 for nowhere. `values` are (cell, column, unit that the column's name says)."""

    time: int
    date: int
    meter: int
    quality: int
    unit: int
    observed: int
    values: tuple[tuple[int, str, str], ...]
    is_own: bool = False


def is_own(columns: Sequence[str]) -> bool:
    """Whether a file is an export of ours."""
    return tuple(columns[: len(OWN_COLUMNS)]) == OWN_COLUMNS


def find_layout(source: Source, declared: Declared) -> LongLayout:
    """Raises InvalidInput for columns that are not there, or cannot be told."""
    columns = source.columns
    if is_own(columns):
        at = {name: number for number, name in enumerate(columns)}
        value = ((at["value"], "value", ""),)
        return LongLayout(at["slot"], -1, at["meter"], at["status"], at["unit"], at["observed_at"], value, True)
    date, time = _times(columns, declared)
    meter = _given(columns, declared.meter_column, "meter_column")
    quality = _given(columns, declared.quality_column, "quality_column")
    if quality < 0 and not declared.quality_column:
        quality = _usual(columns, QUALITY_NAMES)
    named = [one.column for one in declared.series if one.column and not one.skip]
    if declared.value_column or not named:
        named = [declared.value_column or columns[_value(columns)]]
    missing = [name for name in named if name not in columns]
    if missing:
        raise InvalidInput.of(
            "value_column", f"the file has no column {', '.join(missing)}; it has {', '.join(columns)}"
        )
    if meter < 0 and not declared.meter and not all(_has_meter(declared, name) for name in named):
        raise InvalidInput.of("meter", "say which meter with --meter, or which column names it with --meter-column")
    values = tuple((columns.index(name), name, unit_in(name)) for name in dict.fromkeys(named))
    return LongLayout(time, date, meter, quality, _given(columns, declared.unit_column, "unit_column"), -1, values)


def _has_meter(declared: Declared, column: str) -> bool:
    return any(one.column == column and one.meter for one in declared.series)


def _times(columns: Sequence[str], declared: Declared) -> tuple[int, int]:
    """Cells of the date (-1 where the time has it) and of the time."""
    date = _given(columns, declared.date_column, "date_column")
    time = _given(columns, declared.time_column, "time_column")
    if time < 0 and date < 0:
        date, clock = _usual(columns, DATE_NAMES), _usual(columns, CLOCK_NAMES)
        if date >= 0 and clock >= 0:
            return date, clock
        date, time = -1, _usual(columns, TIME_NAMES)
    elif time < 0:
        date, time = -1, date
    if time < 0:
        raise InvalidInput.of("time_column", f"no column looks like it; the file has {', '.join(columns)}")
    return date, time


def _value(columns: Sequence[str]) -> int:
    found = _usual(columns, VALUE_NAMES)
    if found < 0:
        with_unit = [number for number, column in enumerate(columns) if unit_in(column)]
        found = with_unit[0] if len(with_unit) == 1 else -1
    if found < 0:
        raise InvalidInput.of("value_column", f"no single column looks like it; the file has {', '.join(columns)}")
    return found


def _given(columns: Sequence[str], name: str, option: str) -> int:
    if not name:
        return -1
    if name not in columns:
        raise InvalidInput.of(option, f"the file has no column {name!r}; it has {', '.join(columns)}")
    return columns.index(name)


def _usual(columns: Sequence[str], names: Sequence[str]) -> int:
    by_name = {column.casefold(): number for number, column in reversed(list(enumerate(columns)))}
    return next((by_name[name] for name in names if name in by_name), -1)


class LongReader:
    """Takes the rows of a long table."""

    def __init__(self, source: Source, layout: LongLayout, declared: Declared, taker: Taker, tz: tzinfo, hand: bool):
        self._source, self._layout, self._declared, self._taker = source, layout, declared, taker
        self._hand = hand
        column = source.columns[layout.time]
        if column.casefold().endswith("utc"):
            tz = zone_of("UTC")
        ends = "end" in (declared.stamp, *(one.stamp for one in declared.series))
        self._stamps = Stamps(tz, declared.time_format, of_ends=ends)
        # Rows whose time only the next row of their series tells, by the series.
        self._open: dict[str, tuple[int, Sequence[str], Instants]] = {}

    def pieces(self) -> Iterator[Piece]:
        """All readings, by the piece."""
        collector, layout = self._taker.collector, self._layout
        for line, cells in self._source.rows():
            collector.tally.lines += 1
            width = len(self._source.columns)
            if len(cells) < width or (len(cells) > width and any(cell.strip() for cell in cells[width:])):
                collector.refuse(
                    line, "", "has too few or too many cells: cut off, or with decimal commas between commas?",
                    f"{len(cells)} cells, the header has {width}",
                )  # fmt: skip
                continue
            if layout.is_own:
                self._take_own(line, cells)
            else:
                self._take(line, cells)
            if collector.full:
                yield collector.take()
        for name in list(self._open):
            self._close(name, None)
        for _ in self._taker.settle():
            if collector.full:
                yield collector.take()
        yield collector.take()

    def _take(self, line: int, cells: Sequence[str]) -> None:
        taker, layout, columns = self._taker, self._layout, self._source.columns
        name = cells[layout.meter].strip() if layout.meter >= 0 else ""
        text = cells[layout.time] if layout.date < 0 else f"{cells[layout.date].strip()} {cells[layout.time].strip()}"
        try:
            known = self._stamps.read(text)
        except ValueError as error:
            taker.collector.refuse(line, columns[layout.time], str(error), text.strip())
            return
        if name in self._open:
            self._close(name, known)
        if self._stamps.is_open(known, name):
            self._open[name] = line, cells, known
            return
        self._take_values(line, cells, name, self._stamps.settle(known, name))

    def _close(self, name: str, following: Instants | None) -> None:
        line, cells, known = self._open.pop(name)
        self._take_values(line, cells, name, self._stamps.settle(known, name, following))

    def _take_values(self, line: int, cells: Sequence[str], name: str, stamp: int) -> None:
        taker, layout, columns = self._taker, self._layout, self._source.columns
        status = self._status(line, cells)
        if status is None:
            return
        unit = cells[layout.unit].strip() if layout.unit >= 0 else ""
        for at, column, told in layout.values:
            try:
                channel = taker.channel(name, column, unit or told)
            except ValueError as error:
                taker.collector.refuse(line, columns[layout.meter] if name else column, str(error), name)
                continue
            if channel is None:
                taker.collector.tally.skipped += 1
                continue
            taker.cell(line, channel, column, stamp, cells[at], status)

    def _status(self, line: int, cells: Sequence[str]) -> Status | None:
        if self._hand:
            return Status.HAND
        if self._layout.quality < 0:
            return Status.MEASURED
        text = cells[self._layout.quality]
        status = self._declared.quality(text)
        if status is None:
            column = self._source.columns[self._layout.quality]
            self._taker.collector.refuse(line, column, "is no quality that is known: say what it means", text.strip())
        return status

    def _take_own(self, line: int, cells: Sequence[str]) -> None:
        """A row of an export of ours: slots are what they are, times have their offset, values their unit."""
        taker, layout, collector = self._taker, self._layout, self._taker.collector
        name, column = cells[layout.meter].strip(), "slot"
        try:
            slot = self._stamps.unix_ms(cells[layout.time], name)
            column = "observed_at"
            observed = self._stamps.unix_ms(cells[layout.observed], "") if cells[layout.observed].strip() else 0
            column = "meter"
            channel = taker.channel(name, "value", cells[layout.unit].strip())
        except ValueError as error:
            collector.refuse(line, column, str(error), name if column == "meter" else cells[layout.time])
            return
        status = self._status(line, cells)
        if status is None or channel is None:
            return
        if status is Status.GAP:
            collector.add(line, channel.meter, slot, 0, status)
            return
        taker.value(
            line, channel, "value", slot, 0 if observed == slot else observed, cells[layout.values[0][0]], status
        )
