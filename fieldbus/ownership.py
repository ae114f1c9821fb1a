"""Whether somebody else commands a device: its heartbeat moves though we do not move it.

For tools that would bypass a running installation. Keeping a heartbeat going is watchdog.py's business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from fieldbus.profile import Profile, WatchdogMode, WatchdogRule
from fieldbus.values import PointAddress, Quality
from fieldbus.watchdog import GuardedDevice

_INTERVALS_WATCHED: Final = 1.25  # somewhat more than one: a beat may be late
_LOOKS_PER_INTERVAL: Final = 8  # a toggle that is looked at too seldom seems to stand still
_SHORTEST_LOOK_S: Final = 0.01


def rule_to_watch(profile: Profile) -> WatchdogRule | None:
    """The heartbeat by which an owner can be seen. None where nothing shows it."""
    rule = profile.heartbeat
    if rule is None or rule.mode is WatchdogMode.TOUCH or not profile.readable(rule.point):
        return None
    return rule


async def owned_by_another(
    device: GuardedDevice,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> str:
    """Why the device must be taken for owned, or empty. Watches for a little longer than one interval of the heartbeat,
    shorter when it moves at once; our own watchdog must not be running.

    Empty, too, where it cannot be told: no heartbeat in the profile, one that any request restarts, one that cannot be
    read, no answer. A device that falls silent while it is watched is left alone.
    """
    rule = rule_to_watch(device.profile)
    if rule is None:
        return ""
    heartbeat = (PointAddress(rule.point),)
    first = await device.read(heartbeat)
    if first.quality[0] > Quality.UNCERTAIN:
        return ""
    began = monotonic()
    watched_s = 0.0
    seen = True
    look_s = max(rule.interval_s / _LOOKS_PER_INTERVAL, _SHORTEST_LOOK_S)
    while max(watched_s, monotonic() - began) < _INTERVALS_WATCHED * rule.interval_s:
        await sleep(look_s)
        watched_s += look_s
        batch = await device.read(heartbeat)
        seen = batch.quality[0] <= Quality.UNCERTAIN
        if seen and batch.values[0] != first.values[0]:
            return (
                f"its heartbeat moved from {first.values[0]:g} to {batch.values[0]:g} without us: "
                "another master commands this device"
            )
    return "" if seen else "it fell silent while its heartbeat was watched: who commands it cannot be told"
