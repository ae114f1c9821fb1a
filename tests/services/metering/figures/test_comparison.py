"""A period against another: by the local calendar, per square metre, with the weather taken out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from domain.degree_days import DegreeDays
from domain.errors import InvalidInput
from services.metering.figures.comparison import Period, Used, as_long, compare, year_before
from tests.services.metering.profiles import BERLIN


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC)


def period(start: str, end: str) -> Period:
    return Period(local(start), local(end))


WHOLE = Used(1000, 0, 1000)


def known(centi_kd: int, known_days: int, days: int) -> DegreeDays:
    return DegreeDays(centi_kd, 0, known_days, days)


def test_months_are_held_against_the_same_months_also_in_leap_years() -> None:
    assert year_before(period("2024-02-01", "2024-03-01"), BERLIN) == period("2023-02-01", "2023-03-01")
    assert year_before(period("2025-01-01", "2026-01-01"), BERLIN) == period("2024-01-01", "2025-01-01")


def test_days_are_held_against_days_of_the_same_weekday() -> None:
    before = year_before(period("2026-04-06", "2026-04-13"), BERLIN)
    assert before == period("2025-04-07", "2025-04-14")
    assert before.start.astimezone(BERLIN).weekday() == date(2026, 4, 6).weekday()


def test_the_wall_clock_is_kept_over_a_change_of_the_clocks() -> None:
    before = year_before(period("2026-03-30T00:00", "2026-03-31T00:00"), BERLIN)
    assert before == period("2025-03-31T00:00", "2025-04-01T00:00")
    assert year_before(period("2026-03-29", "2026-03-30"), BERLIN).end - year_before(
        period("2026-03-29", "2026-03-30"), BERLIN
    ).start == timedelta(hours=23)


def test_a_given_begin_makes_a_period_as_long_in_months_or_days() -> None:
    assert as_long(period("2026-01-01", "2026-03-01"), local("2024-01-01"), BERLIN) == period(
        "2024-01-01", "2024-03-01"
    )
    assert as_long(period("2026-11-01", "2027-02-01"), local("2020-11-01"), BERLIN) == period(
        "2020-11-01", "2021-02-01"
    )
    assert as_long(period("2026-03-28", "2026-03-30"), local("2026-06-03"), BERLIN) == period(
        "2026-06-03", "2026-06-05"
    )
    hours = as_long(period("2026-03-28T06:00", "2026-03-28T09:00"), local("2026-06-03"), BERLIN)
    assert hours.end - hours.start == timedelta(hours=3)


def test_change_is_told_in_per_mille_and_only_where_both_are_known() -> None:
    assert compare(Used(900, 0, 1000), WHOLE, days=30).change_permille == -100
    assert compare(Used(900, 0, 1000), Used(0, 0, 0), days=30).change_permille is None
    assert compare(Used(0, 0, 0), WHOLE, days=30).change_permille is None
    assert compare(Used(900, 0, 1000), Used(0, 0, 1000), days=30).change_permille is None


def test_use_per_square_metre_needs_a_floor_area() -> None:
    assert compare(WHOLE, WHOLE, days=30).milli_amount_per_m2 is None
    assert compare(Used(120_000_000, 0, 1000), WHOLE, days=365, floor_area_m2=1_000).milli_amount_per_m2 == 120_000_000


def test_the_part_that_follows_the_weather_is_scaled_and_the_rest_stays() -> None:
    found = compare(
        Used(95_000, 0, 1000),
        Used(100_000, 0, 1000),
        days=365,
        warmth=known(270_000, 365, 365),
        reference_warmth=known(300_000, 365, 365),
        base_share_permille=200,
    )
    # 20 000 of hot water stay; 80 000 of heating would have been 72 000 in the milder year.
    assert found.adjusted_reference == 92_000
    assert found.adjusted_change_permille == 33
    assert found.change_permille == -50
    assert found.milli_amount_per_degree_day == 35_185
    assert found.reference_milli_amount_per_degree_day == 33_333
    assert not found.is_provisional


def test_a_single_month_is_provisional() -> None:
    assert compare(WHOLE, WHOLE, days=31).is_provisional


@pytest.mark.parametrize(
    ("warmth", "reference"),
    [
        (None, known(1, 1, 1)),
        (known(1, 1, 1), None),
        (known(1, 30, 31), known(1, 1, 1)),
        (known(1, 1, 1), known(0, 1, 1)),
    ],
)
def test_without_the_temperature_of_each_day_the_weather_stays_in(
    warmth: DegreeDays | None, reference: DegreeDays | None
) -> None:
    found = compare(WHOLE, WHOLE, days=365, warmth=warmth, reference_warmth=reference)
    assert (found.adjusted_reference, found.adjusted_change_permille) == (None, None)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidInput, match="base_share"):
        compare(WHOLE, WHOLE, days=1, base_share_permille=1001)
    with pytest.raises(InvalidInput, match="floor_area"):
        compare(WHOLE, WHOLE, days=1, floor_area_m2=-1)
    with pytest.raises(InvalidInput, match="end_time"):
        period("2026-01-02", "2026-01-01")
