"""Clocks: domain time and real time, lapsed and stepped."""

import asyncio
import math
from datetime import UTC, datetime, timedelta

import pytest

from domain.errors import InvalidInput, TimedOut
from domain.instants import unix_ms
from domain.timelapse import TimeLapse
from servicekit.clock import SteppedClock, SystemClock, TimeLapseClock, clock_from_settings
from tests.support.running import settings_for

START = datetime(2026, 6, 21, 10, tzinfo=UTC)


async def test_the_system_clock_is_real_time():
    clock = SystemClock()
    assert clock.speed == 1
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)
    await clock.sleep(0.01)
    await clock.sleep_until(clock.now() - timedelta(hours=1))


async def test_in_a_time_lapse_an_hour_passes_in_a_blink():
    clock = TimeLapseClock(TimeLapse(START, datetime.now(UTC), 100_000))
    before = clock.now()
    await clock.sleep(3600)
    assert clock.now() - before >= timedelta(hours=1)
    assert clock.real() - before > timedelta(0)


async def test_two_processes_with_one_anchor_agree():
    anchor = datetime.now(UTC)
    fixed = datetime.now(UTC)
    first, second = (TimeLapseClock(TimeLapse(START, anchor, 600), lambda: fixed) for _ in range(2))
    assert first.now() == second.now()


async def test_settings_decide_the_clock():
    assert isinstance(clock_from_settings(settings_for()), SystemClock)
    lapsed = clock_from_settings(settings_for(clock_anchor=START, clock_start=START, clock_speed=600))
    assert isinstance(lapsed, TimeLapseClock)
    assert lapsed.speed == 600


async def test_a_stepped_clock_stands_until_it_is_advanced():
    clock = SteppedClock(START)
    assert clock.now() == START
    assert clock.speed == math.inf
    await clock.advance(timedelta(days=365))
    assert clock.now() == START + timedelta(days=365)


async def test_sleepers_wake_in_order_each_at_its_own_instant():
    clock = SteppedClock(START)
    woken: list[tuple[str, datetime]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now()))

    tasks = [asyncio.create_task(sleeper(name, s)) for name, s in (("late", 30), ("early", 10), ("never", 90))]
    await clock.advance(timedelta(seconds=60))
    assert woken == [("early", START + timedelta(seconds=10)), ("late", START + timedelta(seconds=30))]
    assert clock.sleeping == 1
    for task in tasks:
        task.cancel()


async def test_a_loop_passes_as_often_as_its_period_fits():
    clock = SteppedClock(START)
    passes: list[datetime] = []

    async def loop() -> None:
        while True:
            await clock.sleep(900)
            # Work in a thread takes real time; the clock waits for it.
            passes.append(await asyncio.to_thread(clock.now))

    task = asyncio.create_task(loop())
    await clock.advance(timedelta(days=1))
    assert passes == [START + timedelta(seconds=900 * n) for n in range(1, 97)]
    task.cancel()


async def test_a_task_that_never_settles_is_named():
    clock = SteppedClock(START)

    async def stuck() -> None:
        await clock.sleep(1)
        await asyncio.Event().wait()

    task = asyncio.create_task(stuck(), name="the stuck one")
    with pytest.raises(TimedOut, match="the stuck one"):
        await clock.advance(timedelta(seconds=2), settle_s=0.05)
    task.cancel()


async def test_a_clock_does_not_go_back():
    with pytest.raises(InvalidInput):
        await SteppedClock(START).advance(timedelta(seconds=-1))


async def test_real_time_steps_too_where_a_test_asks_for_it():
    clock = SteppedClock(START, step_real=True)
    task = asyncio.create_task(clock.sleep_real(10))
    await clock.advance(timedelta(seconds=10))
    await task
    assert clock.real() == START + timedelta(seconds=10)


def test_the_system_s_clock_tells_milliseconds_as_its_datetimes_do_and_a_set_one_leaves_it_to_them() -> None:
    clock = SystemClock()
    assert clock.now_ms is not None
    before, milliseconds, after = clock.now(), clock.now_ms(), clock.now()
    assert unix_ms(before) <= milliseconds <= unix_ms(after)
    assert SystemClock(lambda: before).now_ms is None
