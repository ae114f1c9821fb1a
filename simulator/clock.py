"""The simulator's clock: domain time as a straight line over real time, or stepped by tests. Seconds since 1970.

It reads the same three settings as every other process of a run, so that all agree without talking.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

from domain.errors import FailedPrecondition, InvalidInput
from domain.timelapse import TimeLapse


class Clock(Protocol):
    """Tells the domain time."""

    @property
    def speed(self) -> float:
        """Domain seconds per real second; 0 where time is stepped."""
        ...

    @property
    def start_s(self) -> float:
        """Domain time at which the run began: before now where other processes began earlier."""
        ...

    def now_s(self) -> float:
        """Domain time in seconds since 1970."""
        ...

    def step(self, seconds: float) -> None:
        """Move on, where time is stepped. FailedPrecondition where it runs by itself."""
        ...


class RunningClock:
    """Follows the machine's clock along a time-lapse."""

    def __init__(self, lapse: TimeLapse) -> None:
        self.lapse = lapse
        self.start_s = lapse.start.timestamp()
        self._anchor_s = lapse.anchor.timestamp()
        self._speed = lapse.speed

    @property
    def speed(self) -> float:
        """Domain seconds per real second."""
        return self._speed

    def now_s(self) -> float:
        """The same as `lapse.at` of now, without the detour over datetimes."""
        return self.start_s + (time.time() - self._anchor_s) * self._speed

    def step(self, seconds: float) -> None:
        """Refused: it runs by itself."""
        raise FailedPrecondition("this clock runs by itself; start the simulator with --stepped to step it")


class SteppedClock:
    """Stands still until it is stepped."""

    speed = 0.0

    def __init__(self, start_s: float) -> None:
        self.start_s = self._now_s = start_s

    def now_s(self) -> float:
        """Where it was stepped to."""
        return self._now_s

    def step(self, seconds: float) -> None:
        """Move on by a positive number of seconds."""
        if not 0 < seconds <= 400 * 86_400:
            raise InvalidInput.of("advance_s", "must be above 0 and at most 400 days")
        self._now_s += seconds


def instant_text(t: float) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(t, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant_from_text(text: str, field: str) -> float:
    """Seconds since 1970 of an RFC 3339 instant with its time zone. InvalidInput otherwise."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput.of(field, f"{text!r} is not an RFC 3339 instant") from error
    if instant.utcoffset() is None:
        raise InvalidInput.of(field, f"{text!r} has no time zone")
    return instant.timestamp()
