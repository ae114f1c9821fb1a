"""Wide tables: a row is a day of one series, a column an interval of it, of 23 to 25 hours.

Two habits meet on the two odd days. Numbered columns count the intervals that there were (46 or 92 in spring, 50 or 100
in autumn), or they stand for the clock's: then the skipped hour is empty and the doubled one has, if at all, columns of
its own. Which one a row follows shows in where it is empty; where that does not show, the row is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Final

from cli.importing.readings.amounts import unit_in
from cli.importing.readings.channel import Channel
from cli.importing.readings.collect import Piece
from cli.importing.readings.declared import Declared
from cli.importing.readings.known import Status, Step, parse_step
from cli.importing.readings.source import Source
from cli.importing.readings.stamps import Instants, instants_of, parse_day
from cli.importing.readings.taking import Taker
from domain.errors import InvalidInput

LEAST_COLUMNS: Final = 23
_NUMBERED: Final = re.compile(r"(.*?)[ _.-]*(\d{1,3})")
_CLOCK: Final = re.compile(
    r"(\D*?)[ _]*(\d{1,2})[:.](\d{2})(?::00)?\s*([abAB])?(?:\s*(?:-|–|bis)\s*(\d{1,2})[:.](\d{2}))?"
)
_STEPS: Final = {
    **dict.fromkeys((23, 24, 25), Step.HOUR), **dict.fromkeys((46, 48, 50), Step.HALF_HOUR),
    **dict.fromkeys((92, 96, 100), Step.QUARTER_HOUR),
}  # fmt: skip
_MINUTE_MS: Final = 60_000
_DAY_MINUTES: Final = 24 * 60
DAY_NAMES: Final = ("consumptiondate", "datum", "date", "tag", "day", "readdate", "reading_date")
_SPRING: Final = "does not exist: the clock skips it in spring"
_TWICE: Final = "comes twice in autumn, and the row has one value for it"


@dataclass(frozen=True, slots=True)
class Slot:
    """A column: cell, and the minutes of local time from the day's midnight at which its interval begins.

    second: it is for the second pass of the hour that autumn repeats.
    """

    cell: int
    column: str
    begins_min: int
    second: bool = False


@dataclass(frozen=True, slots=True)
class WideLayout:
    """Where in a row what stands. `numbered` columns count intervals, others bear the clock's time."""

    date: int
    meter: int
    quality: int
    prefix: str
    unit: str
    step: Step
    numbered: bool
    slots: tuple[Slot, ...]


def looks_wide(columns: Sequence[str]) -> bool:
    """Whether a header is one of days."""
    return bool(_numbered_groups(columns)) or len(_clock_columns(columns)) >= LEAST_COLUMNS


def _numbered_groups(columns: Sequence[str]) -> dict[str, list[int]]:
    """Cells of the columns that are numbered from 1 (or 0) on, by what stands before the number."""
    groups: dict[str, list[tuple[int, int]]] = {}
    for cell, column in enumerate(columns):
        match = _NUMBERED.fullmatch(column)
        if match:
            groups.setdefault(match.group(1), []).append((int(match.group(2)), cell))
    found = {}
    for prefix, members in groups.items():
        numbers = [number for number, _ in members]
        in_order = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        if len(numbers) >= LEAST_COLUMNS and in_order and numbers[0] in (0, 1):
            found[prefix] = [cell for _, cell in members]
    return found


def _clock_columns(columns: Sequence[str]) -> list[tuple[int, re.Match[str]]]:
    matches = [(cell, _CLOCK.fullmatch(column.strip())) for cell, column in enumerate(columns)]
    return [(cell, match) for cell, match in matches if match]


def find_layout(source: Source, declared: Declared) -> WideLayout:
    """Raises InvalidInput for columns that are not there, or cannot be told."""
    columns = source.columns
    by_name = {column.casefold(): number for number, column in reversed(list(enumerate(columns)))}
    day = declared.date_column or declared.time_column
    if day and day not in columns:
        raise InvalidInput.of("date_column", f"the file has no column {day!r}; it has {', '.join(columns[:20])}")
    at = columns.index(day) if day else next((by_name[name] for name in DAY_NAMES if name in by_name), -1)
    if at < 0:
        raise InvalidInput.of("date_column", f"no column looks like a day; the file has {', '.join(columns[:20])}")
    meter, quality = (
        -1 if not name else by_name.get(name.casefold(), -2)
        for name in (declared.meter_column, declared.quality_column)
    )
    if -2 in (meter, quality):
        raise InvalidInput.of("meter_column", f"the file has no such column; it has {', '.join(columns[:20])}")
    if meter < 0 and not declared.meter and not any(one.meter for one in declared.series):
        raise InvalidInput.of("meter", "say which meter with --meter, or which column names it with --meter-column")
    groups = _numbered_groups(columns)
    clocks = _clock_columns(columns)
    if groups and len(clocks) < LEAST_COLUMNS:
        prefix = _group(groups, declared)
        slots, step = _by_number(columns, groups[prefix], declared)
        return WideLayout(at, meter, quality, prefix, unit_in(prefix), step, True, slots)
    if len(clocks) < LEAST_COLUMNS:
        raise InvalidInput.of("layout", f"no {LEAST_COLUMNS} columns are numbered or bear times of day")
    slots, step = _by_clock(columns, clocks, declared)
    prefix = clocks[0][1].group(1)
    return WideLayout(at, meter, quality, prefix, unit_in(prefix), step, False, slots)


def _group(groups: dict[str, list[int]], declared: Declared) -> str:
    wanted = [declared.value_column, *(one.column for one in declared.series if not one.skip)]
    for text in filter(None, wanted):
        found = [prefix for prefix in groups if prefix.casefold() == text.strip(" _.-").casefold()]
        if not found:
            raise InvalidInput.of("value_column", f"no columns are called {text}1, ...; there are {', '.join(groups)}")
        return found[0]
    if len(groups) == 1:
        return next(iter(groups))
    energy = [prefix for prefix in groups if unit_in(prefix).casefold() in ("wh", "kwh", "mwh")]
    if len(energy) != 1:
        raise InvalidInput.of("value_column", f"say which columns to take: {', '.join(groups)}")
    return energy[0]


def _by_number(columns: Sequence[str], cells: list[int], declared: Declared) -> tuple[tuple[Slot, ...], Step]:
    step = _step(len(cells), declared)
    length = (step.seconds or 0) // 60
    first = _clock_minutes(declared.first_ends) if declared.first_ends else length
    if first not in (0, length, _DAY_MINUTES):
        raise InvalidInput.of("first_ends", f"is 00:00 or {length // 60:02d}:{length % 60:02d}")
    begins = first % _DAY_MINUTES - length
    return tuple(Slot(cell, columns[cell], begins + n * length) for n, cell in enumerate(cells)), step


def _step(count: int, declared: Declared) -> Step:
    step = parse_step(declared.step) if declared.step else _STEPS.get(count)
    if step is None or step.seconds is None:
        raise InvalidInput.of("step", f"{count} columns are no day of hours, half hours or quarter hours: say --step")
    return step


def _by_clock(
    columns: Sequence[str], clocks: list[tuple[int, re.Match[str]]], declared: Declared
) -> tuple[tuple[Slot, ...], Step]:
    step = _step(len({(match.group(2), match.group(3)) for _, match in clocks}), declared)
    length = (step.seconds or 0) // 60
    ranged = clocks[0][1].group(5) is not None
    stamp = "start" if ranged else declared.stamp
    times = [int(match.group(2)) * 60 + int(match.group(3)) for _, match in clocks]
    if not stamp:
        if times[0] == length and times[-1] in (0, _DAY_MINUTES):
            stamp = "end"
        else:
            raise InvalidInput.of("stamp", "the columns bear times: say whether each is the start or the end")
    slots, seen = [], set()
    for number, ((cell, match), minutes) in enumerate(zip(clocks, times, strict=True)):
        begins = minutes if stamp == "start" else minutes - length
        if stamp == "end" and minutes == 0 and number:
            begins = _DAY_MINUTES - length  # 00:00 behind the others is the end of the day, as 24:00 is
        second = (match.group(4) or "").casefold() == "b" or begins in seen
        seen.add(begins)
        slots.append(Slot(cell, columns[cell], begins, second))
    return tuple(slots), step


def _clock_minutes(text: str) -> int:
    match = re.fullmatch(r"(\d{1,2}):(\d{2})", text.strip())
    if match is None or int(match.group(1)) > 24 or int(match.group(2)) > 59:
        raise InvalidInput.of("first_ends", f"{text!r} is no time of day; write 00:30")
    return int(match.group(1)) * 60 + int(match.group(2))


class WideReader:
    """Takes the rows of a wide table."""

    def __init__(self, source: Source, layout: WideLayout, declared: Declared, taker: Taker, tz: tzinfo, hand: bool):
        self._source, self._layout, self._declared, self._taker, self._tz = source, layout, declared, taker, tz
        self._hand = hand
        self._length_ms = (layout.step.seconds or 0) * 1000
        used = {layout.date, layout.meter, layout.quality, *(slot.cell for slot in layout.slots)}
        for prefix, cells in _numbered_groups(source.columns).items():
            if not used & set(cells):
                taker.passed_over(f"{prefix}1, ...")

    def pieces(self) -> Iterator[Piece]:
        """All readings, by the piece."""
        collector = self._taker.collector
        for line, cells in self._source.rows():
            collector.tally.lines += 1
            width = len(self._source.columns)
            padded = [*cells, *[""] * (width - len(cells))]
            try:
                # Spreadsheets leave trailing empty cells out; too many cells are decimal commas between commas.
                if any(cell.strip() for cell in padded[width:]):
                    raise ValueError(f"has {len(cells)} cells where the header has {width}")
                if len(cells) < width and line >= self._source.lines and not self._source.ends:
                    raise ValueError("is cut off: the file ends within this line")
                self._take(line, padded)
            except ValueError as error:
                day = padded[self._layout.date].strip()
                collector.refuse(line, self._source.columns[self._layout.date], str(error), day)
            if collector.full:
                yield collector.take()
        yield collector.take()

    def _take(self, line: int, cells: Sequence[str]) -> None:
        layout, taker = self._layout, self._taker
        day = parse_day(cells[layout.date], self._declared.time_format)
        name = cells[layout.meter].strip() if layout.meter >= 0 else ""
        channel = taker.channel(name, layout.prefix, layout.unit, step=layout.step)
        if channel is None:
            taker.collector.tally.skipped += 1
            return
        if not channel.is_interval:
            raise ValueError("is a day of intervals, and the meter has none")
        if channel.step is not layout.step:
            raise ValueError(f"is a day of {layout.step.value}, the meter has other intervals")
        status = Status.HAND if self._hand else Status.MEASURED
        if layout.quality >= 0:
            told = self._declared.quality(cells[layout.quality])
            if told is None:
                raise ValueError(f"has the quality {cells[layout.quality]!r}, which nobody knows: say what it means")
            status = told
        for slot, begin_ms in self._placed(line, day, cells, channel):
            text = cells[slot.cell]
            taker.value(line, channel, slot.column, begin_ms + self._length_ms, 0, text, status)

    def _placed(self, line: int, day: date, cells: Sequence[str], channel: Channel) -> Iterator[tuple[Slot, int]]:
        """Columns with the begin of their intervals (Unix ms); those that cannot be placed are refused."""
        midnight = datetime.combine(day, datetime.min.time())
        start, end = (instants_of(local, self._tz).first for local in (midnight, midnight + timedelta(days=1)))
        slots = self._layout.slots
        here, usual = (end - start) // self._length_ms, _DAY_MINUTES * _MINUTE_MS // self._length_ms
        if here == usual:
            for slot in slots:
                if slot.second or self._beyond(slot):
                    self._expect_nothing(line, slot, cells, channel, "is a value more than the day has")
                else:
                    yield slot, start + slot.begins_min * _MINUTE_MS
            return
        if self._layout.numbered and self._counts(cells, channel, here, usual, midnight):
            for number, slot in enumerate(slots):
                if number < here:
                    yield slot, start + slot.begins_min * _MINUTE_MS
                else:
                    self._expect_nothing(line, slot, cells, channel, "is a value more than the day has")
            return
        yield from self._by_the_clock(line, midnight, cells, channel)

    def _counts(self, cells: Sequence[str], channel: Channel, here: int, usual: int, midnight: datetime) -> bool:
        """Whether a row of an odd day counts its intervals; else it follows the clock. Raises ValueError if neither
        shows."""
        slots = self._layout.slots
        if here > usual:
            return len(slots) >= here and any(cells[slot.cell].strip() for slot in slots[usual:here])
        hole = [slot for slot in slots[:usual] if self._instants(midnight, slot) is None]
        tail = slots[here:usual]
        hole_empty = all(self._empty(cells[slot.cell], channel) for slot in hole)
        tail_filled = any(cells[slot.cell].strip() for slot in tail)
        if hole_empty and tail_filled:
            return False
        if not hole_empty and not any(not self._empty(cells[slot.cell], channel) for slot in tail):
            return True
        if hole_empty and not any(cells[slot.cell].strip() for slot in slots):
            return True  # a day without any value
        if hole_empty:
            raise ValueError("is the day of the skipped hour, and nothing shows whether it was left out or left empty")
        raise ValueError(f"has values for {usual} intervals on a day of {here}: is the file in UTC or in winter time?")

    def _by_the_clock(
        self, line: int, midnight: datetime, cells: Sequence[str], channel: Channel
    ) -> Iterator[tuple[Slot, int]]:
        doubled = {slot.begins_min for slot in self._layout.slots if slot.second}
        for slot in self._layout.slots:
            if self._beyond(slot):
                self._expect_nothing(line, slot, cells, channel, "is a value more than the day has")
                continue
            found = self._instants(midnight, slot)
            if found is None:
                self._expect_nothing(line, slot, cells, channel, _SPRING)
            elif found.second is None:
                if slot.second:
                    self._expect_nothing(line, slot, cells, channel, "is a value more than the day has")
                else:
                    yield slot, found.first
            elif slot.begins_min in doubled:
                yield slot, found.second if slot.second else found.first
            else:
                self._expect_nothing(line, slot, cells, channel, _TWICE)

    def _beyond(self, slot: Slot) -> bool:
        """Whether a column is there for the day of 25 hours only."""
        return self._layout.numbered and slot.begins_min - self._layout.slots[0].begins_min >= _DAY_MINUTES

    def _instants(self, midnight: datetime, slot: Slot) -> Instants | None:
        try:
            return instants_of(midnight + timedelta(minutes=slot.begins_min), self._tz)
        except ValueError:
            return None

    def _empty(self, text: str, channel: Channel) -> bool:
        """Whether a cell says nothing; a zero in an hour that there was not says nothing either."""
        plain = text.strip()
        return channel.missing.text(plain) or not plain.strip("0.,")

    def _expect_nothing(self, line: int, slot: Slot, cells: Sequence[str], channel: Channel, reason: str) -> None:
        if not self._empty(cells[slot.cell], channel):
            self._taker.collector.refuse(line, slot.column, reason, cells[slot.cell].strip())
