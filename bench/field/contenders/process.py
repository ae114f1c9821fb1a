"""What the contenders written in Python have in common: the task from standard input, the clock, the result."""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

Poll = Callable[[], Awaitable[tuple[int, int]]]  # reads one device once: points and requests it took


def cpu_s() -> float:
    """Processor seconds of this process so far, the kernel's work for it included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def drive(polls: Sequence[Poll], warm_up_s: float, measured_s: float) -> dict[str, float]:
    """Every device in a task of its own, as fast as it goes; what was done in the measured time.

    A single device is measured from the start of a reading to the end of one, as its readings may be long.
    """
    if len(polls) == 1:
        return await _drive_one(polls[0], warm_up_s, measured_s)
    points = requests = 0
    running = True

    async def work(poll: Poll) -> None:
        nonlocal points, requests
        while running:
            more_points, more_requests = await poll()
            points += more_points
            requests += more_requests

    tasks = [asyncio.create_task(work(poll)) for poll in polls]
    await asyncio.sleep(warm_up_s)
    gc.collect()
    points = requests = 0
    used, start = cpu_s(), time.monotonic()
    await asyncio.sleep(measured_s)
    found = {
        "wall_s": time.monotonic() - start,
        "cpu_s": cpu_s() - used,
        "points": float(points),
        "requests": float(requests),
    }
    running = False
    await asyncio.gather(*tasks)
    return found


async def _drive_one(poll: Poll, warm_up_s: float, measured_s: float) -> dict[str, float]:
    points = requests = 0
    start = time.monotonic()
    while time.monotonic() - start < warm_up_s:
        await poll()
    gc.collect()
    used, start = cpu_s(), time.monotonic()
    while (wall_s := time.monotonic() - start) < measured_s:
        more_points, more_requests = await poll()
        points += more_points
        requests += more_requests
    return {"wall_s": wall_s, "cpu_s": cpu_s() - used, "points": float(points), "requests": float(requests)}


def serve(work: Callable[[dict[str, Any]], Awaitable[dict[str, float]]]) -> None:
    """Do the task that stands on standard input, on the loop that it asks for, and print the result."""
    spec = json.loads(sys.stdin.readline())
    if spec.get("loop") == "uvloop":
        import uvloop

        result = uvloop.run(_awaited(work, spec))
    else:
        result = asyncio.run(_awaited(work, spec))
    print(json.dumps(result), flush=True)


async def _awaited(work: Callable[[dict[str, Any]], Awaitable[dict[str, float]]], spec: dict[str, Any]) -> Any:
    return await work(spec)
