"""asyncua by hand: one batched read of all nodes, or its subscription with the leanest handler; values scaled."""

from __future__ import annotations

import logging
from typing import Any

import asyncua
from asyncua.client.client import Client

from bench.field import nodes
from bench.field.contenders.notifications import report
from bench.field.contenders.process import drive, serve
from bench.field.tags import checksum

ua: Any = asyncua.ua  # its types want wrappers for every number and text, which it makes itself

_COLUMNS = len(nodes.POINTS)
_GOOD, _BAD = 1, 3


class Handler:
    """Keeps the latest value of each node."""

    def __init__(self, scales: dict[str, float]) -> None:
        self.received = 0
        self.values: dict[str, float] = {}
        self._scales = scales

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        """Called by asyncua."""
        self.received += 1
        name = node.nodeid.Identifier
        self.values[name] = value * self._scales[name]


async def run(spec: dict[str, Any]) -> dict[str, float]:
    """One measurement."""
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    client: Any = Client(f"opc.tcp://127.0.0.1:{spec['port']}/", timeout=10)
    async with client:
        index = await client.get_namespace_index(nodes.NAMESPACE)
        wanted = [
            client.get_node(ua.NodeId(nodes.node_name(lamp, part), index))
            for lamp in range(spec["lamps"])
            for _, part, _, _ in nodes.POINTS
        ]
        scales = [scale for _ in range(spec["lamps"]) for *_, scale in nodes.POINTS]
        if spec["notify"]:
            names = [node.nodeid.Identifier for node in wanted]
            handler = Handler(dict(zip(names, scales, strict=True)))
            subscription = await client.create_subscription(50, handler)
            await subscription.subscribe_data_change(wanted, queuesize=1)
            return await report(
                lambda: handler.received,
                lambda: _checksum([handler.values.get(name, float("nan")) for name in names]),
                len(wanted),
            )
        ids = [node.nodeid for node in wanted]

        async def read() -> tuple[list[float], list[int]]:
            answers = await client.uaclient.read_attributes(ids, ua.AttributeIds.Value)
            values = [answer.Value.Value * scale for answer, scale in zip(answers, scales, strict=True)]
            quality = [_GOOD if answer.StatusCode.is_good() else _BAD for answer in answers]
            return values, quality

        async def once() -> tuple[int, int]:
            values, _ = await read()
            return len(values), 1

        values, quality = await read()
        found = await drive([once], spec["warm_up_s"], spec["measured_s"])
        return {**found, "checksum": _checksum(values), "bad": sum(grade != _GOOD for grade in quality)}


def _checksum(values: list[float]) -> float:
    return checksum(values[at : at + _COLUMNS] for at in range(0, len(values), _COLUMNS))


if __name__ == "__main__":
    serve(run)
