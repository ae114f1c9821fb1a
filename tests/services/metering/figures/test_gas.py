"""Gas in energy: what a counter's litres were worth through changes of the factors and of the register."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import FailedPrecondition
from domain.gas import GasFactor, GasFactors, gas_day_bounds
from domain.intervals import Consumption, Flag
from services.metering.figures.consumption import Step, boundaries, consumption
from services.metering.figures.gas import counts_volume, factors_of, in_energy, naming
from services.metering.life import Origin, RegisterLife
from services.metering.meter import Medium, Unit
from services.metering.reading import Int64, Readings
from services.metering.slot import SLOT_MS, to_ms

BERLIN = ZoneInfo("Europe/Berlin")
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
BEGIN_MS = to_ms(BEGIN)
DAY_MS = 86_400_000
CHANGE = date(2026, 3, 15)
OLD, NEW = GasFactor(date(2025, 1, 1), 11_250, 9_634), GasFactor(CHANGE, 10_987, 9_511)
FACTORS = GasFactors([OLD, NEW], BERLIN)


def life(key: int = 1, begin_ms: int | None = None, end_ms: int | None = None, **changes: object) -> RegisterLife:
    fields: dict[str, object] = {
        "uid": f"life-{key}",
        "meter_uid": "m",
        "serial_number": "",
        "installed_ms": begin_ms,
        "removed_ms": end_ms,
        "first_reading": 0,
        "final_reading": 0,
        "origin": Origin.CREATED,
        "ended_by": None,
        "rollover": 0,
        "transformer_ratio": 1,
        "unit": int(Unit.L),
        **changes,
    }
    return RegisterLife(key=key, **fields)  # type: ignore[arg-type]


def quarter_hours(days: int, litres: int = 250, key: int = 1, begin_ms: int = BEGIN_MS) -> Readings:
    """A counter that grows evenly."""
    count = days * 96 + 1
    return Readings.of(
        [key] * count, [begin_ms + n * SLOT_MS for n in range(count)], [n * litres for n in range(count)]
    )


def energy(
    readings: Readings, lives: list[RegisterLife], end: datetime, step: Step, factors: GasFactors = FACTORS
) -> tuple[Consumption, Int64]:
    bounds = boundaries(BEGIN, end, step, BERLIN)

    def volume(finer: Int64) -> Consumption:
        return consumption(lives, readings, finer, step, is_polled=True)

    return in_energy(volume, bounds, lives, factors), bounds


@pytest.mark.parametrize("step", list(Step))
def test_every_step_adds_up_to_the_energy_of_the_whole(step: Step) -> None:
    # 31 days of 24 m3, of which those from 06:00 on the 15th on have another quality.
    end = BEGIN + timedelta(days=31)
    found, bounds = energy(quarter_hours(31), [life()], end, step)
    change_ms = to_ms(gas_day_bounds(CHANGE, BERLIN)[0])
    before_l = (change_ms - BEGIN_MS) // SLOT_MS * 250
    after_l = 31 * 96 * 250 - before_l
    exact = before_l * 11_250 * 9_634 + after_l * 10_987 * 9_511
    assert int(found.amount.sum()) == exact // 10**7
    assert len(found.amount) == len(bounds) - 1
    assert set(found.flag.tolist()) == {Flag.MEASURED}
    assert found.coverage_permille().tolist() == [1000] * len(found.amount)


def test_a_gas_day_has_one_factor() -> None:
    found, bounds = energy(quarter_hours(31), [life()], BEGIN + timedelta(days=31), Step.GAS_DAY)
    at = bounds.tolist().index(to_ms(gas_day_bounds(CHANGE, BERLIN)[0]))
    day_l = 24_000
    assert abs(int(found.amount[at - 1]) - day_l * 11_250 * 9_634 // 10**7) <= 1
    assert abs(int(found.amount[at]) - day_l * 10_987 * 9_511 // 10**7) <= 1
    # The clocks go forward in the night of the 29th: the gas day of the 28th has 23 hours.
    short = bounds.tolist().index(to_ms(gas_day_bounds(date(2026, 3, 28), BERLIN)[0]))
    assert abs(int(found.amount[short]) - 23_000 * 10_987 * 9_511 // 10**7) <= 1


def test_a_gap_is_told_as_before() -> None:
    readings = quarter_hours(3)
    holed = readings.take((readings.slot_ms < BEGIN_MS + DAY_MS) | (readings.slot_ms > BEGIN_MS + 2 * DAY_MS))
    whole, _ = energy(readings, [life()], BEGIN + timedelta(days=3), Step.HOUR)
    found, _ = energy(holed, [life()], BEGIN + timedelta(days=3), Step.HOUR)
    assert int(found.amount.sum()) == int(whole.amount.sum())
    assert found.flag.tolist()[:23] == [Flag.MEASURED] * 23
    assert found.flag.tolist()[25:47] == [Flag.GAP] * 22
    assert 0 < int(found.estimated_amount.sum()) < int(found.amount.sum())
    assert bool((found.estimated_amount <= found.amount).all())


def test_registers_are_taken_as_what_they_count() -> None:
    ends = [BEGIN_MS + DAY_MS, BEGIN_MS + 2 * DAY_MS]
    lives = [
        life(1, None, ends[0], obis_code="7-0:3.0.0"),
        life(2, ends[0], ends[1], obis_code="7-0:13.2.0"),
        life(3, ends[1], None, unit=int(Unit.WH)),
    ]
    parts = [quarter_hours(1, key=n + 1, begin_ms=BEGIN_MS + n * DAY_MS) for n in range(3)]
    found, _ = energy(Readings.concatenate(parts), lives, BEGIN + timedelta(days=3), Step.TOTAL)
    of_life = [24_000 * 11_250 * 9_634 // 10**7, 24_000 * 11_250 // 1000, 24_000]
    # The last quarter hour of a life has its end in the next one, of which nothing says how it began.
    assert abs(int(found.amount[0]) - sum(of_life)) <= sum(of_life) // 90
    assert counts_volume(Medium.GAS, lives)
    assert not counts_volume(Medium.GAS, lives[2:])
    assert not counts_volume(Medium.WATER, lives)


def test_before_a_meter_has_readings_no_factor_is_needed() -> None:
    late = GasFactors([GasFactor(date(2026, 2, 1), 11_250, 9_634)], BERLIN)
    bounds = boundaries(BEGIN - timedelta(days=60), BEGIN + timedelta(days=1), Step.LOCAL_DAY, BERLIN)

    def volume(finer: Int64) -> Consumption:
        return consumption([life()], quarter_hours(1), finer, Step.LOCAL_DAY, is_polled=True)

    found = in_energy(volume, bounds, [life()], late)
    assert found.flag.tolist()[:59] == [Flag.MISSING] * 59
    assert int(found.amount.sum()) == 24_000 * 11_250 * 9_634 // 10**7


def test_gas_from_before_any_factor_is_refused() -> None:
    late = GasFactors([NEW], BERLIN)
    with pytest.raises(FailedPrecondition, match=r"gas day 2026-02-28; the first is valid from 2026-03-15") as caught:
        energy(quarter_hours(31), [life()], BEGIN + timedelta(days=31), Step.LOCAL_DAY, late)
    assert (
        naming(caught.value, "municipalities/x/meters/G-1")
        .violations[0]
        .reason.startswith("municipalities/x/meters/G-1: no calorific value")
    )
    assert naming(caught.value, "m").violations[0].field == "gas_factors"


@given(st.lists(st.integers(0, 5_000), min_size=96, max_size=96), st.sampled_from([Step.QUARTER_HOUR, Step.HOUR]))
def test_any_day_s_steps_add_up(litres: list[int], step: Step) -> None:
    counters = np.concatenate(([0], np.cumsum(litres))).tolist()
    readings = Readings.of([1] * 97, [BEGIN_MS + n * SLOT_MS for n in range(97)], counters)
    end = BEGIN + timedelta(days=1)
    steps, _ = energy(readings, [life()], end, step)
    total, _ = energy(readings, [life()], end, Step.TOTAL)
    assert int(steps.amount.sum()) == int(total.amount[0]) == sum(litres) * 11_250 * 9_634 // 10**7


def test_factors_are_read_as_they_are_stored() -> None:
    stored = '[["2026-03-15", 10987, 9511], ["2025-01-01", 11250, 9634]]'
    assert factors_of(stored, BERLIN).factors == (OLD, NEW)
    assert factors_of("[]", BERLIN).factors == ()
