"""School holidays as CSV files: as OpenHolidays publishes them, or plainly as name;first;last."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Final

from domain.errors import InvalidInput
from services.scheduler.days import Period

MAX_BYTES: Final = 5_000_000
_OPEN_HOLIDAYS: Final = {"StartDate", "EndDate", "Type", "Name", "Subdivisions"}


def read_school_holidays(file: Path, subdivision: str) -> tuple[Period, ...]:
    """The school holidays of a federal state (ISO 3166-2) in a file, ascending, those that overlap joined.

    Raises InvalidInput with the line for what cannot be read, and where there are none.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise InvalidInput.of("file", f"{file}: is larger than {MAX_BYTES} bytes")
        lines = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines(), delimiter=";", strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput.of("file", f"{file}: {error}") from error
    numbered = [(number, cells) for number, cells in enumerate(lines, 1) if any(cell.strip() for cell in cells)]
    header = [cell.strip() for cell in numbered[0][1]] if numbered else []
    if set(header) >= _OPEN_HOLIDAYS:
        found = list(_published(file, header, numbered[1:], subdivision))
    else:
        found = list(_plain(file, numbered))
    if not found:
        raise InvalidInput.of("file", f"{file}: there are no school holidays of {subdivision} in it")
    return tuple(_joined(found))


def _published(
    file: Path, header: Sequence[str], lines: Iterable[tuple[int, Sequence[str]]], subdivision: str
) -> Iterator[Period]:
    country, _, state = subdivision.partition("-")
    for number, cells in lines:
        row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
        states = {name.strip() for name in row.get("Subdivisions", "").split(",")} - {""}
        if row.get("Type") != "School" or row.get("Country", country) != country:
            continue
        if states and not states & {state, subdivision}:
            continue
        first = _day(file, number, row.get("StartDate", ""))
        last = _day(file, number, row["EndDate"]) if row.get("EndDate") else first
        yield _period(file, number, first, last, _german(row))


def _german(row: Mapping[str, str]) -> str:
    """The German one of names like "DE Sommerferien,EN Summer Holidays", else all of it."""
    names = [name.strip() for name in row["Name"].split(",")]
    return next((name[3:] for name in names if name.startswith("DE ")), row["Name"])


def _plain(file: Path, lines: Sequence[tuple[int, Sequence[str]]]) -> Iterator[Period]:
    for position, (number, cells) in enumerate(lines):
        values = [cell.strip() for cell in cells]
        if position == 0 and [value.lower() for value in values] == ["name", "first", "last"]:
            continue
        if len(values) != 3:
            raise InvalidInput.of("file", f"{file}, line {number}: name;first;last is needed, or OpenHolidays' columns")
        yield _period(file, number, _day(file, number, values[1]), _day(file, number, values[2]), values[0])


def _period(file: Path, number: int, first: date, last: date, name: str) -> Period:
    if last < first:
        raise InvalidInput.of("file", f"{file}, line {number}: {last} is before {first}")
    return Period(first, last, name)


def _day(file: Path, number: int, text: str) -> date:
    for form in ("%Y-%m-%d", "%d.%m.%Y"):
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007  a date has no time zone
        except ValueError:
            continue
    raise InvalidInput.of("file", f"{file}, line {number}: {text!r} is no date; write 2026-12-24 or 24.12.2026")


def _joined(periods: Iterable[Period]) -> Iterator[Period]:
    """Ascending; those that overlap as one, under the name of the first: lists by kind of school repeat themselves."""
    current: Period | None = None
    for period in sorted(periods, key=lambda found: (found.first_day, found.last_day)):
        if current is not None and period.first_day <= current.last_day:
            current = Period(current.first_day, max(current.last_day, period.last_day), current.display_name)
            continue
        if current is not None:
            yield current
        current = period
    if current is not None:
        yield current
