"""A clock that is set back: nothing waits until an instant comes for the second time, and readings go on to count."""

from dataclasses import replace
from datetime import timedelta

import numpy as np

from domain.plan import to_unix_ms
from services.lighting.fault_debounce import Debounce
from services.lighting.fault_kinds import Rule, Verdict
from tests.services.lighting.bench import Bench

H = timedelta(hours=1)


async def test_neither_contactors_nor_fading_lamps_wait_for_an_instant_that_has_been():
    bench = Bench(cabinets=2)
    bench.plan((0, 0), (5, 1000), (17, 0))
    await bench.at(5.1)
    ground = bench.control._ground
    due = ground.due
    assert due is not None
    assert due.feeder_on.any()
    ground.following.settle_ms[:] = ground.now_ms + 4000
    earlier = replace(due, at=due.at - H)
    ground.take_due(earlier)
    now_ms = to_unix_ms(earlier.at)
    assert (ground.due_on_since_ms[due.feeder_on] == now_ms).all()
    assert (ground.following.settle_ms <= now_ms + round(ground.tuning.settle_s * 1000)).all()
    await bench.control.close()


def test_a_fault_is_raised_and_cleared_on_readings_of_an_hour_that_comes_twice():
    debounce, rule = Debounce(1), Rule(3, 0, 0)
    bad, good = (np.full(1, verdict, dtype=np.int8) for verdict in (Verdict.BAD, Verdict.GOOD))

    def look(verdict: np.ndarray, minute: int) -> tuple[int, int]:
        raised, cleared = debounce.judge(verdict, np.array([minute * 60_000], dtype=np.int64), rule)
        return raised.size, cleared.size

    assert [look(bad, minute) for minute in (60, 61, 2)] == [(0, 0), (0, 0), (1, 0)]
    assert look(good, 2) == (0, 0)  # the same reading counts once
    assert [look(good, minute) for minute in (3, 4, 5)] == [(0, 0), (0, 0), (0, 1)]
