"""Waiting for what may happen, for so long and no longer."""

from __future__ import annotations

import asyncio


async def happens_within(event: asyncio.Event, seconds: float) -> bool:
    """Waits until an event is set, at most so many real seconds. True if it is.

    Not asyncio.wait_for: on Python 3.11 that swallows a cancellation that comes together with the event, and a loop
    that is told to end goes on.
    """
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
