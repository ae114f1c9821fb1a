"""Clocks: domain time (what the lamps and the book live by) and real time (tokens, TLS, timeouts, back-off, leases).

The straight line between the two is domain/timelapse.py; here are the things that tick and sleep.
"""

import asyncio
import heapq
import itertools
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from domain.errors import InvalidInput, TimedOut
from domain.night import as_utc
from domain.timelapse import TimeLapse

_LONGEST_NAP_S: Final = 3600.0
"""No single sleep is longer: a changed system time is noticed within the hour."""


class Clock(Protocol):
    """What services are given instead of the system's time."""

    @property
    def speed(self) -> float:
        """Domain seconds per real second. Whatever is not 1 may only talk to a simulator."""
        ...

    def now(self) -> datetime:
        """Domain instant, UTC."""
        ...

    def real(self) -> datetime:
        """Real instant, UTC."""
        ...

    async def sleep(self, domain_seconds: float) -> None:
        """Sleeps for domain seconds."""
        ...

    async def sleep_until(self, domain_instant: datetime) -> None:
        """Sleeps until the domain reaches an instant; not at all if it has."""
        ...

    async def sleep_real(self, seconds: float) -> None:
        """Sleeps for real seconds: back-off and timeouts."""
        ...


def system_time() -> datetime:
    """The system's time, UTC."""
    return datetime.now(UTC)


def system_ms() -> int:
    """The system's time in Unix milliseconds, finer digits cut off."""
    return time.time_ns() // 1_000_000


class SystemClock:
    """Domain time is real time."""

    speed: float = 1.0

    def __init__(self, real: Callable[[], datetime] = system_time) -> None:
        self._real = real

    @property
    def now_ms(self) -> Callable[[], int] | None:
        """Gives `now` in Unix milliseconds, for those who need it often; None where that is no quicker."""
        return system_ms if self._real is system_time else None

    def now(self) -> datetime:
        """Domain instant, UTC."""
        return self._real()

    def real(self) -> datetime:
        """Real instant, UTC."""
        return self._real()

    async def sleep(self, domain_seconds: float) -> None:
        """Sleeps for domain seconds."""
        await self.sleep_until(self.now() + timedelta(seconds=domain_seconds))

    async def sleep_until(self, domain_instant: datetime) -> None:
        """Sleeps until the domain reaches an instant."""
        await asyncio.sleep(0)
        while (left_s := (domain_instant - self.now()).total_seconds()) > 0:  # noqa: ASYNC110 - time is awaited
            await asyncio.sleep(min(left_s, _LONGEST_NAP_S))

    async def sleep_real(self, seconds: float) -> None:
        """Sleeps for real seconds."""
        await asyncio.sleep(max(0.0, seconds))


class TimeLapseClock:
    """Domain time follows real time on a line that all processes of a run share."""

    def __init__(self, line: TimeLapse, real: Callable[[], datetime] = system_time) -> None:
        self.line = line
        self._real = real

    @property
    def speed(self) -> float:
        """Domain seconds per real second."""
        return self.line.speed

    def now(self) -> datetime:
        """Domain instant, UTC."""
        return self.line.at(self._real())

    def real(self) -> datetime:
        """Real instant, UTC."""
        return self._real()

    async def sleep(self, domain_seconds: float) -> None:
        """Sleeps for domain seconds."""
        await self.sleep_until(self.now() + timedelta(seconds=domain_seconds))

    async def sleep_until(self, domain_instant: datetime) -> None:
        """Sleeps until the domain reaches an instant."""
        await asyncio.sleep(0)
        wake = self.line.real_for(domain_instant)
        while (left_s := (wake - self._real()).total_seconds()) > 0:  # noqa: ASYNC110 - time is awaited
            await asyncio.sleep(min(left_s, _LONGEST_NAP_S))

    async def sleep_real(self, seconds: float) -> None:
        """Sleeps for real seconds."""
        await asyncio.sleep(max(0.0, seconds))


class SteppedClock:
    """Domain time stands until it is advanced: months and years in one process, each step in order.

    Real time goes on as it does, so that timeouts and tokens hold; with `step_real` it stands and steps too.
    """

    speed: float = math.inf
    """Faster than anything real: only a simulator may be talked to."""

    def __init__(self, start: datetime, *, step_real: bool = False) -> None:
        self._now = as_utc(start, "start")
        self._step_real = step_real
        self._order = itertools.count()
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None], asyncio.Task[object] | None]] = []

    def now(self) -> datetime:
        """Domain instant, UTC."""
        return self._now

    def real(self) -> datetime:
        """Real instant, UTC."""
        return self._now if self._step_real else system_time()

    async def sleep(self, domain_seconds: float) -> None:
        """Sleeps for domain seconds."""
        await self.sleep_until(self._now + timedelta(seconds=domain_seconds))

    async def sleep_until(self, domain_instant: datetime) -> None:
        """Sleeps until `advance` has reached an instant."""
        instant = as_utc(domain_instant)
        if instant <= self._now:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (instant, next(self._order), future, asyncio.current_task()))
        await future

    async def sleep_real(self, seconds: float) -> None:
        """Sleeps for real seconds."""
        if self._step_real:
            await self.sleep(seconds)
        else:
            await asyncio.sleep(max(0.0, seconds))

    @property
    def sleeping(self) -> int:
        """How many sleepers wait for the clock."""
        return sum(1 for *_, future, _ in self._sleepers if not future.done())

    @property
    def next_wake(self) -> datetime | None:
        """When the next of them is due; None if nobody sleeps."""
        return min((instant for instant, _, future, _ in self._sleepers if not future.done()), default=None)

    async def advance(self, step: timedelta, *, settle_s: float = 30.0) -> None:
        """Moves domain time on, releasing each sleeper at its own instant, in order.

        After each release it waits (real time, at most `settle_s`) until the released task sleeps on this clock again
        or has ended, so that what happens at an instant has happened before the next one. 0 only yields to it.
        Raises InvalidInput for a step back, TimedOut naming a task that does not settle.
        """
        if step < timedelta(0):
            raise InvalidInput.of("step", "a clock does not go back")
        end = self._now + step
        await asyncio.sleep(0)
        while self._sleepers and self._sleepers[0][0] <= end:
            instant, _, future, task = heapq.heappop(self._sleepers)
            if future.done():
                continue
            self._now = max(self._now, instant)
            future.set_result(None)
            await self._settle(task, settle_s)
        self._now = end
        await asyncio.sleep(0)

    async def _settle(self, task: "asyncio.Task[object] | None", settle_s: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + settle_s
        pause_s = 0.0
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        while settle_s > 0 and task is not None and not task.done() and not self._is_asleep(task):
            if loop.time() > deadline:
                raise TimedOut(f"{task.get_name()} neither sleeps nor ends {settle_s} s after {self._now.isoformat()}")
            await asyncio.sleep(pause_s)
            pause_s = min(0.01, pause_s + 0.0002)

    def _is_asleep(self, task: "asyncio.Task[object]") -> bool:
        return any(sleeper is task and not future.done() for *_, future, sleeper in self._sleepers)


class ClockSettings(Protocol):
    """The part of the settings that a clock is made from."""

    clock_start: datetime | None
    clock_anchor: datetime | None
    clock_speed: float


def clock_from_settings(settings: ClockSettings) -> Clock:
    """The clock that the settings ask for. Raises InvalidInput for a time-lapse without a shared anchor."""
    if settings.clock_speed == 1 and settings.clock_start is None:
        return SystemClock()
    if settings.clock_anchor is None:
        raise InvalidInput.of(
            "clock_anchor", "a time-lapse needs the real instant at which its run began, shared by all"
        )
    start = settings.clock_start or settings.clock_anchor
    return TimeLapseClock(TimeLapse(start, settings.clock_anchor, settings.clock_speed))
