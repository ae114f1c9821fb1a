"""Waiting for a condition instead of sleeping for a guess."""

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], bool], within_s: float = 90.0) -> None:
    """Returns as soon as the condition holds. Raises AssertionError if it has not after a time that is long enough."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "the condition did not come true"
        await asyncio.sleep(0.005)
