"""Reading cycles: how long they are, and what a series of readings says about its own."""

from __future__ import annotations

import numpy as np
import pytest

from services.metering.cycle import length_ms, longest_ms, usual_interval_ms
from services.metering.meter import Cycle
from services.metering.slot import DAY_MS, HOUR_MS, SLOT_MS


@pytest.mark.parametrize(
    ("cycle", "length", "longest"),
    [
        (Cycle.QUARTER_HOUR, SLOT_MS, SLOT_MS),
        (Cycle.HOUR, HOUR_MS, HOUR_MS),
        (Cycle.DAY, DAY_MS, 25 * HOUR_MS),
        (Cycle.MONTH, 31 * DAY_MS, 31 * DAY_MS + HOUR_MS),
        (Cycle.YEAR, 366 * DAY_MS, 366 * DAY_MS),
        (Cycle.IRREGULAR, 0, 0),
        (Cycle.UNSPECIFIED, 0, 0),
    ],
)
def test_a_cycle_is_as_long_as_the_calendar_makes_it_and_an_hour_more_in_autumn(
    cycle: Cycle, length: int, longest: int
) -> None:
    assert (length_ms(cycle), longest_ms(cycle)) == (length, longest)


def test_readings_tell_how_far_apart_they_mostly_are_if_there_are_three_of_them() -> None:
    slots = np.array([0, 1, 2, 3, 7, 8], np.int64) * HOUR_MS
    assert usual_interval_ms(slots) == HOUR_MS
    assert usual_interval_ms(slots[:2]) == 0
