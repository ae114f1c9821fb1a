"""A period against another one: plainly, per square metre, and with the weather taken out. Pure.

Periods are aligned by the local calendar. Whole months are held against the same months of the year before; anything
else by 52 weeks, so that a Monday meets a Monday (public holidays may still fall differently, and that is not mended).

Weather: use that follows the weather is taken as proportional to heating degree days (GTZ 20/15 as in VDI 2067, HGT 15
as in VDI 3807), the rest (hot water, base load) stays as it is:
    adjusted reference = base part + (reference - base part) * G of the period / G of the reference.
Single months are not to be judged that way: sun, holidays and the building's inertia do not even out in them. A period
shorter than a heating year is provisional, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from domain.degree_days import DegreeDays
from domain.errors import InvalidInput, OutOfLimits
from domain.night import as_utc, local_instant

HEATING_YEAR_DAYS: Final = 365
WEEKS_OF_A_YEAR: Final = timedelta(weeks=52)


@dataclass(frozen=True, slots=True)
class Period:
    """A span of time in UTC: the start belongs to it, the end does not."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise InvalidInput.of("end_time", "it does not lie after start_time")


@dataclass(frozen=True, slots=True)
class Used:
    """What was used in a period, in base units. coverage_permille: share of it that timely readings cover."""

    amount: int
    estimated_amount: int
    coverage_permille: int

    @property
    def is_known(self) -> bool:
        """True if anything of the period is known."""
        return self.coverage_permille > 0 or self.amount != 0 or self.estimated_amount != 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One meter in two periods; None where it cannot be said. Changes in per mille of what is compared with.

    milli_amount_per_m2, milli_amount_per_degree_day: thousandths of the base unit.
    adjusted_reference: what the reference period would have used with the weather of the period.
    """

    used: Used
    reference: Used
    change_permille: int | None
    milli_amount_per_m2: int | None
    milli_amount_per_degree_day: int | None
    reference_milli_amount_per_degree_day: int | None
    adjusted_reference: int | None
    adjusted_change_permille: int | None
    is_provisional: bool


def year_before(period: Period, tz: ZoneInfo) -> Period:
    """The period of the year before to compare with: same months for whole local months, else 52 weeks earlier."""
    start, end = as_utc(period.start).astimezone(tz), as_utc(period.end).astimezone(tz)
    if _begins_month(start) and _begins_month(end):
        return Period(_midnight(_earlier_year(start), tz), _midnight(_earlier_year(end), tz))
    return Period(_back(start, tz), _back(end, tz))


def as_long(period: Period, start: datetime, tz: ZoneInfo) -> Period:
    """A period from another start, as long as this one: in local months where all begin with one, else in local days,
    else in hours."""
    begin, end, other = (as_utc(one).astimezone(tz) for one in (period.start, period.end, start))
    if all(_begins_month(one) for one in (begin, end, other)):
        months = (end.year - begin.year) * 12 + end.month - begin.month + other.month - 1
        return Period(as_utc(start), _midnight(date(other.year + months // 12, months % 12 + 1, 1), tz))
    if begin.time() == end.time():
        return Period(as_utc(start), local_instant(other.date() + (end.date() - begin.date()), other.time(), tz))
    return Period(as_utc(start), as_utc(start) + (as_utc(period.end) - as_utc(period.start)))


def compare(
    used: Used,
    reference: Used,
    *,
    days: int,
    floor_area_m2: int = 0,
    warmth: DegreeDays | None = None,
    reference_warmth: DegreeDays | None = None,
    base_share_permille: int = 0,
) -> Comparison:
    """Holds a meter's use of a period against that of another.

    days: local days of the period. base_share_permille: part of the reference use that does not follow the weather.
    Degree days count only where those of each day are known, on both sides. Raises InvalidInput for a share out of
    0..1000 or a negative area.
    """
    if not 0 <= base_share_permille <= 1000:
        raise InvalidInput.of("base_share_permille", f"{base_share_permille} is not within 0 and 1000")
    if floor_area_m2 < 0:
        raise InvalidInput.of("floor_area_m2", f"{floor_area_m2} is negative")
    both_known = used.is_known and reference.is_known
    adjusted = _adjusted(reference, warmth, reference_warmth, base_share_permille) if both_known else None
    return Comparison(
        used=used,
        reference=reference,
        change_permille=_change(used.amount, reference.amount) if both_known else None,
        milli_amount_per_m2=_rounded(used.amount * 1000, floor_area_m2) if floor_area_m2 and used.is_known else None,
        milli_amount_per_degree_day=_per_degree_day(used, warmth),
        reference_milli_amount_per_degree_day=_per_degree_day(reference, reference_warmth),
        adjusted_reference=adjusted,
        adjusted_change_permille=None if adjusted is None else _change(used.amount, adjusted),
        is_provisional=days < HEATING_YEAR_DAYS,
    )


def check_answerable(found: Comparison) -> None:
    """Raises OutOfLimits for figures that no integer of 64 bits holds: amounts that nobody can have used."""
    figures = (
        found.milli_amount_per_m2,
        found.milli_amount_per_degree_day,
        found.reference_milli_amount_per_degree_day,
        found.adjusted_reference,
    )
    if any(figure is not None and abs(figure) >= 2**63 for figure in figures):
        reason = f"{found.used.amount} against {found.reference.amount} are more than can be compared"
        raise OutOfLimits.of("amounts", reason)


def _is_whole(warmth: DegreeDays) -> bool:
    """True if the temperature of each day is known."""
    return warmth.days > 0 and warmth.known_days == warmth.days


def _adjusted(
    reference: Used, warmth: DegreeDays | None, reference_warmth: DegreeDays | None, base_share_permille: int
) -> int | None:
    if warmth is None or reference_warmth is None or not (_is_whole(warmth) and _is_whole(reference_warmth)):
        return None
    if reference_warmth.centi_kd <= 0:
        return None  # without a heating day nothing of the reference follows the weather that could be scaled
    base = _rounded(reference.amount * base_share_permille, 1000)
    following = reference.amount - base
    return base + _rounded(following * warmth.centi_kd, reference_warmth.centi_kd)


def _per_degree_day(used: Used, warmth: DegreeDays | None) -> int | None:
    if warmth is None or not _is_whole(warmth) or warmth.centi_kd <= 0 or not used.is_known:
        return None
    return _rounded(used.amount * 100_000, warmth.centi_kd)


def _change(now: int, before: int) -> int | None:
    return _rounded((now - before) * 1000, before) if before > 0 else None


def _rounded(numerator: int, denominator: int) -> int:
    """Quotient as a whole number, halves away from zero."""
    whole = (abs(numerator) * 2 + denominator) // (2 * denominator)
    return whole if numerator >= 0 else -whole


def _begins_month(local: datetime) -> bool:
    return local.day == 1 and local.time() == time(0)


def _earlier_year(local: datetime) -> date:
    return date(local.year - 1, local.month, 1)


def _midnight(day: date, tz: ZoneInfo) -> datetime:
    return local_instant(day, time(0), tz)


def _back(local: datetime, tz: ZoneInfo) -> datetime:
    """The same wall-clock time 52 weeks earlier: the two may lie on different sides of a change of the clocks."""
    return local_instant(local.date() - WEEKS_OF_A_YEAR, local.time(), tz)
