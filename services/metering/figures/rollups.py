"""Roll-ups: consumption of local days, and of local months made of them. Pure; rows are store/rollups.py's.

A roll-up is what the general way comes to, kept. It holds while the meter is what it was (`basis`) and nothing that
was stored since touches its time (marks of store/rollups.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from domain.intervals import Consumption, Flag
from domain.night import local_date, local_day_bounds, local_month_bounds
from services.metering.figures.consumption import Step, boundaries
from services.metering.life import RegisterLife
from services.metering.reading import Int64
from services.metering.scale import check_total
from services.metering.slot import from_ms, to_ms
from services.metering.store.tables import MeterRow

RULES: Final = 1
"""Counts changes of the rules by which readings become amounts: with another number every roll-up is made anew."""


class Span(IntEnum):
    """What a roll-up stands for. The numbers are stored."""

    DAY = 1
    MONTH = 2


def basis_of(row: MeterRow, lives: Sequence[RegisterLife]) -> str:
    """What the figures of a meter rest on beside its readings, in 64 characters: with another basis they may differ."""
    facts = (RULES, row.kind, row.reading_cycle, bool(row.endpoint_uid), row.uid)
    registers = [
        (
            life.uid,
            life.installed_ms,
            life.removed_ms,
            life.first_reading,
            life.final_reading,
            str(life.origin),
            str(life.ended_by),
            life.rollover,
            life.transformer_ratio,
            life.unit,
            life.scale_exponent,
        )
        for life in lives
    ]
    return hashlib.sha256(repr((facts, registers)).encode()).hexdigest()


def day_floor_ms(at_ms: int, tz: ZoneInfo) -> int:
    """Begin of the local day of an instant."""
    return to_ms(local_day_bounds(local_date(from_ms(at_ms), tz), tz)[0])


def day_ceil_ms(at_ms: int, tz: ZoneInfo) -> int:
    """The instant itself if a local day begins there, else the begin of the next one."""
    floor = day_floor_ms(at_ms, tz)
    if floor == at_ms:
        return at_ms
    return to_ms(local_day_bounds(local_date(from_ms(floor), tz) + timedelta(days=1), tz)[0])


def month_floor_ms(at_ms: int, tz: ZoneInfo) -> int:
    """Begin of the local month of an instant."""
    day = local_date(from_ms(at_ms), tz)
    return to_ms(local_month_bounds(day.year, day.month, tz)[0])


def day_bounds(start_ms: int, end_ms: int, tz: ZoneInfo) -> Int64:
    """Boundaries of the local days between two local midnights."""
    return boundaries(from_ms(start_ms), from_ms(end_ms), Step.LOCAL_DAY, tz)


def whole_months(start_ms: int, end_ms: int, tz: ZoneInfo) -> list[tuple[int, int]]:
    """Local months that lie in a span from end to end, Unix ms."""
    months: list[tuple[int, int]] = []
    day = local_date(from_ms(month_floor_ms(start_ms, tz)), tz)
    while True:
        begin, end = (to_ms(instant) for instant in local_month_bounds(day.year, day.month, tz))
        if end > end_ms:
            return months
        if begin >= start_ms:
            months.append((begin, end))
        day = local_date(from_ms(end), tz)


def joined(parts: Consumption, bounds_ms: Int64) -> Consumption:
    """Consumption of longer steps that consist of whole parts, which follow one another. Each bound is one of theirs.

    Flags are the worst of what a step is made of: unknown in all of it is missing, in a part of it estimated. Raises
    OutOfLimits for more than a column holds.
    """
    check_total(parts.amount, parts.starts_ms)
    first = np.searchsorted(parts.starts_ms, bounds_ms[:-1])
    flag = np.maximum.reduceat(parts.flag, first)
    known = np.minimum.reduceat(parts.flag, first) != Flag.MISSING
    flag[(flag == Flag.MISSING) & known] = Flag.ESTIMATED
    return Consumption(
        bounds_ms[:-1],
        bounds_ms[1:],
        np.add.reduceat(parts.amount, first),
        np.add.reduceat(parts.estimated_amount, first),
        np.add.reduceat(parts.measured_ms, first),
        flag,
    )


def months_back(at: datetime, months: int, tz: ZoneInfo) -> int:
    """Begin of the local month so many months before that of an instant, Unix ms."""
    day = local_date(at, tz)
    number = day.year * 12 + day.month - 1 - months
    return to_ms(local_month_bounds(number // 12, number % 12 + 1, tz)[0])
