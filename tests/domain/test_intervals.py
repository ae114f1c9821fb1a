"""From counter to interval: whatever happens to a meter, energy is neither lost nor invented."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.counters import Register, Step, classify_step
from domain.errors import InvalidInput, OutOfLimits
from domain.intervals import Curve, Flag, Intervals, Life
from domain.night import dates_between, local_day_bounds, local_month_bounds, quarter_hours, unix_ms, zone

QUARTER = timedelta(minutes=15)
START = datetime(2026, 3, 1, tzinfo=UTC)
BERLIN = zone("Europe/Berlin")


def at(slot: float) -> datetime:
    return START + slot * QUARTER


def readings(*counters: int | None) -> list[tuple[datetime, int]]:
    """Counters at consecutive quarter hours; None is a slot that could not be read."""
    return [(at(i), counter) for i, counter in enumerate(counters) if counter is not None]


def amounts(curve: Curve, slots: int) -> list[int | None]:
    return [slot.amount for slot in curve.quarter_hours(START, at(slots))]


def flags(curve: Curve, slots: int) -> list[Flag]:
    return [slot.flag for slot in curve.quarter_hours(START, at(slots))]


def test_a_quarter_hour_holds_what_the_counter_moved():
    curve = Curve([Life.of(readings(1000, 1010, 1010, 1035))])
    assert amounts(curve, 3) == [10, 0, 25]
    assert flags(curve, 3) == [Flag.MEASURED] * 3
    assert curve.events == []


def test_a_gap_is_flagged_and_its_energy_conserved():
    curve = Curve([Life.of(readings(1000, 1010, None, None, 1041, 1050))])
    assert amounts(curve, 5) == [10, 10, 10, 11, 9]
    assert flags(curve, 5) == [Flag.MEASURED, Flag.GAP, Flag.GAP, Flag.GAP, Flag.MEASURED]
    whole = curve.between(at(0), at(5))
    assert (whole.amount, whole.estimated_amount, whole.flag) == (50, 31, Flag.GAP)


def test_between_estimates_the_amount_is_estimated_and_only_measured_pairs_cover():
    instants, counters = zip(*readings(1000, 1010, 1030, 1035, 1041, 1050), strict=True)
    life = Life(
        np.array([unix_ms(instant) for instant in instants]),
        np.array(counters),
        estimated_ms=np.array([unix_ms(at(2)), unix_ms(at(3))]),
    )
    curve = Curve([life])
    assert amounts(curve, 5) == [10, 20, 5, 6, 9]
    assert flags(curve, 5) == [Flag.MEASURED, Flag.GAP, Flag.GAP, Flag.GAP, Flag.MEASURED]
    whole = curve.consumption([unix_ms(at(0)), unix_ms(at(5))])
    assert (whole.amount[0], whole.estimated_amount[0], whole.coverage_permille()[0]) == (50, 31, 400)


def test_outside_its_readings_nothing_is_known():
    curve = Curve([Life.of(readings(None, 1000, 1010, None))])
    assert amounts(curve, 4) == [None, 10, None, None]
    assert flags(curve, 4) == [Flag.MISSING, Flag.MEASURED, Flag.MISSING, Flag.MISSING]
    assert Curve([]).between(at(0), at(1)).flag is Flag.MISSING
    assert Curve([Life.of(readings(1000))]).between(at(0), at(1)).flag is Flag.MISSING


def test_an_interval_covered_in_part_says_so_and_keeps_what_is_known():
    curve = Curve([Life.of([(at(0.5), 100), (at(1), 107), (at(2), 120)])])
    first = curve.between(at(0), at(1))
    assert (first.amount, first.flag) == (7, Flag.ESTIMATED)
    column = curve.consumption([unix_ms(at(0)), unix_ms(at(1)), unix_ms(at(2)), unix_ms(at(4))])
    assert column.coverage_permille().tolist() == [500, 1000, 0]
    assert column.flag.tolist() == [Flag.ESTIMATED, Flag.MEASURED, Flag.MISSING]


def test_readings_that_come_some_seconds_late_still_measure():
    late = [(at(i) + timedelta(seconds=1 + i % 5), 1000 + 60 * i) for i in range(9)]
    curve = Curve([Life.of(late)])
    inner = curve.quarter_hours(at(1), at(8))
    assert {slot.flag for slot in inner} == {Flag.MEASURED}
    assert sum(slot.amount or 0 for slot in inner) == pytest.approx(7 * 60, abs=1)


def test_a_counter_that_rolls_over_goes_on():
    curve = Curve([Life.of(readings(999_970, 999_990, 15, 40), Register(rollover=10**6))])
    assert amounts(curve, 3) == [20, 25, 25]
    assert flags(curve, 3) == [Flag.MEASURED] * 3
    assert [event.step for event in curve.events] == [Step.ROLLOVER]


def test_a_small_step_back_is_noise_and_is_not_counted_twice():
    curve = Curve([Life.of(readings(1000, 1010, 1009, 1012), Register(rollover=10**6))])
    assert amounts(curve, 3) == [10, 0, 2]
    assert flags(curve, 3) == [Flag.MEASURED] * 3
    assert [event.step for event in curve.events] == [Step.NOISE]


def test_noise_around_zero_is_no_rollover():
    curve = Curve([Life.of(readings(999_999, 0, 999_999, 1), Register(rollover=10**6))])
    assert amounts(curve, 3) == [1, 0, 1]


def test_a_reset_counts_from_zero_and_is_marked():
    curve = Curve([Life.of(readings(812_000, 812_500, 300, 700), Register(rollover=10**7, max_rate_per_h=4000))])
    assert amounts(curve, 3) == [500, 300, 400]
    assert flags(curve, 3) == [Flag.MEASURED, Flag.ESTIMATED, Flag.MEASURED]
    assert [event.step for event in curve.events] == [Step.RESET]


def test_an_exchange_nobody_recorded_yields_no_huge_consumption():
    register = Register(rollover=10**8, max_rate_per_h=4000)
    up = Curve([Life.of(readings(1000, 1500, 60_000_000, 60_000_400), register)])
    assert amounts(up, 3) == [500, None, 400]
    down = Curve([Life.of(readings(60_000_000, 60_000_500, 30_000_000, 30_000_400), register)])
    assert amounts(down, 3) == [500, None, 400]
    assert [event.step for event in (*up.events, *down.events)] == [Step.BREAK, Step.BREAK]
    assert down.between(at(0), at(3)).flag is Flag.ESTIMATED


@pytest.mark.parametrize("wrong", [0, 7, 400_000_000])
def test_one_wrong_reading_between_right_ones_is_left_out(wrong):
    curve = Curve([Life.of(readings(200_000, 200_500, wrong, 201_500, 202_000), Register(0, 1, 4000))])
    assert amounts(curve, 4) == [500, 500, 500, 500]
    assert flags(curve, 4) == [Flag.MEASURED, Flag.GAP, Flag.GAP, Flag.MEASURED]
    assert [event.step for event in curve.events] == [Step.SPIKE]


@pytest.mark.parametrize("register", [Register(noise=0), Register(10**9, 0)])
@pytest.mark.parametrize("wrong", [201_400, 400_000_000, 999_000_000])
def test_a_high_reading_that_the_next_ones_contradict_is_left_out_though_no_rate_is_known(register, wrong):
    curve = Curve([Life.of(readings(200_000, 200_500, wrong, 201_300, 202_000), register)])
    if wrong == 201_400:  # what comes next is above it: left out is the reading between, and no energy is lost
        assert curve.between(START, at(4)).amount == 2000
        return
    assert amounts(curve, 4) == [500, 400, 400, 700]
    assert flags(curve, 4) == [Flag.MEASURED, Flag.GAP, Flag.GAP, Flag.MEASURED]
    assert [event.step for event in curve.events] == [Step.SPIKE]


def test_a_young_counter_that_was_reset_and_overtakes_itself_is_no_wrong_reading():
    curve = Curve([Life.of(readings(100, 300, 50, 400), Register(max_rate_per_h=4000))])
    assert amounts(curve, 3) == [200, 50, 350]
    assert [event.step for event in curve.events] == [Step.RESET]


def test_an_exchange_goes_from_final_to_first_reading():
    old = Life.of(readings(5000, 5010), Register(10**6), removed=(at(1.4), 5014))
    new = Life.of([(at(2), 106), (at(3), 116)], Register(10**8), installed=(at(1.4), 100))
    curve = Curve([new, old])
    assert amounts(curve, 3) == [10, 10, 10]
    assert flags(curve, 3) == [Flag.MEASURED] * 3


def test_an_exchange_entered_late_with_hours_in_between_leaves_them_unknown():
    old = Life.of(readings(5000, 5010), removed=(at(2), 5020))
    new = Life.of([(at(9), 7)], installed=(at(8), 0))
    curve = Curve([old, new])
    assert amounts(curve, 9) == [10, 10, *[None] * 6, 7]
    assert curve.between(at(0), at(9)).amount == 27


def test_the_recorded_final_reading_stands_over_a_polled_one_of_the_same_instant():
    life = Life.of([(at(0), 100), (at(1), 111)], removed=(at(1), 110))
    assert Curve([life]).between(at(0), at(1)).amount == 10


@pytest.mark.parametrize(
    ("register", "previous", "current", "step", "amount"),
    [
        (Register(), 100, 100, Step.FORWARD, 0),
        (Register(), 100, 99, Step.NOISE, 0),
        (Register(noise=0), 100, 99, Step.BREAK, 0),
        (Register(noise=100), 500, 400, Step.NOISE, 0),
        (Register(), 100, 8, Step.RESET, 8),
        (Register(), 900_000, 400_000, Step.BREAK, 0),
        (Register(rollover=10**6), 990_000, 10_000, Step.ROLLOVER, 20_000),
        (Register(rollover=10**6), 600_000, 10_000, Step.RESET, 10_000),
        (Register(10**6, 1, 8000), 999_000, 500, Step.ROLLOVER, 1500),
        (Register(10**6, 1, 8000), 980_000, 500, Step.RESET, 500),
        (Register(10**6, 1, 8000), 980_000, 5000, Step.BREAK, 0),
        (Register(10**6, 1, 8000), 1000, 3000, Step.FORWARD, 2000),
        (Register(10**6, 1, 8000), 1000, 3003, Step.BREAK, 0),
    ],
)
def test_steps_are_told_apart(register, previous, current, step, amount):
    assert classify_step(register, previous, current, 900_000) == (step, amount)


@st.composite
def histories(draw):
    """A meter's life with everything that happens to meters, and the truth beside it.

    Each slot uses some energy; readings fail; the register rolls over; it is exchanged in mid-slot with both readings
    on record; a recorded reset is an exchange by itself, as its last counter is known.
    """
    modulus = draw(st.sampled_from([0, 10_000, 10**6]))
    used = draw(st.lists(st.integers(0, 900), min_size=2, max_size=40))
    read = draw(st.lists(st.booleans(), min_size=len(used) + 1, max_size=len(used) + 1))
    exchanged = draw(st.sets(st.integers(1, len(used) - 1), max_size=3)) if len(used) > 1 else set()
    register = Register(rollover=modulus, noise=0, max_rate_per_h=4 * 900)
    counter = draw(st.integers(0, (modulus or 10**7) - 1))
    lives: list[Life] = []
    known: list[tuple[datetime, int]] = []
    installed: tuple[datetime, int] | None = None
    for slot in range(len(used) + 1):
        if slot in exchanged:
            # Installation and removal lie in the middle of the slot before; half its energy went through each meter.
            half = used[slot - 1] // 2
            before = (counter - (used[slot - 1] - half)) % modulus if modulus else counter - (used[slot - 1] - half)
            first = draw(st.integers(0, (modulus or 10**7) - 1))
            lives.append(Life.of(known, register, installed=installed, removed=(at(slot - 0.5), before)))
            known, installed = [], (at(slot - 0.5), first)
            counter = first + used[slot - 1] - half
            counter = counter % modulus if modulus else counter
        if read[slot]:
            known.append((at(slot), counter))
        if slot < len(used):
            counter = (counter + used[slot]) % modulus if modulus else counter + used[slot]
    lives.append(Life.of(known, register, installed=installed))
    return lives, used, read


@settings(max_examples=300, deadline=None)
@given(histories())
def test_energy_is_conserved_under_gaps_rollovers_resets_and_exchanges(history):
    lives, used, read = history
    curve = Curve(lives)
    slots = [slot for slot, was_read in enumerate(read) if was_read]
    if len(slots) < 2:
        return
    first, last = slots[0], slots[-1]
    truth = sum(used[first:last])
    found = curve.quarter_hours(at(first), at(last))
    assert sum(slot.amount or 0 for slot in found) == truth
    assert curve.between(at(first), at(last)).amount == truth
    for one, other in pairwise(slots):
        assert curve.between(at(one), at(other)).amount == sum(used[one:other])
        if other == one + 1:
            assert curve.between(at(one), at(other)).flag is Flag.MEASURED
        else:
            assert curve.between(at(one), at(other)).estimated_amount <= sum(used[one:other])


@settings(max_examples=200, deadline=None)
@given(histories())
def test_intervals_summed_up_are_the_counter_again(history):
    lives, _, read = history
    slots = [slot for slot, was_read in enumerate(read) if was_read]
    if len(slots) < 2:
        return
    amounts_of = Curve(lives).consumption([unix_ms(at(slot)) for slot in range(slots[0], slots[-1] + 1)]).amount
    # One register that never rolls over and is never exchanged, built from the amounts: it tells the same amounts.
    instants = np.array([unix_ms(at(slot)) for slot in range(slots[0], slots[-1] + 1)])
    again = Curve([Life(instants, np.concatenate(([0], np.cumsum(amounts_of))))])
    assert (again.consumption(instants).amount == amounts_of).all()
    for life in lives:
        for one, other in pairwise(range(len(life.instants_ms))):
            step = (int(life.counters[other]) - int(life.counters[one])) % (life.register.rollover or 2**62)
            assert again.consumption(life.instants_ms[[one, other]]).amount[0] == step


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**9)), max_size=12, unique_by=lambda pair: pair[0]),
    st.lists(st.integers(-(10**6), 2 * 10**7), min_size=2, max_size=30, unique=True),
    st.sampled_from([Register(), Register(10**9 + 1), Register(10**9 + 1, 1, 5000), Register(0, 100, 10**6)]),
)
def test_any_readings_give_consumption_that_adds_up_and_is_never_negative(pairs, bounds, register):
    instants = np.array([seconds * 1000 for seconds, _ in pairs], dtype=np.int64)
    curve = Curve([Life(instants, np.array([counter for _, counter in pairs], dtype=np.int64), register)])
    edges = sorted(seconds * 1000 for seconds in bounds)
    parts = curve.consumption(edges)
    whole = curve.consumption([edges[0], edges[-1]])
    assert parts.amount.sum() == whole.amount[0]
    assert parts.estimated_amount.sum() == whole.estimated_amount[0]
    assert parts.measured_ms.sum() == whole.measured_ms[0]
    assert (parts.amount >= 0).all()
    assert (parts.estimated_amount >= 0).all()
    assert (parts.estimated_amount <= parts.amount).all()
    assert ((parts.coverage_permille() >= 0) & (parts.coverage_permille() <= 1000)).all()
    assert (parts.amount[parts.flag == Flag.MISSING] == 0).all()
    assert (parts.estimated_amount[parts.flag == Flag.MEASURED] == 0).all()


@settings(max_examples=60, deadline=None)
@given(st.dates(date(2015, 1, 1), date(2035, 12, 31)), st.integers(0, 2**32 - 1))
def test_a_local_day_is_the_sum_of_its_quarter_hours(day, seed):
    check_day(day, seed)


@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25), date(2027, 3, 28), date(2027, 10, 31)])
def test_a_day_of_23_or_25_hours_is_the_sum_of_its_quarter_hours(day):
    check_day(day, 1)


def test_every_local_day_from_2015_to_2035_is_the_sum_of_its_quarter_hours():
    days = dates_between(date(2015, 1, 1), date(2036, 1, 1))
    bounds = np.array([unix_ms(local_day_bounds(day, BERLIN)[0]) for day in [*days, date(2036, 1, 1)]])
    quarters = np.arange(bounds[0], bounds[-1] + 1, 900_000)
    rng = np.random.default_rng(20)
    counters = np.cumsum(rng.integers(0, 700, quarters.size))
    kept = rng.random(quarters.size) > 0.1
    curve = Curve([Life(quarters[kept], counters[kept])])
    by_quarter, by_day = curve.consumption(quarters), curve.consumption(bounds)
    starts = np.searchsorted(quarters, bounds[:-1])
    assert (np.add.reduceat(by_quarter.amount, starts) == by_day.amount).all()
    assert (np.add.reduceat(by_quarter.estimated_amount, starts) == by_day.estimated_amount).all()
    assert len(days) == 7_670
    lengths, counts = np.unique(np.diff(np.append(starts, quarters.size - 1)), return_counts=True)
    assert dict(zip(lengths.tolist(), counts.tolist(), strict=True)) == {92: 21, 96: 7_628, 100: 21}


def check_day(day: date, seed: int) -> None:
    start, end = local_day_bounds(day, BERLIN)
    rng = np.random.default_rng(seed)
    times = [slot for slot in quarter_hours(start - timedelta(hours=3), end + timedelta(hours=3)) if rng.random() > 0.3]
    counters = np.cumsum(rng.integers(0, 1000, len(times)))
    curve = Curve([Life.of(list(zip(times, counters.tolist(), strict=True)))])
    quarters = curve.quarter_hours(start, end)
    assert sum(quarter.amount or 0 for quarter in quarters) == curve.between(start, end).amount


def test_a_year_of_local_days_is_the_sum_of_its_months():
    days = dates_between(date(2026, 1, 1), date(2027, 1, 1))
    day_bounds = [unix_ms(local_day_bounds(day, BERLIN)[0]) for day in [*days, date(2027, 1, 1)]]
    month_bounds = [unix_ms(local_month_bounds(2026, m, BERLIN)[0]) for m in range(1, 13)]
    month_bounds.append(unix_ms(local_month_bounds(2026, 12, BERLIN)[1]))
    rng = np.random.default_rng(11)
    times = np.arange(month_bounds[0] - 900_000, month_bounds[-1] + 1_800_000, 900_000)
    counters = np.cumsum(rng.integers(0, 500, times.size))
    kept = rng.random(times.size) > 0.02
    curve = Curve([Life(times[kept], counters[kept])])
    by_day, by_month = curve.consumption(day_bounds), curve.consumption(month_bounds)
    assert by_day.amount.sum() == by_month.amount.sum()
    march = slice(59, 90)
    assert by_day.amount[march].sum() == by_month.amount[2]


def test_a_counter_read_once_a_year_conserves_its_energy_to_the_watt_hour():
    life = Life.of([(START, 0), (START + timedelta(days=365), 123_456_789_012)])
    curve = Curve([life])
    edges = [unix_ms(START + timedelta(hours=h)) for h in range(365 * 24 + 1)]
    hours = curve.consumption(edges)
    assert hours.amount.sum() == 123_456_789_012
    assert hours.amount.min() > 0.9 * hours.amount.max()
    assert (hours.flag == Flag.GAP).all()


def test_readings_of_an_hourly_meter_are_no_gaps_if_that_is_its_interval():
    hourly = [(START + timedelta(hours=h), 100 * h) for h in range(5)]
    assert flags(Curve([Life.of(hourly)]), 4) == [Flag.GAP] * 4
    assert flags(Curve([Life.of(hourly)], reading_interval_ms=3_600_000), 4) == [Flag.MEASURED] * 4


@pytest.mark.parametrize(
    ("life", "reason"),
    [
        (Life.of([(at(0), 1), (at(0), 2)]), "two readings"),
        (Life.of([(at(0), -1), (at(1), 2)]), "negative"),
        (Life.of([(at(0), 1), (at(1), 1000)], Register(rollover=1000)), "rollover"),
        (Life.of([(at(0), 1), (at(2), 2)], installed=(at(1), 0)), "before the installation"),
        (Life.of([(at(0), 1), (at(2), 2)], removed=(at(1), 0)), "after the removal"),
        (Life(np.array([1, 2]), np.array([1])), "one length"),
    ],
)
def test_readings_that_cannot_be_are_refused(life, reason):
    with pytest.raises(InvalidInput, match=reason):
        Curve([life])


def test_two_lives_of_a_meter_do_not_overlap():
    with pytest.raises(InvalidInput, match="overlap"):
        Curve([Life.of(readings(1, 2, 3)), Life.of([(at(1.5), 1), (at(4), 2)])])


@pytest.mark.parametrize("edges", [[], [5], [5, 5], [5, 4]])
def test_boundaries_ascend(edges):
    with pytest.raises(InvalidInput, match="ascending"):
        Curve([]).consumption(edges)


def test_a_register_has_no_negative_limits():
    with pytest.raises(InvalidInput, match="noise"):
        Register(noise=-1)


def test_amounts_that_nothing_holds_together_are_refused():
    ends = np.arange(1, 1501, dtype=np.int64) * 900_000
    with pytest.raises(OutOfLimits, match="more than can be counted"):
        Intervals(ends - 900_000, ends, np.full(1500, 2**53 - 1, np.int64))
