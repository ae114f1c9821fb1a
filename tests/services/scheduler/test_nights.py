"""Many places and nights at once give what each gives alone, to the second."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.plan_rule import SensorKind, SensorOperation
from services.scheduler.calendar import Calendar, Rule
from services.scheduler.moment import night_order
from services.scheduler.nights import check_places, compile_calendar, compile_profile
from services.scheduler.planning import follow_nights
from services.scheduler.profile import Anchor, NightMoment, Place, Profile, SensorRule, SwitchPoint, check_year
from services.scheduler.sky import Nights, Sky, sky_over

BERLIN = ZoneInfo("Europe/Berlin")
BAD_HERSFELD = Place(50.868, 9.707, BERLIN)
NIGHT_DIM = Profile(
    (
        SwitchPoint(Anchor.SUNSET, 1000),
        SwitchPoint(Anchor.CLOCK, 500, clock_time=time(22, 30), ramp_s=60),
        SwitchPoint(Anchor.CLOCK, 1000, clock_time=time(4, 30)),
        SwitchPoint(Anchor.SUNRISE, 0),
    )
)
SPRING, AUTUMN = date(2026, 3, 28), date(2026, 10, 24)


@st.composite
def clocks(draw: st.DrawFn) -> time:
    return time(draw(st.integers(0, 23)), draw(st.integers(0, 59)))


@st.composite
def moments(draw: st.DrawFn) -> NightMoment:
    """Any valid moment of a night, limits that bend it included."""
    anchor = draw(st.sampled_from(Anchor))
    if anchor is Anchor.CLOCK:
        return NightMoment(anchor, clock_time=draw(clocks()))
    by_elevation = anchor is Anchor.SUN_ELEVATION
    limit = st.none() | clocks()
    return NightMoment(
        anchor,
        draw(st.integers(-43_200, 43_200) | st.sampled_from([0, -3600, 3600])),
        earliest=draw(limit),
        latest=draw(limit),
        elevation_deg=draw(st.sampled_from([-12.0, -3.5, 2.0])) if by_elevation else 0.0,
        rising=draw(st.booleans()) if by_elevation else False,
    )


@st.composite
def switch_points(draw: st.DrawFn, last: bool = False) -> SwitchPoint:
    moment = draw(moments())
    return SwitchPoint(
        moment.anchor,
        0 if last else draw(st.sampled_from([0, 300, 500, 1000])),
        moment.offset_s,
        moment.clock_time,
        draw(st.sampled_from([0, 60])),
        moment.earliest,
        moment.latest,
        moment.elevation_deg,
        moment.rising,
    )


@st.composite
def sensor_rules(draw: st.DrawFn) -> SensorRule:
    whole_night = SensorRule(SensorKind.TRAFFIC, SensorOperation.MAX, 900, 60_000, 30_000)
    return replace(whole_night, begin=draw(moments()), end=draw(moments())) if draw(st.booleans()) else whole_night


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """Often one that keeps its order, sometimes one that does not."""
    rules = tuple(draw(st.lists(sensor_rules(), max_size=1)))
    if draw(st.booleans()):
        return Profile(NIGHT_DIM.points, rules)
    points = draw(st.lists(switch_points(), max_size=3))
    return Profile((*points, draw(switch_points(last=True))), rules)


@st.composite
def events(draw: st.DrawFn) -> Rule:
    """Something in some hours of some nights: another profile, or a level."""
    begin, end = sorted((draw(clocks()), draw(clocks())), key=night_order)
    weekdays = frozenset(draw(st.sets(st.integers(1, 7), max_size=2)))
    if draw(st.booleans()):
        return Rule("", weekdays=weekdays, hours=(begin, end), level_permille=draw(st.sampled_from([0, 700, 1000])))
    return Rule("other", weekdays=weekdays, hours=(begin, end))


ZONES = st.sampled_from([BERLIN, ZoneInfo("Europe/Oslo"), ZoneInfo("America/Denver"), ZoneInfo("UTC")])
FIRST_NIGHTS = st.sampled_from([SPRING, AUTUMN]).map(lambda night: night - timedelta(days=2)) | st.dates(
    date(2016, 1, 1), date(2036, 12, 31)
)


@settings(max_examples=200, deadline=None)
@given(
    profile=profiles(),
    other=profiles(),
    first=FIRST_NIGHTS,
    places=st.lists(st.tuples(st.floats(-70, 70), st.floats(-180, 180)), min_size=1, max_size=3),
    tz=ZONES,
    count=st.integers(1, 9),
    events=st.lists(events(), max_size=2),
)
def test_many_places_and_nights_give_the_instants_of_each_alone(
    profile: Profile,
    other: Profile,
    first: date,
    places: list[tuple[float, float]],
    tz: ZoneInfo,
    count: int,
    events: list[Rule],
) -> None:
    calendar = Calendar((*events, Rule("other", weekdays=frozenset({5, 6}))), "usual")
    known = {"usual": profile, "other": other}
    where = [Place(latitude, longitude, tz) for latitude, longitude in places]
    together = compile_calendar(calendar, known, sky_over(Nights(tz, first, count), where))
    wrong = together.first_wrong().tolist()
    for row, place in enumerate(where):
        night = first + timedelta(days=wrong[row])
        try:
            alone = follow_nights(calendar, known, place, first, count)
            failed = False
        except InvalidInput as error:
            words, failed = str(error), True
        if failed:
            assert wrong[row] >= 0
            assert f"in the night of {night.isoformat()}" in words
        else:
            assert wrong[row] == -1
            assert together.course(row).instants_ms == alone.instants_ms
            assert together.course(row) == alone


@pytest.mark.parametrize("place", [BAD_HERSFELD, Place(69.65, 18.96, ZoneInfo("Europe/Oslo"))])
def test_a_whole_year_is_the_same_as_night_by_night(place: Place) -> None:
    follows_the_sun = Profile(
        (
            SwitchPoint(Anchor.CIVIL_DUSK, 800, -600, earliest=time(16, 15)),
            SwitchPoint(Anchor.VIRTUAL_MIDNIGHT, 300, -5400),
            SwitchPoint(Anchor.VIRTUAL_MIDNIGHT, 800, 5400),
            SwitchPoint(Anchor.CIVIL_DAWN, 0, 600),
        )
    )
    profile = follows_the_sun if place is BAD_HERSFELD else Profile((NIGHT_DIM.points[0], NIGHT_DIM.points[-1]))
    first = date(2026, 1, 1)
    together = compile_profile(profile, sky_over(Nights(place.tz, first, 366), [place]))
    assert together.course(0) == follow_nights(Calendar((), "p"), {"p": profile}, place, first, 366)


def test_the_nights_of_a_clock_change_have_23_and_25_hours() -> None:
    for night, hours in ((SPRING, 23), (AUTUMN, 25)):
        frame = Nights(BERLIN, night, 1)
        assert (frame.ends - frame.starts).tolist() == [hours * 3600]


def test_the_first_night_anywhere_on_which_points_cross_is_the_one_that_is_named() -> None:
    crossing = Profile(
        (SwitchPoint(Anchor.SUNSET, 1000), SwitchPoint(Anchor.CLOCK, 500, clock_time=time(21)), NIGHT_DIM.points[-1])
    )
    north, south = Place(54.5, 9.0, BERLIN), Place(47.5, 9.0, BERLIN)
    first = date(2026, 1, 1)
    with pytest.raises(InvalidInput) as alone:
        check_year(crossing, north, first)
    with pytest.raises(InvalidInput) as together:
        check_places(crossing, [south, BAD_HERSFELD, north], first, 366)
    assert together.value.violations == alone.value.violations
    check_places(NIGHT_DIM, [south, BAD_HERSFELD, north], first, 366)
    check_places(NIGHT_DIM, [], first, 366)


def test_an_instant_that_is_a_whole_second_stays_it() -> None:
    # Half a microsecond below a second is that second to a datetime.
    sky = Sky(Nights(BERLIN, SPRING, 1), np.array([50.0]), np.array([10.0]))
    assert float(sky.base(NightMoment(Anchor.SUNSET))[0, 0]).is_integer()


def test_the_profile_of_an_event_without_hours_is_not_looked_at() -> None:
    crossing = Profile((SwitchPoint(Anchor.SUNSET, 1000), SwitchPoint(Anchor.CLOCK, 0, clock_time=time(13))))
    calendar = Calendar((Rule("other", hours=(time(0), time(0))),), "usual")
    known = {"usual": NIGHT_DIM, "other": crossing}
    courses = compile_calendar(calendar, known, sky_over(Nights(BERLIN, AUTUMN, 1), [Place(50.868, 9.707, BERLIN)]))
    assert courses.first_wrong().tolist() == [-1]
    assert (
        courses.course(0).levels_permille
        == follow_nights(calendar, known, Place(50.868, 9.707, BERLIN), AUTUMN, 1).levels_permille
    )
