"""The whole and its parts."""

from __future__ import annotations

import numpy as np
import pytest

from domain.errors import InvalidInput
from services.metering.validation.sum_rule import Sums, sum_check
from tests.services.metering.validation.making_series import DAY, MONDAY_MS


def sums(whole: list[int], *parts: list[int], known: list[bool] | None = None) -> Sums:
    starts = MONDAY_MS + np.arange(len(whole), dtype=np.int64) * DAY
    mask = np.array(known if known is not None else [True] * len(whole))
    return Sums(starts, starts + DAY, np.array(whole), [np.array(part) for part in parts], mask)


def test_parts_within_the_tolerance_are_fine_and_what_is_beyond_is_told_by_sign() -> None:
    found = sum_check(sums([1_000] * 5, [500] * 5, [480, 400, 390, 520, 700]), 30)
    assert [(one.count, one.detail) for one in found] == [
        (2, "the parts together are 210 (10.5 %) less than the whole of 2000"),
        (1, "the parts together are 200 (20 %) more than the whole of 1000"),
    ]
    assert found[0].first_slot_ms == MONDAY_MS + DAY


def test_tariff_registers_may_differ_by_a_count_each() -> None:
    assert sum_check(sums([100, 100], [60, 60], [40, 39]), 0, slack=2) == []
    assert len(sum_check(sums([100, 100], [60, 60], [40, 37]), 0, slack=2)) == 1


def test_days_that_not_all_meters_cover_say_nothing() -> None:
    assert sum_check(sums([1_000, 1_000], [0, 1_000], known=[False, True]), 30) == []


def test_parts_of_other_steps_are_refused() -> None:
    with pytest.raises(InvalidInput):
        sum_check(sums([1, 2], [1]), 30)
