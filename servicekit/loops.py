"""Long-running loops under supervision: an exception is logged and counted, the loop starts again after a back-off, and
a loop that falls silent makes the service unhealthy. What a loop does is the service's own.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from domain.errors import LichtbuchError, RetryableError, Unavailable
from servicekit.context import Caller, acting_as
from servicekit.metrics import LOOP_FAILURES, LOOP_LAST_BEAT, LOOP_RUNNING

_log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
_WELL_AFTER_S: Final = 60.0
"""A loop that ran this long starts its back-off anew."""

Beat = Callable[[], None]
LoopBody = Callable[[Beat], Awaitable[None]]
"""Runs for ever, calling `beat` after each pass."""


@dataclass
class Loop:
    """A loop and its last signs of life (monotonic real time)."""

    name: str
    body: LoopBody
    max_silence_s: float
    last_beat: float = field(default_factory=time.monotonic)
    last_start: float = field(default_factory=time.monotonic)
    failures: int = 0

    def beat(self) -> None:
        """A pass is done."""
        self.last_beat = time.monotonic()
        LOOP_LAST_BEAT.labels(self.name).set(time.time())
        LOOP_RUNNING.labels(self.name).set(1)

    async def check(self) -> None:
        """Health: raises Unavailable if the loop has been silent for too long."""
        silence_s = time.monotonic() - self.last_beat
        if silence_s > self.max_silence_s:
            LOOP_RUNNING.labels(self.name).set(0)
            raise Unavailable(f"no pass for {silence_s:.0f} s, at most {self.max_silence_s:g} s are right")

    def hangs(self, excused_until: float) -> bool:
        """Whether it has neither beaten, nor failed and been started again, for too long: then only a restart helps.

        Silence up to `excused_until` (monotonic) does not count: what the loop needs was not there.
        """
        silence_s = time.monotonic() - max(self.last_beat, self.last_start, excused_until)
        return silence_s > self.max_silence_s + LONGEST_PAUSE_S

    async def run(self, caller: Caller) -> None:
        """Runs the body for ever, as the service itself."""
        pause_s = FIRST_PAUSE_S
        while True:
            began = self.last_start = time.monotonic()
            try:
                with acting_as(caller, action=self.name):
                    await self.body(self.beat)
                _log.error("loop %s ended; a loop runs for ever", self.name)
            except RetryableError as error:
                _log.warning("loop %s failed for now: %s", self.name, error)
            except LichtbuchError as error:
                _log.error("loop %s failed: %s", self.name, error)
            except Exception:
                _log.exception("loop %s failed unexpectedly", self.name)
            self.failures += 1
            LOOP_FAILURES.labels(self.name).inc()
            if time.monotonic() - began > _WELL_AFTER_S:
                pause_s = FIRST_PAUSE_S
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
