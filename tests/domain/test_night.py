"""Local days, months and lighting nights as spans of UTC, the two changes of the clock included."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.night import (
    ceil_slot,
    dates_between,
    floor_slot,
    instant_from_unix_ms,
    lighting_night,
    local_date,
    local_day_bounds,
    local_instant,
    local_month_bounds,
    middle,
    night_bounds,
    night_month_bounds,
    nights_between,
    nights_of_month,
    quarter_hours,
    quarter_hours_of_day,
    slots,
    unix_ms,
    zone,
)

BERLIN = zone("Europe/Berlin")
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)
ZONES = st.sampled_from(["Europe/Berlin", "Asia/Kathmandu", "America/Sao_Paulo", "Australia/Lord_Howe", "UTC"])
INSTANTS = st.datetimes(datetime(2015, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC))


@pytest.mark.parametrize(("day", "quarters"), [(SPRING, 92), (AUTUMN, 100), (date(2026, 11, 22), 96)])
def test_a_local_day_has_92_96_or_100_quarter_hours(day, quarters):
    assert len(quarter_hours_of_day(day, BERLIN)) == quarters


def test_the_nights_in_which_the_clock_changes_have_23_and_25_hours():
    for evening, hours in ((SPRING - timedelta(days=1), 23), (AUTUMN - timedelta(days=1), 25), (SPRING, 24)):
        start, end = night_bounds(evening, BERLIN)
        assert end - start == timedelta(hours=hours)


def test_a_night_runs_from_noon_to_noon():
    assert lighting_night(datetime(2026, 11, 22, 10, 59, 59, tzinfo=UTC), BERLIN) == date(2026, 11, 21)
    assert lighting_night(datetime(2026, 11, 22, 11, 0, tzinfo=UTC), BERLIN) == date(2026, 11, 22)
    assert lighting_night(datetime(2026, 11, 23, 4, 0, tzinfo=UTC), BERLIN) == date(2026, 11, 22)


def test_the_night_into_february_belongs_to_january():
    assert date(2026, 1, 31) in nights_of_month(2026, 1)
    start, end = night_month_bounds(2026, 1, BERLIN)
    assert lighting_night(end - timedelta(seconds=1), BERLIN) == date(2026, 1, 31)
    assert lighting_night(start, BERLIN) == date(2026, 1, 1)
    assert start == night_bounds(date(2026, 1, 1), BERLIN)[0]


@given(INSTANTS, ZONES)
def test_every_instant_lies_in_exactly_one_night_and_one_day(instant, name):
    tz = zone(name)
    start, end = night_bounds(lighting_night(instant, tz), tz)
    assert start <= instant < end
    start, end = local_day_bounds(local_date(instant, tz), tz)
    assert start <= instant < end


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut", "Australia/Lord_Howe"])
def test_local_days_tile_the_years(name):
    tz = zone(name)
    days = dates_between(date(2015, 1, 1), date(2036, 1, 1))
    for today, tomorrow in pairwise(days):
        assert local_day_bounds(today, tz)[1] == local_day_bounds(tomorrow, tz)[0]
        assert night_bounds(today, tz)[1] == night_bounds(tomorrow, tz)[0]


@given(st.dates(date(2015, 1, 1), date(2035, 12, 31)))
def test_quarter_hours_fill_the_local_day_without_a_gap(day):
    start, end = local_day_bounds(day, BERLIN)
    quarters = quarter_hours_of_day(day, BERLIN)
    assert quarters[0] == start
    assert quarters[-1] + timedelta(minutes=15) == end
    assert all(b - a == timedelta(minutes=15) for a, b in pairwise(quarters))


def test_a_month_is_made_of_its_days():
    start, end = local_month_bounds(2026, 12, BERLIN)
    assert start == local_day_bounds(date(2026, 12, 1), BERLIN)[0]
    assert end == local_day_bounds(date(2026, 12, 31), BERLIN)[1]
    assert local_month_bounds(2026, 3, BERLIN)[1] - local_month_bounds(2026, 3, BERLIN)[0] == timedelta(hours=743)


def test_a_time_that_the_clock_skips_is_read_with_the_offset_before_it():
    assert local_instant(SPRING, time(2, 30), BERLIN) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_a_time_that_comes_twice_is_the_first_unless_told_otherwise():
    assert local_instant(AUTUMN, time(2, 30), BERLIN) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert local_instant(AUTUMN, time(2, 30, fold=1), BERLIN) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@given(INSTANTS, st.sampled_from([1, 60, 300, 900, 3600]))
def test_an_instant_lies_in_its_slot(instant, seconds):
    floor = floor_slot(instant, seconds)
    assert floor <= instant < floor + timedelta(seconds=seconds)
    assert floor.timestamp() % seconds == 0
    assert ceil_slot(floor, seconds) == floor
    assert floor <= ceil_slot(instant, seconds) < instant + timedelta(seconds=seconds)


@given(INSTANTS, st.integers(0, 5000))
def test_slots_begin_within_the_span(start, minutes):
    end = start + timedelta(minutes=minutes)
    found = slots(start, end, 900)
    assert found == [s for s in found if start <= s < end]
    assert len(found) in (minutes // 15, minutes // 15 + 1)


def test_an_empty_or_backward_span_has_no_slots_and_no_nights():
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert quarter_hours(noon, noon) == []
    assert quarter_hours(noon, noon - timedelta(hours=5)) == []
    assert nights_between(noon, noon, BERLIN) == []


def test_the_nights_of_a_span_are_all_that_it_touches():
    start, end = night_bounds(date(2026, 1, 10), BERLIN)
    assert nights_between(start, end, BERLIN) == [date(2026, 1, 10)]
    assert nights_between(start - timedelta(seconds=1), end + timedelta(seconds=1), BERLIN) == [
        date(2026, 1, 9),
        date(2026, 1, 10),
        date(2026, 1, 11),
    ]


def test_virtual_midnight_is_the_middle_of_the_lit_night():
    dusk, dawn = datetime(2026, 11, 22, 15, 27, tzinfo=UTC), datetime(2026, 11, 23, 6, 50, tzinfo=UTC)
    assert middle(dusk, dawn) == datetime(2026, 11, 22, 23, 8, 30, tzinfo=UTC)


@given(INSTANTS)
def test_milliseconds_are_read_back(instant):
    assert instant - timedelta(milliseconds=1) < instant_from_unix_ms(unix_ms(instant)) <= instant


@pytest.mark.parametrize("name", ["Europe/Bärlin", "", "../etc/passwd", "Europe", "/etc/localtime"])
def test_a_zone_that_does_not_exist_is_refused(name):
    with pytest.raises(InvalidInput, match="IANA"):
        zone(name)


def test_a_naive_instant_is_refused():
    with pytest.raises(InvalidInput, match="time zone"):
        floor_slot(datetime(2026, 1, 1))


@pytest.mark.parametrize("month", [0, 13])
def test_there_is_no_thirteenth_month(month):
    with pytest.raises(InvalidInput, match="month"):
        nights_of_month(2026, month)
