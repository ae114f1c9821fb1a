"""Calendar arithmetic: local days, months and lighting nights as spans of UTC, and slots within them. Not: the sun.

Instants go in and come out timezone-aware; what comes out is UTC. Spans are half open: the start belongs, the end does
not. A local day has 23, 24 or 25 hours. A lighting night runs from local noon to local noon and bears the date of its
starting noon; so it belongs to that noon's month.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from domain import instants
from domain.errors import InvalidInput

QUARTER_HOUR_S: Final = 900
DEFAULT_TIME_ZONE: Final = "Europe/Berlin"

_ONE_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOON: Final = time(12)
_MIDNIGHT: Final = time(0)


@lru_cache(maxsize=256)
def zone(name: str, field: str = "time_zone") -> ZoneInfo:
    """The time zone of an IANA name. Raises InvalidInput that blames `field`."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # unknown; not a relative path; a directory of the database
        raise InvalidInput.of(field, f"{name!r} is not an IANA time zone") from error


def as_utc(instant: datetime, field: str = "instant") -> datetime:
    """The instant in UTC. Raises InvalidInput for a naive datetime: nobody knows when that is."""
    if instant.utcoffset() is None:
        raise InvalidInput.of(field, "an instant with a time zone is needed")
    return instant.astimezone(UTC)


unix_ms = instants.unix_ms
instant_from_unix_ms = instants.from_unix_ms


def local_instant(day: date, wall: time, tz: ZoneInfo) -> datetime:
    """UTC instant of a wall-clock time on a local date.

    A time that the clocks skip in spring is read with the offset before the change (02:30 becomes 03:30 summer time);
    a time that comes twice in autumn is the first of the two, unless `wall.fold` is 1.
    """
    return datetime.combine(day, wall, tzinfo=tz).astimezone(UTC)


def local_date(instant: datetime, tz: ZoneInfo) -> date:
    """Local date of an instant."""
    return as_utc(instant).astimezone(tz).date()


def lighting_night(instant: datetime, tz: ZoneInfo) -> date:
    """The lighting night an instant lies in: the local date of its starting noon."""
    local = as_utc(instant).astimezone(tz)
    return local.date() if local.time() >= _NOON else local.date() - _ONE_DAY


def night_bounds(night: date, tz: ZoneInfo) -> tuple[datetime, datetime]:
    """A lighting night: from local noon to the next local noon, in UTC. 23 and 25 hours in the two DST nights."""
    return local_instant(night, _NOON, tz), local_instant(night + _ONE_DAY, _NOON, tz)


def local_day_bounds(day: date, tz: ZoneInfo) -> tuple[datetime, datetime]:
    """A local day: from local midnight to the next, in UTC."""
    return local_instant(day, _MIDNIGHT, tz), local_instant(day + _ONE_DAY, _MIDNIGHT, tz)


def local_month_bounds(year: int, month: int, tz: ZoneInfo) -> tuple[datetime, datetime]:
    """A local month: from midnight on the first to midnight on the first of the next, in UTC."""
    first, following = _month(year, month)
    return local_instant(first, _MIDNIGHT, tz), local_instant(following, _MIDNIGHT, tz)


def night_month_bounds(year: int, month: int, tz: ZoneInfo) -> tuple[datetime, datetime]:
    """The lighting nights of a month: from noon on the first to noon on the first of the next, in UTC."""
    first, following = _month(year, month)
    return local_instant(first, _NOON, tz), local_instant(following, _NOON, tz)


def nights_of_month(year: int, month: int) -> list[date]:
    """The lighting nights that belong to a month."""
    first, following = _month(year, month)
    return dates_between(first, following)


def dates_between(first: date, end: date) -> list[date]:
    """Dates from `first` on and before `end`."""
    return [first + timedelta(days=n) for n in range((end - first).days)]


def nights_between(start: datetime, end: datetime, tz: ZoneInfo) -> list[date]:
    """Every lighting night that shares time with [start, end)."""
    if as_utc(end) <= as_utc(start):
        return []
    last = lighting_night(end - timedelta(microseconds=1), tz)
    return dates_between(lighting_night(start, tz), last + _ONE_DAY)


def _month(year: int, month: int) -> tuple[date, date]:
    if not 1 <= month <= 12:
        raise InvalidInput.of("month", f"{month} is not a month")
    return date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)


def floor_slot(instant: datetime, seconds: int = QUARTER_HOUR_S) -> datetime:
    """Start of the slot an instant lies in. Slots of `seconds` are counted from 1970-01-01T00:00Z.

    Offsets of the world's time zones are whole quarter hours, so slots of 900 s and their parts fit local days too.
    """
    if seconds < 1:
        raise InvalidInput.of("seconds", f"{seconds} is not a length of a slot")
    return _EPOCH + timedelta(seconds=(as_utc(instant) - _EPOCH) // timedelta(seconds=seconds) * seconds)


def ceil_slot(instant: datetime, seconds: int = QUARTER_HOUR_S) -> datetime:
    """The instant itself if a slot starts there, else the start of the next slot."""
    floor = floor_slot(instant, seconds)
    return floor if floor == instant else floor + timedelta(seconds=seconds)


def slots(start: datetime, end: datetime, seconds: int) -> list[datetime]:
    """Starts of the slots s with start <= s < end, in UTC."""
    first = ceil_slot(start, seconds)
    count = max(0, -((first - as_utc(end)) // timedelta(seconds=seconds)))
    return [first + timedelta(seconds=n * seconds) for n in range(count)]


def quarter_hours(start: datetime, end: datetime) -> list[datetime]:
    """Starts of the quarter hours s with start <= s < end, in UTC: 92, 96 or 100 in a local day."""
    return slots(start, end, QUARTER_HOUR_S)


def quarter_hours_of_day(day: date, tz: ZoneInfo) -> list[datetime]:
    """Starts of the quarter hours of a local day."""
    return quarter_hours(*local_day_bounds(day, tz))


def middle(start: datetime, end: datetime) -> datetime:
    """The instant half-way: of sunset and sunrise it is the virtual midnight of lamp drivers."""
    return as_utc(start) + (as_utc(end) - as_utc(start)) / 2
