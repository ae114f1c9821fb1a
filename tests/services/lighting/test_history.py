"""The history keeps changes, not samples, and says "unknown" rather than guess."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.lighting.history import UNKNOWN, Change, LevelRecorder

A, B = "0" * 31 + "a", "0" * 31 + "b"
ONE = np.array([0])
YES, NO = np.array([True]), np.array([False])


def level(value: int):
    return np.array([value], dtype=np.int16)


def recorder() -> LevelRecorder:
    """A recorder that has seen lamp A dark and supplied at 0 ms."""
    fresh = LevelRecorder((A, B))
    fresh.observed(ONE, level(0), NO, 0)
    fresh.take()
    return fresh


def taken(rec: LevelRecorder) -> list[tuple[int, int, bool]]:
    return [(c.at_ms, c.level_permille, c.powered) for c in rec.take()]


def test_a_level_counts_from_the_acknowledgement_with_the_value_that_is_read_back():
    rec = recorder()
    rec.told(ONE, level(500), 1000)
    assert taken(rec) == []
    rec.observed(ONE, level(498), YES, 9000)
    assert taken(rec) == [(1000, 498, True)]


def test_a_command_that_never_took_effect_is_not_in_the_history():
    rec = recorder()
    rec.told(ONE, level(500), 1000)
    rec.observed(ONE, level(0), NO, 9000)
    assert taken(rec) == []


def test_samples_that_say_the_same_are_not_kept():
    rec = recorder()
    for at in range(1, 100):
        rec.observed(ONE, level(0), NO, at * 1000)
    assert taken(rec) == []


def test_what_changes_by_itself_counts_from_when_it_was_seen():
    rec = recorder()
    rec.observed(ONE, level(1000), NO, 5000)
    assert taken(rec) == [(5000, 1000, True)]


def test_two_commands_in_a_row_leave_the_first_one_in_between():
    rec = recorder()
    rec.told(ONE, level(700), 1000)
    rec.told(ONE, level(400), 2000)
    rec.observed(ONE, level(400), YES, 9000)
    assert taken(rec) == [(1000, 700, True), (2000, 400, True)]


def test_supply_that_comes_starts_the_gear_and_supply_that_goes_makes_it_dark():
    rec = recorder()
    rec.supply(ONE, False, 0, 1000)
    rec.supply(ONE, False, 0, 2000)
    rec.supply(ONE, True, 1000, 3000)
    rec.observed(ONE, level(1000), NO, 4000)
    assert taken(rec) == [(1000, 0, False), (3000, 1000, True)]


def test_a_silent_gateway_makes_levels_unknown_from_its_first_silence_and_an_answer_ends_that():
    rec = recorder()
    rec.observed(ONE, level(600), NO, 1000)
    rec.lost(ONE, 5000)
    rec.lost(ONE, 6000)
    rec.observed(ONE, level(600), NO, 8000)
    assert taken(rec) == [(1000, 600, True), (5000, UNKNOWN, True), (8000, 600, True)]


def test_after_a_restart_the_same_level_is_taken_as_having_held():
    rec = LevelRecorder((A, B))
    rec.resume({A: Change(A, 1000, 600, True)}, 5000)
    rec.observed(ONE, level(600), NO, 9000)
    assert taken(rec) == []


def test_after_a_restart_another_level_leaves_the_time_nobody_watched_unknown():
    rec = LevelRecorder((A, B))
    rec.resume({A: Change(A, 1000, 600, True)}, 5000)
    rec.observed(ONE, level(1000), NO, 9000)
    assert taken(rec) == [(5000, UNKNOWN, True), (9000, 1000, True)]


def test_after_a_restart_a_feeder_that_went_dead_meanwhile_is_unknown_until_seen():
    rec = LevelRecorder((A, B))
    rec.resume({A: Change(A, 1000, 600, True)}, 5000)
    rec.supply(ONE, False, 0, 9000)
    assert taken(rec) == [(5000, UNKNOWN, True), (9000, 0, False)]


def test_another_inventory_keeps_what_is_known_of_the_lamps_that_stay():
    rec = recorder()
    rec.observed(ONE, level(300), NO, 1000)
    moved = rec.moved_to((B, A))
    moved.observed(np.array([1]), level(300), NO, 2000)
    assert taken(moved) == [(1000, 300, True)]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["told", "observed", "on", "off", "lost"]),
            st.sampled_from([0, 1, 300, 1000]),
            st.booleans(),
            st.integers(0, 50),
        ),
        max_size=40,
    )
)
def test_instants_rise_strictly_and_no_two_changes_in_a_row_say_the_same(events):
    rec = LevelRecorder((A, B))
    for what, value, flag, at in events:
        if what == "told":
            rec.told(ONE, level(value), at)
        elif what == "observed":
            rec.observed(ONE, level(value), np.array([flag]), at)
        elif what == "lost":
            rec.lost(ONE, at)
        else:
            rec.supply(ONE, what == "on", 1000, at)
    changes = rec.take()
    assert all(a.at_ms < b.at_ms for a, b in itertools.pairwise(changes))
    assert all((a.level_permille, a.powered) != (b.level_permille, b.powered) for a, b in itertools.pairwise(changes))


def test_what_a_driver_takes_off_by_itself_is_not_recorded_as_driven():
    recorder = LevelRecorder(("a" * 32, "b" * 32), np.array([800, 1000], dtype=np.int16))
    rows, full, yes = np.arange(2), np.array([1000, 1000], dtype=np.int16), np.ones(2, dtype=np.bool_)
    recorder.supply(rows, True, 1000, 1)
    recorder.told(rows, np.array([500, 500], dtype=np.int16), 2)
    recorder.observed(rows, np.array([500, 500], dtype=np.int16), yes, 3)
    recorder.observed(rows, np.array([500, 500], dtype=np.int16), yes, 4)
    recorder.told(rows, full, 5)
    recorder.observed(rows, full, yes, 6)
    recorder.supply(rows, False, 0, 7)
    found = [(change.uid[0], change.at_ms, change.level_permille) for change in recorder.take()]
    assert found == [
        ("a", 1, 800), ("b", 1, 1000), ("a", 2, 400), ("b", 2, 500), ("a", 5, 800), ("b", 5, 1000), ("a", 7, 0),
        ("b", 7, 0),
    ]  # fmt: skip
