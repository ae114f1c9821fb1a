"""Slots: the quarter hours that counters stand for, as integers of Unix milliseconds, and spans of time in
milliseconds. Local time is not here.

A slot is an instant, the start of a UTC quarter hour: the reading of slot T is the counter at T. The world's time zones
are whole quarter hours off UTC, so UTC quarter hours are the local ones. Integers, because slots come by the million.
"""

from typing import Final

from domain import instants

SLOT_MS: Final = 900_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
"""A day of 24 hours; those of the local calendar have 23 to 25."""
WEEK_MS: Final = 7 * DAY_MS
EARLIEST_SLOT_MS: Final = 631_152_000_000
"""1990-01-01T00:00Z. Older slots are a mistake of a clock or a file, not a reading."""

to_ms = instants.unix_ms
from_ms = instants.from_unix_ms


def slot_text(unix_ms: int) -> str:
    """A slot as people read it: 2026-03-29T01:15Z."""
    return from_ms(unix_ms).strftime("%Y-%m-%dT%H:%MZ")


def floor_slot_ms(unix_ms: int) -> int:
    """The slot an instant lies in."""
    return unix_ms // SLOT_MS * SLOT_MS


def ceil_slot_ms(unix_ms: int) -> int:
    """The instant itself if it is a slot, else the next slot."""
    return -(-unix_ms // SLOT_MS) * SLOT_MS


def is_slot(unix_ms: int) -> bool:
    """True if the instant is the start of a quarter hour."""
    return unix_ms % SLOT_MS == 0


def tolerance_ms(wanted_s: float, least_real_s: float, speed: float) -> int:
    """How late, in domain milliseconds, a counter may be read and still stand for its slot.

    wanted_s: domain seconds. In a time-lapse that can be less than a device needs to answer, so it is never less than
    `least_real_s` real seconds; and never more than four fifths of a slot, lest a value stand for the wrong one.
    """
    return round(min(max(wanted_s, least_real_s * speed) * 1000, SLOT_MS * 4 // 5))
