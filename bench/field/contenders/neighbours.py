"""Many units behind one gateway, each read again as soon as it has answered: how long a turn of the healthy takes."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any, Final

from bench.field.contenders.process import cpu_s, serve
from bench.field.profile import points_of, profile_of
from bench.field.tags import checksum
from fieldbus.client import Fieldbus
from fieldbus.device import Device, Limits
from fieldbus.values import PointAddress
from servicekit.clock import SystemClock

CLOCK: Final = SystemClock()

_PATIENCE_S = 0.02  # before a device that was not asked at all is tried again


async def run(spec: dict[str, Any]) -> dict[str, float]:
    """One measurement. `sick`: units whose turns are not counted."""
    points = points_of(spec["tags"])
    sick = set(spec["sick"])
    limits = Limits(request_timeout_s=spec["request_timeout_s"]) if "request_timeout_s" in spec else None
    fieldbus = Fieldbus(now=CLOCK.now, now_ms=CLOCK.now_ms, limits=limits)
    opened = [
        (unit, fieldbus.open(f"modbus+tcp://127.0.0.1:{port}?unit={unit}", profile_of(spec["tags"])))
        for port, _, unit in spec["devices"]
    ]
    healthy = [device for unit, device in opened if unit not in sick]
    proof = checksum([(await device.read(points)).values.tolist() for device in healthy])
    turns = {id(device): 0 for _, device in opened}
    running = True

    async def keep_reading(device: Device, wanted: tuple[PointAddress, ...]) -> None:
        while running:
            start = time.monotonic()
            await device.read(wanted)
            turns[id(device)] += 1
            if time.monotonic() - start < _PATIENCE_S / 100:
                await asyncio.sleep(_PATIENCE_S)

    tasks = [asyncio.create_task(keep_reading(device, points)) for _, device in opened]
    await asyncio.sleep(spec["warm_up_s"])
    before, used, start = dict(turns), cpu_s(), time.monotonic()
    await asyncio.sleep(spec["measured_s"])
    wall_s, used = time.monotonic() - start, cpu_s() - used
    rounds = [turns[id(device)] - before[id(device)] for device in healthy]
    running = False
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await fieldbus.close()
    return {
        "wall_s": wall_s,
        "cpu_s": used,
        "points": float(sum(rounds) * len(points)),
        "requests": float(sum(rounds)),
        "checksum": proof,
        "bad": 0,
        "cycle_ms": wall_s / max(statistics.fmean(rounds), 0.5) * 1000,
        "worst_cycle_ms": wall_s / max(min(rounds), 0.5) * 1000,
    }


if __name__ == "__main__":
    serve(run)
