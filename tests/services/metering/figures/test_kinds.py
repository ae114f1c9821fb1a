"""Meters that have no counter: intervals of all lengths, stocks, sensors; and steps of years and gas days."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.canonical import document
from domain.errors import OutOfLimits
from domain.gas import GasFactor, GasFactors
from domain.intervals import Flag
from services.metering.figures.consumption import Step, boundaries, consumption, is_coarse
from services.metering.figures.evidence import converted, evidence_of, evidence_pieces
from services.metering.figures.kinds import begins_of, interval_amounts, stock_amounts
from services.metering.figures.values import values_by_step
from services.metering.life import Origin, RegisterLife
from services.metering.meter import Cycle, Unit
from services.metering.reading import Readings, Status
from services.metering.slot import DAY_MS, HOUR_MS, SLOT_MS, to_ms
from tests.services.metering.making import NOON_MS
from tests.services.metering.profiles import BERLIN

LIFE = RegisterLife(1, "a" * 32, "m" * 32, "", None, None, 0, 0, Origin.CREATED, None, 0, 1, int(Unit.WH))


def ms(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC))


def bounds(start: str, end: str, step: Step) -> np.ndarray:
    begin, until = (datetime.fromisoformat(text).replace(tzinfo=BERLIN) for text in (start, end))
    return boundaries(begin, until, step, BERLIN)


def at(slots: list[int], values: list[int], **columns: list[int]) -> Readings:
    return Readings.of([1] * len(slots), slots, values, **columns)


# --- steps ----------------------------------------------------------------------------------------------------


def test_years_are_those_of_the_local_calendar_and_cut_by_the_period() -> None:
    found = bounds("2024-07-01", "2026-02-01", Step.LOCAL_YEAR)
    assert found.tolist() == [ms("2024-07-01"), ms("2025-01-01"), ms("2026-01-01"), ms("2026-02-01")]


def test_gas_days_begin_at_six_on_the_local_clock() -> None:
    found = bounds("2026-03-28T06:00", "2026-03-31T06:00", Step.GAS_DAY)
    assert (np.diff(found) // HOUR_MS).tolist() == [23, 24, 24]
    assert bounds("2026-10-24", "2026-10-25", Step.GAS_DAY).tolist() == [
        ms("2026-10-24"),
        ms("2026-10-24T06:00"),
        ms("2026-10-25"),
    ]


# --- counters -------------------------------------------------------------------------------------------------


def test_a_meter_read_once_a_year_tells_years_and_nothing_about_months() -> None:
    readings = at([ms("2024-01-01"), ms("2025-01-01"), ms("2026-01-01")], [0, 36_600, 73_100])
    years = bounds("2024-01-01", "2026-01-01", Step.LOCAL_YEAR)
    found = consumption([LIFE], readings, years, Step.LOCAL_YEAR, is_polled=False, cycle=Cycle.YEAR)
    assert (found.amount.tolist(), found.coverage_permille().tolist()) == ([36_600, 36_500], [1000, 1000])
    months = bounds("2024-01-01", "2026-01-01", Step.LOCAL_MONTH)
    found = consumption([LIFE], readings, months, Step.LOCAL_MONTH, is_polled=False, cycle=Cycle.YEAR)
    assert (int(found.amount.sum()), int(found.estimated_amount.sum())) == (73_100, 73_100)
    assert set(found.coverage_permille().tolist()) == {0}
    assert is_coarse(Cycle.YEAR, months, Step.LOCAL_MONTH)
    assert not is_coarse(Cycle.YEAR, years, Step.LOCAL_YEAR)


def test_a_meter_read_each_month_tells_months_and_years() -> None:
    slots = [ms(f"2025-{month:02}-01") for month in range(1, 13)] + [ms("2026-01-01")]
    readings = at(slots, list(range(0, 1300, 100)))
    for step, amounts in ((Step.LOCAL_MONTH, [100] * 12), (Step.LOCAL_YEAR, [1200]), (Step.TOTAL, [1200])):
        period = bounds("2025-01-01", "2026-01-01", step)
        found = consumption([LIFE], readings, period, step, is_polled=False, cycle=Cycle.MONTH)
        assert (found.amount.tolist(), set(found.coverage_permille().tolist())) == (amounts, {1000})


def test_values_in_parts_of_a_unit_are_answered_in_whole_ones_that_add_up() -> None:
    life = replace(LIFE, scale_exponent=-3, unit=int(Unit.L))
    readings = at([NOON_MS + n * SLOT_MS for n in range(4)], [900, 1_700, 2_500, 3_300])
    steps = np.arange(NOON_MS, NOON_MS + 4 * SLOT_MS, SLOT_MS)
    found = consumption([life], readings, steps, Step.QUARTER_HOUR, is_polled=True)
    assert found.amount.tolist() == [1, 1, 1]
    coarse = replace(LIFE, scale_exponent=3)
    found = consumption([coarse], readings, steps, Step.QUARTER_HOUR, is_polled=True)
    assert found.amount.tolist() == [800_000] * 3


def test_a_register_in_another_scale_after_an_exchange_goes_on_in_the_same_unit() -> None:
    old = replace(LIFE, removed_ms=NOON_MS + SLOT_MS, final_reading=12, ended_by=Origin.EXCHANGE, scale_exponent=3)
    new = replace(LIFE, key=2, installed_ms=NOON_MS + SLOT_MS, origin=Origin.EXCHANGE, first_reading=0)
    readings = Readings.of([1, 2], [NOON_MS, NOON_MS + 2 * SLOT_MS], [10, 700])
    steps = np.arange(NOON_MS, NOON_MS + 3 * SLOT_MS, SLOT_MS)
    assert consumption([old, new], readings, steps, Step.QUARTER_HOUR, is_polled=True).amount.tolist() == [2_000, 700]


def test_a_value_that_no_column_holds_in_its_scale_is_refused_by_name() -> None:
    lives = [replace(LIFE, scale_exponent=6), replace(LIFE, key=2, installed_ms=NOON_MS + 1, scale_exponent=-6)]
    lives[0] = replace(lives[0], removed_ms=NOON_MS + 1)
    with pytest.raises(OutOfLimits, match="scale_exponent"):
        consumption(lives, at([NOON_MS], [2**52]), np.array([0, 1]) + NOON_MS, Step.TOTAL, is_polled=True)


# --- intervals ------------------------------------------------------------------------------------------------


def test_an_interval_ends_at_its_slot_and_a_hole_is_missing() -> None:
    readings = at([NOON_MS + SLOT_MS, NOON_MS + 2 * SLOT_MS, NOON_MS + 4 * SLOT_MS], [10, 20, 40])
    steps = np.arange(NOON_MS, NOON_MS + 5 * SLOT_MS, SLOT_MS)
    found = interval_amounts([LIFE], readings, steps, Step.QUARTER_HOUR, Cycle.QUARTER_HOUR, BERLIN)
    assert found.amount.tolist() == [10, 20, 0, 40]
    assert found.flag.tolist() == [Flag.MEASURED, Flag.MEASURED, Flag.MISSING, Flag.MEASURED]


def test_half_hours_tell_hours_and_their_quarters_are_estimated() -> None:
    readings = at([NOON_MS + 2 * SLOT_MS, NOON_MS + 4 * SLOT_MS], [10, 20])
    hour = interval_amounts([LIFE], readings, np.array([0, HOUR_MS]) + NOON_MS, Step.HOUR, Cycle.HALF_HOUR, BERLIN)
    assert (hour.amount.tolist(), hour.coverage_permille().tolist()) == ([30], [1000])
    steps = np.arange(NOON_MS, NOON_MS + 5 * SLOT_MS, SLOT_MS)
    quarters = interval_amounts([LIFE], readings, steps, Step.QUARTER_HOUR, Cycle.HALF_HOUR, BERLIN)
    assert quarters.amount.tolist() == quarters.estimated_amount.tolist() == [5, 5, 10, 10]
    assert quarters.coverage_permille().tolist() == [0] * 4


@pytest.mark.parametrize(
    ("cycle", "ends", "begins"),
    [
        (Cycle.DAY, ["2026-03-30", "2026-10-26"], ["2026-03-29", "2026-10-25"]),
        (Cycle.MONTH, ["2026-03-01", "2026-01-01"], ["2026-02-01", "2025-12-01"]),
        (Cycle.YEAR, ["2025-01-01", "2024-02-29"], ["2024-01-01", "2023-02-28"]),
        (Cycle.HOUR, ["2026-06-01T13:00"], ["2026-06-01T12:00"]),
    ],
)
def test_intervals_of_the_calendar_begin_where_the_local_one_does(
    cycle: Cycle, ends: list[str], begins: list[str]
) -> None:
    found = begins_of(np.array([ms(end) for end in ends]), cycle, BERLIN)
    assert found.tolist() == [ms(begin) for begin in begins]


@pytest.mark.parametrize(
    ("cycle", "ends", "begins"),
    [
        (Cycle.MONTH, ["2025-01-22", "2025-02-20", "2025-03-25"], ["2024-12-22", "2025-01-22", "2025-02-20"]),
        (Cycle.YEAR, ["2023-11-15", "2024-11-20"], ["2022-11-15", "2023-11-15"]),
        # A bill is missing between them, or the next one came ten days later: nobody knows but the calendar.
        (Cycle.MONTH, ["2025-01-22", "2025-03-25"], ["2024-12-22", "2025-02-25"]),
        (Cycle.MONTH, ["2025-01-22", "2025-02-01"], ["2024-12-22", "2025-01-01"]),
        # Days are those of the calendar, however far apart they are.
        (Cycle.DAY, ["2025-03-29T00:00", "2025-03-30T00:00"], ["2025-03-28", "2025-03-29"]),
    ],
)
def test_a_bill_begins_where_the_one_before_ends(cycle: Cycle, ends: list[str], begins: list[str]) -> None:
    found = begins_of(np.array([ms(end) for end in ends]), cycle, BERLIN)
    assert found.tolist() == [ms(begin) for begin in begins]


def test_bills_are_shared_out_over_their_own_days_and_lose_nothing() -> None:
    ends = [ms(end) for end in ("2025-01-22", "2025-02-20", "2025-03-25")]
    days = bounds("2025-01-22", "2025-03-25", Step.LOCAL_DAY)
    whole = np.array([days[0], days[-1]])
    found = interval_amounts([LIFE], at(ends, [7, 290, 660]), whole, Step.TOTAL, Cycle.MONTH, BERLIN)
    assert (found.amount.tolist(), found.coverage_permille().tolist()) == ([950], [1000])


def test_a_month_cut_out_of_bills_is_estimated_and_a_bill_that_lies_whole_in_a_step_is_measured() -> None:
    ends = [ms(end) for end in ("2025-01-22", "2025-02-20", "2025-03-22", "2025-04-19")]
    amounts = [7, 2_900, 3_000, 2_800]
    months = bounds("2025-02-01", "2025-04-01", Step.LOCAL_MONTH)
    found = interval_amounts([LIFE], at(ends, amounts), months, Step.LOCAL_MONTH, Cycle.MONTH, BERLIN)
    assert found.amount.tolist() == found.estimated_amount.tolist()
    assert found.coverage_permille().tolist() == [0, 0]
    assert set(found.flag.tolist()) == {Flag.GAP}
    # Of a whole period only the bills at its ends are shares: 10 of 29 days, and 19 of 28.
    whole = bounds("2025-02-10", "2025-04-10", Step.TOTAL)
    found = interval_amounts([LIFE], at(ends, amounts), whole, Step.TOTAL, Cycle.MONTH, BERLIN)
    assert int(found.measured_ms[0]) == ends[2] - ends[1]
    assert int(found.amount[0]) - int(found.estimated_amount[0]) == 3_000
    own = np.array([ends[0], *ends[1:]], np.int64)
    found = interval_amounts([LIFE], at(ends, amounts), own, Step.LOCAL_MONTH, Cycle.MONTH, BERLIN)
    assert (found.amount.tolist(), found.estimated_amount.tolist()) == ([2_900, 3_000, 2_800], [0, 0, 0])
    assert found.coverage_permille().tolist() == [1000] * 3


@pytest.mark.parametrize("clock", ["00:00", "01:00", "06:00"])
def test_calendar_months_that_end_some_hours_after_midnight_are_measured(clock: str) -> None:
    ends = [ms(f"2025-{month:02}-01T{clock}") for month in range(3, 10)]
    months = bounds("2025-04-01", "2025-08-01", Step.LOCAL_MONTH)
    found = interval_amounts([LIFE], at(ends, [720] * 7), months, Step.LOCAL_MONTH, Cycle.MONTH, BERLIN)
    assert (set(found.estimated_amount.tolist()), set(found.coverage_permille().tolist())) == ({0}, {1000})


def test_years_cut_out_of_yearly_bills_are_estimated() -> None:
    ends = [ms("2023-11-15"), ms("2024-11-20"), ms("2025-11-12")]
    years = bounds("2024-01-01", "2025-01-01", Step.LOCAL_YEAR)
    found = interval_amounts([LIFE], at(ends, [1, 36_600, 36_500]), years, Step.LOCAL_YEAR, Cycle.YEAR, BERLIN)
    assert found.estimated_amount.tolist() == found.amount.tolist()


def test_local_days_as_amounts_add_up_to_their_month() -> None:
    slots = bounds("2026-03-01", "2026-04-01", Step.LOCAL_DAY)[1:].tolist()
    month = bounds("2026-03-01", "2026-04-01", Step.LOCAL_MONTH)
    found = interval_amounts([LIFE], at(slots, [24] * 31), month, Step.LOCAL_MONTH, Cycle.DAY, BERLIN)
    assert (found.amount.tolist(), found.coverage_permille().tolist()) == ([744], [1000])


def test_a_cycle_that_became_another_one_overlaps_nothing() -> None:
    quarters = [NOON_MS + n * SLOT_MS for n in range(1, 5)]
    hour = np.array([0, HOUR_MS]) + NOON_MS
    found = interval_amounts([LIFE], at(quarters, [1, 2, 3, 4]), hour, Step.HOUR, Cycle.HOUR, BERLIN)
    assert found.amount.tolist() == [10]


def test_an_estimated_interval_is_estimated() -> None:
    readings = at([NOON_MS + SLOT_MS], [10], status=[int(Status.ESTIMATED)])
    found = interval_amounts([LIFE], readings, np.array([0, SLOT_MS]) + NOON_MS, Step.TOTAL, Cycle.QUARTER_HOUR, BERLIN)
    assert (found.amount.tolist(), found.estimated_amount.tolist()) == ([10], [10])


# --- stocks ---------------------------------------------------------------------------------------------------


def test_a_store_is_answered_in_whole_units_whatever_scale_its_gauge_has() -> None:
    life = replace(LIFE, scale_exponent=-1, unit=int(Unit.L))
    readings = at([NOON_MS, NOON_MS + DAY_MS, NOON_MS + 2 * DAY_MS], [10_005, 9_999, 29_990])
    steps = np.arange(NOON_MS, NOON_MS + 3 * DAY_MS, DAY_MS)
    delivered = [(NOON_MS + DAY_MS + HOUR_MS, 20_000)]
    found = stock_amounts([life], readings, delivered, steps, Step.LOCAL_DAY, cycle=Cycle.DAY, scale_exponent=-1)
    assert found.findings == []
    assert int(found.used.amount.sum()) == 1
    missing = stock_amounts([life], readings, [], steps, Step.LOCAL_DAY, cycle=Cycle.DAY, scale_exponent=-1)
    assert [one.amount for one in missing.findings] == [1_999]
    assert missing.used.flag.tolist() == [Flag.MEASURED, Flag.MISSING]


def test_a_gauge_that_trembles_by_a_hundredth_is_no_delivery() -> None:
    readings = at([NOON_MS + n * DAY_MS for n in range(4)], [1_000, 995, 1_004, 980])
    steps = np.arange(NOON_MS, NOON_MS + 4 * DAY_MS, DAY_MS)
    found = stock_amounts([LIFE], readings, [], steps, Step.LOCAL_DAY, cycle=Cycle.DAY, scale_exponent=0)
    assert (found.used.amount.tolist(), found.findings) == ([5, 0, 15], [])


def test_the_evidence_of_a_store_names_the_deliveries_that_count_and_stays_canonical() -> None:
    readings = at([NOON_MS, NOON_MS + DAY_MS], [100, 150])
    brought = [(NOON_MS + HOUR_MS, 80), (NOON_MS, 5), (NOON_MS + 2 * DAY_MS, 7)]
    with_them = evidence_of("m" * 32, [LIFE], readings, (NOON_MS, NOON_MS + DAY_MS), brought)
    pieces = b"".join(evidence_pieces([with_them]))
    told = json.loads(pieces)["body"]["meters"][0]
    assert told["deliveries"] == [[NOON_MS + HOUR_MS, 80]]
    assert document("lichtbuch.metering.readings", 1, {"meters": [told]}) == pieces
    without_any = evidence_of("m" * 32, [LIFE], readings, (NOON_MS, NOON_MS + DAY_MS))
    assert "deliveries" not in json.loads(b"".join(evidence_pieces([without_any])))["body"]["meters"][0]


def test_the_evidence_of_energy_names_factors_and_what_registers_count_and_stays_canonical() -> None:
    readings = at([NOON_MS, NOON_MS + DAY_MS], [100, 150])
    plain = evidence_of("m" * 32, [LIFE], readings, (NOON_MS, NOON_MS + DAY_MS), [(NOON_MS + 1, 5)])
    factors = GasFactors(
        [GasFactor(date(2026, 1, 1), 11_250, 9_634), GasFactor(date(2019, 1, 1), 11_000, 9_000)], BERLIN
    )
    pieces = b"".join(evidence_pieces([converted(plain, factors, {LIFE.uid: "base_volume"})]))
    told = json.loads(pieces)["body"]["meters"][0]
    assert (told["gas_factors"], told["lives"][0]["worth"]) == ([["2026-01-01", 11_250, 9_634]], "base_volume")
    assert document("lichtbuch.metering.readings", 1, {"meters": [told]}) == pieces


# --- sensors --------------------------------------------------------------------------------------------------


def test_the_mean_of_a_sensor_is_over_time() -> None:
    slots = [NOON_MS, NOON_MS + SLOT_MS, NOON_MS + 2 * SLOT_MS]
    found = values_by_step(
        [LIFE],
        at(slots, [-100, 50, 60]),
        np.array([NOON_MS, NOON_MS + 3 * SLOT_MS]),
        Step.HOUR,
        is_polled=True,
        cycle=0,
        exponent=0,
    )
    assert (found.mean.tolist(), found.least.tolist(), found.greatest.tolist()) == ([3], [-100], [60])
    assert found.coverage_permille().tolist() == [1000]


def test_a_sensor_that_fell_silent_holds_its_value_for_a_while_only() -> None:
    steps = np.arange(NOON_MS, NOON_MS + 5 * SLOT_MS, SLOT_MS)
    found = values_by_step([LIFE], at([NOON_MS], [7]), steps, Step.QUARTER_HOUR, is_polled=True, cycle=0, exponent=0)
    assert found.known.tolist() == [True, True, False, False]
    assert found.coverage_permille().tolist() == [1000, 500, 0, 0]


@given(st.lists(st.integers(-(2**53) + 1, 2**53 - 1), min_size=96, max_size=96))
def test_a_mean_of_a_day_is_exact_however_large_what_a_broken_sensor_shows(values: list[int]) -> None:
    slots = [NOON_MS + number * SLOT_MS for number in range(96)]
    day = np.array([NOON_MS, NOON_MS + DAY_MS])
    found = values_by_step([LIFE], at(slots, values), day, Step.LOCAL_DAY, is_polled=True, cycle=0, exponent=0)
    least = min(values)
    mean = least + (2 * sum(value - least for value in values) + 96) // 192
    assert (found.mean.tolist(), found.least.tolist(), found.greatest.tolist()) == ([mean], [least], [max(values)])


def test_the_value_before_the_period_holds_into_it() -> None:
    steps = np.array([NOON_MS, NOON_MS + SLOT_MS])
    readings = at([NOON_MS - SLOT_MS // 3, NOON_MS + SLOT_MS // 3], [30, 60], status=[int(Status.ESTIMATED), 1])
    found = values_by_step([LIFE], readings, steps, Step.QUARTER_HOUR, is_polled=True, cycle=0, exponent=0)
    assert (found.mean.tolist(), found.coverage_permille().tolist()) == ([50], [1000])
    assert found.estimated_permille().tolist() == [333]


def test_values_of_registers_in_other_scales_are_brought_to_the_meters() -> None:
    fine, coarse = replace(LIFE, scale_exponent=-2), replace(LIFE, key=2, scale_exponent=0)
    readings = Readings.of([1, 2], [NOON_MS, NOON_MS + SLOT_MS], [-1_250, 3])
    steps = np.arange(NOON_MS, NOON_MS + 3 * SLOT_MS, SLOT_MS)
    found = values_by_step([fine, coarse], readings, steps, Step.QUARTER_HOUR, is_polled=True, cycle=0, exponent=-1)
    assert found.mean.tolist() == [-125, 30]


def test_without_a_value_nothing_is_known() -> None:
    steps = np.array([NOON_MS, NOON_MS + SLOT_MS])
    found = values_by_step([LIFE], Readings.none(), steps, Step.TOTAL, is_polled=True, cycle=0, exponent=0)
    assert (found.known.tolist(), found.mean.tolist()) == ([False], [0])


@given(
    st.dictionaries(st.integers(-40, 60), st.integers(-500, 500), max_size=12),
    st.lists(st.integers(0, 50), min_size=2, max_size=8, unique=True).map(sorted),
)
def test_values_of_steps_are_those_of_their_minutes(values: dict[int, int], minutes: list[int]) -> None:
    """Against a clock that ticks minutes: what held in each, for a quarter hour and a half at most."""
    slots = sorted(values)
    readings = at([NOON_MS + minute * 60_000 for minute in slots], [values[minute] for minute in slots])
    steps = NOON_MS + np.array(minutes, np.int64) * 60_000
    found = values_by_step([LIFE], readings, steps, Step.QUARTER_HOUR, is_polled=True, cycle=0, exponent=0)
    for row, (begin, end) in enumerate(pairwise(minutes)):
        held: list[int] = []
        for half in range(begin * 2, end * 2):
            before = [minute for minute in slots if minute * 2 <= half]
            if before and half - before[-1] * 2 < 45:
                held.append(values[before[-1]])
        assert int(found.held_ms[row]) == len(held) * 30_000
        if held:
            assert (found.least[row], found.greatest[row]) == (min(held), max(held))
            assert int(found.mean[row]) == (2 * sum(held) + len(held)) // (2 * len(held))
