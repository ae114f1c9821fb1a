"""From verdicts to faults: often and long enough, whatever comes between."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.lighting.fault_debounce import Debounce
from services.lighting.fault_kinds import Rule, Verdict

RULE = Rule(readings=2, bad_ms=30_000, good_ms=60_000)
BAD, GOOD, UNKNOWN, PLAUSIBLE = Verdict.BAD, Verdict.GOOD, Verdict.UNKNOWN, Verdict.PLAUSIBLE


def course(*looks: tuple[int, Verdict]) -> list[str]:
    """What happens at each look: (instant in s, verdict)."""
    debounce, events = Debounce(1), []
    for at_s, verdict in looks:
        raised, cleared = debounce.judge(np.array([verdict], dtype=np.int8), np.array([at_s * 1000]), RULE)
        events.append("raised" if raised.size else "cleared" if cleared.size else "")
    return events


def test_bad_is_raised_after_enough_readings_and_time():
    assert course((10, BAD), (20, BAD), (30, BAD), (40, BAD), (50, BAD)) == ["", "", "", "raised", ""]


def test_a_reading_counts_once_however_often_it_is_looked_at():
    assert course((10, BAD), (10, BAD), (10, BAD)) == ["", "", ""]


def test_one_good_reading_begins_it_anew():
    assert course((10, BAD), (30, BAD), (35, GOOD), (40, BAD), (60, BAD), (70, BAD))[:5] == ["", "", "", "", ""]


def test_time_in_which_nothing_was_seen_does_not_count():
    assert course((10, BAD), (20, BAD), (500, UNKNOWN), (1000, BAD), (1010, BAD), (1020, BAD)) == [
        "", "", "", "", "", "raised",
    ]  # fmt: skip


def test_good_clears_after_a_while_and_only_what_stands():
    looks = [(10, BAD), (40, BAD), (50, GOOD), (80, GOOD), (110, GOOD), (140, GOOD)]
    assert course(*looks) == ["", "raised", "", "", "cleared", ""]


def test_what_only_looks_good_clears_after_a_day():
    looks = [(0, UNKNOWN), (10, BAD), (40, BAD), *((40 + hour * 3600, PLAUSIBLE) for hour in range(1, 27))]
    events = course(*looks)
    assert events.index("cleared") == 3 + 24


@given(st.lists(st.tuples(st.integers(1, 300), st.sampled_from(list(Verdict))), max_size=60))
def test_raised_and_cleared_take_turns_whatever_comes(steps: list[tuple[int, Verdict]]):
    at_s, looks = 0, []
    for step, verdict in steps:
        at_s += step
        looks.append((at_s, verdict))
    events = [event for event in course(*looks) if event]
    assert events == ["raised", "cleared"] * (len(events) // 2) + ["raised"] * (len(events) % 2)
