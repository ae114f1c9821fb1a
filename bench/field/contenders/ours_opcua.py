"""Our field layer on OPC UA, through its public interface only: batched reads, or a subscription."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import Any

import numpy as np

from bench.field import nodes
from bench.field.contenders.notifications import report
from bench.field.contenders.process import drive, serve
from bench.field.tags import checksum
from fieldbus.client import Fieldbus
from fieldbus.values import PointAddress, Quality, ValueBatch

_COLUMNS = len(nodes.POINTS)


async def run(spec: dict[str, Any]) -> dict[str, float]:
    """One measurement."""
    fieldbus = Fieldbus(now=lambda: datetime.now(UTC))
    device = fieldbus.open(f"opc.tcp://127.0.0.1:{spec['port']}/", nodes.profile())
    wanted = nodes.points(spec["lamps"])
    try:
        if spec["notify"]:
            return await _notified(device, wanted)
        batch = await device.read(wanted)
        bad = int(np.count_nonzero(batch.quality != Quality.GOOD))

        async def once() -> tuple[int, int]:
            await device.read(wanted)
            return len(wanted), 1

        found = await drive([once], spec["warm_up_s"], spec["measured_s"])
        return {**found, "checksum": _checksum(batch.values.tolist()), "bad": bad}
    finally:
        await fieldbus.close()


async def _notified(device: Any, wanted: tuple[PointAddress, ...]) -> dict[str, float]:
    received = 0
    batches: deque[ValueBatch] = deque(maxlen=256)

    def changed(batch: ValueBatch) -> None:
        nonlocal received
        received += len(batch)
        batches.append(batch)

    def latest() -> float:
        values: dict[PointAddress, float] = {}
        for batch in batches:
            values.update(batch.as_dict())
        return _checksum([values.get(address, float("nan")) for address in wanted])

    await device.subscribe(wanted, changed, interval_s=0.05)
    return await report(lambda: received, latest, len(wanted))


def _checksum(values: list[float]) -> float:
    return checksum(values[at : at + _COLUMNS] for at in range(0, len(values), _COLUMNS))


if __name__ == "__main__":
    serve(run)
