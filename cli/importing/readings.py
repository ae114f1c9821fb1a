"""Readings of meters out of a table: times in the town's zone, counters or intervals, units converted exactly.

Pure. Values become integers of the meter's base unit; intervals are added up to a counter that starts at 0, per
meter, so that metering stores one kind of thing. What metering alone knows is checked there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Final

from cli.importing.luminaires import Refusal
from cli.importing.tables import Row, Table
from domain.errors import InvalidInput
from domain.instants import unix_ms
from domain.night import zone
from lichtbuch.metering.v1 import metering_pb2

# Base units per given unit, and the base unit it belongs to.
UNITS: Final[Mapping[str, tuple[str, Decimal]]] = {
    "wh": ("WH", Decimal(1)),
    "kwh": ("WH", Decimal(1000)),
    "mwh": ("WH", Decimal(1_000_000)),
    "l": ("L", Decimal(1)),
    "m3": ("L", Decimal(1000)),
    "m³": ("L", Decimal(1000)),
}
TIME_NAMES: Final = (
    "time",
    "timestamp",
    "datetime",
    "datetime_utc",
    "zeit",
    "zeitstempel",
    "datum",
    "readdatetime",
    "slot",
)
VALUE_NAMES: Final = ("value", "counter", "zaehlerstand", "zählerstand", "stand", "wert", "kwh", "wh", "reading")
TIME_FORMATS: Final = ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d %b %Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d.%m.%Y")


@dataclass
class ReadingsFile:
    """Readings in columns, in the order of the file; `meters` are whole resource names."""

    meters: list[str] = field(default_factory=list)
    meter_indexes: list[int] = field(default_factory=list)
    slots_unix_ms: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def columns(self, start: int, end: int, *, hand: bool = False) -> metering_pb2.ReadingColumns:
        """A piece as the contract has it."""
        piece = metering_pb2.ReadingColumns(
            meters=self.meters,
            meter_indexes=self.meter_indexes[start:end],
            slots_unix_ms=self.slots_unix_ms[start:end],
            values=self.values[start:end],
        )
        if hand:
            piece.statuses.extend([metering_pb2.READING_STATUS_HAND] * len(piece.values))
        return piece


def read_readings(
    table: Table,
    *,
    parent: str,
    units: Mapping[str, str],
    meter: str = "",
    meter_column: str = "",
    time_column: str = "",
    value_column: str = "",
    unit: str = "kWh",
    interval: bool = False,
    stamp: str = "end",
    zone_name: str = "Europe/Berlin",
) -> ReadingsFile:
    """Readings of a table. `units` gives each known meter's base unit ("WH", "L") by its resource name.

    Raises InvalidInput where a column, the unit or the meter is not known; single lines are refused in the result.
    """
    if unit.casefold() not in UNITS:
        raise InvalidInput.of("unit", f"{unit!r} is none of Wh, kWh, MWh, l, m3")
    if stamp not in ("start", "end"):
        raise InvalidInput.of("stamp", "is start or end")
    base, factor = UNITS[unit.casefold()]
    tz = zone(zone_name)
    times = _column(table, time_column, TIME_NAMES, "time_column")
    counters = _column(table, value_column, VALUE_NAMES, "value_column")
    if meter_column and meter_column not in table.columns:
        raise InvalidInput.of(
            "meter_column", f"the file has no column {meter_column!r}; it has {', '.join(table.columns)}"
        )
    if not meter_column and not meter:
        raise InvalidInput.of("meter", "say which meter with --meter, or which column names it with --meter-column")
    utc = times.casefold().endswith("utc")
    found = ReadingsFile()
    parsed: list[tuple[str, datetime, Decimal]] = []
    previous: dict[str, datetime] = {}
    for row in table.rows:
        text = row.cells.get(meter_column, "").strip() if meter_column else meter
        name = text if text.startswith("municipalities/") else f"{parent}/meters/{text}"
        if name not in units:
            found.refusals.append(Refusal(row.line, meter_column or "meter", "is no meter of the town", text))
            continue
        if units[name] != base:
            raise InvalidInput.of("unit", f"{name} counts in {units[name].capitalize()}, which {unit} is not")
        instant = _instant(row, times, UTC if utc else tz, previous.get(name), found.refusals)
        amount = _amount(row, counters, factor, found.refusals)
        if row.refusal:
            found.refusals.append(Refusal(row.line, "", row.refusal))
        if instant is None or amount is None or row.refusal:
            continue
        previous[name] = instant
        parsed.append((name, instant, amount))
    _fill(found, parsed, interval=interval, stamp=stamp)
    return found


def _fill(found: ReadingsFile, parsed: list[tuple[str, datetime, Decimal]], *, interval: bool, stamp: str) -> None:
    index = {name: number for number, name in enumerate(sorted({name for name, _, _ in parsed}))}
    found.meters = list(index)
    if not interval:
        for name, instant, amount in parsed:
            _append(found, index[name], instant, amount)
        return
    lengths = {name: _interval_length([instant for meter, instant, _ in parsed if meter == name]) for name in index}
    # Added up before rounding: a thousand intervals of a third of a unit are 333 units.
    counters: dict[str, Decimal] = {}
    for name, instant, amount in sorted(parsed, key=lambda item: (item[1], item[0])):
        begin = instant if stamp == "start" else instant - lengths[name]
        if name not in counters:
            _append(found, index[name], begin, Decimal(0))
        counters[name] = counters.get(name, Decimal(0)) + amount
        _append(found, index[name], begin + lengths[name], counters[name])


def _interval_length(instants: list[datetime]) -> timedelta:
    """The usual step of a meter's intervals: the shortest between neighbours, for gaps only make it longer."""
    steps = [after - before for before, after in pairwise(sorted(set(instants)))]
    return min(steps, default=timedelta(minutes=15))


def _append(found: ReadingsFile, meter_index: int, instant: datetime, value: Decimal) -> None:
    found.meter_indexes.append(meter_index)
    found.slots_unix_ms.append(unix_ms(instant))
    found.values.append(int(value.to_integral_value()))


def _column(table: Table, given: str, usual: tuple[str, ...], option: str) -> str:
    if given:
        if given not in table.columns:
            raise InvalidInput.of(option, f"the file has no column {given!r}; it has {', '.join(table.columns)}")
        return given
    by_name = {column.strip().casefold(): column for column in table.columns}
    found = next((by_name[name] for name in usual if name in by_name), "")
    if not found:
        raise InvalidInput.of(option, f"no column looks like it; the file has {', '.join(table.columns)}")
    return found


def _instant(row: Row, column: str, tz: tzinfo, before: datetime | None, refusals: list[Refusal]) -> datetime | None:
    text = row.cells.get(column, "").strip()
    parsed: datetime | None = None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        for pattern in TIME_FORMATS:
            try:
                parsed = datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is added below
            except ValueError:
                continue
            break
    if parsed is None:
        refusals.append(Refusal(row.line, column, "is no time", text))
        return None
    if parsed.tzinfo is not None:
        return parsed.astimezone(UTC)
    first = parsed.replace(tzinfo=tz).astimezone(UTC)
    if first.astimezone(tz).replace(tzinfo=None) != parsed:
        refusals.append(Refusal(row.line, column, "does not exist: the clock skips it in spring", text))
        return None
    # The hour that autumn repeats: its second pass is the one that comes after what was read before.
    second = parsed.replace(tzinfo=tz, fold=1).astimezone(UTC)
    return second if before is not None and first <= before < second else first


def _amount(row: Row, column: str, factor: Decimal, refusals: list[Refusal]) -> Decimal | None:
    text = row.cells.get(column, "").strip()
    plain = text.replace(" ", "").replace("'", "")
    if "," in plain:
        plain = (
            plain.replace(".", "").replace(",", ".") if plain.rfind(",") > plain.rfind(".") else plain.replace(",", "")
        )
    try:
        amount = Decimal(plain) * factor
    except InvalidOperation:
        refusals.append(Refusal(row.line, column, "is missing" if not text else "is no number", text))
        return None
    if not amount.is_finite() or amount < 0:
        refusals.append(Refusal(row.line, column, "must be 0 or more", text))
        return None
    return amount
