"""Validation: what is noise, what a rollover, what a reset, and what is too much to believe."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metering.reading import Readings, Status
from services.metering.slot import SLOT_MS
from services.metering.vee import Finding, Point, RegisterRules, RegisterState, Reset, judge, judge_all
from tests.services.metering.making import NOON_MS, series

LOAD = RegisterRules(connected_load_w=10_000)  # 10 kW: 2.5 kWh a quarter hour, with margin and lateness 7.5 kWh
AT = RegisterState(Point(0, 1_000_000))


def test_a_rising_counter_is_measured_and_becomes_the_reference() -> None:
    verdict = judge(AT, LOAD, SLOT_MS, 1_002_000)
    assert (verdict.status, verdict.state.good) == (Status.MEASURED, Point(SLOT_MS, 1_002_000))


def test_a_step_above_what_the_connected_load_can_draw_is_doubtful_and_no_reference() -> None:
    verdict = judge(AT, LOAD, SLOT_MS, 9_000_000)
    assert (verdict.status, verdict.finding, verdict.state) == (Status.DOUBTFUL, Finding.SPIKE, AT)
    assert judge(verdict.state, LOAD, 2 * SLOT_MS, 1_002_000).status is Status.MEASURED


def test_the_longer_the_gap_the_larger_the_step_that_is_believed() -> None:
    assert judge(AT, LOAD, 96 * SLOT_MS, 1_240_000).status is Status.MEASURED
    assert judge(AT, LOAD, SLOT_MS, 1_240_000).status is Status.DOUBTFUL


def test_without_a_known_load_no_step_is_too_high() -> None:
    assert judge(AT, RegisterRules(), SLOT_MS, 10**12).status is Status.MEASURED


def test_a_step_back_by_one_count_is_noise_and_no_reset() -> None:
    verdict = judge(AT, RegisterRules(), SLOT_MS, 999_900)
    assert (verdict.finding, verdict.state, verdict.reset) == (Finding.NOISE, AT, None)


def test_what_a_meter_that_saves_every_five_minutes_loses_with_the_mains_is_noise() -> None:
    assert judge(AT, LOAD, SLOT_MS, 999_200).finding is Finding.NOISE


def test_a_rollover_is_measured() -> None:
    rules = RegisterRules(rollover=1_000_100, connected_load_w=10_000)
    verdict = judge(AT, rules, SLOT_MS, 400)
    assert (verdict.status, verdict.finding) == (Status.MEASURED, Finding.ROLLOVER)


def test_a_counter_with_more_digits_than_the_register_is_doubtful() -> None:
    assert judge(AT, RegisterRules(rollover=1_000_100), SLOT_MS, 1_000_100).finding is Finding.DIGITS


def test_one_wrong_answer_is_no_reset() -> None:
    dropped = judge(AT, LOAD, SLOT_MS, 3)
    back = judge(dropped.state, LOAD, 2 * SLOT_MS, 1_002_000)
    assert (dropped.status, dropped.reset) == (Status.DOUBTFUL, None)
    assert (back.status, back.state) == (Status.MEASURED, RegisterState(Point(2 * SLOT_MS, 1_002_000), before=AT.good))


def test_a_second_reading_confirms_a_reset_and_the_register_began_at_zero() -> None:
    dropped = judge(AT, LOAD, SLOT_MS, 300)
    verdict = judge(dropped.state, LOAD, 2 * SLOT_MS, 1_000)
    assert verdict.reset == Reset(SLOT_MS // 2, 1_000_000, 0)
    assert verdict.state.good == Point(2 * SLOT_MS, 1_000)


def test_a_reset_shortly_before_the_rollover_stays_a_reset_however_long_it_waits_to_be_recorded() -> None:
    rules = RegisterRules(connected_load_w=10_000, rollover=1_000_000_000)
    good = Point(NOON_MS, 999_992_604)
    fallen = judge(RegisterState(good), rules, NOON_MS + SLOT_MS, 174)
    assert (fallen.status, fallen.finding) == (Status.DOUBTFUL, Finding.DROP)
    # A step of 7 570 Wh is too much for a quarter of an hour, and not for three.
    for slots, value in ((2, 416), (3, 1_409), (8, 3_000)):
        verdict = judge(fallen.state, rules, NOON_MS + slots * SLOT_MS, value)
        assert verdict.finding is Finding.RESET
        assert verdict.reset == Reset(NOON_MS + SLOT_MS // 2, good.value, 0)
    # One wrong low answer is none: what goes on below it has rolled over.
    assert judge(fallen.state, rules, NOON_MS + 3 * SLOT_MS, 100).finding is Finding.ROLLOVER


def test_a_new_register_that_came_with_a_value_begins_there() -> None:
    dropped = judge(AT, LOAD, SLOT_MS, 400_000)
    verdict = judge(dropped.state, LOAD, 2 * SLOT_MS, 401_000)
    assert verdict.reset == Reset(SLOT_MS, 1_000_000, 400_000)


@pytest.mark.parametrize("rules", [RegisterRules(), RegisterRules(rollover=100_000_000)])
def test_a_high_reading_that_nothing_limits_is_proven_a_spike_by_the_next_and_never_a_reset(
    rules: RegisterRules,
) -> None:
    wrong = judge(judge(AT, rules, SLOT_MS, 1_001_000).state, rules, 2 * SLOT_MS, 99_000_000)
    back = judge(wrong.state, rules, 3 * SLOT_MS, 1_003_000)
    further = judge(back.state, rules, 4 * SLOT_MS, 1_004_000)
    assert wrong.status is Status.MEASURED
    assert (back.status, back.finding, back.reset) == (Status.MEASURED, Finding.SPIKE, None)
    assert back.state == RegisterState(Point(3 * SLOT_MS, 1_003_000), before=Point(SLOT_MS, 1_001_000))
    assert (further.status, further.finding, further.reset) == (Status.MEASURED, Finding.NONE, None)


def test_a_high_reading_that_the_load_allows_is_proven_a_spike_too_but_not_by_more_than_the_load_allows() -> None:
    state = RegisterState(Point(SLOT_MS, 1_007_000), before=AT.good)
    assert judge(state, LOAD, 2 * SLOT_MS, 1_002_000)[0:3:2] == (Status.MEASURED, Finding.SPIKE)
    far = RegisterState(Point(SLOT_MS, 9_007_000), before=AT.good)
    assert judge(far, LOAD, 2 * SLOT_MS, 1_202_000).finding is Finding.DROP


def test_a_spike_is_told_from_a_reset_also_where_the_next_reading_is_noise_below_the_one_before_it() -> None:
    noisy = judge(RegisterState(Point(SLOT_MS, 9_000_000), before=AT.good), RegisterRules(), 2 * SLOT_MS, 999_950)
    assert (noisy.status, noisy.finding, noisy.state) == (Status.DOUBTFUL, Finding.NOISE, AT)


def test_a_reset_below_both_readings_before_it_is_still_a_reset() -> None:
    state = judge(AT, RegisterRules(), SLOT_MS, 1_001_000).state
    dropped = judge(state, RegisterRules(), 2 * SLOT_MS, 300)
    assert judge(dropped.state, RegisterRules(), 3 * SLOT_MS, 1_300).reset == Reset(3 * SLOT_MS // 2, 1_001_000, 0)


def test_in_a_bulk_a_spike_that_nothing_limits_is_in_doubt_and_nothing_after_it() -> None:
    assert judge_all(series(1, NOON_MS, [1000, 2000, 9_999_999, 3000, 4000]), {}, {}).tolist() == [1, 1, 3, 1, 1]


@pytest.mark.parametrize("load", [0, 1_000])
def test_where_no_spike_is_doubted_a_bulk_is_judged_like_one_after_the_other_whatever_the_load(load: int) -> None:
    rules = RegisterRules(connected_load_w=load, doubts_spikes=False)
    values = [0, 100, 5_000_000, 200, 300, 400]
    state, found = RegisterState(), []
    for place, value in enumerate(values, start=1):
        verdict = judge(state, rules, place * SLOT_MS, value)
        state = verdict.state
        found.append((verdict.status, verdict.finding))
    assert found == [(Status.MEASURED, Finding.SPIKE if value == 200 else Finding.NONE) for value in values]
    # Of a bulk what the next reading has proved wrong is in doubt at once.
    assert judge_all(series(1, NOON_MS, values), {}, {1: rules}).tolist() == [1, 1, 3, 1, 1, 1]


def test_a_bulk_of_readings_is_judged_like_one_after_the_other() -> None:
    good = series(1, NOON_MS, [0, 1000, 2000, 9_999_999, 3000, 2950, 4000])
    status = judge_all(good, {}, {1: LOAD})
    assert status.tolist() == [1, 1, 1, Status.DOUBTFUL, 1, Status.DOUBTFUL, 1]


def test_after_a_drop_in_a_bulk_all_stays_in_doubt_until_the_exchange_is_recorded() -> None:
    status = judge_all(series(1, NOON_MS, [5000, 6000, 10, 20, 30]), {}, {1: LOAD})
    assert status.tolist() == [1, 1, 3, 3, 3]


def test_gaps_and_what_is_doubted_already_are_not_judged() -> None:
    given = Readings.of([1] * 3, [NOON_MS + n * SLOT_MS for n in range(3)], [5000, 0, 10], [1, 2, 3])
    assert judge_all(given, {}, {}).tolist() == [1, 2, 3]


@given(
    st.lists(st.integers(0, 12_000), min_size=1, max_size=40),
    st.sampled_from([RegisterRules(), LOAD, RegisterRules(rollover=30_000, connected_load_w=10_000)]),
    st.booleans(),
)
def test_the_quick_way_and_the_slow_way_agree(values: list[int], rules: RegisterRules, has_state: bool) -> None:
    state = RegisterState(Point(NOON_MS - SLOT_MS, 1000)) if has_state else RegisterState()
    ordered = series(1, NOON_MS, values)
    expected: list[int] = []
    walking, last_good = state, -1
    for place, (slot, value) in enumerate(zip(ordered.slot_ms.tolist(), values, strict=True)):
        if rules.connected_load_w:
            walking = replace(walking, before=None)
        verdict = judge(walking, rules, slot, value)
        if verdict.reset is not None:
            expected.append(Status.DOUBTFUL)
            continue
        walking = verdict.state
        expected.append(verdict.status)
        if verdict.finding is Finding.SPIKE and verdict.status is Status.MEASURED and last_good >= 0:
            expected[last_good] = Status.DOUBTFUL
        if verdict.status is Status.MEASURED:
            last_good = place
    assert judge_all(ordered, {1: state}, {1: rules}).tolist() == expected


@given(st.lists(st.integers(0, 2_000), min_size=2, max_size=60))
def test_a_plausible_rising_counter_is_never_doubted(steps: list[int]) -> None:
    values = np.cumsum(steps).tolist()
    assert set(judge_all(series(1, NOON_MS, values), {}, {1: LOAD}).tolist()) == {Status.MEASURED}
