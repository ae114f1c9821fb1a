"""What kind of day a day is: public holiday, the day before one, school holidays. On doubt, the answer is: unknown.

Public holidays follow from laws that the package `holidays` knows for every year. School holidays are decreed a few
years ahead: those that a municipality was given come first, then those that the package has (for Germany, as published
by the conference of the states' ministers of education), each as far as it reaches. A list of holidays says nothing by
being silent: beyond its end a day is neither free nor not free.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import IntEnum
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from domain.errors import InvalidInput, Violation

if TYPE_CHECKING:
    from holidays import HolidayBase

DEFAULT_SUBDIVISION: Final = "DE-HE"
"""Hesse, where the towns are that this was made for."""

LONGEST_GAP: Final = timedelta(days=200)
"""Between two school holidays: where it is longer, some are missing."""
LONGEST_PERIOD: Final = timedelta(days=100)

_FIRST_SCHOOL_YEAR: Final = 2010
_LAST_SCHOOL_YEAR: Final = 2060
_ONE_DAY: Final = timedelta(days=1)


class DayKind(IntEnum):
    """A kind of day; numbers as in lichtbuch.scheduler.v1.DayKind."""

    ANY = 0
    PUBLIC_HOLIDAY = 1
    PUBLIC_HOLIDAY_EVE = 2
    """The day before a public holiday: the night that begins on its noon leads into the holiday."""
    SCHOOL_HOLIDAY = 3


@dataclass(frozen=True)
class Period:
    """A stretch of holidays, both days included."""

    first_day: date
    last_day: date
    display_name: str = ""


@dataclass(frozen=True)
class SchoolHolidays:
    """School holidays from one source, and the days that it speaks for, both included."""

    periods: tuple[Period, ...]
    covered_from: date
    covered_until: date
    source: str = ""

    def has(self, day: date) -> bool | None:
        """Whether there is no school on a day; None outside what is covered."""
        if not self.covered_from <= day <= self.covered_until:
            return None
        index = bisect_right(self._starts, day) - 1
        return index >= 0 and day <= self.periods[index].last_day

    @cached_property
    def _starts(self) -> list[date]:
        return [period.first_day for period in self.periods]


@dataclass(frozen=True)
class Days:
    """What is known of days. school: the lists that a municipality was given, by subdivision (ISO 3166-2)."""

    school: Mapping[str, SchoolHolidays] = field(default_factory=dict)

    def is_a(self, kind: DayKind, subdivision: str, day: date) -> bool | None:
        """Whether a day is of a kind in a federal state; None where nobody knows."""
        match kind:
            case DayKind.ANY:
                return True
            case DayKind.PUBLIC_HOLIDAY:
                return is_public_holiday(subdivision, day)
            case DayKind.PUBLIC_HOLIDAY_EVE:
                return is_public_holiday(subdivision, day + _ONE_DAY)
            case DayKind.SCHOOL_HOLIDAY:
                given = self.school.get(subdivision)
                known = None if given is None else given.has(day)
                if known is None and (built_in := packaged_school_holidays(subdivision)) is not None:
                    known = built_in.has(day)
                return known


BUILT_IN: Final = Days()
"""What is known without anybody having given anything."""


def is_public_holiday(subdivision: str, day: date) -> bool | None:
    """Whether a day is a public holiday in a federal state; None for a year or a state that the package has not."""
    found = _public_holidays(subdivision, day.year)
    return None if found is None else day in found


def is_known_subdivision(subdivision: str) -> bool:
    """True for an ISO 3166-2 code whose public holidays are known: "DE-HE", or "DE" for those of all states."""
    return _of_years(subdivision, ()) is not None


@lru_cache(maxsize=1024)
def _public_holidays(subdivision: str, year: int) -> frozenset[date] | None:
    found = _of_years(subdivision, (year,))
    if found is None or not found.start_year <= year <= found.end_year:
        return None
    return frozenset(found)


@lru_cache(maxsize=64)
def packaged_school_holidays(subdivision: str) -> SchoolHolidays | None:
    """What the package has of a state's school holidays, the last years without a hole; None where it has none."""
    years = range(_FIRST_SCHOOL_YEAR, _LAST_SCHOOL_YEAR + 1)
    found = _of_years(subdivision, years, "school")
    if not found:
        return None
    periods: list[Period] = []
    for day in sorted(found):
        if periods and day == periods[-1].last_day + _ONE_DAY:
            periods[-1] = Period(periods[-1].first_day, day)
        else:
            periods.append(Period(day, day))
    holes = [index for index, (before, after) in enumerate(pairwise(periods), 1) if _gap(before, after) > LONGEST_GAP]
    whole = tuple(periods[holes[-1] if holes else 0 :])
    return SchoolHolidays(whole, whole[0].first_day, whole[-1].last_day, "the package holidays")


def _of_years(subdivision: str, years: Sequence[int], category: str = "public") -> HolidayBase | None:
    # A quarter of a second that a command which asks for no holiday need not spend.
    import holidays

    country, _, state = subdivision.partition("-")
    try:
        return holidays.country_holidays(country, subdiv=state or None, years=years, expand=False, categories=category)
    except (NotImplementedError, ValueError):  # no such country or state; no such category there
        return None


def _gap(before: Period, after: Period) -> timedelta:
    return after.first_day - before.last_day


def validate(given: SchoolHolidays) -> None:
    """Raises InvalidInput with everything that speaks against a list: what is turned round, overlaps, or is missing."""
    found: list[Violation] = []
    if not given.periods:
        raise InvalidInput.of("periods", "there are no school holidays in it")
    for index, period in enumerate(given.periods):
        if period.last_day < period.first_day:
            found.append(Violation(f"periods[{index}].last_day", f"{period.last_day} is before {period.first_day}"))
        elif period.last_day - period.first_day > LONGEST_PERIOD:
            found.append(Violation(f"periods[{index}]", f"is longer than {LONGEST_PERIOD.days} days"))
    for index, (before, after) in enumerate(pairwise(given.periods), 1):
        if after.first_day <= before.last_day:
            found.append(Violation(f"periods[{index}]", f"begins on {after.first_day}, before the one before it ends"))
        elif _gap(before, after) > LONGEST_GAP:
            found.append(
                Violation(f"periods[{index}]", f"there are none between {before.last_day} and {after.first_day}")
            )
    first, last = given.periods[0].first_day, given.periods[-1].last_day
    if not first - LONGEST_GAP <= given.covered_from <= first:
        found.append(Violation("covered_from", f"is not within {LONGEST_GAP.days} days before {first}"))
    if not last <= given.covered_until <= last + LONGEST_GAP:
        found.append(Violation("covered_until", f"is not within {LONGEST_GAP.days} days after {last}"))
    if found:
        raise InvalidInput("the school holidays are not valid", found[:20])
