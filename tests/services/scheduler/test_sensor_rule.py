"""Moments at a sun elevation, and sensor rules: when they listen in a night, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.night import night_bounds
from domain.plan import from_unix_ms, to_unix_ms
from domain.plan_rule import SensorKind, SensorOperation
from domain.sun import elevation_deg, unix_seconds
from services.scheduler.moment import Anchor, NightMoment, Place, passage_of, sun_of_night, suns_of_nights
from services.scheduler.profile import Profile, SwitchPoint, check_year, validate_profile
from services.scheduler.sensor_rule import SensorRule
from tests.services.scheduler.making import ALL_NIGHT, dimmed

BERLIN = ZoneInfo("Europe/Berlin")
BAD_HERSFELD = Place(50.868, 9.707, BERLIN)
TROMSOE = Place(69.65, 18.96, ZoneInfo("Europe/Oslo"))
WINTER, MIDSUMMER = date(2026, 12, 21), date(2026, 6, 21)
NAUTICAL_DUSK = NightMoment(Anchor.SUN_ELEVATION, elevation_deg=-12.0)
NAUTICAL_DAWN = NightMoment(Anchor.SUN_ELEVATION, elevation_deg=-12.0, rising=True)
TRAFFIC = SensorRule(SensorKind.TRAFFIC, SensorOperation.MAX, 1000, 30_000, 20_000, hold_s=300)
TWILIGHT = SensorRule(SensorKind.ILLUMINANCE, SensorOperation.SET, 1000, 35_000, 25_000)


def with_rules(*rules: SensorRule) -> Profile:
    return replace(ALL_NIGHT, rules=rules)


def at_clock(text: str) -> NightMoment:
    return NightMoment(Anchor.CLOCK, clock_time=time.fromisoformat(text))


def height_at(place: Place, instant: datetime) -> float:
    return float(elevation_deg([place.latitude_deg], [place.longitude_deg], unix_seconds(instant))[0])


@settings(max_examples=40, deadline=None)
@given(
    st.dates(date(2020, 1, 1), date(2035, 12, 31)), st.floats(-60, 60), st.floats(-18, 10), st.booleans(),
)  # fmt: skip
def test_at_its_elevation_the_sun_stands_where_it_should(
    night: date, latitude: float, elevation: float, rising: bool
) -> None:
    place = Place(latitude, 9.707, BERLIN)
    moment = NightMoment(Anchor.SUN_ELEVATION, elevation_deg=elevation, rising=rising)
    passage = passage_of(night, place, elevation)
    expected = passage.dawn if rising else passage.dusk
    found = moment.instant(night, place, sun_of_night(night, place))
    start, end = night_bounds(night, BERLIN)
    assert found is not None
    if expected is not None and start < found < end:
        assert found == expected
        assert abs(height_at(place, found) - elevation) < 0.01


def test_where_the_sun_does_not_get_that_low_the_darkest_moment_stands_for_it() -> None:
    sun = sun_of_night(MIDSUMMER, BAD_HERSFELD)
    dark = sun.dark()
    assert dark is not None
    astronomical = NightMoment(Anchor.SUN_ELEVATION, elevation_deg=-18.0)
    found = astronomical.instant(MIDSUMMER, BAD_HERSFELD, sun)
    assert found == astronomical.instant(MIDSUMMER, BAD_HERSFELD, sun) == dark[0] + (dark[1] - dark[0]) / 2


def test_where_the_sun_does_not_get_that_high_the_noon_stands_for_it_and_a_night_without_dark_has_none() -> None:
    high = NightMoment(Anchor.SUN_ELEVATION, elevation_deg=5.0)
    polar = sun_of_night(WINTER, TROMSOE)
    assert high.instant(WINTER, TROMSOE, polar) == max(polar.solar_noon, night_bounds(WINTER, TROMSOE.tz)[0])
    assert high.instant(MIDSUMMER, TROMSOE, sun_of_night(MIDSUMMER, TROMSOE)) is None


def test_elevations_of_a_year_are_those_of_its_nights() -> None:
    nights = [date(2026, 1, 1) + timedelta(days=7 * number) for number in range(53)]
    for night, (_, passages) in zip(nights, suns_of_nights(BAD_HERSFELD, nights, [-12.0, -18.0]), strict=True):
        for elevation in (-12.0, -18.0):
            assert passages[elevation] == passage_of(night, BAD_HERSFELD, elevation)


def test_limits_hold_an_elevation_back_too() -> None:
    early = SwitchPoint(Anchor.SUN_ELEVATION, 1000, elevation_deg=-12.0, latest=time(17))
    late = SwitchPoint(Anchor.SUN_ELEVATION, 0, elevation_deg=-12.0, rising=True, earliest=time(7, 30))
    instants = Profile((early, late)).instants(WINTER, BAD_HERSFELD)
    assert [instant.astimezone(BERLIN).time() for instant in instants] == [time(17), time(7, 30)]


def test_a_rule_listens_from_sunset_to_sunrise_where_nothing_else_is_said() -> None:
    [rule] = with_rules(TRAFFIC).sensor_rules(WINTER, BAD_HERSFELD)
    assert [from_unix_ms(rule.from_ms), from_unix_ms(rule.until_ms)] == ALL_NIGHT.instants(WINTER, BAD_HERSFELD)
    assert (rule.on_milli, rule.off_milli, rule.hold_s, rule.position) == (30_000, 20_000, 300, 0)


def test_a_twilight_switch_has_a_threshold_for_each_direction() -> None:
    evening, morning = with_rules(TWILIGHT).sensor_rules(WINTER, BAD_HERSFELD)
    midnight = to_unix_ms(sun_of_night(WINTER, BAD_HERSFELD).solar_midnight.replace(microsecond=0))
    assert (evening.until_ms, morning.from_ms) == (midnight, midnight)
    assert (evening.on_milli, evening.off_milli) == (35_000, 35_000)
    assert (morning.on_milli, morning.off_milli) == (25_000, 25_000)
    afternoon = replace(TWILIGHT, begin=at_clock("14:00"), end=NightMoment(Anchor.SUNSET))
    [only] = with_rules(afternoon).sensor_rules(WINTER, BAD_HERSFELD)
    assert only.on_milli == 35_000
    before_dawn = replace(TWILIGHT, begin=at_clock("05:00"))
    [last] = with_rules(before_dawn).sensor_rules(WINTER, BAD_HERSFELD)
    assert last.on_milli == 25_000


def test_rules_come_in_the_order_of_their_windows_and_keep_their_place_among_each_other() -> None:
    late = replace(TRAFFIC, begin=at_clock("23:00"), end=at_clock("04:00"))
    compiled = with_rules(late, TRAFFIC).sensor_rules(WINTER, BAD_HERSFELD)
    assert [rule.position for rule in compiled] == [1, 0]


def test_a_night_without_dark_has_no_window_that_rests_on_it() -> None:
    assert with_rules(TRAFFIC).sensor_rules(MIDSUMMER, TROMSOE) == []
    by_clock = replace(TRAFFIC, begin=at_clock("23:00"), end=at_clock("01:00"))
    assert len(with_rules(by_clock).sensor_rules(MIDSUMMER, TROMSOE)) == 1


def test_a_window_that_closes_in_midsummer_is_refused_with_the_first_night() -> None:
    until_ten = replace(TRAFFIC, begin=NightMoment(Anchor.CIVIL_DUSK), end=at_clock("22:00"))
    with pytest.raises(InvalidInput) as refused:
        check_year(with_rules(until_ten), BAD_HERSFELD, date(2026, 1, 1))
    [violation] = refused.value.violations
    assert violation.field == "rules[0].end"
    night = date.fromisoformat(violation.reason.split("night of ")[1].split(" ")[0])
    dusk = sun_of_night(night, BAD_HERSFELD).civil_dusk
    assert dusk is not None
    assert dusk.astimezone(BERLIN).time() >= time(22)
    before = sun_of_night(night - timedelta(days=1), BAD_HERSFELD).civil_dusk
    assert before is not None
    assert before.astimezone(BERLIN).time() < time(22)


def test_a_window_that_is_never_open_is_refused() -> None:
    never = replace(TRAFFIC, begin=at_clock("04:00"), end=at_clock("23:00"))
    with pytest.raises(InvalidInput) as refused:
        check_year(with_rules(never), BAD_HERSFELD, date(2026, 1, 1))
    assert refused.value.violations[0].reason.startswith("in the night of 2026-01-01 it comes at 23:00:00, not after")


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (replace(TRAFFIC, off_milli=30_001), "rules[0].off_milli"),
        (replace(TRAFFIC, value_permille=1_001), "rules[0].value_permille"),
        (replace(TRAFFIC, hold_s=-1), "rules[0].hold_s"),
        (replace(TRAFFIC, ramp_s=3_601), "rules[0].ramp_s"),
        (replace(TRAFFIC, sensor="a/b"), "rules[0].sensor"),
        (replace(TRAFFIC, begin=NightMoment(Anchor.CLOCK)), "rules[0].begin.clock_time"),
        (replace(TRAFFIC, end=NightMoment(Anchor.SUNRISE, 50_000)), "rules[0].end.offset_s"),
        (replace(TRAFFIC, end=replace(NAUTICAL_DAWN, elevation_deg=-19.0)), "rules[0].end.elevation_deg"),
        (replace(TRAFFIC, begin=replace(NAUTICAL_DUSK, elevation_deg=float("nan"))), "rules[0].begin.elevation_deg"),
        (replace(TRAFFIC, begin=NightMoment(Anchor.SUNSET, rising=True)), "rules[0].begin.elevation_deg"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_the_field(rule: SensorRule, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        validate_profile(with_rules(rule))
    assert [violation.field for violation in refused.value.violations] == [field]


def test_a_twilight_switch_may_have_either_threshold_the_larger() -> None:
    validate_profile(with_rules(TWILIGHT, replace(TWILIGHT, on_milli=25_000, off_milli=35_000)))
    with pytest.raises(InvalidInput) as refused:
        validate_profile(with_rules(*[TWILIGHT] * 21))
    assert str(refused.value.violations[0]) == "rules: 21 are more than 20"


def test_points_and_rules_of_a_dimming_profile_hold_all_year() -> None:
    traffic = replace(TRAFFIC, begin=at_clock("22:30"), end=at_clock("04:30"))
    check_year(replace(dimmed(500), rules=(traffic, TWILIGHT)), BAD_HERSFELD, date(2026, 1, 1))
