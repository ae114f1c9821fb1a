"""Sunset, sunrise and twilight: against published values, against another library, and against the sun's own height."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from itertools import pairwise

import astral
import astral.sun
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.night import night_bounds, zone
from domain.sun import (
    CIVIL_DEG,
    SUNSET_DEG,
    SunState,
    crossings,
    elevation_deg,
    is_sun_down,
    night_events,
    sun_events,
    sun_position,
    unix_seconds,
)

BAD_HERSFELD = (50.87, 9.71)
MST = timezone(timedelta(hours=-7))
TOKYO = (35.6581, 139.7414)
GOLDEN = (39.742476, -105.1786)  # the place of the examples of the Solar Position Algorithm


def seconds_between(a: datetime | None, b: datetime) -> float:
    assert a is not None
    return abs((a - b).total_seconds())


@pytest.mark.parametrize(
    ("event", "published"),
    [
        # NREL's Solar Position Algorithm for Golden, Colorado: its tester (2003-10-17) and its web calculator as quoted
        # in pvlib's tests (2015). It names a sunset by the UTC date, which is the evening before in local time.
        ("sunrise", datetime(2003, 10, 17, 6, 12, 43, tzinfo=MST)),
        ("solar_noon", datetime(2003, 10, 17, 11, 46, 5, tzinfo=MST)),
        ("sunset", datetime(2003, 10, 16, 17, 20, 19, tzinfo=MST)),
        ("sunrise", datetime(2015, 1, 2, 7, 21, 55, tzinfo=MST)),
        ("solar_noon", datetime(2015, 1, 2, 12, 4, 45, tzinfo=MST)),
        ("sunset", datetime(2015, 1, 2, 16, 47, 43, tzinfo=MST)),
        ("sunrise", datetime(2015, 8, 2, 5, 0, 27, tzinfo=MST)),
        ("solar_noon", datetime(2015, 8, 2, 12, 6, 58, tzinfo=MST)),
        ("sunset", datetime(2015, 8, 1, 19, 13, 58, tzinfo=MST)),
    ],
)
def test_golden_agrees_with_the_published_solar_position_algorithm(event, published):
    day = published.date() - timedelta(days=event == "sunrise")
    assert seconds_between(getattr(sun_events(*GOLDEN, day), event), published) < 5


@pytest.mark.parametrize(
    ("day", "sunrise", "sunset"),
    [
        # National Astronomical Observatory of Japan, Tokyo, to the minute.
        (date(2006, 7, 2), time(4, 29), time(19, 1)),
        (date(2009, 7, 20), time(4, 40), time(18, 55)),
        (date(2011, 1, 7), time(6, 51), time(16, 43)),
    ],
)
def test_tokyo_agrees_with_the_observatorys_tables_within_a_minute(day, sunrise, sunset):
    tz = zone("Asia/Tokyo")
    assert seconds_between(sun_events(*TOKYO, day).sunset, datetime.combine(day, sunset, tz)) <= 60
    morning = sun_events(*TOKYO, day - timedelta(days=1)).sunrise
    assert seconds_between(morning, datetime.combine(day, sunrise, tz)) <= 60


# U. S. Naval Observatory, Astronomical Applications Department: "Rise and Set for the Sun for 2019", location N60 00,
# 0 E, Universal Time, to the minute. Rise and set of the 1st, 11th and 21st of every month.
USNO_60_NORTH_2019 = """
    09021505 08151613 06591726 05261843 03591957 02502107 02422125 03402031 04541905 06051734 07211605 08341503
    08541522 07501640 06301752 04561907 03332022 02392121 02562114 04042005 05181834 06291704 07471540 08521454
    08381545 07221706 06001816 04271932 03102045 02362128 03152056 04281937 05411804 06531635 08121519 09021454
"""


@pytest.mark.parametrize(("line", "day_of_month"), [(0, 1), (1, 11), (2, 21)])
def test_at_60_degrees_it_agrees_with_the_naval_observatorys_table_within_a_minute(line, day_of_month):
    def instant(day, clock):
        return datetime.combine(day, time(int(clock[:2]), int(clock[2:])), UTC)

    months = USNO_60_NORTH_2019.strip().splitlines()[line].split()
    assert len(months) == 12
    for month, both in enumerate(months, start=1):
        day = date(2019, month, day_of_month)
        evening, morning = sun_events(60.0, 0.0, day).sunset, sun_events(60.0, 0.0, day - timedelta(days=1)).sunrise
        assert seconds_between(morning, instant(day, both[:4])) <= 60
        assert seconds_between(evening, instant(day, both[4:])) <= 60


def test_the_sun_stands_where_meeus_computes_it():
    # Astronomical Algorithms, examples 25.a and 28.a: 1992 October 13 at 0 h dynamical time.
    at = datetime(1992, 10, 13, tzinfo=UTC)
    declination, equation = sun_position(unix_seconds([at]))
    assert np.degrees(declination[0]) == pytest.approx(-7.78507, abs=2e-5)
    assert equation[0] == pytest.approx(13 * 60 + 42.6, abs=1.0)


@settings(max_examples=150, deadline=None)
@given(
    latitude=st.floats(-60, 60),
    longitude=st.floats(-180, 180),
    day=st.dates(date(2015, 1, 1), date(2040, 12, 31)),
)
def test_up_to_60_degrees_it_agrees_with_astral_within_a_minute(latitude, longitude, day):
    events = sun_events(latitude, longitude, day)
    observer = astral.Observer(latitude, longitude, 0.0)
    setting, rising = astral.SunDirection.SETTING, astral.SunDirection.RISING
    for ours, depression, direction in (
        (events.sunset, -SUNSET_DEG, setting),
        (events.sunrise, -SUNSET_DEG, rising),
        (events.civil_dusk, -CIVIL_DEG, setting),
        (events.civil_dawn, -CIVIL_DEG, rising),
    ):
        if ours is not None and min(ours.timestamp() % 86_400, -ours.timestamp() % 86_400) < 1800:
            continue  # astral counts events by the UTC day and takes the wrong one near its midnight
        theirs = []
        for shift in (-1, 0, 1):
            try:
                # Without its refraction, which it would apply to twilight, too, and so shift it by minutes.
                there = astral.sun.time_of_transit(
                    observer, day + timedelta(days=shift), 90 + depression, direction, with_refraction=False
                )
            except ValueError:
                continue
            theirs.append(there)
        if ours is None:
            # At 60 degrees a midsummer night may have no civil dusk; astral then knows none on some day around, too.
            assert len(theirs) < 3
            continue
        assert min(seconds_between(ours, t) for t in theirs) <= 60


@settings(max_examples=200, deadline=None)
@given(
    latitude=st.floats(-89, 89),
    longitude=st.floats(-180, 180),
    instant=st.datetimes(datetime(2020, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC)),
)
def test_it_is_dark_exactly_while_the_sun_is_down(latitude, longitude, instant):
    height = float(elevation_deg(latitude, longitude, instant))
    if abs(height - SUNSET_DEG) < 0.02:
        return  # so near to the event the answer may differ by the sun's drift between two noons
    dark = []
    for shift in (-2, -1, 0, 1):
        span = sun_events(latitude, longitude, instant.date() + timedelta(days=shift)).dark()
        dark.append(span is not None and span[0] <= instant < span[1])
    assert any(dark) == (height < SUNSET_DEG) == is_sun_down(latitude, longitude, instant)


def test_the_sun_has_the_named_height_at_every_event():
    rng = np.random.default_rng(7)
    latitude, longitude = rng.uniform(-75, 75, 5000), rng.uniform(-180, 180, 5000)
    for noon in (datetime(2026, 3, 20, 12, tzinfo=UTC), datetime(2026, 6, 21, 12, tzinfo=UTC)):
        events = night_events(latitude, longitude, noon)
        for instants, height in (
            (events.sunset_s, SUNSET_DEG),
            (events.sunrise_s, SUNSET_DEG),
            (events.civil_dusk_s, CIVIL_DEG),
            (events.civil_dawn_s, CIVIL_DEG),
        ):
            there = ~np.isnan(instants)
            heights = elevation_deg(latitude[there], longitude[there], instants[there])
            assert np.abs(heights - height).max() < 1e-4
        for earlier, later in (
            (events.solar_noon_s, events.sunset_s),
            (events.sunset_s, events.civil_dusk_s),
            (events.civil_dusk_s, events.civil_dawn_s),
            (events.civil_dawn_s, events.sunrise_s),
            (events.sunrise_s, events.next_solar_noon_s),
        ):
            both = ~np.isnan(earlier) & ~np.isnan(later)
            assert np.all(earlier[both] <= later[both])


@pytest.mark.parametrize(
    ("day", "lowest", "highest"),
    [
        (date(2026, 6, 20), 65.6, 65.8),
        (date(2026, 12, 20), 67.3, 67.5),
        (date(2026, 4, 20), 75.0, 80.0),
        (date(2026, 3, 20), 85.0, 89.5),
    ],
)
def test_where_the_sun_only_just_grazes_the_horizon_the_instant_still_is_right(day, lowest, highest):
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    latitude = np.linspace(lowest, highest, 2000)
    events = night_events(latitude, 0.0, noon)
    assert 0 < np.isnan(events.sunset_s).sum() < latitude.size
    for instants in (events.sunset_s, events.sunrise_s):
        there = ~np.isnan(instants)
        heights = elevation_deg(latitude[there], 0.0, instants[there])
        assert np.abs(heights - SUNSET_DEG).max() < 2e-6


def test_a_hundred_thousand_places_give_what_each_gives_alone():
    rng = np.random.default_rng(3)
    latitude, longitude = rng.uniform(-70, 70, 100_000), rng.uniform(-180, 180, 100_000)
    day = date(2026, 11, 22)
    events = night_events(latitude, longitude, datetime(2026, 11, 22, 12, tzinfo=UTC))
    for i in range(0, 100_000, 4999):
        alone = sun_events(latitude[i], longitude[i], day, noon_utc=datetime(2026, 11, 22, 12, tzinfo=UTC))
        assert events.state[i] == alone.state
        if alone.sunset is not None:
            assert abs(events.sunset_s[i] - alone.sunset.timestamp()) < 0.1
        if alone.civil_dawn is not None:
            assert abs(events.civil_dawn_s[i] - alone.civil_dawn.timestamp()) < 0.1


@settings(max_examples=60, deadline=None)
@given(
    latitude=st.floats(-72, 72),
    longitude=st.floats(-180, 180),
    day=st.dates(date(2015, 1, 1), date(2040, 12, 31)),
    others=st.integers(0, 400),
)
def test_a_night_alone_is_what_it_is_among_others(latitude, longitude, day, others):
    # To the microsecond: a plan of four nights and a preview of a year fall on the same seconds.
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()
    among = night_events(latitude, longitude, noon + 86_400.0 * np.arange(-others, 5))
    alone = sun_events(latitude, longitude, day, noon_utc=datetime.fromtimestamp(noon, UTC))
    for column, instant in (
        (among.solar_noon_s, alone.solar_noon),
        (among.sunset_s, alone.sunset),
        (among.sunrise_s, alone.sunrise),
        (among.civil_dusk_s, alone.civil_dusk),
        (among.civil_dawn_s, alone.civil_dawn),
    ):
        if instant is None:
            assert np.isnan(column[others])
        else:
            assert abs(column[others] - instant.timestamp()) < 5e-6


def test_a_year_of_many_places_comes_in_one_table():
    tz = zone("Europe/Berlin")
    noons = [night_bounds(date(2026, 1, 1) + timedelta(days=d), tz)[0] for d in range(365)]
    latitude, longitude = np.linspace(47, 55, 20), np.linspace(6, 15, 20)
    events = night_events(latitude, longitude, unix_seconds(noons)[:, None])
    assert events.sunset_s.shape == (365, 20)
    alone = sun_events(latitude[7], longitude[7], date(2026, 7, 20))
    assert alone.sunset is not None
    assert abs(events.sunset_s[200, 7] - alone.sunset.timestamp()) < 0.1
    assert not np.isnan(events.civil_dawn_s).any()


def test_the_evening_belongs_to_the_day_and_the_morning_to_the_next():
    events = sun_events(*BAD_HERSFELD, date(2026, 3, 28))
    assert events.state is SunState.NORMAL
    assert events.sunset is not None
    assert events.sunrise is not None
    tz = zone("Europe/Berlin")
    assert events.sunset.astimezone(tz).date() == date(2026, 3, 28)
    assert events.sunrise.astimezone(tz).date() == date(2026, 3, 29)
    assert events.dark() == (events.sunset, events.sunrise)


@pytest.mark.parametrize("longitude", [-179.9, -105.2, 0.0, 9.7, 151.2, 179.9])
def test_the_day_is_the_local_one_all_round_the_globe(longitude):
    noon = sun_events(48.0, longitude, date(2026, 9, 1)).solar_noon
    local_mean_time = noon + timedelta(hours=longitude / 15)
    assert abs((local_mean_time - datetime(2026, 9, 1, 12, tzinfo=UTC)).total_seconds()) < 20 * 60


def test_where_the_clock_is_a_day_off_its_longitude_the_noon_decides():
    kiritimati = zone("Pacific/Kiritimati")
    noon, _ = night_bounds(date(2026, 5, 1), kiritimati)
    events = sun_events(1.87, -157.4, date(2026, 5, 1), noon_utc=noon)
    assert events.sunset is not None
    assert events.sunset.astimezone(kiritimati).date() == date(2026, 5, 1)


def test_a_midsummer_night_in_the_north_is_never_dark():
    # Finnish Meteorological Institute: no sunset in Utsjoki, 69 deg 45 min N, on 2007-07-18.
    events = sun_events(69.75, 27.0, date(2007, 7, 18))
    assert (events.state, events.sunset, events.sunrise, events.dark()) == (SunState.ALWAYS_UP, None, None, None)


def test_the_polar_night_is_dark_from_noon_to_noon():
    # The same source: no sunrise in Utsjoki on 2011-01-07, yet there is a civil twilight at noon.
    events = sun_events(69.75, 27.0, date(2011, 1, 7))
    assert (events.state, events.sunset, events.sunrise) == (SunState.ALWAYS_DOWN, None, None)
    assert events.dark() == (events.solar_noon, events.next_solar_noon)
    assert events.civil_state is SunState.NORMAL
    assert events.civil_dark() == (events.civil_dusk, events.civil_dawn)


def test_a_midsummer_night_without_civil_dusk_still_has_a_sunset():
    events = sun_events(62.0, 25.0, date(2026, 6, 21))
    assert events.state is SunState.NORMAL
    assert events.civil_state is SunState.ALWAYS_UP
    assert events.civil_dark() is None
    assert events.sunset is not None


def test_nights_tile_the_polar_year_without_gap_or_overlap():
    nights = [sun_events(71.0, 25.8, date(2026, 1, 1) + timedelta(days=d)) for d in range(364)]
    for tonight, tomorrow in pairwise(nights):
        assert abs((tonight.next_solar_noon - tomorrow.solar_noon).total_seconds()) < 0.1
    assert {night.state for night in nights} == set(SunState)
    table = night_events(71.0, 25.8, unix_seconds([n.solar_noon for n in nights]))
    starts, ends = table.dark_s()
    for i, night in enumerate(nights):
        span = night.dark()
        assert np.isnan(starts[i]) == (span is None)
        if span is not None:
            assert (starts[i], ends[i]) == pytest.approx((span[0].timestamp(), span[1].timestamp()), abs=0.2)


def test_both_poles_have_an_answer():
    for latitude in (90.0, -90.0):
        for day in (date(2026, 6, 21), date(2026, 12, 21)):
            events = sun_events(latitude, 0.0, day)
            up = (latitude > 0) == (day.month == 6)
            assert events.state is (SunState.ALWAYS_UP if up else SunState.ALWAYS_DOWN)


def test_any_elevation_can_be_asked_for():
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    at_sunset = crossings(*BAD_HERSFELD, noon, SUNSET_DEG)
    deeper = crossings(*BAD_HERSFELD, noon, -3.5)
    assert float(at_sunset.dusk_s) < float(deeper.dusk_s)
    assert float(elevation_deg(*BAD_HERSFELD, np.asarray(deeper.dusk_s))) == pytest.approx(-3.5, abs=1e-4)
    assert crossings(*BAD_HERSFELD, noon, 80.0).state == SunState.ALWAYS_DOWN


@pytest.mark.parametrize(
    ("latitude", "longitude", "field"),
    [
        (90.1, 0, "latitude_deg"),
        (float("nan"), 0, "latitude_deg"),
        (0, 181, "longitude_deg"),
        (0, 5.6e6, "longitude_deg"),
    ],
)
def test_a_place_off_the_globe_is_refused(latitude, longitude, field):
    with pytest.raises(InvalidInput) as error:
        sun_events(latitude, longitude, date(2026, 1, 1))
    assert error.value.violations[0].field == field


def test_an_instant_without_a_zone_is_refused():
    with pytest.raises(InvalidInput, match="time zone"):
        is_sun_down(*BAD_HERSFELD, datetime(2026, 1, 1))
