"""The baseline is the operation before: lamp and ballast from sunset to sunrise, or the stated use of the local day."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from astral import LocationInfo
from astral.sun import sun
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InvalidInput
from services.ledger.baseline import half_night_pause, lighting_baseline, round_half_even, stated_baseline_wh
from services.ledger.terms import LightingTerms, StatedTerms
from tests.services.ledger.helpers import BERLIN, day_of, inventory, lighting, night_of, stated

EQUINOX = date(2026, 3, 20)
dates = st.dates(date(2020, 1, 1), date(2035, 12, 31))


def one_lamp(**changes: Any) -> LightingTerms:
    return lighting(inventory=inventory(count=1, half_every=0), **changes)


def half_night_lamp(**changes: Any) -> LightingTerms:
    return lighting(inventory=inventory(count=1, half_every=1), **changes)


@pytest.mark.parametrize("day", [date(2026, 1, 15), EQUINOX, date(2026, 3, 28), date(2026, 6, 21), date(2026, 10, 24)])
def test_an_all_night_lamp_burns_from_sunset_to_sunrise_by_another_library(day: date) -> None:
    place = LocationInfo("Bad Hersfeld", "Germany", "UTC", 50.87, 9.71)
    dusk = sun(place.observer, day)["sunset"]
    dawn = sun(place.observer, day + timedelta(days=1))["sunrise"]
    found = lighting_baseline(one_lamp(), BERLIN, *night_of(day))
    # astral puts the horizon a little elsewhere (its refraction): a minute at each end.
    assert abs(int(found.lit_s[0]) - (dawn - dusk).total_seconds()) < 120
    assert found.baseline_wh == round_half_even(Fraction(int(found.lit_s[0]) * 83_000, 3_600_000))
    assert found.full_level_reference_wh == round_half_even(Fraction(int(found.dark_s[0]) * 30_000, 3_600_000))


def test_a_half_night_lamp_burns_until_its_clock_time() -> None:
    start, end = night_of(EQUINOX)
    whole = lighting_baseline(one_lamp(), BERLIN, start, end)
    half = lighting_baseline(half_night_lamp(), BERLIN, start, end)
    dusk_to_off = half.lit_s[0]
    assert whole.dark_s[0] == half.dark_s[0] == whole.lit_s[0]
    # At the equinox the sun sets about 18:30 in Bad Hersfeld: four hours until 22:30.
    assert 3.8 * 3600 < dusk_to_off < 4.2 * 3600
    assert half.full_level_reference_wh == whole.full_level_reference_wh


def test_a_half_night_lamp_that_came_on_again_burns_until_sunrise() -> None:
    start, end = night_of(EQUINOX)
    whole = lighting_baseline(one_lamp(), BERLIN, start, end)
    paused = lighting_baseline(half_night_lamp(half_night_off="23:00", half_night_on="05:00"), BERLIN, start, end)
    assert whole.lit_s[0] - paused.lit_s[0] == 6 * 3600


def test_in_midsummer_a_lamp_whose_time_comes_before_dusk_does_not_burn_at_all() -> None:
    found = lighting_baseline(half_night_lamp(half_night_off="21:00"), BERLIN, *night_of(date(2026, 6, 21)))
    assert found.lit_s[0] == 0
    assert found.dark_s[0] > 0


def test_the_pause_follows_the_clock_through_both_dst_nights() -> None:
    spring, autumn = date(2026, 3, 28), date(2026, 10, 24)
    for night, hours in ((spring, 3.0), (autumn, 5.0), (EQUINOX, 4.0)):
        off, on = half_night_pause("00:30", "04:30", night, BERLIN)
        assert (on - off).total_seconds() == hours * 3600


@pytest.mark.parametrize(
    ("off", "on", "field"),
    [
        ("2230", "", "half_night_off"),
        ("24:00", "", "half_night_off"),
        ("22:30", "22:30", "half_night_on"),
        ("04:00", "23:00", "half_night_on"),
        ("22:30", "5:00", "half_night_on"),
    ],
)
def test_clock_times_follow_each_other_between_noon_and_noon(off: str, on: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        half_night_pause(off, on, EQUINOX, BERLIN)
    assert caught.value.violations[0].field == field


@settings(max_examples=60, deadline=None)
@given(day=dates, hours=st.integers(1, 22))
def test_parts_of_a_night_add_up_to_the_night(day: date, hours: int) -> None:
    terms = lighting(half_night_off="23:15", half_night_on="04:45")
    start, end = night_of(day)
    cut = start + timedelta(hours=hours)
    whole = lighting_baseline(terms, BERLIN, start, end)
    parts = [lighting_baseline(terms, BERLIN, a, b) for a, b in ((start, cut), (cut, end))]
    assert np.array_equal(parts[0].lit_s + parts[1].lit_s, whole.lit_s)
    assert np.array_equal(parts[0].dark_s + parts[1].dark_s, whole.dark_s)
    assert sum(part.baseline_mws for part in parts) == whole.baseline_mws


def test_nights_of_a_year_add_up_to_the_year_and_to_its_published_burning_hours() -> None:
    terms = one_lamp()
    nights = [night_of(date(2026, 1, 1) + timedelta(days=n)) for n in range(365)]
    year = lighting_baseline(terms, BERLIN, nights[0][0], nights[-1][1])
    assert year.baseline_mws == sum(lighting_baseline(terms, BERLIN, *night).baseline_mws for night in nights)
    # Street lighting burns about 4 000 to 4 200 h a year by twilight switch, a little more from sunset to sunrise.
    assert 4_100 < year.lit_s[0] / 3600 < 4_400


def test_a_midsummer_night_without_sunset_has_no_baseline() -> None:
    far_north = replace(inventory(count=1, half_every=0), latitudes_e7=(695_000_000,), longitudes_e7=(190_000_000,))
    found = lighting_baseline(lighting(inventory=far_north), BERLIN, *night_of(date(2026, 6, 21)))
    assert found.baseline_wh == 0


def test_a_big_town_over_a_year_does_not_overflow() -> None:
    town = inventory(count=2_000, previous_mw=10_000_000, half_every=0)
    found = lighting_baseline(lighting(inventory=town), BERLIN, *night_of(EQUINOX))
    scaled = replace(found, lit_s=found.lit_s * 365)
    assert scaled.baseline_mws == 365 * found.baseline_mws > 2**53


def test_a_stated_day_counts_as_its_month_and_kind_of_day() -> None:
    terms = stated()
    monday, saturday = date(2026, 3, 2), date(2026, 3, 7)
    assert stated_baseline_wh(terms, BERLIN, *day_of(monday)) == terms.weekday_wh[2]
    assert stated_baseline_wh(terms, BERLIN, *day_of(saturday)) == terms.weekend_wh[2]


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 5, 5), 24)])
def test_a_part_of_a_local_day_counts_by_its_seconds(day: date, hours: int) -> None:
    terms = stated()
    start, end = day_of(day)
    assert (end - start) == timedelta(hours=hours)
    whole = stated_baseline_wh(terms, BERLIN, start, end)
    assert stated_baseline_wh(terms, BERLIN, start, start + timedelta(hours=6)) == whole * 6 / hours


@settings(max_examples=60)
@given(first=dates, hours=st.lists(st.integers(1, 300), min_size=1, max_size=4))
def test_stated_parts_add_up_exactly(first: date, hours: list[int]) -> None:
    terms = stated()
    cuts = [datetime.combine(first, time(5), tzinfo=UTC)]
    for step in hours:
        cuts.append(cuts[-1] + timedelta(hours=step))
    parts = sum((stated_baseline_wh(terms, BERLIN, a, b) for a, b in pairwise(cuts)), Fraction(0))
    assert parts == stated_baseline_wh(terms, BERLIN, cuts[0], cuts[-1])


def test_nothing_is_used_in_no_time() -> None:
    start, _ = day_of(EQUINOX)
    flat = StatedTerms((1,) * 12, (1,) * 12, 100, "x")
    assert stated_baseline_wh(flat, BERLIN, start, start) == 0


def test_halves_are_rounded_to_the_even_neighbour() -> None:
    assert [round_half_even(n, 2) for n in (1, 3, 5, -1, -3)] == [0, 2, 2, 0, -2]
