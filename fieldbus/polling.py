"""Subscriptions for protocols that have none: poll, and call back with what changed.

How often is the caller's wish, but never more often than the link bears; many that begin together do not wake together.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

import numpy as np

from domain.errors import LichtbuchError
from fieldbus.tasks import end
from fieldbus.values import BatchCallback, ValueBatch

_LOGGER = logging.getLogger(__name__)
_START_SPREAD_MAX_S: Final = 2.0  # a new subscription shall still give its first values soon


class PollingSubscription:
    """Reads at a real-time interval until cancelled. A reading that raises (the device must be the simulator and is
    not, or was closed) ends it, as the next one would raise the same."""

    def __init__(
        self,
        read: Callable[[], Awaitable[ValueBatch]],
        callback: BatchCallback,
        interval_s: float,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        """`uniform` gives random numbers in [0, 1): the first reading comes within one interval, at a time of its own,
        and the cadence keeps that phase."""
        self._read = read
        self._callback = callback
        self._interval_s = interval_s
        self._start_s = uniform() * min(interval_s, _START_SPREAD_MAX_S)
        self._task = asyncio.create_task(self._run(), name="fieldbus polling subscription")

    async def cancel(self) -> None:
        """Stop polling; no callback comes after this returns."""
        await end(self._task)

    @property
    def cancelled(self) -> bool:
        """Whether nothing more will come."""
        return self._task.done()

    def _report(self, changed: ValueBatch) -> None:
        try:
            self._callback(changed)
        except Exception:  # a caller's mistake must not end what it has subscribed to without a word
            _LOGGER.exception("a subscription's callback failed")

    async def _run(self) -> None:
        last: ValueBatch | None = None
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._start_s)
        due = loop.time()
        while True:
            try:
                batch = await self._read()
            except LichtbuchError as error:
                _LOGGER.warning("subscription ended: %s", error)
                return
            changed = batch if last is None else changed_rows(last, batch)
            if len(changed):
                self._report(changed)
            last = batch
            # By the clock and not by pauses, or the phases of slow devices would drift together. What is overdue is
            # left out rather than caught up on.
            due = max(due + self._interval_s, loop.time())
            await asyncio.sleep(due - loop.time())


def changed_rows(before: ValueBatch, after: ValueBatch) -> ValueBatch:
    """Rows of `after` whose value or quality differs. Both batches hold the same points in the same order."""
    same_value = (before.values == after.values) | (np.isnan(before.values) & np.isnan(after.values))
    same = same_value & (before.quality == after.quality)
    for row, text in after.texts.items():
        same[row] &= before.texts.get(row) == text
    rows = np.flatnonzero(~same)
    return ValueBatch(
        [after.points[int(row)] for row in rows],
        after.values[rows],
        after.quality[rows],
        after.observed_at[rows],
        after.time_source[rows],
        {place: after.texts[int(row)] for place, row in enumerate(rows) if int(row) in after.texts},
    )
