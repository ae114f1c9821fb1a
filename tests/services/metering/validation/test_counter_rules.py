"""Digits, steps back and spikes: what is in doubt, and what is a rollover, a dip or a reset."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.metering.reading import Readings, Status
from services.metering.validation.parameters import Parameters
from services.metering.validation.table import check
from services.metering.vee import RegisterRules, judge_all
from tests.services.metering.making import NOON_MS, series
from tests.services.metering.validation.making_series import HOUR, counter, intervals, office, only, sensor

NO_SPIKES = Parameters({("spike", "", "enabled"): 0})


def test_a_counter_with_more_digits_than_the_register_or_below_zero_is_doubted() -> None:
    found, doubted = only("digits", counter([998, 999, 1_000, 2, -1], rollover=1_000))
    assert doubted == [2, 4]
    assert "1000" in found[0].detail


def test_a_rollover_is_no_step_back() -> None:
    assert only("negative_step", counter([980, 990, 999, 5, 12], rollover=1_000))[1] == []
    assert only("negative_step", counter([980, 990, 999, 5, 12]))[1] == [3, 4]


def test_a_register_that_falls_half_way_did_not_roll_over() -> None:
    assert only("negative_step", counter([480, 490, 500, 5, 12], rollover=1_000))[1] == [3, 4]


def test_readings_below_the_last_good_one_are_doubted_until_the_counter_is_back() -> None:
    found, doubted = only("negative_step", counter([5_000, 5_100, 7, 8, 5_200, 5_300]))
    assert doubted == [2, 3]
    assert found[0].detail == "from 5100 back to 7"
    assert found[0].is_doubted


def test_a_counter_that_does_not_come_back_up_was_reset_or_exchanged_and_the_finding_says_so() -> None:
    found, doubted = only("negative_step", counter([5_000, 5_100, 7, 8, 9]))
    assert doubted == [2, 3, 4]
    assert "an exchange that nobody recorded" in found[0].detail


def test_a_step_back_by_one_count_is_noise_and_has_a_rule_of_its_own() -> None:
    noisy = counter([5_000, 5_100, 5_000, 5_100, 5_200], noise=100)
    assert only("small_step_back", noisy)[1] == [2]
    assert only("negative_step", noisy)[1] == []


def test_an_amount_below_zero_is_doubted() -> None:
    assert only("negative_step", intervals([5, -1, -2, 5]))[1] == [1, 2]


def test_a_step_above_the_connected_load_is_doubted_until_time_makes_it_possible() -> None:
    # 4 units an hour, with margin and lateness 6 in an hour of quarter hours: 40 too many take a while.
    found, doubted = only("spike", counter([0, 1, 41, 42, 43, 4, 5], most_per_h=4))
    assert doubted == [2, 3, 4]
    assert "at most 4" in found[0].detail
    persistent = only("spike", counter([0, *range(30, 90)], most_per_h=4))[1]
    assert persistent[0] == 1
    assert persistent == list(range(1, persistent[-1] + 1))
    assert persistent[-1] < 60


def test_what_comes_after_a_dip_is_compared_with_what_was_before_it() -> None:
    dipped = counter([5_000, 5_010, 7, 8, 5_040, 5_050], most_per_h=1_000)
    assert only("spike", dipped)[1] == []
    assert only("negative_step", dipped)[1] == [2, 3]
    found, doubtful = check(dipped)
    assert [one.rule for one in found] == ["negative_step"]
    assert np.flatnonzero(doubtful).tolist() == [2, 3]


def test_a_spike_next_to_a_rollover_is_told_apart_from_it() -> None:
    rolling = counter([99_000, 99_500, 60_000, 99_900, 300, 700], most_per_h=4_000, rollover=100_000)
    found, doubtful = check(rolling)
    assert [(one.rule, one.count) for one in found] == [("negative_step", 1)]
    assert np.flatnonzero(doubtful).tolist() == [2]


def test_without_a_known_load_one_reading_above_both_neighbours_is_a_spike() -> None:
    assert only("spike", counter([10, 11, 9_999, 12, 13]))[1] == [2]
    assert only("spike", counter([10, 11, 9_999, 10_000, 10_001]))[1] == []


@pytest.mark.parametrize("load", [0, 1_000])
def test_where_no_spike_is_doubted_one_reading_above_both_neighbours_puts_none_after_it_in_doubt(load: int) -> None:
    high = counter([0, 100, 5_000_000, 200, 300, 400], most_per_h=load, noise=100)
    found, doubtful = check(high, NO_SPIKES)
    assert [(one.rule, one.count, one.is_doubted) for one in found] == [("negative_step", 1, True)]
    assert np.flatnonzero(doubtful).tolist() == [2]
    reset = counter([5_000, 5_100, 7, 8, 9], most_per_h=load)
    assert np.flatnonzero(check(reset, NO_SPIKES)[1]).tolist() == [2, 3, 4]
    higher = counter([0, 100, 5_000_000, 5_000_100], most_per_h=load)
    assert check(higher, NO_SPIKES)[0] == []


def test_what_goes_on_by_more_than_the_load_allows_proves_nothing_wrong() -> None:
    leaping = counter([0, 100, 9_000_000, 5_000_000, 9_000_100], most_per_h=1_000)
    assert np.flatnonzero(check(leaping, NO_SPIKES)[1]).tolist() == [3]


def test_a_rollover_is_one_also_where_no_spike_is_doubted() -> None:
    rolling = counter([99_000, 99_900, 100, 700], most_per_h=4_000, rollover=100_000)
    assert check(rolling, NO_SPIKES)[0] == []
    quick = counter([300, 900, 350, 800], most_per_h=4_000, rollover=1_000)
    assert check(quick, NO_SPIKES)[0] == []


def test_an_amount_above_what_can_flow_is_a_spike() -> None:
    assert only("spike", intervals([5, 5, 90, 5], most_per_h=10))[1] == [2]
    assert only("spike", intervals([5, 5, 15, 5], most_per_h=10))[1] == []


def test_where_the_load_is_unknown_an_amount_is_a_spike_if_it_dwarfs_all_others() -> None:
    amounts = office(4)
    amounts[300] = 10_000_000
    assert only("spike", intervals(amounts))[1] == [300]


def test_a_temperature_that_stands_alone_is_a_spike_and_a_front_is_not() -> None:
    assert only("spike", sensor([50, 52, 850, 54, 55], scale_exponent=-1))[1] == [2]
    assert only("spike", sensor([250, 250, 60, 50, 55], scale_exponent=-1))[1] == []
    assert only("spike", sensor([0, 9_000, 0], medium="light"))[1] == []


def test_the_rules_and_the_judge_of_single_steps_agree_about_falls() -> None:
    rng = np.random.default_rng(7)
    for _ in range(200):
        value = np.cumsum(rng.integers(0, 50, 60)) + 10_000
        value[rng.integers(5, 55)] -= int(rng.integers(1, 9_000))
        by_rules = (
            only("negative_step", counter(value, noise=100))[1] + only("small_step_back", counter(value, noise=100))[1]
        )
        given: Readings = series(1, NOON_MS, value.tolist())
        judged = np.flatnonzero(judge_all(given, {}, {1: RegisterRules()}) == Status.DOUBTFUL).tolist()
        assert sorted(by_rules) == judged


def test_hours_of_a_counter_that_is_read_hourly_are_judged_by_hours() -> None:
    assert only("spike", counter([0, 10, 20, 30], HOUR, most_per_h=10))[1] == []


def test_all_rules_together_and_the_judge_agree_where_the_load_is_known() -> None:
    rng = np.random.default_rng(11)
    for number in range(400):
        rules = RegisterRules(connected_load_w=4 * 50)
        if number >= 200:  # other numbers than the defaults, the same for both
            rules = replace(
                rules,
                one_count=int(rng.integers(0, 3_000)),
                saving_s=int(rng.integers(0, 7_200)),
                margin_permille=int(rng.integers(1_000, 4_000)),
                lateness_ms=int(rng.integers(0, 3_600_000)),
            )
        value = np.cumsum(rng.integers(0, 50, 80)) + 10_000
        for _ in range(3):
            first = int(rng.integers(5, 75))
            value[first : first + int(rng.integers(1, 4))] += int(rng.integers(-9_000, 9_000))
        given = counter(
            value,
            noise=rules.noise,
            most_per_h=rules.connected_load_w,
            margin_permille=rules.margin_permille,
            lateness_ms=rules.lateness_ms,
        )
        _, doubtful = check(given)
        one_by_one = judge_all(series(1, NOON_MS, value.tolist()), {}, {1: rules}) == Status.DOUBTFUL
        assert np.flatnonzero(doubtful).tolist() == np.flatnonzero(one_by_one).tolist()


@pytest.mark.parametrize("load", [0, 200])
def test_the_rules_and_the_judge_agree_where_no_spike_is_doubted(load: int) -> None:
    rng = np.random.default_rng(5)
    rules = RegisterRules(connected_load_w=load, doubts_spikes=False)
    for _ in range(200):
        value = np.cumsum(rng.integers(0, 50, 60)) + 10_000
        for place in (15, 40):
            value[place + int(rng.integers(-10, 10))] += int(rng.integers(-9_000, 9_000))
        given = counter(value, noise=rules.noise, most_per_h=load)
        _, doubtful = check(given, NO_SPIKES)
        one_by_one = judge_all(series(1, NOON_MS, value.tolist()), {}, {1: rules}) == Status.DOUBTFUL
        assert np.flatnonzero(doubtful).tolist() == np.flatnonzero(one_by_one).tolist()
