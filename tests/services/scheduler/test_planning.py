"""Profiles become plans: gapless, ordered, the same for everybody who compiles them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from astral import LocationInfo
from astral.sun import sun
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InvalidInput
from services.scheduler import calendar, profile
from services.scheduler.calendar import Calendar, Rule
from services.scheduler.moment import suns_of_nights
from services.scheduler.planning import NIGHTS, compile_nights, compile_plan
from services.scheduler.profile import Anchor, Place, Profile, SwitchPoint

BERLIN = ZoneInfo("Europe/Berlin")
BAD_HERSFELD = Place(50.868, 9.707, BERLIN)
TROMSOE = Place(69.65, 18.96, ZoneInfo("Europe/Oslo"))
NIGHT_DIM = Profile(
    (
        SwitchPoint(Anchor.SUNSET, 1000),
        SwitchPoint(Anchor.CLOCK, 500, clock_time=time(22, 30)),
        SwitchPoint(Anchor.CLOCK, 1000, clock_time=time(4, 30)),
        SwitchPoint(Anchor.SUNRISE, 0),
    )
)
ALL_NIGHT = Profile((SwitchPoint(Anchor.SUNSET, 1000), SwitchPoint(Anchor.SUNRISE, 0)))
ALWAYS = Calendar((), "p")


def test_a_winter_night_switches_at_sunset_at_the_clock_times_and_at_sunrise() -> None:
    night = date(2026, 12, 21)
    instants = NIGHT_DIM.instants(night, BAD_HERSFELD)
    place = LocationInfo("", "", "Europe/Berlin", 50.868, 9.707).observer
    assert abs(instants[0] - sun(place, night)["sunset"]) < timedelta(seconds=60)
    assert instants[1] == datetime(2026, 12, 21, 21, 30, tzinfo=UTC)
    assert instants[2] == datetime(2026, 12, 22, 3, 30, tzinfo=UTC)
    assert abs(instants[3] - sun(place, night + timedelta(days=1))["sunrise"]) < timedelta(seconds=60)


def test_clock_times_follow_the_town_s_clock_through_both_changes() -> None:
    at_five = Profile(
        (
            SwitchPoint(Anchor.SUNSET, 1000),
            SwitchPoint(Anchor.CLOCK, 0, clock_time=time(5)),
        )
    )
    spring = at_five.instants(date(2026, 3, 28), BAD_HERSFELD)[1]
    autumn = at_five.instants(date(2026, 10, 24), BAD_HERSFELD)[1]
    assert spring == datetime(2026, 3, 29, 3, 0, tzinfo=UTC)
    assert autumn == datetime(2026, 10, 25, 4, 0, tzinfo=UTC)


def test_virtual_midnight_is_the_middle_of_the_lit_night() -> None:
    night = date(2026, 11, 22)
    points = Profile(
        (SwitchPoint(Anchor.SUNSET, 1000), SwitchPoint(Anchor.VIRTUAL_MIDNIGHT, 500), SwitchPoint(Anchor.SUNRISE, 0))
    )
    sunset, midnight, sunrise = points.instants(night, BAD_HERSFELD)
    assert abs((midnight - sunset) - (sunrise - midnight)) <= timedelta(seconds=1)


@pytest.mark.parametrize("place", [BAD_HERSFELD, TROMSOE])
def test_a_year_is_checked_by_the_same_sun_that_plans_are_compiled_by(place: Place) -> None:
    first = date(2026, 1, 1)
    nights = [first + timedelta(days=number) for number in range(366)]
    for night, (sun_then, _) in zip(nights, suns_of_nights(place, nights), strict=True):
        alone, together = ALL_NIGHT.instants(night, place), ALL_NIGHT.instants(night, place, sun_then)
        assert len(alone) == len(together)
        assert all(abs(one - other) <= timedelta(seconds=1) for one, other in zip(alone, together, strict=True))


def test_a_limit_holds_a_point_back_or_brings_it_forward() -> None:
    early = SwitchPoint(Anchor.SUNSET, 1000, latest=time(17))
    late = SwitchPoint(Anchor.SUNRISE, 0, earliest=time(6, 30))
    instants = Profile((early, late)).instants(date(2026, 6, 21), BAD_HERSFELD)
    assert [instant.astimezone(BERLIN).time() for instant in instants] == [time(17), time(6, 30)]


def test_points_that_cross_in_midsummer_are_refused_with_the_first_night() -> None:
    crossing = Profile(
        (
            SwitchPoint(Anchor.SUNSET, 1000),
            SwitchPoint(Anchor.CLOCK, 500, clock_time=time(21)),
            SwitchPoint(Anchor.SUNRISE, 0),
        )
    )
    with pytest.raises(InvalidInput) as refused:
        profile.check_year(crossing, BAD_HERSFELD, date(2026, 1, 1))
    [violation] = refused.value.violations
    assert violation.field == "points[1]"
    night = date.fromisoformat(violation.reason.split("night of ")[1].split(" ")[0])
    place = LocationInfo("", "", "Europe/Berlin", 50.868, 9.707).observer
    # The first night on which the sun sets at nine or later, found by another library.
    nights = (date(2026, 1, 1) + timedelta(days=number) for number in range(366))
    expected = next(day for day in nights if sun(place, day)["sunset"].astimezone(BERLIN).time() >= time(21, 0, 0))
    assert abs((night - expected).days) <= 1


@pytest.mark.parametrize(
    ("points", "field"),
    [
        ((), "points"),
        ((SwitchPoint(Anchor.SUNSET, 1000),), "points[0].level_permille"),
        ((SwitchPoint(Anchor.SUNSET, 1001), SwitchPoint(Anchor.SUNRISE, 0)), "points[0].level_permille"),
        ((SwitchPoint(Anchor.CLOCK, 500), SwitchPoint(Anchor.SUNRISE, 0)), "points[0].clock_time"),
        ((SwitchPoint(Anchor.SUNSET, 500, clock_time=time(5)), SwitchPoint(Anchor.SUNRISE, 0)), "points[0].clock_time"),
        ((SwitchPoint(Anchor.CLOCK, 0, 60, clock_time=time(5)),), "points[0]"),
        ((SwitchPoint(Anchor.SUNSET, 0, earliest=time(2), latest=time(22)),), "points[0].earliest"),
        ((SwitchPoint(Anchor.SUNSET, 0, 50_000),), "points[0].offset_s"),
        ((SwitchPoint(Anchor.SUNSET, 0, ramp_s=4000),), "points[0].ramp_s"),
    ],
)
def test_a_profile_that_makes_no_sense_is_refused_with_the_field(points: tuple[SwitchPoint, ...], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        profile.validate(points)
    assert [violation.field for violation in refused.value.violations] == [field]


def test_a_plan_speaks_for_more_than_two_days_at_any_time_and_changes_only_at_noon() -> None:
    noon = datetime(2026, 11, 22, 11, 0, tzinfo=UTC)
    plans = {
        compile_plan(ALWAYS, {"p": NIGHT_DIM}, BAD_HERSFELD, noon + timedelta(hours=hours)).hash for hours in range(24)
    }
    assert len(plans) == 1
    plan = compile_plan(ALWAYS, {"p": NIGHT_DIM}, BAD_HERSFELD, noon + timedelta(hours=23, minutes=59))
    assert plan.valid_until - (noon + timedelta(hours=24)) >= timedelta(hours=48)
    assert compile_plan(ALWAYS, {"p": NIGHT_DIM}, BAD_HERSFELD, noon + timedelta(hours=24)).hash not in plans


@settings(max_examples=60, deadline=None)
@given(
    st.dates(date(2016, 1, 1), date(2034, 12, 31)),
    st.floats(-69.0, 69.0),
    st.floats(-30.0, 40.0),
    st.sampled_from([NIGHT_DIM, ALL_NIGHT]),
)
def test_plans_have_no_gap_no_overlap_and_every_night(
    night: date, latitude: float, longitude: float, points: Profile
) -> None:
    place = Place(latitude, longitude, BERLIN)
    try:
        plan = compile_nights(ALWAYS, {"p": points}, place, night, NIGHTS)
    except InvalidInput:
        # Far north the clock times fall outside the dark: refused, as the test of crossing points shows.
        assert points is NIGHT_DIM
        return
    starts = list(plan.instants_ms)
    assert starts == sorted(set(starts))
    assert starts[0] == plan.valid_from_ms
    segments = plan.segments()
    assert all(first[1] == second[0] for first, second in pairwise(segments))
    assert segments[-1][1] == plan.valid_until_ms
    # A plan of four nights is the four plans of one night, end to end.
    for number in range(NIGHTS):
        single = compile_nights(ALWAYS, {"p": points}, place, night + timedelta(days=number), 1)
        for start, end, level in single.segments():
            at = datetime.fromtimestamp((start + end) / 2000, UTC)
            assert plan.level_at(at) == level


def test_a_night_without_sunset_is_not_lit_and_a_day_without_sunrise_is_lit_through() -> None:
    summer = compile_nights(ALWAYS, {"p": ALL_NIGHT}, TROMSOE, date(2026, 6, 20), 2)
    winter = compile_nights(ALWAYS, {"p": ALL_NIGHT}, TROMSOE, date(2026, 12, 20), 2)
    assert set(summer.levels_permille) == {0}
    assert all(winter.level_at(winter.valid_from + timedelta(hours=hours)) == 1000 for hours in range(48))


def test_the_first_rule_that_matches_wins() -> None:
    festival = Rule("festival", date(2026, 12, 24), date(2026, 12, 26))
    weekend = Rule("weekend", weekdays=frozenset({5, 6}))
    rules = Calendar((festival, weekend), "usual")
    assert rules.profile_of(date(2026, 12, 25)) == "festival"  # a Friday
    assert rules.profile_of(date(2026, 12, 18)) == "weekend"
    assert rules.profile_of(date(2026, 12, 21)) == "usual"


def test_a_rule_that_can_never_match_and_a_range_turned_round_are_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        calendar.validate([Rule("a", weekdays=frozenset({1, 2})), Rule("b", date(2026, 1, 1), weekdays=frozenset({2}))])
    assert refused.value.violations[0].field == "rules[1]"
    with pytest.raises(InvalidInput) as refused:
        calendar.validate([Rule("a", date(2026, 2, 1), date(2026, 1, 1))])
    assert refused.value.violations[0].field == "rules[0].last_night"
