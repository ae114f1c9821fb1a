"""Whether something stays behind: tasks, file descriptors, connections."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.fieldbus.servers import eventually


def open_files() -> int:
    """How many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


@asynccontextmanager
async def nothing_left_behind(within_s: float = 15.0) -> AsyncIterator[None]:
    """What was made inside is gone afterwards. Goodbyes may take their bounded time."""
    tasks, files = asyncio.all_tasks(), open_files()
    yield
    await eventually(lambda: not asyncio.all_tasks() - tasks and open_files() <= files, within_s)
