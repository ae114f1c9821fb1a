"""What people type for durations, instants and levels, into what the contracts take."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from domain.errors import InvalidInput
from domain.night import local_instant

_DURATION: Final = re.compile(r"(?:(\d+)\s*d)?\s*(?:(\d+)\s*h)?\s*(?:(\d+)\s*m(?:in)?)?\s*(?:(\d+)\s*s)?")
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def duration(text: str, field: str = "duration") -> timedelta:
    """A duration like 90s, 30m, 2h, 1h30m, 2d. Raises InvalidInput."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or not any(match.groups()):
        raise InvalidInput.of(field, f"{text!r} is no duration; write 30m, 2h, 1h30m or 1d")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def instant(text: str, tz: ZoneInfo, now: datetime, field: str = "time") -> datetime:
    """An instant: RFC 3339, a local date and time, a local date (its midnight), or the next HH:MM. UTC is returned."""
    plain = text.strip()
    clock = _CLOCK.fullmatch(plain)
    if clock:
        wall = time(int(clock.group(1)), int(clock.group(2)))
        today = now.astimezone(tz).date()
        found = local_instant(today, wall, tz)
        return found if found > now else local_instant(today + timedelta(days=1), wall, tz)
    try:
        parsed = datetime.fromisoformat(plain)
    except ValueError:
        raise InvalidInput.of(field, f"{text!r} is no time; write 2026-11-22T18:00, 2026-11-22 or 18:00") from None
    if parsed.tzinfo is None:
        return local_instant(parsed.date(), parsed.time(), tz)
    return parsed.astimezone(UTC)


def day(text: str, field: str = "date") -> date:
    """A date in ISO form. Raises InvalidInput."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInput.of(field, f"{text!r} is no date; write 2026-11-22") from None


def level(text: str, field: str = "level") -> int:
    """A level in per mille, from percent as people say it: 50, 50%, 12.5%, on, off. Raises InvalidInput."""
    plain = text.strip().lower().removesuffix("%").replace(",", ".").strip()
    plain = {"on": "100", "full": "100", "off": "0"}.get(plain, plain)
    try:
        permille = round(float(plain) * 10)
    except (ValueError, OverflowError):
        raise InvalidInput.of(field, f"{text!r} is no level; write percent, 0 to 100") from None
    if not 0 <= permille <= 1000:
        raise InvalidInput.of(field, f"{text!r} is no level; write percent, 0 to 100")
    return permille
