"""Times as files write them into instants: the town's zone with both of its odd days, UTC, fixed offsets.

Pure. The hour that autumn repeats is told by the order of a series, whichever way it runs; the hour that spring skips
does not exist.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Final, NamedTuple

from cli.importing.readings.known import Step
from domain.errors import InvalidInput
from domain.night import zone

_DAY: Final = timedelta(days=1)
_HOUR_MS: Final = 3_600_000
_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        (
            ("jan",), ("feb",), ("mar", "mär", "mrz", "mae"), ("apr",), ("may", "mai"), ("jun",), ("jul",), ("aug",),
            ("sep",), ("oct", "okt"), ("nov",), ("dec", "dez"),
        ),
        start=1,
    )
    for name in names
}  # fmt: skip
_OFFSETS: Final = {"utc": 0, "gmt": 0, "z": 0, "cet": 1, "mez": 1, "bst": 1, "cest": 2, "mesz": 2}
_CLOCK: Final = r"(?:[T,;\s]+(\d{1,2})[:.](\d{2})(?:[:.](\d{2})(?:[.,]\d+)?)?)?"
_DAY_FIRST: Final = re.compile(r"(\d{1,2})[./-](\d{1,2})[./-](\d{4}|\d{2})" + _CLOCK)
_YEAR_FIRST: Final = re.compile(r"(\d{4})[./-](\d{1,2})[./-](\d{1,2})" + _CLOCK)
_NAMED_MONTH: Final = re.compile(r"(\d{1,2})[. -]+([A-Za-zäÄ]{3,9})\.?[ -]+(\d{4})" + _CLOCK)
_DIGITS: Final = re.compile(r"(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})?")
_WORD: Final = re.compile(r"(.*\d)\s*([A-Za-z]{1,4})")
_REMEMBERED: Final = 20_000
_SERIES: Final = 100_000


class Instants(NamedTuple):
    """The instants (Unix ms) that a local time means: one, or two in the hour that comes twice.

    before_change: what it means as the end of that hour's first pass, by the clock that held then; only of ends.
    """

    first: int
    second: int | None = None
    before_change: int | None = None


@dataclass(slots=True)
class _Trail:
    """What a series said last, and whether it runs backwards."""

    before: int
    backwards: bool = False


def zone_of(text: str, field: str = "time_zone") -> tzinfo:
    """A zone: an IANA name, UTC, or a fixed offset ("+01:00" for winter time all year). Raises InvalidInput."""
    plain = text.strip()
    match = re.fullmatch(r"(?:UTC)?([+-])(\d{2}):?(\d{2})?", plain)
    if match:
        offset = timedelta(hours=int(match.group(2)), minutes=int(match.group(3) or 0))
        if offset >= _DAY:
            raise InvalidInput.of(field, f"{text!r} is further than a day from UTC")
        return timezone(-offset if match.group(1) == "-" else offset)
    return UTC if plain.casefold() in ("utc", "z", "gmt") else zone(plain, field)


class Stamps:
    """Reads the times of a file. `format` is a strptime pattern where the file's habit is none of the usual ones."""

    def __init__(self, tz: tzinfo, pattern: str = "", *, of_ends: bool = False) -> None:
        self.tz = tz
        self._pattern = pattern
        # The end of an interval may be called by the clock before the change: 02:00 in spring is 03:00.
        self._of_ends = of_ends
        self._remembered: dict[str, Instants] = {}
        self._trails: dict[str, _Trail] = {}

    def unix_ms(self, text: str, series: str) -> int:
        """The instant of a time in a series, Unix milliseconds. Raises ValueError with the reason."""
        return self.settle(self.read(text), series)

    def read(self, text: str) -> Instants:
        """What a time may mean. Raises ValueError with the reason."""
        known = self._remembered.get(text)
        if known is None:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            known = self._remembered[text] = self._read(text)
        return known

    def is_open(self, known: Instants, series: str) -> bool:
        """Whether only the next time of the series tells what this one means: 03:00 in autumn, which ends the first
        pass of the doubled hour where a second one follows."""
        trail = self._trails.get(series)
        if known.before_change is None or trail is None or trail.backwards:
            return False
        return known.before_change - _HOUR_MS <= trail.before < known.before_change

    def settle(self, known: Instants, series: str, following: Instants | None = None) -> int:
        """The instant that a time means in its series, which goes on from there. `following` is the next one, where
        this one is open."""
        trail = self._trails.get(series)
        if trail is None:
            if len(self._trails) >= _SERIES:  # a column of meters that is none
                self._trails.clear()
            self._trails[series] = _Trail(known.first)
            return known.first
        found = known.first
        if known.second is not None:
            # Forwards the second pass comes after the first has been there; backwards it comes before.
            found = known.second if (trail.before >= known.first) != trail.backwards else known.first
            if trail.backwards and trail.before > known.second:
                found = known.second
        elif known.before_change is not None:
            if trail.backwards:
                ends_first = known.before_change < trail.before <= known.first
            else:
                ends_first = following is not None and (following.second is not None or following == known)
            found = known.before_change if ends_first else known.first
        if found != trail.before:
            trail.backwards = found < trail.before
            trail.before = found
        return found

    def _read(self, text: str) -> Instants:
        plain = text.strip().strip("'\"").strip()
        if not plain:
            raise ValueError("is missing")
        return instants_of(parse_time(plain, self._pattern), self.tz, end=self._of_ends)


def instants_of(told: datetime, tz: tzinfo, *, end: bool = False) -> Instants:
    """The instants of a time that may have no zone. Raises ValueError for one that the clock skips.

    end: it is the end of an interval, which may bear the name that the skipped hour would have begun with.
    """
    if told.tzinfo is not None:
        return Instants(_ms(told))
    first = told.replace(tzinfo=tz)
    second = first.replace(fold=1)
    before, after = first.utcoffset(), second.utcoffset()
    if before == after or before is None or after is None:
        return Instants(_ms(first), before_change=_end_of_first_pass(told, tz) if end else None)
    if before > after:
        return Instants(_ms(first), _ms(second))
    if end and _begins_the_skipped(told, tz):
        return Instants(_ms(first))
    raise ValueError("does not exist: the clock skips it in spring")


def end_of(start_ms: int, step: Step, tz: tzinfo) -> int:
    """The end of an interval, Unix ms: days, months and years are local ones, of 23 to 25 hours and so on."""
    if step.seconds is not None:
        return start_ms + step.seconds * 1000
    local = datetime.fromtimestamp(start_ms / 1000, UTC).astimezone(tz).replace(tzinfo=None)
    if step is Step.DAY:
        end = local + timedelta(days=1)
    else:
        months = local.month if step is Step.MONTH else local.month + 11
        try:
            end = local.replace(year=local.year + months // 12, month=months % 12 + 1)
        except ValueError:
            raise ValueError("begins on a day that the month of its end has not") from None
    return instants_of(end, tz, end=True).first


def _begins_the_skipped(told: datetime, tz: tzinfo) -> bool:
    """Whether the minute before exists: then this is the instant of the change, by the clock before it."""
    earlier = (told - timedelta(minutes=1)).replace(tzinfo=tz)
    return earlier.utcoffset() == earlier.replace(fold=1).utcoffset()


def _end_of_first_pass(told: datetime, tz: tzinfo) -> int | None:
    """The instant of autumn's change where a time would be that by the clock before it."""
    earlier = (told - timedelta(minutes=1)).replace(tzinfo=tz)
    if earlier.utcoffset() == earlier.replace(fold=1).utcoffset():
        return None
    return _ms(earlier) + 60_000


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def parse_time(text: str, pattern: str = "") -> datetime:
    """A time as written; without a zone where it names none. 24:00 is the next midnight. Raises ValueError."""
    if pattern:
        try:
            return datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is the caller's
        except ValueError:
            raise ValueError(f"is no time of the form {pattern}") from None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    match = _WORD.fullmatch(text)
    if match and match.group(2).casefold() in _OFFSETS:
        offset = timezone(timedelta(hours=_OFFSETS[match.group(2).casefold()]))
        return parse_time(match.group(1)).replace(tzinfo=offset)
    numbers = _numbers(text)
    if numbers is None:
        raise ValueError("is no time")
    year, month, day, hour, minute, second = numbers
    try:
        if hour == 24 and not minute and not second:
            return datetime(year, month, day) + _DAY  # noqa: DTZ001 - the zone is the caller's
        return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001
    except ValueError:
        raise ValueError("is no time that there is; day and month are taken in this order") from None


def _numbers(text: str) -> tuple[int, int, int, int, int, int] | None:
    if match := _DAY_FIRST.fullmatch(text):
        day, month, year, *clock = match.groups()
    elif match := _YEAR_FIRST.fullmatch(text):
        year, month, day, *clock = match.groups()
    elif match := _NAMED_MONTH.fullmatch(text):
        day, name, year, *clock = match.groups()
        month = str(_MONTHS.get(name[:3].casefold(), 0))
    elif match := _DIGITS.fullmatch(text):
        year, month, day, *clock = match.groups()
    else:
        return None
    hour, minute, second = (int(part or 0) for part in clock)
    return int(year) + (2000 if len(year) == 2 else 0), int(month), int(day), hour, minute, second


def parse_day(text: str, pattern: str = "") -> date:
    """A date as written; a time of midnight behind it is no harm. Raises ValueError."""
    told = parse_time(text.strip().strip("'\"").strip(), pattern)
    if (told.hour, told.minute) != (0, 0):
        raise ValueError("is no date: it has a time of day")
    return told.date()
