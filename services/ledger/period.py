"""Which periods an entry may have, and which are the next ones due. Pure.

Lighting goes by whole lighting nights, buildings by quarter hours.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from domain.errors import Violation
from domain.night import (
    as_utc,
    dates_between,
    floor_slot,
    lighting_night,
    local_date,
    local_day_bounds,
    night_bounds,
    zone,
)
from services.ledger.terms import Terms

LONGEST: Final = timedelta(days=400)
"""A year and what a late meter adds."""
EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)


def period_violations(terms: Terms, start: datetime, end: datetime) -> list[Violation]:
    """What is wrong with a period under terms, blaming start_time or end_time; nothing if it may be posted."""
    if not (EARLIEST <= start <= LATEST and EARLIEST <= end <= LATEST):
        return [Violation("start_time", f"the period lies beyond {EARLIEST.year} and {LATEST.year}")]
    if start >= end:
        return [Violation("end_time", "the period ends before it begins")]
    if end - start > LONGEST:
        return [Violation("end_time", f"the period is longer than {LONGEST.days} days")]
    violations = []
    if start < terms.effective_from:
        violations.append(Violation("start_time", f"the measure takes effect at {terms.effective_from.isoformat()}"))
    for name, instant in (("start_time", start), ("end_time", end)):
        if terms.is_lighting and not is_local_noon(terms, instant):
            violations.append(Violation(name, f"no noon in {terms.time_zone}: lighting goes by nights, noon to noon"))
        elif floor_slot(instant) != instant:
            violations.append(Violation(name, "no quarter hour: meters are read by quarter hours"))
    return violations


def is_local_noon(terms: Terms, instant: datetime) -> bool:
    """True at 12:00 of the municipality's clock."""
    tz = zone(terms.time_zone)
    return night_bounds(local_date(instant, tz), tz)[0] == as_utc(instant)


def periods_due(terms: Terms, after: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Whole lighting nights (lighting) or local days (buildings) that end after `after` and not after `until`.

    Only those that begin when the measure has taken effect, oldest first.
    """
    tz = zone(terms.time_zone)
    dated = lighting_night if terms.is_lighting else local_date
    bounds = night_bounds if terms.is_lighting else local_day_bounds
    first = dated(max(after, terms.effective_from), tz)
    for day in dates_between(first, dated(until, tz) + timedelta(days=1)):
        start, end = bounds(day, tz)
        if start >= terms.effective_from and after < end <= until:
            yield start, end
