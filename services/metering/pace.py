"""How long the loops of housekeeping rest between two looks. What they look at is rolling.py and waste/keeper.py."""

from __future__ import annotations

from typing import Final

from servicekit.clock import Clock

LEAST_REAL_S: Final = 1.0
LONGEST_REAL_S: Final = 60.0
REST_PER_WORK: Final = 9.0
"""Least rest, in parts of what the look before it took: no such loop takes more than a tenth of a core, be the
time-lapse as fast as it likes. The field and people come first."""


async def rest(clock: Clock, every_s: float, took_s: float) -> None:
    """Rests until the next look: `every_s` of domain time, unless that is too short in real time after a look that took
    `took_s` real seconds."""
    least_s = min(LONGEST_REAL_S, max(LEAST_REAL_S, took_s * REST_PER_WORK))
    if clock.speed * least_s > every_s:
        await clock.sleep_real(least_s)
    else:
        await clock.sleep(every_s)
