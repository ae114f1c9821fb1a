"""Our field layer, through its public interface only: values in the vocabulary's unit with quality and time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from bench.field.contenders.process import Poll, drive, serve
from bench.field.profile import points_of, profile_of
from bench.field.tags import checksum
from fieldbus.client import Fieldbus
from fieldbus.device import Device
from fieldbus.values import PointAddress, Quality
from servicekit.clock import SystemClock

CLOCK: Final = SystemClock()


async def run(spec: dict[str, Any]) -> dict[str, float]:
    """One measurement."""
    points = points_of(spec["tags"])
    fieldbus = Fieldbus(now=CLOCK.now, now_ms=CLOCK.now_ms)
    devices = [
        fieldbus.open(f"modbus+tcp://127.0.0.1:{port}?unit={unit}", profile_of(spec["tags"]))
        for port, _, unit in spec["devices"]
    ]
    batches = [await device.read(points) for device in devices]
    bad = sum(int(np.count_nonzero(batch.quality != Quality.GOOD)) for batch in batches)
    requests = {device.health().counters.requests for device in devices}
    found = await drive(
        [_poll(device, points, max(requests)) for device in devices], spec["warm_up_s"], spec["measured_s"]
    )
    bad += sum(device.health().counters.timeouts for device in devices)
    await fieldbus.close()
    return {**found, "checksum": checksum([batch.values.tolist() for batch in batches]), "bad": bad}


def _poll(device: Device, points: tuple[PointAddress, ...], requests: int) -> Poll:
    count = len(points)

    async def once() -> tuple[int, int]:
        await device.read(points)
        return count, requests

    return once


if __name__ == "__main__":
    serve(run)
