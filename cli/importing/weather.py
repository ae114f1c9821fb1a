"""Daily mean temperatures out of a table: daily values of the Deutscher Wetterdienst, or hourly ones of anybody.

Pure. Read are daily and hourly products of the DWD's Climate Data Center (`produkt_klima_tag`, `produkt_tu_stunde`: ';'
between, padded cells, -999 for missing, "eor" at the end) as well as any table with a column of times and one of
temperatures, and test reference years, whose lines have a month, a day and an hour from 1 to 24 of CET and no year.
What metering alone knows is checked there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from cli.importing.luminaires import Refusal
from cli.importing.tables import Row, Table
from domain.degree_days import HIGHEST_CENTI_C, LOWEST_CENTI_C, daily_means
from domain.errors import InvalidInput
from domain.instants import unix_ms
from domain.night import zone

TIME_NAMES: Final = (
    "mess_datum",
    "datetime",
    "datetime_utc",
    "timestamp",
    "time",
    "date",
    "day",
    "datum",
    "zeit",
    "dt",
)
TEMPERATURE_NAMES: Final = (
    "tmk",
    "tt_tu",
    "temperature",
    "temp",
    "tempc",
    "tempf",
    "air_temperature",
    "t_air",
    "lufttemperatur",
    "temperatur",
    "tagesmittel",
    "mean_temperature",
)
STATION_NAMES: Final = ("stations_id", "station_id", "station")
HOUR_OF_YEAR_NAMES: Final = (("month", "monat", "mm"), ("day", "tag", "dd"), ("hour_mez_1_24", "hour", "stunde", "hh"))
"""A test reference year: its lines have no year and no date."""

MISSING: Final = (Decimal(-999), Decimal(-9999))
"""How the DWD writes that there is no value."""

CET: Final = timezone(timedelta(hours=1), "CET")
"""Central European winter time all year round, as test reference years have it."""

TIME_FORMATS: Final = ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M", "%d.%m.%Y", "%d/%m/%Y")
_DIGITS: Final = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M"}
_END_OF_OLD_FILES: Final = "\x1a"

# Centidegrees Celsius of a value: factor and what is added.
_UNITS: Final = {
    "C": (Fraction(100), Fraction(0)),
    "F": (Fraction(500, 9), Fraction(-16_000, 9)),
    "K": (Fraction(100), Fraction(-27_315)),
}


@dataclass
class WeatherFile:
    """Daily means by date in centidegrees Celsius, and what was in the way.

    lines: lines with a value that counted. missing: lines that say they have none. thin: days that are not known as
    more than three of their hours are missing.
    """

    means: dict[date, int] = field(default_factory=dict)
    lines: int = 0
    missing: int = 0
    thin: list[date] = field(default_factory=list)
    is_hourly: bool = False
    station: str = ""
    """What the file itself calls its station; empty where it does not."""
    time_column: str = ""
    temperature_column: str = ""
    refusals: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True)
class _Value:
    """A line's value: at an instant, or, without one, of a date."""

    line: int
    day: date
    instant: datetime | None
    centi_c: int


def read_weather(
    table: Table,
    *,
    tz: ZoneInfo,
    times: str = "",
    time_column: str = "",
    temperature_column: str = "",
    unit: str = "",
    year: int = 0,
) -> WeatherFile:
    """Daily means of a table.

    tz: the town's zone: hourly values are gathered by its days, dates are taken as they are. times: what clock times
    without an offset are: "local" (the town's), "utc" or an IANA zone; empty for what the columns tell: UTC for hourly
    values of the DWD and for a name that ends with "utc". unit: C, F or K; empty for what the column's name tells, else
    C. year: of a test reference year.

    Raises InvalidInput where a column, a unit or a zone is not known, or where a file without years needs one; single
    lines are refused in the result.
    """
    found = WeatherFile()
    reference = _reference_columns(table) if not time_column else None
    if reference and not year:
        raise InvalidInput.of("year", "the file has months, days and hours but no year: say which one with --year")
    found.time_column = ", ".join(reference) if reference else _column(table, time_column, TIME_NAMES, "time_column")
    found.temperature_column = _column(table, temperature_column, TEMPERATURE_NAMES, "temperature_column")
    unit_known = _unit(unit, found.temperature_column)
    clock = _clock(times, found, tz, is_reference=bool(reference))
    parsed: list[_Value] = []
    stations = next((name for name in table.columns if name.casefold() in STATION_NAMES), "")
    for row in table.rows:
        if not any(cell.strip(_END_OF_OLD_FILES).strip() for cell in row.cells.values()):
            continue
        if row.refusal:
            found.refusals.append(Refusal(row.line, "", row.refusal))
            continue
        if stations and not _same_station(row, stations, found):
            continue
        when = _reference_hour(row, reference, year, found) if reference else _when(row, found)
        if when is None:
            continue
        centi = _temperature(row, unit_known, found)
        if centi is None:
            continue
        value = _placed(row, when, centi, clock, tz, found, parsed[-1].instant if parsed else None)
        if value is not None:
            parsed.append(value)
    _gather(found, parsed, tz)
    return found


def _gather(found: WeatherFile, parsed: list[_Value], tz: ZoneInfo) -> None:
    """Values to daily means: as they are where each day has one, else out of hours."""
    clock_times = {value.instant.astimezone(tz).time() for value in parsed if value.instant is not None}
    days = {value.day for value in parsed}
    # Daily values may bear a clock time, midnight mostly; it is the same on every day then, and no day has two.
    daily_stamps = len(days) > 1 and len(days) == len(parsed) and len(clock_times) <= 2
    found.is_hourly = bool(clock_times) and not daily_stamps
    refused_before = len(found.refusals)
    seen: dict[date | datetime, _Value] = {}
    for value in parsed:
        key = value.instant if found.is_hourly else value.day
        if key is None:
            reason = "has no time of day, and other lines have"
            found.refusals.append(Refusal(value.line, found.time_column, reason, value.day.isoformat()))
            continue
        before = seen.setdefault(key, value)
        if before is not value and before.centi_c != value.centi_c:
            shown = f"{value.centi_c / 100:g}"
            reason = f"is the time of line {before.line} too, which has {before.centi_c / 100:g}"
            found.refusals.append(Refusal(value.line, found.time_column, reason, shown))
    found.lines = len(parsed) - (len(found.refusals) - refused_before)
    if not seen:
        return
    if not found.is_hourly:
        found.means = {value.day: value.centi_c for value in seen.values()}
        return
    hours = [value for value in seen.values() if value.instant is not None]
    instants = np.array([unix_ms(value.instant) for value in hours if value.instant is not None], np.int64)
    centi = np.array([value.centi_c for value in hours], np.int64)
    first, last = min(days), max(days)
    means = daily_means(instants, centi, first, last + timedelta(days=1), tz)
    for day, value_centi, known in zip(means.days, means.centi_c.tolist(), means.known.tolist(), strict=True):
        if known:
            found.means[day] = value_centi
        elif day in days:
            found.thin.append(day)


def _column(table: Table, given: str, usual: tuple[str, ...], option: str) -> str:
    if given:
        if given not in table.columns:
            raise InvalidInput.of(option, f"the file has no column {given!r}; it has {', '.join(table.columns)}")
        return given
    by_name: dict[str, str] = {}
    for column in table.columns:
        # "air_temperature [degC]", "t_air_C", "temperature_degC"
        plain = column.casefold().partition("[")[0].partition("(")[0].strip()
        for ending in ("", "_c", "_f", "_k", "_degc", "_degf"):
            by_name.setdefault(plain.removesuffix(ending) if ending else plain, column)
    found = next((by_name[name] for name in usual if name in by_name), "")
    if not found:
        raise InvalidInput.of(option, f"no column looks like it; the file has {', '.join(table.columns)}")
    return found


def _reference_columns(table: Table) -> tuple[str, str, str] | None:
    by_name = {column.casefold(): column for column in table.columns}
    found = [next((by_name[name] for name in names if name in by_name), "") for names in HOUR_OF_YEAR_NAMES]
    has_year = any(name in by_name for name in ("year", "jahr", "yyyy"))
    return (found[0], found[1], found[2]) if all(found) and not has_year else None


def _unit(given: str, column: str) -> tuple[Fraction, Fraction]:
    if given:
        if given.upper() not in _UNITS:
            raise InvalidInput.of("unit", f"{given!r} is none of C, F, K")
        return _UNITS[given.upper()]
    plain = column.casefold().rstrip("])")
    return _UNITS["F"] if plain.endswith(("degf", "_f", "tempf", "°f")) else _UNITS["C"]


def _clock(times: str, found: WeatherFile, tz: ZoneInfo, *, is_reference: bool) -> timezone | ZoneInfo:
    """The zone of clock times."""
    if times.casefold() == "local":
        return tz
    if times:
        return UTC if times.casefold() in ("utc", "z") else zone(times, "time_zone")
    if is_reference:
        return CET
    is_dwd_hour = found.temperature_column.casefold() == "tt_tu"
    return UTC if is_dwd_hour or found.time_column.casefold().endswith("utc") else tz


def _same_station(row: Row, column: str, found: WeatherFile) -> bool:
    text = row.cells.get(column, "").strip()
    if not found.station:
        found.station = text
    if text == found.station:
        return True
    found.refusals.append(Refusal(row.line, column, f"is not station {found.station} of the lines before", text))
    return False


def _when(row: Row, found: WeatherFile) -> datetime | date | None:
    """A date, or a time with or without its offset."""
    text = row.cells.get(found.time_column, "").strip()
    formats = (_DIGITS[len(text)],) if text.isascii() and text.isdigit() and len(text) in _DIGITS else TIME_FORMATS
    for pattern in formats:
        try:
            parsed = datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is added by whoever knows it
        except ValueError:
            continue
        return parsed if "%H" in pattern else parsed.date()
    try:
        return date.fromisoformat(text) if len(text) <= len("2009-01-01") else datetime.fromisoformat(text)
    except ValueError:
        found.refusals.append(Refusal(row.line, found.time_column, "is missing" if not text else "is no time", text))
        return None


def _reference_hour(row: Row, columns: tuple[str, str, str], year: int, found: WeatherFile) -> datetime | None:
    """The begin of an hour that is written by its end, 1 to 24."""
    numbers: list[int] = []
    for column, most in zip(columns, (12, 31, 24), strict=True):
        text = row.cells.get(column, "").strip()
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= most):
            found.refusals.append(Refusal(row.line, column, f"is no number from 1 to {most}", text))
            return None
        numbers.append(int(text))
    month, day, hour = numbers
    try:
        return datetime.combine(date(year, month, day), time(hour - 1))
    except ValueError:
        found.refusals.append(Refusal(row.line, columns[1], f"is no day of month {month} of {year}", str(day)))
        return None


def _temperature(row: Row, unit: tuple[Fraction, Fraction], found: WeatherFile) -> int | None:
    """Centidegrees Celsius, rounded half up; None where the line has none."""
    column = found.temperature_column
    text = row.cells.get(column, "").strip()
    if not text:
        found.missing += 1
        return None
    try:
        value = Decimal(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
    except InvalidOperation:
        found.refusals.append(Refusal(row.line, column, "is no number", text))
        return None
    if value in MISSING:
        found.missing += 1
        return None
    # An exponent of a million would be written out, digit by digit.
    if not value.is_finite() or not -1000 < value < 1000:
        found.refusals.append(Refusal(row.line, column, "is no temperature of outdoor air", text))
        return None
    factor, offset = unit
    exact = Fraction(value.quantize(Decimal("0.000001"), ROUND_HALF_UP)) * factor + offset
    centi = (exact + Fraction(1, 2)).__floor__()
    if not LOWEST_CENTI_C <= centi <= HIGHEST_CENTI_C:
        found.refusals.append(Refusal(row.line, column, "is no temperature of outdoor air", text))
        return None
    return centi


def _placed(
    row: Row,
    when: datetime | date,
    centi: int,
    clock: timezone | ZoneInfo,
    tz: ZoneInfo,
    found: WeatherFile,
    before: datetime | None,
) -> _Value | None:
    if not isinstance(when, datetime):
        return _Value(row.line, when, None, centi)
    instant = when.astimezone(UTC) if when.tzinfo is not None else _instant(when, clock, before)
    if instant is None:
        text = row.cells.get(found.time_column, when.isoformat())
        found.refusals.append(
            Refusal(row.line, found.time_column, "does not exist: the clock skips it in spring", text)
        )
        return None
    return _Value(row.line, instant.astimezone(tz).date(), instant, centi)


def _instant(wall: datetime, clock: timezone | ZoneInfo, before: datetime | None) -> datetime | None:
    """The instant of a clock time. Of the hour that autumn repeats it is the second pass if one was there before."""
    first = wall.replace(tzinfo=clock).astimezone(UTC)
    if first.astimezone(clock).replace(tzinfo=None) != wall:
        return None
    second = wall.replace(tzinfo=clock, fold=1).astimezone(UTC)
    return second if before is not None and first <= before < second else first
