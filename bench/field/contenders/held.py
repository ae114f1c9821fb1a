"""Our field layer under a steady load: every device read once a second, and writes of a hundred points among them."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, Final

import numpy as np

from bench.field.contenders.process import cpu_s, serve
from bench.field.profile import points_of, profile_of
from bench.field.tags import checksum
from fieldbus.client import Fieldbus
from fieldbus.device import Device
from fieldbus.values import PointAddress, Quality, WriteOutcome
from servicekit.clock import SystemClock

CLOCK: Final = SystemClock()


class Load:
    """Reads in the rhythm, writes in between, and what became of both."""

    def __init__(self, devices: list[Device], points: tuple[PointAddress, ...]) -> None:
        self._devices = devices
        self._points = points
        self._running = True
        self.points = self.bad = self.late = 0
        self.writes_s: list[float] = []
        self.unconfirmed = 0

    async def keep_reading(self, device: Device, first: float) -> None:
        """Read one device every second, from its own moment on; a second that was missed is not made up for."""
        due = first
        while self._running:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            batch = await device.read(self._points)
            self.points += len(batch)
            self.bad += int(np.count_nonzero(batch.quality != Quality.GOOD))
            due += 1.0
            behind = time.monotonic() - due
            if behind > 0:
                self.late += 1
                due += int(behind) + 1.0

    async def keep_writing(self, interval_s: float) -> None:
        """A hundred points to some device, with read-back, again and again."""
        chosen = random.Random(1)
        while self._running:
            device = chosen.choice(self._devices)
            writes = [(address, float(chosen.randrange(1, 600))) for address in self._points]
            start = time.monotonic()
            results = await device.write(writes)
            self.writes_s.append(time.monotonic() - start)
            self.unconfirmed += sum(result.outcome is not WriteOutcome.CONFIRMED for result in results)
            await asyncio.sleep(interval_s)

    def forget(self) -> None:
        """Start to count."""
        self.points = self.late = self.bad = self.unconfirmed = 0
        self.writes_s.clear()

    def stop(self) -> None:
        """End after what is under way."""
        self._running = False


async def run(spec: dict[str, Any]) -> dict[str, float]:
    """One measurement."""
    points = points_of(spec["tags"])
    fieldbus = Fieldbus(now=CLOCK.now, now_ms=CLOCK.now_ms)
    devices = [
        fieldbus.open(f"modbus+tcp://127.0.0.1:{port}?unit={unit}", profile_of(spec["tags"]))
        for port, _, unit in spec["devices"]
    ]
    proof = checksum([(await device.read(points)).values.tolist() for device in devices])
    load = Load(devices, points)
    start = time.monotonic() + 0.5
    tasks = [
        asyncio.create_task(load.keep_reading(device, start + place / len(devices)))
        for place, device in enumerate(devices)
    ]
    tasks.append(asyncio.create_task(load.keep_writing(spec["write_interval_s"])))
    await asyncio.sleep(0.5 + spec["warm_up_s"])
    load.forget()
    used, begin = cpu_s(), time.monotonic()
    await asyncio.sleep(spec["measured_s"])
    wall_s, used = time.monotonic() - begin, cpu_s() - used
    found = {
        "wall_s": wall_s,
        "cpu_s": used,
        "points": float(load.points),
        "requests": 0.0,
        "checksum": proof,
        "bad": load.bad + load.unconfirmed,
        "late": load.late,
        "writes": len(load.writes_s),
        "write_mean_ms": float(np.mean(load.writes_s)) * 1000,
        "write_p99_ms": float(np.quantile(load.writes_s, 0.99)) * 1000,
    }
    load.stop()
    await asyncio.gather(*tasks)
    await fieldbus.close()
    return found


if __name__ == "__main__":
    serve(run)
