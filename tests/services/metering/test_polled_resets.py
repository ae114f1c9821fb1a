"""Counters that begin anew while they are polled: judged one by one, and no energy lost but what went with them.

What the rules say of single readings is test_vee.py's, what the database makes of it acquisition/test_polling.py's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.metering.figures.consumption import Step, consumption
from services.metering.life import Exchange, Origin, RegisterLife, split
from services.metering.meter import Unit
from services.metering.reading import Readings, Status
from services.metering.slot import SLOT_MS
from services.metering.vee import RegisterRules, RegisterState, Verdict, judge, judge_all
from tests.services.metering.making import NOON_MS

LOAD_W = 10_000
LEAST_WH, MOST_WH = 1_000, LOAD_W // 4
ROLLOVER = 1_000_000
FAR = 60_000
"""A counter above this is not reached by the new one while its reset waits to be recorded."""


@dataclass(frozen=True, slots=True)
class History:
    """What a counter went through, by quarter hour.

    shown: what it showed; None where nobody could read it. amounts: what it counted between each two readings, without
    what a reset destroyed. waits: by reset, how often it could not be recorded at once.
    """

    shown: list[int | None]
    amounts: list[int]
    waits: list[int]
    rules: RegisterRules


@st.composite
def histories(draw: st.DrawFn) -> History:
    """A counter that rises at every quarter hour, is missed at most twice running, and begins anew up to three times.

    It has then counted for four hours at least. Where it had counted less, or was missed for longer, it could have come
    back to what it showed before: nobody could tell then.
    """
    rollover = draw(st.sampled_from([0, ROLLOVER]))
    rules = RegisterRules(rollover=rollover, connected_load_w=draw(st.sampled_from([0, LOAD_W])))
    turns = bool(rollover) and draw(st.booleans())
    # Past the last digit in the first two hours, or nowhere near: close to it a reset looks like a rollover.
    counter = ROLLOVER - draw(st.integers(1, 8_000)) if turns else draw(st.integers(100_000, 800_000))
    spans = draw(st.lists(st.integers(16, 24), max_size=3))
    shown: list[int | None] = [counter]
    amounts, waits, since, missed = [], [], 0, 0
    for number, span in enumerate([draw(st.integers(26, 34)), *spans]):
        for slot in range(span):
            used = draw(st.integers(LEAST_WH, MOST_WH))
            if number and not slot:
                # It begins anew within this quarter hour: what was not read by then is gone.
                waits.append(draw(st.integers(0, 3)) if counter > FAR else 0)
                used = draw(st.integers(0, used))
                counter = since = 0
            counter, since = counter + used, since + used
            counter = counter % rollover if rollover else counter
            is_read = missed == 2 or draw(st.booleans()) or (number == len(spans) and slot > span - 8)
            missed = 0 if is_read else missed + 1
            shown.append(counter if is_read else None)
            if is_read:
                amounts.append(since)
                since = 0
    return History(shown, amounts, waits, rules)


class Polled:
    """What polling makes of readings: a register after the other, and the readings of each."""

    def __init__(self, history: History) -> None:
        self.rules, self._waits = history.rules, list(history.waits)
        self.lives = [
            RegisterLife(
                1, "1", "m", "S", None, None, 0, 0, Origin.CREATED, None, history.rules.rollover, 1, int(Unit.WH)
            )
        ]
        self.state = RegisterState()
        self.rows: list[tuple[int, int, int, Status]] = []

    def take(self, slot_ms: int, value: int) -> None:
        """Judges a reading and stores it; a confirmed reset is recorded unless it has to wait."""
        verdict = judge(self.state, self.rules, slot_ms, value)
        status = verdict.status
        if verdict.reset is None:
            self.state = verdict.state
        elif self._waits[len(self.lives) - 1]:
            self._waits[len(self.lives) - 1] -= 1
            status = Status.DOUBTFUL
        else:
            self._begin_anew(verdict)
        self.rows.append((self.lives[-1].key, slot_ms, value, status))

    def _begin_anew(self, verdict: Verdict) -> None:
        """The old register ends; what was read of the new one and taken for the old one's is the new one's."""
        assert verdict.reset is not None
        at_ms, final, first = verdict.reset
        ended, begun = split(self.lives, Exchange(at_ms, final, first, Origin.RESET), str(len(self.lives) + 1))
        key = ended.key + 1
        self.lives[-1:] = [ended, replace(begun, key=key)]
        mine = [row for row in self.rows if row[1] >= at_ms]
        values = Readings.of([key] * len(mine), [row[1] for row in mine], [row[2] for row in mine])
        statuses = judge_all(values, {}, {key: self.rules}).tolist()
        moved = [(key, slot, value, Status(status)) for (_, slot, value, _), status in zip(mine, statuses, strict=True)]
        self.rows = [*self.rows[: len(self.rows) - len(mine)], *moved]
        self.state = verdict.state

    def readings(self) -> Readings:
        """All of them."""
        keys, slots, values, statuses = zip(*self.rows, strict=True)
        return Readings.of(keys, slots, values, [int(status) for status in statuses])


@settings(max_examples=120, deadline=None)
@given(histories())
def test_every_reset_is_found_and_every_watt_hour_counted_but_those_that_went_with_it(history: History) -> None:
    polled = Polled(history)
    read = [NOON_MS + slot * SLOT_MS for slot, value in enumerate(history.shown) if value is not None]
    for slot_ms, value in zip(read, [value for value in history.shown if value is not None], strict=True):
        polled.take(slot_ms, value)
    assert [life.origin for life in polled.lives] == [Origin.CREATED, *[Origin.RESET] * len(history.waits)]
    assert {status for _, _, _, status in polled.rows} == {Status.MEASURED}
    for before, after in pairwise(polled.lives):
        assert (before.removed_ms, before.ended_by) == (after.installed_ms, Origin.RESET)
        assert after.first_reading == 0
    found = consumption(polled.lives, polled.readings(), np.array(read, np.int64), Step.TOTAL, is_polled=True)
    assert found.amount.tolist() == history.amounts
    whole = consumption(polled.lives, polled.readings(), np.array(read)[[0, -1]], Step.TOTAL, is_polled=True)
    assert whole.amount.tolist() == [sum(history.amounts)]
