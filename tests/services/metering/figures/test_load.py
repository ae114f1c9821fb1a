"""Figures of a load profile: what peak and base are, and that gaps have neither."""

from __future__ import annotations

from datetime import date, datetime
from itertools import pairwise

import numpy as np
import pytest

from domain.errors import InvalidInput
from domain.intervals import Flag
from services.metering.figures.consumption import Step, consumption
from services.metering.figures.load import believable, covered, load_figures
from services.metering.life import Origin, RegisterLife
from services.metering.meter import Cycle, Unit
from services.metering.reading import Readings
from services.metering.slot import SLOT_MS, to_ms
from tests.services.metering.making import NOON_MS
from tests.services.metering.profiles import BERLIN, archive, between, hours, rows_of, steps, without


def test_power_is_the_mean_of_a_quarter_hour_and_the_peak_has_its_instant() -> None:
    found = load_figures(steps(NOON_MS, [250, 500, 1000, 250], SLOT_MS), BERLIN)
    assert (found.mean_rate, found.peak_rate, found.base_rate) == (2000, 4000, 1000)
    assert (found.peak_start_ms, found.peak_end_ms) == (NOON_MS + 2 * SLOT_MS, NOON_MS + 3 * SLOT_MS)
    assert (found.full_load_hours_centi, found.load_factor_permille) == (50, 500)
    assert (found.coverage_permille, found.covered_steps, found.steps) == (1000, 4, 4)


def test_a_gap_is_neither_peak_nor_base_and_the_share_that_is_known_is_told() -> None:
    whole = without(steps(NOON_MS, [500, 9000, 1, 500], SLOT_MS), 1, 3)
    found = load_figures(whole, BERLIN)
    assert (found.mean_rate, found.peak_rate, found.base_rate) == (2000, 2000, 2000)
    assert (found.amount, found.estimated_amount, found.coverage_permille) == (10_001, 9_001, 500)


def test_of_what_nobody_read_there_are_no_figures() -> None:
    found = load_figures(without(steps(NOON_MS, [5, 5], SLOT_MS), 0, 2), BERLIN)
    assert (found.peak_rate, found.base_rate, found.load_factor_permille, found.coverage_permille) == (None,) * 3 + (0,)


def test_nothing_used_has_a_peak_of_zero_and_no_load_factor() -> None:
    found = load_figures(steps(NOON_MS, [0, 0], SLOT_MS), BERLIN)
    assert (found.peak_rate, found.load_factor_permille, found.full_load_hours_centi) == (0, None, None)


@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25), date(2026, 6, 1)])
def test_the_night_base_load_is_that_of_the_local_night_also_when_the_clocks_change(day: date) -> None:
    profile = hours(day, 1, lambda local: 700 if 1 <= local.hour < 4 else 5000)
    assert load_figures(profile, BERLIN).night_base_rate == 700


def test_the_base_load_is_what_nineteen_of_twenty_steps_reach() -> None:
    assert load_figures(steps(NOON_MS, [0] * 5 + [300] * 95), BERLIN).base_rate == 300
    assert load_figures(steps(NOON_MS, [0] * 6 + [300] * 94), BERLIN).base_rate == 0


def test_longer_steps_than_an_hour_and_meters_read_more_seldom_have_no_profile() -> None:
    with pytest.raises(InvalidInput, match="step"):
        load_figures(steps(NOON_MS, [1, 2], 4 * SLOT_MS + SLOT_MS), BERLIN)
    with pytest.raises(InvalidInput, match="steps"):
        load_figures(steps(NOON_MS, []), BERLIN)


def test_a_real_building_of_2019() -> None:
    year = between(archive("b4", "electricity"), date(2019, 1, 1), date(2020, 1, 1), BERLIN)
    found = load_figures(year, BERLIN)
    assert found.amount == pytest.approx(131e6, rel=0.02)
    assert found.base_rate is not None
    assert found.night_base_rate is not None
    assert found.mean_rate is not None
    assert found.base_rate < found.night_base_rate < found.mean_rate
    assert 6_000 < found.night_base_rate < 8_500
    # 46 hours in October are missing.
    assert found.coverage_permille == (8760 - 46) * 1000 // 8760


def test_a_real_heat_meter_of_three_years_is_read_off_its_counter() -> None:
    rows = [row for row in rows_of("meters/danish_heat_hourly_sample.csv") if row["energy_heat_kwh"]]
    slots = [to_ms(datetime.fromisoformat(row["time_rounded"])) for row in rows]
    counters = [round(float(row["energy_heat_kwh"]) * 1000) for row in rows]
    life = RegisterLife(1, "a" * 32, "m" * 32, "", None, None, 0, 0, Origin.CREATED, None, 0, 1, int(Unit.WH))
    bounds = np.arange(slots[0], slots[-1] + 1, 3_600_000, dtype=np.int64)
    used = consumption(
        [life], Readings.of([1] * len(slots), slots, counters), bounds, Step.HOUR, is_polled=False, cycle=Cycle.HOUR
    )
    found = load_figures(used, BERLIN)
    assert found.amount == counters[-1] - counters[0]
    assert found.coverage_permille > 990
    assert found.peak_rate is not None
    assert found.peak_rate == max(after - before for before, after in pairwise(counters))
    assert found.base_rate == 0  # in summer it heats water now and then


def test_of_a_step_that_no_meter_can_have_counted_nothing_is_known() -> None:
    whole = steps(NOON_MS, [100, 2**53 - 1, -(2**53) + 1, 200])
    told = believable(whole)
    assert told.amount.tolist() == [100, 0, 0, 200]
    assert covered(told).tolist() == [True, False, False, True]
    assert [Flag(one) for one in told.flag.tolist()] == [Flag.MEASURED, Flag.MISSING, Flag.MISSING, Flag.MEASURED]
    plain = steps(NOON_MS, [100, 200])
    assert believable(plain) is plain
