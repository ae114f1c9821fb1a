"""Load profiles out of what is stored: at which resolution a meter has one, and its steps at that."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import numpy as np
from sqlmodel import Session

from domain.errors import InvalidInput, OutOfLimits
from domain.intervals import Consumption
from services.metering.cycle import length_ms, usual_interval_ms
from services.metering.figures.consumption import MAX_CELLS, Step, usable
from services.metering.meter import Kind
from services.metering.reading import Int64
from services.metering.slot import DAY_MS, HOUR_MS, SLOT_MS, is_slot
from services.metering.store.amounts import Metered
from services.metering.store.figures import from_readings, metered
from services.metering.store.readings import fetch_lives
from services.metering.store.relations import rows_by_uid, terms_of

_RESOLUTIONS_MS = (SLOT_MS, 2 * SLOT_MS, HOUR_MS)
_LOOKED_AT_MS = 14 * DAY_MS


def resolution_ms(session: Session, meter: Metered, start_ms: int, end_ms: int) -> int:
    """Length of the steps of a meter's load profile: quarter hour, half hour or hour; 0 where it has none.

    As its cycle says; a virtual meter has that of its coarsest term. A meter without a cycle is polled every quarter
    hour, or has readings that mostly come so far apart in the first days of the period that have any.
    """
    row = meter.row
    if row.kind == Kind.INSTANT:
        return 0
    if row.kind == Kind.VIRTUAL:
        terms = rows_by_uid(session, [uid for uid, _ in terms_of(row)])
        parts = [resolution_ms(session, part, start_ms, end_ms) for part in metered(session, list(terms.values()))]
        return max(parts) if parts and min(parts) > 0 else 0
    said = length_ms(row.reading_cycle)
    if said:
        return said if said <= HOUR_MS else 0
    if row.endpoint_uid:
        return SLOT_MS
    return _usual(session, meter, start_ms, end_ms)


def _usual(session: Session, meter: Metered, start_ms: int, end_ms: int) -> int:
    begin, width = start_ms, _LOOKED_AT_MS
    while begin < end_ms:
        until = min(end_ms, begin + width)
        slots = np.unique(usable(fetch_lives(session, meter.lives, begin, until + 1)).slot_ms)
        if len(slots) >= 3:
            usual = usual_interval_ms(slots)
            return next((one for one in _RESOLUTIONS_MS if usual <= one), 0)
        # Little was read in these days: the next piece is longer, so that a year is few of them.
        begin, width = until, 2 * width
    return 0


def profile(session: Session, meter: Metered, start_ms: int, end_ms: int, resolution: int, tz: ZoneInfo) -> Consumption:
    """The steps of a meter at a resolution. The first and the last are cut by the period."""
    bounds = profile_bounds(start_ms, end_ms, resolution)
    step = Step.QUARTER_HOUR if resolution <= SLOT_MS else Step.HOUR
    return from_readings(session, meter, bounds, step, tz)


def profile_bounds(start_ms: int, end_ms: int, resolution: int) -> Int64:
    """Boundaries of equal steps. Raises InvalidInput for a period that is empty or off the quarter hours, OutOfLimits
    for too many steps."""
    for field, instant in (("start_time", start_ms), ("end_time", end_ms)):
        if not is_slot(instant):
            raise InvalidInput.of(field, "the begin of a quarter hour is needed")
    if end_ms <= start_ms:
        raise InvalidInput.of("end_time", "it does not lie after start_time")
    if (end_ms - start_ms) // resolution > MAX_CELLS:
        days = timedelta(milliseconds=end_ms - start_ms).days
        raise OutOfLimits.of("end_time", f"{days} days have more than {MAX_CELLS} steps")
    inner = np.arange(start_ms // resolution * resolution + resolution, end_ms, resolution, dtype=np.int64)
    return np.concatenate(([start_ms], inner, [end_ms])).astype(np.int64)
