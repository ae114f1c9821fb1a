"""Sum check: main against its sub-meters, within tolerance, and unknown where somebody was not read."""

from __future__ import annotations

import pytest

from domain.errors import InvalidInput
from services.metering.figures.losses import Verdict, check_sum
from tests.services.metering.making import NOON_MS
from tests.services.metering.profiles import steps, without


def test_each_step_is_within_a_loss_or_a_surplus() -> None:
    main = steps(NOON_MS, [10_000, 10_000, 10_000])
    found = check_sum(main, [steps(NOON_MS, [6_000, 5_000, 6_000]), steps(NOON_MS, [3_800, 3_800, 4_800])], 30)
    assert found.verdict.tolist() == [Verdict.WITHIN, Verdict.LOSS, Verdict.SURPLUS]
    assert found.difference.tolist() == [200, 1_200, -800]
    assert found.subs.tolist() == [9_800, 8_800, 10_800]


def test_a_missing_sub_meter_is_no_loss() -> None:
    main = steps(NOON_MS, [1_000, 1_000])
    found = check_sum(main, [without(steps(NOON_MS, [0, 990]), 0, 1)], 30)
    assert found.verdict.tolist() == [Verdict.UNKNOWN, Verdict.WITHIN]
    assert found.coverage_permille.tolist() == [0, 1000]


def test_what_cutting_to_whole_units_leaves_over_is_no_difference() -> None:
    found = check_sum(steps(NOON_MS, [3, 0, 0]), [steps(NOON_MS, [1, 1, 9]), steps(NOON_MS, [0, 1, 0])], 0)
    assert found.verdict.tolist() == [Verdict.WITHIN, Verdict.WITHIN, Verdict.SURPLUS]


def test_the_tolerance_is_met_exactly_at_its_edge() -> None:
    main = steps(NOON_MS, [100_000, 100_000])
    found = check_sum(main, [steps(NOON_MS, [96_998, 96_997])], 30)
    assert found.verdict.tolist() == [Verdict.WITHIN, Verdict.LOSS]


def test_without_sub_meters_there_is_nothing_to_check() -> None:
    with pytest.raises(InvalidInput, match="parent"):
        check_sum(steps(NOON_MS, [1]), [], 30)
    with pytest.raises(InvalidInput, match="tolerance"):
        check_sum(steps(NOON_MS, [1]), [steps(NOON_MS, [1])], 1001)
