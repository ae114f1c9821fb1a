"""What both OPC UA subscribers do: say when they are ready, then report on each line what has come in so far."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable

from bench.field.contenders.process import cpu_s

_PATIENCE_S = 20.0


async def report(received: Callable[[], int], latest: Callable[[], float], wanted: int) -> dict[str, float]:
    """Serve the runner until it closes its end."""
    async with asyncio.timeout(_PATIENCE_S):
        while received() < wanted:  # noqa: ASYNC110 - the first values of all nodes; nothing announces the last
            await asyncio.sleep(0.02)
    line = "ready"
    while line:
        print(json.dumps({"received": received(), "cpu_s": cpu_s(), "checksum": latest()}), flush=True)
        line = await asyncio.to_thread(sys.stdin.readline)
    return {}
