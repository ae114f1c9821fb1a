"""Ending what waits: a cancellation is not lost, however shortly before it came what is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tests.support.waiting import eventually


async def ends_beside_news(
    start: Callable[[], Coroutine[Any, Any, object]], waits: Callable[[], bool], news: Callable[[], None]
) -> None:
    """Starts something anew for each of the few turns of the event loop that its waking up takes, lets it wait, and
    cancels it so many turns after the news. Raises AssertionError if it goes on."""
    for turns in range(6):
        task = asyncio.create_task(start())
        await eventually(waits)
        news()
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.cancel():
            await asyncio.wait({task}, timeout=20)
            assert task.cancelled(), f"cancelled {turns} turns after the news, it went on"
