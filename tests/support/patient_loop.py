"""An event loop for tests over real sockets whose both ends live in the test's own process: its clock counts the time
that the process was given, not the time that passed.

A busy machine stops a process for tenths of a second, whenever it likes. On an ordinary loop a device that was asked
just before is then too late by the time that it may answer, and a test that says "silent units are given up after
0.15 s" fails for its neighbours, who are not silent. Here such a pause counts as one short step, so everybody has had
as many chances to speak as on a quiet machine. Who never answers is still given up, after the same number of steps.

What a test holds up itself (`time.sleep`) counts as one step too, so such a test takes limits shorter than a step.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Mapping
from typing import Final

STEP_S: Final = 0.01  # the most that counts of one wait for events, and of one round of the loop's work


class _Steps:
    """What has been counted so far. Begins with the machine's monotonic clock, and is never ahead of it."""

    def __init__(self) -> None:
        self._seen = self._counted = time.monotonic()

    def now(self) -> float:
        return self._counted + min(time.monotonic() - self._seen, STEP_S)

    def take(self) -> float:
        """End a step; returns how much of it counts."""
        seen = time.monotonic()
        counts = min(seen - self._seen, STEP_S)
        self._seen = seen
        self._counted += counts
        return counts


class _SteppingSelector(selectors.DefaultSelector):
    """Waits in short steps: however long the machine takes for one of them, there are others after it."""

    def __init__(self, steps: _Steps) -> None:
        super().__init__()
        self._steps = steps

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._steps.take()
        left_s = float("inf") if timeout is None else timeout
        while True:
            ready = super().select(min(left_s, STEP_S))
            left_s -= self._steps.take()
            if ready or left_s <= 0:
                return ready


class PatientLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop on a clock that counts at most `STEP_S` at a time."""

    def __init__(self) -> None:
        self._steps = _Steps()
        super().__init__(_SteppingSelector(self._steps))

    def time(self) -> float:
        return self._steps.now()


def loop_time() -> float:
    """The running loop's clock, for what asks for a monotonic one and is to see the same time as its sockets."""
    return asyncio.get_running_loop().time()


def loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """For pytest-asyncio's hook of a conftest.py."""
    return {"patient": PatientLoop}
