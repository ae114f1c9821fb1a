"""Subscriptions for protocols that have none: poll, and call back with what changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import numpy as np

from domain.errors import LichtbuchError
from fieldbus.tasks import end
from fieldbus.values import BatchCallback, ValueBatch

_LOGGER = logging.getLogger(__name__)


class PollingSubscription:
    """Reads at a real-time interval until cancelled. A reading that raises (the device must be the simulator and is
    not, or was closed) ends it, as the next one would raise the same."""

    def __init__(self, read: Callable[[], Awaitable[ValueBatch]], callback: BatchCallback, interval_s: float) -> None:
        self._read = read
        self._callback = callback
        self._interval_s = interval_s
        self._task = asyncio.create_task(self._run(), name="fieldbus polling subscription")

    async def cancel(self) -> None:
        """Stop polling; no callback comes after this returns."""
        await end(self._task)

    async def _run(self) -> None:
        last: ValueBatch | None = None
        while True:
            try:
                batch = await self._read()
            except LichtbuchError as error:
                _LOGGER.warning("subscription ended: %s", error)
                return
            changed = batch if last is None else changed_rows(last, batch)
            if len(changed):
                self._callback(changed)
            last = batch
            await asyncio.sleep(self._interval_s)


def changed_rows(before: ValueBatch, after: ValueBatch) -> ValueBatch:
    """Rows of `after` whose value or quality differs. Both batches hold the same points in the same order."""
    same_value = (before.values == after.values) | (np.isnan(before.values) & np.isnan(after.values))
    rows = np.flatnonzero(~(same_value & (before.quality == after.quality)))
    return ValueBatch(
        [after.points[int(row)] for row in rows],
        after.values[rows],
        after.quality[rows],
        after.observed_at[rows],
        after.time_source[rows],
    )
