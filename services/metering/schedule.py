"""At which slots a meter with an endpoint is read, by its reading cycle. Pure.

Quarter hours, half hours and hours are those of UTC, like slots themselves; days, months and years begin at midnight of
the municipality, so they have the length that the calendar gives them. A meter whose cycle nobody has said, or which is
irregular, is read every quarter hour. How long cycles are, for figures and rules, is not here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from domain.errors import InvalidInput
from domain.night import DEFAULT_TIME_ZONE, local_date, local_day_bounds, zone
from services.metering.meter import Cycle
from services.metering.reading import Int64
from services.metering.slot import SLOT_MS, from_ms, to_ms

_log = logging.getLogger(__name__)

_FIXED_MS: Final = {Cycle.HALF_HOUR: 2 * SLOT_MS, Cycle.HOUR: 4 * SLOT_MS}
_OF_CALENDAR: Final = (Cycle.DAY, Cycle.MONTH, Cycle.YEAR)
SELDOM: Final = (*_FIXED_MS, *_OF_CALENDAR)
"""Cycles whose slots are not every quarter hour."""


def slots_differ(cycle: int, other: int) -> bool:
    """Whether two cycles have other slots: all that are not seldom have the same."""
    return cycle != other and (cycle in SELDOM or other in SELDOM)


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """The time zone of an IANA name. One that nobody knows is said once, and the default stands for it: what is written
    wrong of one municipality must not keep the meters of all others from being read."""
    try:
        return zone(name)
    except InvalidInput as error:
        _log.error("cycles begin at the midnight of %s where the time zone is wrong: %s", DEFAULT_TIME_ZONE, error)
        return zone(DEFAULT_TIME_ZONE)


@lru_cache(maxsize=1024)
def last_slot_ms(cycle: int, at_ms: int, tz: ZoneInfo) -> int:
    """The newest slot of a cycle at or before an instant, Unix ms. Ten thousand meters ask for the same few."""
    if cycle not in _OF_CALENDAR:
        length = _FIXED_MS.get(Cycle(cycle), SLOT_MS)
        return at_ms // length * length
    return _begin_ms(_first_day(cycle, local_date(from_ms(at_ms), tz)), tz)


def next_slot_ms(cycle: int, at_ms: int, tz: ZoneInfo) -> int:
    """The first slot of a cycle at or after an instant, Unix ms."""
    if cycle not in _OF_CALENDAR:
        length = _FIXED_MS.get(Cycle(cycle), SLOT_MS)
        return -(-at_ms // length) * length
    first = _first_day(cycle, local_date(from_ms(at_ms), tz))
    begin_ms = _begin_ms(first, tz)
    return begin_ms if begin_ms == at_ms else _begin_ms(_day_after(cycle, first), tz)


def slots_between(cycle: int, after_ms: int, before_ms: int, tz: ZoneInfo) -> Int64:
    """The slots of a cycle between two instants, without these, ascending."""
    if cycle in _OF_CALENDAR:
        return np.fromiter(_begins(cycle, after_ms, before_ms, tz), np.int64)
    length = _FIXED_MS.get(Cycle(cycle), SLOT_MS)
    return np.arange(after_ms // length * length + length, before_ms, length, dtype=np.int64)


def _begins(cycle: int, after_ms: int, before_ms: int, tz: ZoneInfo) -> Iterator[int]:
    at_ms = next_slot_ms(cycle, after_ms + 1, tz)
    while at_ms < before_ms:
        yield at_ms
        at_ms = next_slot_ms(cycle, at_ms + 1, tz)


def _begin_ms(day: date, tz: ZoneInfo) -> int:
    return to_ms(local_day_bounds(day, tz)[0])


def _first_day(cycle: int, day: date) -> date:
    """First day of the day, month or year that a day belongs to."""
    if cycle == Cycle.DAY:
        return day
    return day.replace(day=1) if cycle == Cycle.MONTH else day.replace(month=1, day=1)


def _day_after(cycle: int, first: date) -> date:
    """First day of the next one."""
    if cycle == Cycle.DAY:
        return first + timedelta(days=1)
    if cycle == Cycle.MONTH:
        return (first + timedelta(days=31)).replace(day=1)
    return date(first.year + 1, 1, 1)
