"""Degree days: against sums computed in another way, on a real station's ten years, and where days are missing."""

from __future__ import annotations

import csv
import os
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.degree_days import (
    GTZ20_15,
    HGT15,
    DailyMeans,
    Rule,
    daily_centi_kd,
    daily_means,
    degree_days,
    degree_days_by_month,
)
from domain.errors import InvalidInput
from domain.night import local_day_bounds, unix_ms

BERLIN = ZoneInfo("Europe/Berlin")
JANUARY = date(2024, 1, 1)
_SHARED = Path(os.environ.get("LICHTBUCH_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
AUGSBURG = _SHARED / "weather" / "dwd_00232_augsburg_daily_2009_2018.csv"

CENTI = st.integers(-4_000, 4_500)


@pytest.fixture(scope="module")
def augsburg() -> dict[date, Decimal]:
    """Daily means of DWD station 00232, degrees Celsius."""
    if not AUGSBURG.is_file():
        pytest.skip(f"{AUGSBURG} is not here: set LICHTBUCH_SHARED_DATA")
    with AUGSBURG.open(newline="") as file:
        return {date.fromisoformat(row["MESS_DATUM"]): Decimal(row["TMK"]) for row in csv.DictReader(file)}


def means_of(station: dict[date, Decimal], first: date, end: date) -> DailyMeans:
    return DailyMeans.of({day: int(mean * 100) for day, mean in station.items()}, first, end)


@pytest.mark.parametrize("year", range(2009, 2019))
def test_years_of_a_real_station_equal_sums_in_decimals(augsburg: dict[date, Decimal], year: int) -> None:
    cold = [mean for day, mean in augsburg.items() if day.year == year and mean < 15]
    means = means_of(augsburg, date(year, 1, 1), date(year + 1, 1, 1))
    gtz, hgt = degree_days(means), degree_days(means, HGT15)
    assert Decimal(gtz.centi_kd) / 100 == sum((20 - mean for mean in cold), Decimal(0))
    assert Decimal(hgt.centi_kd) / 100 == sum((15 - mean for mean in cold), Decimal(0))
    assert gtz.heating_days == hgt.heating_days == len(cold)
    assert (gtz.known_days, gtz.days, gtz.coverage_permille) == (gtz.days, len(means.days), 1000)
    # Augsburg lies in a cold corner: 3 000 to 4 500 Kd a year are usual there.
    assert 3_000_00 < gtz.centi_kd < 4_500_00


def test_months_of_a_real_station_add_up_to_its_ten_years(augsburg: dict[date, Decimal]) -> None:
    means = means_of(augsburg, date(2009, 1, 1), date(2019, 1, 1))
    months = degree_days_by_month(means)
    assert len(months) == 120
    assert sum(month.centi_kd for month in months.values()) == degree_days(means).centi_kd
    june = [20 - mean for day, mean in augsburg.items() if (day.year, day.month) == (2013, 6) and mean < 15]
    assert Decimal(months[2013, 6].centi_kd) / 100 == sum(june)


@given(st.lists(st.tuples(CENTI, st.booleans()), max_size=60), CENTI, st.integers(0, 1_000))
def test_any_base_and_limit_equal_the_sum_day_by_day(days: list[tuple[int, bool]], limit: int, above: int) -> None:
    rule = Rule(limit + above, limit)
    expected = [rule.base_centi_c - mean if known and mean < limit else 0 for mean, known in days]
    assert daily_centi_kd([mean for mean, _ in days], [known for _, known in days], rule).tolist() == expected


def test_a_day_at_the_limit_is_no_heating_day() -> None:
    means = DailyMeans.of({JANUARY: 1_500, JANUARY + timedelta(days=1): 1_499}, JANUARY, JANUARY + timedelta(days=2))
    found = degree_days(means)
    assert (found.centi_kd, found.heating_days) == (501, 1)
    assert degree_days(means, HGT15).centi_kd == 1


@given(st.lists(CENTI, min_size=1, max_size=60))
def test_the_two_kinds_differ_by_five_kelvin_on_each_heating_day(temperatures: list[int]) -> None:
    means = DailyMeans(JANUARY, np.array(temperatures, np.int64), np.ones(len(temperatures), np.bool_))
    gtz, hgt = degree_days(means), degree_days(means, HGT15)
    assert gtz.centi_kd - hgt.centi_kd == 500 * gtz.heating_days


def test_a_missing_day_adds_nothing_and_is_told() -> None:
    means = DailyMeans.of({JANUARY: 0, JANUARY + timedelta(days=2): 500}, JANUARY, JANUARY + timedelta(days=3))
    found = degree_days(means)
    assert (found.centi_kd, found.known_days, found.days, found.coverage_permille) == (3_500, 2, 3, 666)


def test_a_rule_has_the_name_that_people_use() -> None:
    assert [str(rule) for rule in (GTZ20_15, HGT15, Rule(2_000, 1_250))] == ["GTZ20/15", "HGT15", "GTZ20/12.5"]


@pytest.mark.parametrize(
    ("base", "limit", "field"), [(1_400, 1_500, "base"), (8_000, 1_500, "base"), (20, -9_999, "limit")]
)
def test_a_rule_that_means_nothing_is_refused(base: int, limit: int, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Rule(base, limit)
    assert caught.value.violations[0].field == field


def test_a_temperature_in_another_unit_is_refused() -> None:
    # 283.15 K taken for degrees Celsius
    with pytest.raises(InvalidInput, match=r"283\.15 °C is no temperature"):
        DailyMeans.of({JANUARY: 28_315}, JANUARY, JANUARY + timedelta(days=1))


def hours_of(day: date) -> list[int]:
    start, end = (unix_ms(bound) for bound in local_day_bounds(day, BERLIN))
    return list(range(start, end, 3_600_000))


@pytest.mark.parametrize(
    ("day", "hours"), [(JANUARY, 24), (date(2024, 3, 31), 23), (date(2024, 10, 27), 25)], ids=["24 h", "23 h", "25 h"]
)
def test_a_day_is_known_with_all_but_three_of_its_hours(day: date, hours: int) -> None:
    whole = hours_of(day)
    assert len(whole) == hours
    for missing, known in ((0, True), (3, True), (4, False)):
        found = daily_means(whole[missing:], [700] * (hours - missing), day, day + timedelta(days=1), BERLIN)
        assert found.known.tolist() == [known]
        assert found.centi_c.tolist() == [700 if known else 0]


@given(st.lists(CENTI, min_size=24, max_size=24), st.permutations(range(24)))
def test_the_mean_of_hours_is_rounded_half_up_in_any_order(temperatures: list[int], order: list[int]) -> None:
    hours = hours_of(JANUARY)
    found = daily_means(
        [hours[n] for n in order], [temperatures[n] for n in order], JANUARY, JANUARY + timedelta(days=1), BERLIN
    )
    assert found.centi_c.tolist() == [(Fraction(sum(temperatures), 24) + Fraction(1, 2)) // 1]


def test_a_sensor_that_reports_more_often_at_noon_does_not_warm_the_day() -> None:
    hours = hours_of(JANUARY)
    often = [hours[12] + minute * 60_000 for minute in range(1, 60)]
    found = daily_means(
        [*hours, *often], [0] * 12 + [2_400] + [0] * 11 + [2_400] * 59, JANUARY, JANUARY + timedelta(days=1), BERLIN
    )
    assert found.centi_c.tolist() == [100]


def test_values_outside_the_days_do_not_count_and_days_without_values_are_unknown() -> None:
    hours = hours_of(JANUARY)
    late = [unix_ms(datetime(2024, 1, 3, 12, tzinfo=UTC))]
    found = daily_means(hours + late, [300] * 24 + [4_000], JANUARY, JANUARY + timedelta(days=2), BERLIN)
    assert found.known.tolist() == [True, False]
    assert found.centi_c.tolist() == [300, 0]
    assert not daily_means([], [], JANUARY, JANUARY + timedelta(days=2), BERLIN).known.any()


def test_half_hour_zones_have_days_too() -> None:
    kolkata = ZoneInfo("Asia/Kolkata")
    start, end = (unix_ms(bound) for bound in local_day_bounds(JANUARY, kolkata))
    found = daily_means(list(range(start, end, 900_000)), [1_000] * 96, JANUARY, JANUARY + timedelta(days=1), kolkata)
    assert found.known.tolist() == [True]
    assert found.centi_c.tolist() == [1_000]


def test_a_period_without_days_is_refused() -> None:
    with pytest.raises(InvalidInput, match="end"):
        DailyMeans.of({}, JANUARY, JANUARY)
    with pytest.raises(InvalidInput, match="instants"):
        daily_means([1], [], JANUARY, JANUARY + timedelta(days=1), BERLIN)
