"""Housekeeping keeps its pace in domain time; in a time-lapse it leaves the machine to others."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from servicekit.clock import SteppedClock
from services.metering.pace import rest

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUARTER_HOUR_S = 900.0


class Paced(SteppedClock):
    """A clock whose real and domain seconds are told by one counter, at a speed that is only said."""

    def __init__(self, speed: float) -> None:
        super().__init__(NOON, step_real=True)
        self.speed = speed


@pytest.mark.parametrize(
    ("speed", "took_s", "rests_s"),
    [
        (1.0, 0.1, 900.0),
        (1.0, 500.0, 900.0),
        (600.0, 0.1, 900.0),
        (600.0, 0.3, 2.7),
        (1_000_000.0, 0.0, 1.0),
        (1_000_000.0, 4.0, 36.0),
        (1_000_000.0, 400.0, 60.0),
    ],
    ids=[
        "in real time every quarter hour",
        "in real time no more seldom, however long it took",
        "in a time-lapse every quarter hour of the domain, while that is long enough",
        "in a time-lapse nine times as long as the look took, where that is longer",
        "in the fastest never less than a second",
        "in the fastest nine times as long as it took",
        "a minute at most, since the loop has to give signs of life",
    ],
)
async def test_a_loop_rests(speed: float, took_s: float, rests_s: float) -> None:
    clock = Paced(speed)
    resting = asyncio.create_task(rest(clock, QUARTER_HOUR_S, took_s))
    while clock.next_wake is None:  # noqa: ASYNC110 - the task has to come to its sleep
        await asyncio.sleep(0)
    assert clock.next_wake - NOON == timedelta(seconds=rests_s)
    await clock.advance(timedelta(seconds=rests_s), settle_s=0)
    await resting
