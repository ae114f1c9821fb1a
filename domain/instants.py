"""Instants as whole milliseconds since 1970, as columns, tables and messages hold them. Not: calendars (night.py)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from domain.errors import InvalidInput

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS: Final = 86_400_000


def unix_ms(instant: datetime, field: str = "instant") -> int:
    """Milliseconds since 1970-01-01T00:00Z, finer digits cut off. Raises InvalidInput, which blames `field`, for a
    naive datetime: nobody knows when that is."""
    try:
        since = instant - _EPOCH
    except TypeError:
        raise InvalidInput.of(field, "an instant with a time zone is needed") from None
    # In integers, as seconds in a float are not exact; faster than dividing one timedelta by another.
    return since.days * _DAY_MS + since.seconds * 1000 + since.microseconds // 1000


def from_unix_ms(milliseconds: int) -> datetime:
    """The instant (UTC) of milliseconds since 1970-01-01T00:00Z, exact."""
    return _EPOCH + timedelta(milliseconds=int(milliseconds))
