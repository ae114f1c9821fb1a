"""Ending background tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any, Final

_PATIENCE_S: Final = 0.1


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task until it is done.

    Once is not enough on Python 3.11: `asyncio.wait_for`, which the protocol libraries use, swallows a cancellation
    that arrives together with its result.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_PATIENCE_S)
    if not task.cancelled():
        # Whatever it died of no longer matters, but must not be reported as never retrieved.
        task.exception()
