"""Estimation: gaps are filled with what may have been, and what the counter knows is kept to the unit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from domain.errors import FailedPrecondition, InvalidInput
from domain.intervals import Curve, Flag, Life, Register
from domain.night import local_day_bounds, zone
from services.metering.estimation import Known, Method, Wanted, check_estimable, estimate, expected_slots, spread
from services.metering.meter import Cycle, Kind
from services.metering.slot import SLOT_MS, to_ms

BERLIN = zone("Europe/Berlin")
START = to_ms(datetime(2026, 3, 2, tzinfo=UTC))  # a Monday
HOUR = 3_600_000
WEEK = 168 * HOUR
Ints = NDArray[np.int64]


def known(slots: list[int], values: list[int], **more: Any) -> Known:
    """Readings at slots counted from the start."""
    at = np.array([START + slot * SLOT_MS for slot in slots], np.int64)
    return Known(at, np.array(values, np.int64), more.pop("estimated", np.zeros(len(slots), np.bool_)), **more)


def wanted(slots: int, kind: Kind = Kind.COUNTER, method: Method = Method.LINEAR, **more: Any) -> Wanted:
    """So many quarter hours from the start."""
    fields: dict[str, Any] = {
        "cycle": Cycle.QUARTER_HOUR,
        "start_ms": START,
        "end_ms": START + slots * SLOT_MS,
        "tz": BERLIN,
        **more,
    }
    return Wanted(kind=kind, method=method, **fields)


def test_a_counter_rises_through_a_gap_in_whole_units_and_meets_the_reading_after_it() -> None:
    made = estimate(known([0, 1, 5, 6], [100, 110, 121, 130]), wanted(7))
    assert made.slot_ms == [START + slot * SLOT_MS for slot in (2, 3, 4)]
    assert made.value == [112, 115, 118]
    assert (made.gaps, made.unfilled) == (1, [])


def test_a_counter_that_rolls_over_in_the_gap_does_so_in_the_estimate() -> None:
    made = estimate(known([0, 1, 5], [980, 990, 10]), wanted(6, rollover=1_000))
    assert made.value == [995, 0, 5]


def test_a_gap_without_an_end_or_a_beginning_is_not_filled() -> None:
    made = estimate(known([3, 4], [100, 110]), wanted(8))
    assert made.slot_ms == []
    assert [sentence.split(": ")[1] for sentence in made.unfilled] == [
        "there is no reading before it",
        "there is no reading after it",
    ]
    assert made.unfilled[1].startswith("2026-03-02T01:15Z to 2026-03-02T01:45Z")


def test_a_counter_that_fell_meanwhile_is_not_estimated() -> None:
    made = estimate(known([0, 5], [500, 20]), wanted(6))
    assert made.slot_ms == []
    assert "record the exchange" in made.unfilled[0]


def test_the_recorded_ends_of_a_register_close_its_gaps() -> None:
    half = SLOT_MS // 2
    made = estimate(known([0, 1], [100, 110], last=(START + 3 * SLOT_MS + half, 160)), wanted(4))
    assert made.value == [130, 150]
    young = known([3], [40], first=(START + half, 0))
    assert estimate(young, wanted(4)).value == [8, 24]


def test_only_what_is_asked_for_is_filled_and_as_part_of_the_whole_gap() -> None:
    whole = estimate(known([0, 10], [0, 100]), wanted(10))
    part = estimate(known([0, 10], [0, 100]), wanted(10, start_ms=START + 4 * SLOT_MS, end_ms=START + 6 * SLOT_MS))
    assert part.value == whole.value[3:5] == [40, 50]


def weekly(weeks: int, start_ms: int = START) -> tuple[Ints, Ints]:
    """Hourly amounts, by the slot at which they end: 1 by night, 10 from 8 to 18 local time on weekdays."""
    slots = start_ms + np.arange(1, weeks * 168 + 1, dtype=np.int64) * HOUR
    begins = [datetime.fromtimestamp((slot - HOUR) / 1000, BERLIN) for slot in slots.tolist()]
    return slots, np.array([10 if 8 <= at.hour < 18 and at.weekday() < 5 else 1 for at in begins], np.int64)


def test_the_profile_of_the_weekdays_around_is_found_again_in_a_gap() -> None:
    slots, amounts = weekly(6)
    counters = np.cumsum(amounts)
    missing = slice(2 * 168 + 30, 2 * 168 + 80)
    kept = np.ones(len(slots), np.bool_)
    kept[missing] = False
    what = Wanted(Kind.COUNTER, Cycle.HOUR, START, int(slots[-1]) + 1, Method.WEEKDAY_PROFILE, BERLIN)
    made = estimate(Known(slots[kept], counters[kept], np.zeros(kept.sum(), np.bool_)), what)
    assert made.slot_ms[-1] == slots[missing][-1]
    assert made.value == counters[missing].tolist()
    amounts_known = Known(slots[kept], amounts[kept], np.zeros(kept.sum(), np.bool_))
    of_amounts = estimate(amounts_known, replace(what, kind=Kind.INTERVAL))
    assert of_amounts.value == amounts[missing].tolist()


def test_a_profile_follows_the_local_clock_over_both_changes_of_the_year() -> None:
    for first in (datetime(2026, 3, 9, tzinfo=UTC), datetime(2026, 10, 5, tzinfo=UTC)):
        slots, amounts = weekly(6, to_ms(first))
        missing = slice(3 * 168, 3 * 168 + 72)  # Monday to Wednesday after the change
        kept = np.ones(len(slots), np.bool_)
        kept[missing] = False
        what = Wanted(Kind.INTERVAL, Cycle.HOUR, int(slots[0]), int(slots[-1]), Method.WEEKDAY_PROFILE, BERLIN)
        made = estimate(Known(slots[kept], amounts[kept], np.zeros(kept.sum(), np.bool_)), what)
        assert made.value == amounts[missing].tolist()


def test_estimates_are_no_ground_for_a_profile() -> None:
    slots, amounts = weekly(4)
    estimated = np.zeros(len(slots), np.bool_)
    estimated[:336] = True
    amounts[:336] = 1_000
    kept = np.ones(len(slots), np.bool_)
    kept[340:345] = False
    what = Wanted(Kind.INTERVAL, Cycle.HOUR, START, int(slots[-1]), Method.WEEKDAY_PROFILE, BERLIN)
    made = estimate(Known(slots[kept], amounts[kept], estimated[kept]), what)
    assert max(made.value) <= 10


def test_amounts_lie_on_a_line_between_their_neighbours_unless_a_counter_knows_the_total() -> None:
    readings = known([0, 1, 5, 6], [10, 20, 60, 10])
    assert estimate(readings, wanted(7, Kind.INTERVAL)).value == [30, 40, 50]
    made = estimate(readings, wanted(7, Kind.INTERVAL, total=lambda start_ms, end_ms: 100))
    assert made.value == [33, 33, 34]


def test_a_sensor_is_drawn_through_short_gaps_only() -> None:
    made = estimate(known([0, 4, 40], [-100, 100, 200]), wanted(41, Kind.INSTANT))
    assert made.value == [-50, 0, 50]
    assert "not drawn through more than 3 h" in made.unfilled[0]
    with pytest.raises(InvalidInput, match="weekday"):
        check_estimable(Kind.INSTANT, Cycle.QUARTER_HOUR, Method.WEEKDAY_PROFILE)


@pytest.mark.parametrize(
    ("kind", "cycle"), [(Kind.VIRTUAL, Cycle.HOUR), (Kind.STOCK, Cycle.DAY), (Kind.COUNTER, Cycle.YEAR)]
)
def test_what_has_nothing_to_estimate_says_so(kind: Kind, cycle: Cycle) -> None:
    with pytest.raises(FailedPrecondition):
        check_estimable(kind, cycle, Method.LINEAR)


def test_a_daily_meter_is_expected_at_local_midnights() -> None:
    first, _ = local_day_bounds(datetime(2026, 3, 28).date(), BERLIN)
    slots = expected_slots(to_ms(first), to_ms(first + timedelta(days=3)), Cycle.DAY, BERLIN)
    assert np.diff(slots).tolist() == [24 * HOUR, 23 * HOUR, 24 * HOUR]
    months = expected_slots(to_ms(first), to_ms(first + timedelta(days=40)), Cycle.MONTH, BERLIN)
    assert months.tolist() == [
        to_ms(datetime(2026, 3, 31, 22, tzinfo=UTC)),
        to_ms(datetime(2026, 4, 30, 22, tzinfo=UTC)),
    ]


def test_days_of_a_daily_counter_follow_their_weekday() -> None:
    days = [local_day_bounds((datetime(2026, 3, 2) + timedelta(days=n)).date(), BERLIN)[0] for n in range(43)]
    slots = np.array([to_ms(day) for day in days])
    amounts = np.array([0, *(2 if n % 7 > 4 else 10 for n in range(42))])
    kept = np.ones(43, np.bool_)
    kept[24:29] = False
    what = Wanted(Kind.COUNTER, Cycle.DAY, int(slots[0]), int(slots[-1]), Method.WEEKDAY_PROFILE, BERLIN)
    made = estimate(Known(slots[kept], np.cumsum(amounts)[kept], np.zeros(38, np.bool_)), what)
    assert made.value == np.cumsum(amounts)[24:29].tolist()


@given(st.integers(0, 2**53), st.lists(st.integers(0, 10**12), min_size=1, max_size=50))
def test_whatever_is_spread_rises_and_ends_at_the_amount(amount: int, weights: list[int]) -> None:
    parts = spread(amount, weights)
    assert all(low <= high for low, high in pairwise([0, *parts]))
    assert parts[-1] == amount


@st.composite
def metered(draw: st.DrawFn) -> tuple[list[Known], list[int], int]:
    """Registers of a meter one after the other: slots that fail, a rollover or none, and recorded exchanges."""
    rollover = draw(st.sampled_from([0, 10_000]))
    counter = draw(st.integers(0, 9_999))
    lives: list[Known] = []
    slot = 0
    amounts = []
    first: tuple[int, int] | None = None
    for number in range(draw(st.integers(1, 4))):
        used = draw(st.lists(st.integers(0, 300), min_size=2, max_size=25))
        read = draw(st.lists(st.booleans(), min_size=len(used), max_size=len(used)))
        slots, values = [], []
        for amount, was_read in zip(used, read, strict=True):
            if was_read:
                slots.append(slot)
                values.append(counter % rollover if rollover else counter)
            counter += amount
            amounts.append(amount)
            slot += 1
        at = START + slot * SLOT_MS - SLOT_MS // 2
        now = counter % rollover if rollover else counter
        # The exchange (or a reset that was recorded) falls into the middle of the last slot, all of whose energy the
        # old register has counted.
        lives.append(known(slots, values, first=first, last=(at, now)))
        counter = draw(st.sampled_from([0, 17])) if number % 2 else draw(st.integers(0, 9_999))
        first = (at, counter)
    return lives, amounts, rollover


@settings(max_examples=150, deadline=None)
@given(metered(), st.sampled_from(list(Method)))
def test_the_total_of_a_counter_is_conserved_under_any_gaps_rollovers_resets_and_exchanges(
    history: tuple[list[Known], list[int], int], method: Method
) -> None:
    registers, amounts, rollover = history
    before: list[Life] = []
    after: list[Life] = []
    for one in registers:
        made = estimate(one, wanted(len(amounts) + 1, method=method, rollover=rollover))
        slots = np.concatenate((one.slot_ms, np.array(made.slot_ms, np.int64)))
        values = np.concatenate((one.value, np.array(made.value, np.int64)))
        for target, at, counters, guessed in (
            (before, one.slot_ms, one.value, []),
            (after, slots, values, made.slot_ms),
        ):
            target.append(
                Life(
                    at,
                    counters,
                    Register(rollover, noise=0),
                    installed_at_ms=one.first[0] if one.first else None,
                    first_reading=one.first[1] if one.first else None,
                    removed_at_ms=one.last[0] if one.last else None,
                    final_reading=one.last[1] if one.last else None,
                    estimated_ms=np.array(guessed, np.int64),
                )
            )
    if not any(len(one.slot_ms) for one in registers):
        return
    plain, filled = Curve(before), Curve(after)
    # At every instant that was known before, the cumulated amount is what it was; nothing was invented in between.
    instants = sorted({at for one in registers for at in one.knots()[0]})
    if len(instants) < 2:
        return
    was, now = plain.consumption(instants), filled.consumption(instants)
    assert (was.amount == now.amount).all()
    assert (was.estimated_amount <= now.estimated_amount).all()
    assert (was.measured_ms >= now.measured_ms).all()
    assert ((now.flag == Flag.MEASURED) <= (was.flag == Flag.MEASURED)).all()
    slots_asked = [START + slot * SLOT_MS for slot in range(len(amounts) + 1)]
    assert (filled.consumption(slots_asked).amount >= 0).all()
