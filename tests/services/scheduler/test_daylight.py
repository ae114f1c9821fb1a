"""Lamps that a profile has lit while the sun is up: told from an hour on, for twilight and clocks explain the rest."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, time
from zoneinfo import ZoneInfo

import pytest

from services.scheduler.calendar import Calendar, Rule
from services.scheduler.daylight import by_day_of_profile
from services.scheduler.moment import Place
from services.scheduler.preview import Period, PreviewedGroup, preview_groups
from services.scheduler.profile import Anchor, Profile, SwitchPoint
from tests.services.scheduler.making import ALL_NIGHT, dimmed

BERLIN = ZoneInfo("Europe/Berlin")
BAD_HERSFELD = Place(50.868, 9.707, BERLIN)
NOVEMBER = date(2026, 11, 22)

TURNED_ROUND = Profile(
    (
        SwitchPoint(Anchor.CLOCK, 1000, clock_time=time(12, 30)),
        SwitchPoint(Anchor.CLOCK, 0, clock_time=time(11, 30)),
    )
)
"""Whoever meant the clock's night, and typed its day."""


def around_the_night(before_s: int, after_s: int) -> Profile:
    """Lit from some seconds before sunset until some after sunrise."""
    return Profile((SwitchPoint(Anchor.SUNSET, 1000, -before_s), SwitchPoint(Anchor.SUNRISE, 0, after_s)))


def told(profile: Profile, place: Place = BAD_HERSFELD, first_night: date = NOVEMBER, nights: int = 365) -> list[str]:
    return by_day_of_profile(profile, place, first_night, nights)


def test_a_profile_that_is_lit_by_day_is_told_with_its_first_night_and_the_longest_time() -> None:
    [warning] = told(TURNED_ROUND)
    assert warning.startswith("lit for up to 5")
    assert warning.endswith("minutes while the sun is up, in 365 nights from 2026-11-22 on")
    [winter] = told(TURNED_ROUND, nights=1)
    # Sunset is at 16:26: four hours, and those of the forenoon are not added to them.
    assert winter == "lit for up to 236 minutes while the sun is up, in 1 night from 2026-11-22 on"


@pytest.mark.parametrize(("before_s", "after_s"), [(0, 0), (2_700, 2_700), (3_600, 3_600)])
def test_up_to_an_hour_before_sunset_and_after_sunrise_is_usual(before_s: int, after_s: int) -> None:
    assert told(around_the_night(before_s, after_s)) == []


@pytest.mark.parametrize(("before_s", "after_s"), [(3_700, 0), (0, 3_700), (3_700, 7_200)])
def test_more_than_an_hour_on_either_side_is_told(before_s: int, after_s: int) -> None:
    minutes = round(max(before_s, after_s) / 60)
    assert told(around_the_night(before_s, after_s)) == [
        f"lit for up to {minutes} minutes while the sun is up, in 365 nights from 2026-11-22 on"
    ]


def test_an_hour_by_the_clock_that_summer_makes_light_is_told_from_the_first_such_night_on() -> None:
    until_half_past_six = Profile(
        (SwitchPoint(Anchor.SUNSET, 1000), SwitchPoint(Anchor.CLOCK, 0, clock_time=time(6, 30)))
    )
    [warning] = told(until_half_past_six)
    # The longest is the earliest sunrise, 05:07 in the middle of June.
    assert warning.startswith("lit for up to 83 minutes while the sun is up, in ")
    assert " nights from 2027-05-" in warning


def test_profiles_that_dim_at_night_are_not_told() -> None:
    assert told(ALL_NIGHT) == []
    assert told(dimmed(500)) == []
    assert told(dimmed(0)) == []


def test_in_the_polar_night_nothing_is_lit_by_day_and_in_the_midnight_sun_everything() -> None:
    tromso = Place(69.65, 18.96, ZoneInfo("Europe/Oslo"))
    assert told(TURNED_ROUND, tromso, date(2026, 12, 10), 20) == []
    [warning] = told(TURNED_ROUND, tromso, date(2027, 6, 10), 20)
    assert "in 20 nights from 2027-06-10 on" in warning
    assert told(ALL_NIGHT, tromso, date(2027, 6, 10), 20) == []  # it goes by the sun, so nothing is switched on


def test_a_preview_tells_it_of_every_group_and_events_are_judged_like_any_night() -> None:
    fair = Rule("day", nights=frozenset({date(2026, 11, 24)}), hours=(time(12, 0), time(18, 0)))
    group = PreviewedGroup("g", BAD_HERSFELD)
    period = Period(NOVEMBER, 5, BERLIN)
    [seen] = preview_groups(
        [group], Calendar((fair,), "usual"), {"usual": dimmed(500), "day": TURNED_ROUND}, period
    ).groups
    assert seen.warnings == ("lit for up to 234 minutes while the sun is up, in 1 night from 2026-11-24 on",)
    level = replace(fair, profile="", level_permille=1000)
    [kept] = preview_groups([group], Calendar((level,), "usual"), {"usual": dimmed(500)}, period).groups
    assert kept.warnings == ()  # an event's level waits for sunset
