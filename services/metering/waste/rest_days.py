"""Days on which a building that rests, rests: Saturdays, Sundays, public holidays of Hesse. Not: school holidays.

Which days are public holidays follows from laws that the package `holidays` knows.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Final

SUBDIVISION: Final = "HE"
"""Hesse, where the towns are that this was made for."""
_SATURDAY: Final = 5

IsRestDay = Callable[[date], bool]


def is_rest_day(day: date) -> bool:
    """True for a Saturday, a Sunday and a public holiday in Hesse."""
    return day.weekday() >= _SATURDAY or day in public_holidays(day.year)


@lru_cache(maxsize=64)
def public_holidays(year: int) -> frozenset[date]:
    """Public holidays of a year in Hesse."""
    # A quarter of a second that a service which looks at no building need not spend.
    import holidays

    return frozenset(holidays.country_holidays("DE", subdiv=SUBDIVISION, years=(year,), expand=False))
