"""Lamps that a plan has lit while the sun is up, for longer than twilight explains. Pure, in arrays.

Not here: sensors, which may light a dark noon, and what lighting refuses (warnings.py): light by day is a waste of
power and no danger, so it is told and kept.
"""

from __future__ import annotations

from datetime import date
from typing import Final

import numpy as np

from services.scheduler.moment import Anchor, NightMoment, Place
from services.scheduler.nights import Courses, NightKind, compile_profile
from services.scheduler.profile import NIGHTS_CHECKED, Profile
from services.scheduler.sky import Nights, Seconds, sky_over
from services.scheduler.sums import CivilNight, CivilSpans, off_spans

USUAL_BY_DAY_S: Final = 3_600.0
"""Seconds of light before sunset, or after sunrise, that nobody has to explain: a deep valley, a gloomy day, a switch
point that goes by the clock. Beyond it a profile is told of."""
_CUT_S: Final = 1.0
"""Switch points are whole seconds, sunset and sunrise are not: an hour before sunset is that much more."""


def lit_by_day(courses: Courses) -> Seconds:
    """[place, night]: seconds that the plan is lit before sunset or after sunrise, whichever is more; 0 where that is
    usual."""
    sky = courses.sky
    dark = CivilNight(sky, sky.dark_around)
    places = np.arange(sky.latitude_deg.size, dtype=np.intp)
    found = np.zeros(sky.unlit.shape)
    for kind in courses.kinds:
        spans = dark.over(kind.nights, places)
        whole = _lit_s(kind, spans, None)
        if not (whole > USUAL_BY_DAY_S + _CUT_S).any():
            continue
        evening = _lit_s(kind, spans, sky.base(NightMoment(Anchor.VIRTUAL_MIDNIGHT))[:, kind.nights])
        more = np.maximum(evening, whole - evening)
        found[:, kind.nights] = np.where(more > USUAL_BY_DAY_S + _CUT_S, more, 0.0)
    return found


def by_day_warnings(courses: Courses, lit_s: Seconds) -> list[str]:
    """What to say of one place, by `lit_by_day`."""
    by_day = lit_s > 0
    if not by_day.any():
        return []
    minutes = round(float(lit_s.max()) / 60)
    return [f"lit for up to {minutes} minutes while the sun is up, in {courses.told(by_day)}"]


def by_day_of_profile(profile: Profile, place: Place, first_night: date, nights: int = NIGHTS_CHECKED) -> list[str]:
    """What to say of a profile that holds every night at a place. It keeps its order there."""
    courses = compile_profile(profile, sky_over(Nights(place.tz, first_night, nights), [place]))
    return by_day_warnings(courses, lit_by_day(courses)[0])


def _lit_s(kind: NightKind, dark: CivilSpans, until: Seconds | None) -> Seconds:
    """[place, night]: seconds lit with the sun up; `until` an instant of each night, None for all of it."""
    total = np.zeros(kind.base.unlit.shape)
    for begin, end, off in off_spans(kind):
        if off is True:
            continue
        first, last = (begin, end) if until is None else (np.minimum(begin, until), np.minimum(end, until))
        lit = (last - first) - (dark.passed(last) - dark.passed(first))
        total += lit if off is False else np.where(off, 0.0, lit)
    return total
