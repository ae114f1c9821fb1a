"""Gas: what a volume is worth, when its day begins, and that parts add up."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import FailedPrecondition, InvalidInput
from domain.gas import GasFactor, GasFactors, Worth, gas_day, gas_day_bounds, gas_month_bounds
from domain.night import unix_ms

BERLIN = ZoneInfo("Europe/Berlin")
HOUR_MS = 3_600_000
NEW_YEAR = unix_ms(datetime(2024, 1, 1, 5, tzinfo=UTC))
"""06:00 in Berlin."""


def factors(*given_factors: tuple[date, int, int]) -> GasFactors:
    return GasFactors([GasFactor(*one) for one in given_factors], BERLIN)


def test_a_bill_is_recomputed() -> None:
    # 1 234 m3 at 11.250 kWh/m3 and 0.9634: 13 374.40 kWh, as a bill has it before it rounds to kWh.
    bill = factors((date(2023, 1, 1), 11_250, 9_634))
    energy = bill.energy_wh([NEW_YEAR, NEW_YEAR + HOUR_MS], [1_234_000])
    assert energy.tolist() == [13_374_400]


@given(
    st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=40),
    st.integers(1_000, 50_000),
    st.integers(1_000, 100_000),
)
def test_steps_add_up_to_the_exact_energy_of_the_whole(volumes: list[int], calorific: int, state: int) -> None:
    known = factors((date(2020, 1, 1), calorific, state))
    bounds = [NEW_YEAR + n * HOUR_MS for n in range(len(volumes) + 1)]
    energy = known.energy_wh(bounds, volumes).tolist()
    exact = [Fraction(volume * calorific * state, 10**7) for volume in volumes]
    assert sum(energy) == sum(exact) // 1
    assert all(abs(step - wanted) < 1 for step, wanted in zip(energy, exact, strict=True))
    assert known.energy_wh([bounds[0], bounds[-1]], [sum(volumes)]).tolist() == [sum(energy)]


@given(st.lists(st.integers(0, 10**6), min_size=24, max_size=24))
def test_parts_add_up_across_a_change_of_the_factor(volumes: list[int]) -> None:
    known = factors((date(2023, 1, 1), 11_250, 9_634), (date(2024, 1, 2), 10_987, 9_511))
    begin = unix_ms(datetime(2024, 1, 1, 17, tzinfo=UTC))
    bounds = [begin + n * HOUR_MS for n in range(25)]
    change = unix_ms(datetime(2024, 1, 2, 5, tzinfo=UTC))
    assert known.changes_ms(bounds[0], bounds[-1]) == [change]
    energy = known.energy_wh(bounds, volumes)
    old, new = sum(volumes[:12]) * 11_250 * 9_634, sum(volumes[12:]) * 10_987 * 9_511
    assert int(energy[:12].sum()) == old // 10**7
    assert int(energy.sum()) == (old + new) // 10**7
    assert (
        known.energy_wh([bounds[0], change, bounds[-1]], [sum(volumes[:12]), sum(volumes[12:])]).sum() == energy.sum()
    )


def test_a_step_over_a_change_of_the_factor_is_refused() -> None:
    known = factors((date(2023, 1, 1), 11_250, 9_634), (date(2024, 1, 2), 10_987, 9_511))
    with pytest.raises(InvalidInput, match="2024-01-02T05:00"):
        known.energy_wh([NEW_YEAR, NEW_YEAR + 48 * HOUR_MS], [1000])


def test_a_factor_holds_from_six_in_the_morning() -> None:
    known = factors((date(2024, 7, 1), 11_000, 9_500), (date(2024, 7, 2), 11_500, 9_600))
    before = datetime(2024, 7, 2, 3, 59, 59, tzinfo=UTC)
    assert known.at(before).calorific_value_wh_per_m3 == 11_000
    assert known.at(before + timedelta(seconds=1)).calorific_value_wh_per_m3 == 11_500
    assert known.at(datetime(2034, 1, 1, tzinfo=UTC)).calorific_value_wh_per_m3 == 11_500, "until the next one"


def test_a_period_without_a_factor_is_refused_by_its_gas_day() -> None:
    known = factors((date(2024, 1, 2), 11_000, 9_500))
    with pytest.raises(FailedPrecondition, match=r"gas day 2024-01-01; the first is valid from 2024-01-02") as caught:
        known.energy_wh([NEW_YEAR, NEW_YEAR + HOUR_MS], [1])
    assert caught.value.violations[0].field == "gas_factors"
    with pytest.raises(FailedPrecondition, match="gas day 2024-01-01"):
        GasFactors([], BERLIN).energy_wh([NEW_YEAR, NEW_YEAR + HOUR_MS], [1])


def test_what_is_energy_or_at_base_conditions_already_is_not_converted_again() -> None:
    known = factors((date(2024, 1, 2), 11_250, 9_634))
    day = 24 * HOUR_MS
    bounds = [NEW_YEAR, NEW_YEAR + day, NEW_YEAR + day + 1, NEW_YEAR + day + 2]
    worth = [Worth.ENERGY, Worth.BASE_VOLUME, Worth.METERED_VOLUME]
    # Energy needs no factor: of the first day none is known.
    assert known.energy_wh(bounds, [1_234, 100_000, 100_000], worth).tolist() == [1_234, 1_125_000, 1_083_825]
    with pytest.raises(FailedPrecondition, match="gas day 2024-01-01"):
        known.energy_wh(bounds, [1_234, 100_000, 100_000], [Worth.BASE_VOLUME, *worth[1:]])
    assert GasFactors([], BERLIN).energy_wh(bounds[:2], [7], [Worth.ENERGY]).tolist() == [7]


def test_a_volume_at_base_conditions_has_a_state_number_of_one() -> None:
    known = factors((date(2020, 1, 1), 11_250, 10_000))
    assert known.energy_wh([NEW_YEAR, NEW_YEAR + 1], [1_000]).tolist() == [11_250]


@pytest.mark.parametrize(
    ("calorific", "state", "field"),
    [
        (11, 9_634, "calorific_value_wh_per_m3"),  # kWh where Wh are wanted
        (11_250_000, 9_634, "calorific_value_wh_per_m3"),
        (11_250, 1, "state_number_e4"),  # 0.9634 without its ten-thousandths
        (11_250, 9_634_000, "state_number_e4"),
    ],
)
def test_a_factor_in_another_unit_is_refused(calorific: int, state: int, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        GasFactor(date(2024, 1, 1), calorific, state)
    assert [violation.field for violation in caught.value.violations] == [field]


def test_two_factors_of_one_gas_day_are_refused() -> None:
    with pytest.raises(InvalidInput, match="two factors are valid from 2024-01-01"):
        factors((date(2024, 1, 1), 11_000, 9_500), (date(2024, 1, 1), 11_001, 9_500))


@pytest.mark.parametrize(
    ("bounds", "volumes", "field"),
    [([NEW_YEAR], [], "boundaries_ms"), ([NEW_YEAR, NEW_YEAR], [1], "boundaries_ms"), ([1, 2, 3], [1], "amounts")],
)
def test_steps_and_volumes_must_fit(bounds: list[int], volumes: list[int], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        factors((date(2020, 1, 1), 11_000, 9_500)).energy_wh(bounds, volumes)
    assert caught.value.violations[0].field == field


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        (date(2024, 3, 29), 24),
        (date(2024, 3, 30), 23),  # the night before the Sunday of the change belongs to Saturday's gas day
        (date(2024, 3, 31), 24),
        (date(2024, 10, 26), 25),
        (date(2024, 10, 27), 24),
    ],
)
def test_the_gas_day_before_a_change_of_the_clocks_is_short_or_long(day: date, hours: int) -> None:
    start, end = gas_day_bounds(day, BERLIN)
    assert end - start == timedelta(hours=hours)


@given(st.datetimes(datetime(2015, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC)))
def test_every_instant_lies_in_its_gas_day(instant: datetime) -> None:
    start, end = gas_day_bounds(gas_day(instant, BERLIN), BERLIN)
    assert start <= instant < end


@given(st.dates(date(2015, 1, 1), date(2035, 12, 31)))
def test_gas_days_follow_one_another_without_a_gap(day: date) -> None:
    assert gas_day_bounds(day, BERLIN)[1] == gas_day_bounds(day + timedelta(days=1), BERLIN)[0]


def test_a_gas_month_runs_from_six_to_six() -> None:
    start, end = gas_month_bounds(2024, 12, BERLIN)
    assert start == datetime(2024, 12, 1, 5, tzinfo=UTC)
    assert end == datetime(2025, 1, 1, 5, tzinfo=UTC)
    with pytest.raises(InvalidInput, match="13 is not a month"):
        gas_month_bounds(2024, 13, BERLIN)
