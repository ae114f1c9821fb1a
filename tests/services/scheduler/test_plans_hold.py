"""Whatever profiles, calendars and places: every night is covered without gap or overlap, and as the rules say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.night import lighting_night, night_bounds
from domain.plan import from_unix_ms
from domain.plan_rule import SensorKind, SensorOperation
from services.scheduler.calendar import Calendar, Rule, validate
from services.scheduler.days import DayKind, Days, Period, SchoolHolidays
from services.scheduler.moment import Anchor, NightMoment, Place, clock_instant, sun_of_night
from services.scheduler.planning import NIGHTS, compile_nights, compile_plan
from services.scheduler.profile import Profile, SwitchPoint, validate_profile
from services.scheduler.sensor_rule import SensorRule

BERLIN = ZoneInfo("Europe/Berlin")
NAMES = ("one", "two", "three")
QUARTERS = st.integers(0, 95).map(lambda quarter: time(quarter // 4, quarter % 4 * 15))
NIGHTS_OF_YEARS = st.dates(date(2024, 1, 1), date(2032, 12, 31))

places = st.builds(Place, st.floats(-65, 65), st.floats(-5, 25), st.just(BERLIN))


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """An evening, a few points around the middle of the night, a morning, and sensor rules."""
    evening = draw(st.sampled_from([Anchor.SUNSET, Anchor.CIVIL_DUSK, Anchor.SUN_ELEVATION]))
    morning = {Anchor.SUNSET: Anchor.SUNRISE, Anchor.CIVIL_DUSK: Anchor.CIVIL_DAWN}.get(evening, evening)
    elevation = draw(st.floats(-6, 3)) if evening is Anchor.SUN_ELEVATION else 0.0
    offset = draw(st.integers(0, 1800))
    levels, ramps = st.integers(0, 1000), st.integers(0, 600)
    first = SwitchPoint(evening, draw(levels), -offset, ramp_s=draw(ramps), elevation_deg=elevation)
    rising = morning is Anchor.SUN_ELEVATION
    last = SwitchPoint(morning, 0, offset, ramp_s=draw(ramps), elevation_deg=elevation, rising=rising)
    offsets = sorted(draw(st.sets(st.integers(-1700, 1700), max_size=4)))
    middle = [SwitchPoint(Anchor.VIRTUAL_MIDNIGHT, draw(levels), found, ramp_s=draw(ramps)) for found in offsets]
    kinds, operations = st.sampled_from(SensorKind), st.sampled_from(SensorOperation)
    rules = draw(
        st.lists(st.builds(SensorRule, kinds, operations, levels, st.just(40_000), st.just(30_000)), max_size=3)
    )
    until_midnight = NightMoment(Anchor.VIRTUAL_MIDNIGHT, 900)
    return Profile(
        (first, *middle, last),
        tuple(replace(rule, end=until_midnight) if draw(st.booleans()) else rule for rule in rules),
    )


@st.composite
def calendars(draw: st.DrawFn) -> Calendar:
    """Up to five rules of every kind over three profiles."""
    names = st.sampled_from(NAMES)
    found: list[Rule] = []
    for _ in range(draw(st.integers(0, 5))):
        rule = Rule(
            draw(names),
            weekdays=draw(st.frozensets(st.integers(1, 7), max_size=3)),
            yearly=draw(st.none() | st.just(((12, 20), (1, 6))) | st.just(((4, 1), (9, 30)))),
            days=draw(st.sampled_from(DayKind)),
        )
        if draw(st.booleans()):
            rule = replace(rule, hours=(draw(QUARTERS), draw(QUARTERS)))
            if draw(st.booleans()):
                rule = replace(rule, profile="", level_permille=draw(st.integers(0, 1000)))
        try:
            validate([*found, rule])
        except InvalidInput:
            continue
        found.append(rule)
    return Calendar(tuple(found), draw(names))


def expected(calendar: Calendar, contents: dict[str, Profile], place: Place, instant: datetime, days: Days) -> int:
    """The level at an instant, found without steps: who is on, and which of its points was the last one."""
    night = lighting_night(instant, place.tz)
    noon, end = night_bounds(night, place.tz)
    said, sun = calendar.of_night(night, days), sun_of_night(night, place)

    def of_profile(name: str) -> int:
        happened = [
            point.level_permille
            for point, at in zip(contents[name].points, contents[name].instants(night, place, sun), strict=False)
            if at <= instant
        ]
        return happened[-1] if happened else 0

    for event in said.events:
        assert event.hours is not None
        begin, until = (clock_instant(night, bound, place.tz) for bound in event.hours)
        if not begin <= instant < (end if until == noon else until):
            continue
        if event.level_permille is None:
            return of_profile(event.profile)
        dark = sun.dark()
        if dark and dark[0].replace(microsecond=0) <= instant < dark[1].replace(microsecond=0):
            return event.level_permille
    return of_profile(said.profile)


def length_of_dark(night: date, place: Place) -> timedelta:
    """How long the sun is more than six degrees below the horizon."""
    sun = sun_of_night(night, place)
    dark = sun.civil_dark() if sun.dark() else None
    return dark[1] - dark[0] if dark else timedelta()


def goes_wrong(calendar: Calendar, contents: dict[str, Profile], place: Place, night: date) -> bool:
    """Whether there is no plan from a night on."""
    try:
        compile_nights(calendar, contents, place, night, NIGHTS)
    except InvalidInput as refused:
        return "in the night of" in refused.violations[0].reason
    return False


@settings(max_examples=40, deadline=None)
@given(st.tuples(profiles(), profiles(), profiles()), calendars(), places, NIGHTS_OF_YEARS, st.data())
def test_every_night_is_covered_without_gap_or_overlap_and_as_the_rules_say(
    three: tuple[Profile, ...], calendar: Calendar, place: Place, night: date, data: st.DataObject
) -> None:
    contents = dict(zip(NAMES, three, strict=True))
    for profile in three:
        validate_profile(profile)
    nights = [night + timedelta(days=number) for number in range(NIGHTS)]
    if min(length_of_dark(night, place) for night in nights) < timedelta(hours=2):
        # Too short for the hour in its middle: such a profile is refused with the night.
        assume(not goes_wrong(calendar, contents, place, night))
    plan = compile_nights(calendar, contents, place, night, NIGHTS)
    start, end = night_bounds(night, BERLIN)[0], night_bounds(night + timedelta(days=NIGHTS), BERLIN)[0]
    assert (plan.valid_from, plan.valid_until) == (start, end)
    segments = plan.segments()
    assert (segments[0][0], segments[-1][1]) == (plan.valid_from_ms, plan.valid_until_ms)
    assert all(one[1] == other[0] and one[2] != other[2] for one, other in pairwise(segments))
    for rule in plan.rules:
        # A rule belongs to one night and never listens beyond it.
        first, last = from_unix_ms(rule.from_ms), from_unix_ms(rule.until_ms - 1)
        assert lighting_night(first, BERLIN) == lighting_night(last, BERLIN)
    for one, other in pairwise(plan.rules):
        assert (one.from_ms, one.position) <= (other.from_ms, other.position)
    edges = [instant for instant in plan.instants_ms for instant in (instant, instant - 1)]
    edges += [data.draw(st.integers(plan.valid_from_ms, plan.valid_until_ms - 1)) for _ in range(10)]
    for unix_ms in edges:
        if unix_ms >= plan.valid_from_ms:
            instant = from_unix_ms(unix_ms)
            assert plan.level_at(instant) == expected(calendar, contents, place, instant, Days())


@settings(max_examples=40, deadline=None)
@given(st.tuples(profiles(), profiles(), profiles()), calendars(), places, NIGHTS_OF_YEARS, st.data())
def test_whoever_compiles_at_whatever_moment_of_a_night_gets_the_same_plan(
    three: tuple[Profile, ...], calendar: Calendar, place: Place, night: date, data: st.DataObject
) -> None:
    contents = dict(zip(NAMES, three, strict=True))
    noon, next_noon = night_bounds(night, BERLIN)
    seconds = data.draw(st.integers(0, int((next_noon - noon).total_seconds()) - 1))
    assume(not goes_wrong(calendar, contents, place, night))
    at_noon = compile_plan(calendar, contents, place, noon)
    later = compile_plan(calendar, dict(reversed(contents.items())), place, noon + timedelta(seconds=seconds))
    assert later == at_noon
    assert later.hash == at_noon.hash
    assert at_noon.valid_until - next_noon >= timedelta(hours=48)


def test_what_somebody_tells_of_holidays_changes_the_plan_and_what_it_does_not_touch_does_not() -> None:
    lit = Profile((SwitchPoint(Anchor.SUNSET, 1000), SwitchPoint(Anchor.SUNRISE, 0)))
    dimmed = Profile((SwitchPoint(Anchor.SUNSET, 500), SwitchPoint(Anchor.SUNRISE, 0)))
    contents = {"lit": lit, "dimmed": dimmed}
    place = Place(50.868, 9.707, BERLIN)
    calendar = Calendar((Rule("dimmed", days=DayKind.SCHOOL_HOLIDAY),), "lit")
    now = datetime(2035, 7, 10, 11, 0, tzinfo=UTC)
    summer = SchoolHolidays((Period(date(2035, 7, 1), date(2035, 8, 10)),), date(2035, 7, 1), date(2035, 8, 10))
    elsewhere = Days({"DE-TH": summer})
    unknown = compile_plan(calendar, contents, place, now)
    assert compile_plan(calendar, contents, place, now, days=elsewhere).hash == unknown.hash
    told = compile_plan(calendar, contents, place, now, days=Days({"DE-HE": summer}))
    assert (max(unknown.levels_permille), max(told.levels_permille)) == (1000, 500)
