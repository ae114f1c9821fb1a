"""A swapped driver is told from a counter that rounds, rolls over, begins anew, or is not to be trusted just now."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.lighting.swapped import (
    AGAIN_AFTER_MS,
    DOUBT_MS,
    HOUR_S,
    NOISE_S,
    Gear,
    Reading,
    Sign,
    Suspicion,
    Verdict,
    are_many,
    burnt_s,
    evidence,
    is_swap,
    judge,
    signs_of,
    suspects,
    total_s,
)

HOUR_MS = HOUR_S * 1000
T0 = 1_000 * HOUR_MS
KNOWN = Gear(hours_s=5000 * HOUR_S, hours_ms=T0)


def read(after_ms: int, hours_s: float | None = None, **changes: object) -> Reading:
    """A reading some time after what is known."""
    return Reading(T0 + after_ms, None if hours_s is None else round(hours_s), **changes)  # type: ignore[arg-type]


def course(gear: Gear, *readings: Reading, **how: object) -> Verdict:
    """What readings in a row come to."""
    verdict, suspicion = Verdict(gear), None
    for reading in readings:
        verdict = judge(verdict.gear, reading, suspicion, **how)  # type: ignore[arg-type]
        suspicion = verdict.suspicion
    return verdict


def test_hours_that_fall_and_go_on_from_there_are_a_new_driver():
    verdict = course(KNOWN, read(HOUR_MS, 10), read(2 * HOUR_MS, 3600))
    assert verdict.signs == Sign.HOURS_FELL
    assert verdict.gear == Gear(3600, T0 + 2 * HOUR_MS)
    assert (verdict.since_ms, verdict.first_s) == (T0 + HOUR_MS, 10)


def test_a_single_reading_shows_nothing_for_certain():
    verdict = course(KNOWN, read(HOUR_MS, 10))
    assert not verdict.signs
    assert verdict.gear == KNOWN
    back = course(KNOWN, read(HOUR_MS, 10), read(2 * HOUR_MS, 5001 * HOUR_S))
    assert (back.signs, back.suspicion) == (Sign(0), None)
    assert back.gear.hours_s == 5001 * HOUR_S
    soon = course(KNOWN, read(HOUR_MS, 10), read(HOUR_MS + AGAIN_AFTER_MS // 2, 200))
    assert not soon.signs
    assert soon.suspicion is not None


def test_two_low_readings_that_contradict_each_other_are_none_of_one_driver():
    verdict = course(KNOWN, read(HOUR_MS, 4000 * HOUR_S), read(2 * HOUR_MS, 10))
    assert not verdict.signs
    assert verdict.suspicion == Suspicion(Sign.HOURS_FELL, read(2 * HOUR_MS, 10), read(2 * HOUR_MS, 10))


@given(st.lists(st.integers(min_value=-NOISE_S, max_value=0), max_size=6))
def test_a_counter_that_rounds_is_no_swap_and_never_goes_back(steps: list[int]):
    verdict, last = Verdict(KNOWN), 5000 * HOUR_S
    for number, step in enumerate(steps, start=1):
        verdict = judge(verdict.gear, read(number * HOUR_MS, 5000 * HOUR_S + step), verdict.suspicion)
        assert (verdict.signs, verdict.suspicion) == (Sign(0), None)
        assert verdict.gear.hours_s is not None
        assert verdict.gear.hours_s >= last
        last = verdict.gear.hours_s


def test_what_was_not_read_or_is_old_says_nothing():
    nothing = judge(KNOWN, read(HOUR_MS), None)
    assert (nothing.gear, nothing.suspicion) == (KNOWN, None)
    suspicion = course(KNOWN, read(HOUR_MS, 10)).suspicion
    kept = judge(KNOWN, read(2 * HOUR_MS), suspicion)
    assert kept.suspicion == suspicion, "silence neither confirms nor refutes"
    old = judge(KNOWN, read(-HOUR_MS, 10), None)
    assert (old.gear, old.suspicion) == (KNOWN, None)
    again = judge(KNOWN, read(HOUR_MS, 10), suspicion)
    assert not again.signs, "the same reading again is no second one"


def test_a_counter_that_rolls_over_goes_on():
    rollover = 2**32
    near = Gear(hours_s=rollover - 100, hours_ms=T0, carried_s=7)
    verdict = course(near, read(HOUR_MS, 3400), read(2 * HOUR_MS, 7000), rollover_s=rollover)
    assert (verdict.signs, verdict.suspicion) == (Sign(0), None)
    assert verdict.gear == Gear(7000, T0 + 2 * HOUR_MS, 7 + rollover)


def test_a_driver_that_says_it_is_the_same_one_is_whatever_its_counter_does():
    known = replace(KNOWN, identity="A")
    verdict = course(known, read(HOUR_MS, 10, identity="A"), read(2 * HOUR_MS, 3610, identity="A"))
    assert not verdict.signs
    assert verdict.gear.hours_s == 3610
    assert verdict.gear.carried_s + 3610 == 5000 * HOUR_S, "what it has burnt stands and goes on from there"


def test_another_identity_is_another_driver_whatever_its_hours():
    known = replace(KNOWN, identity="A")
    readings = read(HOUR_MS, 5001 * HOUR_S, identity="B"), read(2 * HOUR_MS, 5002 * HOUR_S, identity="B")
    verdict = course(known, *readings)
    assert verdict.signs == Sign.IDENTITY_CHANGED
    assert verdict.gear.identity == "B"
    assert evidence(known, readings[1], verdict.signs) == "identity A, then B"


def test_levels_of_the_factory_alone_count_where_nothing_else_can_be_read():
    factory = {"power_on_permille": 1000, "communication_loss_permille": 1000}
    mute = Gear(protected=(1000, 300))
    verdict = course(mute, read(HOUR_MS, **factory), read(2 * HOUR_MS, **factory))
    assert verdict.signs == Sign.SETTINGS_LOST
    assert "100 % and 30 %" in evidence(mute, read(HOUR_MS, **factory), verdict.signs)
    counting = replace(KNOWN, protected=(1000, 300))
    same = course(counting, read(HOUR_MS, 5001 * HOUR_S, **factory), read(2 * HOUR_MS, 5002 * HOUR_S, **factory))
    assert not same.signs, "its hours go on: somebody set it back"
    full = Gear(protected=(1000, 1000))
    assert not course(full, read(HOUR_MS, **factory), read(2 * HOUR_MS, **factory)).signs, "they are as they were"


def test_a_used_driver_with_more_hours_is_one_only_with_settings_of_the_factory():
    jumped = read(HOUR_MS, 9000 * HOUR_S), read(2 * HOUR_MS, 9001 * HOUR_S)
    alone = course(KNOWN, *jumped)
    assert not alone.signs
    assert alone.gear.hours_s is not None
    assert alone.gear.carried_s + alone.gear.hours_s == 5000 * HOUR_S, "the sum does not jump"
    factory: dict[str, Any] = {"power_on_permille": 1000, "communication_loss_permille": 1000}
    known = replace(KNOWN, protected=(500, 500))
    used = course(known, *(replace(reading, **factory) for reading in jumped))
    assert used.signs == Sign.HOURS_JUMPED | Sign.SETTINGS_LOST


def test_where_most_drivers_of_a_gateway_begin_anew_the_gateway_is_doubted_for_a_day():
    known = dict.fromkeys("abcde", KNOWN)
    readings = {uid: read(HOUR_MS, 0) for uid in "abc"} | {uid: read(HOUR_MS, 5001 * HOUR_S) for uid in "de"}
    assert suspects(known, readings) == 3
    assert are_many(3, 5)
    assert not are_many(2, 2)
    assert not are_many(3, 64)
    low = [read(n * HOUR_MS, n * HOUR_S) for n in range(1, 25)]
    assert not course(KNOWN, *low, many=True).signs
    assert course(KNOWN, *low, read(HOUR_MS + DOUBT_MS, 25 * HOUR_S), many=True).signs == Sign.HOURS_FELL
    back = course(KNOWN, *low[:3], read(4 * HOUR_MS, 5004 * HOUR_S), many=True)
    assert (back.signs, back.suspicion) == (Sign(0), None)


def test_signs_are_told_from_one_reading_and_enough_of_them_make_a_swap():
    assert signs_of(Gear(), read(HOUR_MS, 10)) == Sign(0)
    assert is_swap(Sign.HOURS_FELL, KNOWN, read(HOUR_MS, 10))
    assert not is_swap(Sign.HOURS_JUMPED, KNOWN, read(HOUR_MS, 9000 * HOUR_S))


@pytest.mark.parametrize(
    ("first", "last", "carried", "burnt"),
    [(0, 100, 0, 100), (7200, 7300, 0, 100), (0, 50, 100, 150), (None, 5, 0, None)],
)
def test_a_driver_has_burnt_in_a_luminaire_what_it_counted_there(
    first: int | None, last: int, carried: int, burnt: int | None
):
    assert burnt_s(first, last, carried) == burnt


def test_a_luminaire_has_burnt_as_long_as_its_drivers_together():
    assert total_s([100, None, 50]) == 150
    assert total_s([None]) is None
