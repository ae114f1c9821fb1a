"""pymodbus by hand: the fewest block reads that hold all tags (or one read per tag), decoded by one Struct per block.

The leanest loop that still does the work: values scaled, an answer that is an error makes its values bad. No limits,
no time, nothing remembered.
"""

from __future__ import annotations

import struct
from typing import Any

from pymodbus.client import AsyncModbusTcpClient

from bench.field.contenders.process import Poll, drive, serve
from bench.field.tags import LISTS, Block, Tag, TagList, checksum

_GOOD, _BAD = 1, 3
_NAN = float("nan")


class Device:
    """A unit on a connection."""

    def __init__(self, client: AsyncModbusTcpClient, unit: int, tags: TagList, *, single: bool) -> None:
        self._client = client
        self._unit = unit
        self._blocks = [_alone(tag) for tag in tags.tags] if single else list(tags.blocks)
        self._words = {block.count: struct.Struct(f">{block.count}H") for block in self._blocks}
        self.requests = len(self._blocks)

    async def read(self) -> tuple[list[float], list[int]]:
        """Values and qualities of all tags."""
        values: list[float] = []
        quality: list[int] = []
        for block in self._blocks:
            answer = await self._client.read_holding_registers(block.start, count=block.count, device_id=self._unit)
            size = len(block.scales)
            if answer.isError():
                values += [_NAN] * size
                quality += [_BAD] * size
                continue
            numbers = block.unpack.unpack(self._words[block.count].pack(*answer.registers))
            values += [number * scale for number, scale in zip(numbers, block.scales, strict=True)]
            quality += [_GOOD] * size
        return values, quality


def _alone(tag: Tag) -> Block:
    return TagList(tag.name, (tag,), ((tag.address, tag.registers),)).blocks[0]


async def run(spec: dict[str, Any]) -> dict[str, float]:
    """One measurement."""
    tags = LISTS[spec["tags"]]
    clients: dict[int, AsyncModbusTcpClient] = {}
    devices: list[Device] = []
    for port, _, unit in spec["devices"]:
        if port not in clients:
            clients[port] = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=10)
            await clients[port].connect()
        devices.append(Device(clients[port], unit, tags, single=spec.get("single", False)))
    readings = [await device.read() for device in devices]
    found = await drive([_poll(device) for device in devices], spec["warm_up_s"], spec["measured_s"])
    for client in clients.values():
        client.close()
    bad = sum(grade != _GOOD for _, quality in readings for grade in quality)
    return {**found, "checksum": checksum([values for values, _ in readings]), "bad": bad}


def _poll(device: Device) -> Poll:
    async def once() -> tuple[int, int]:
        values, _ = await device.read()
        return len(values), device.requests

    return once


if __name__ == "__main__":
    serve(run)
