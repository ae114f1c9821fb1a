"""A subscription that outlives its sessions: its items are spread over as many as the server needs, and every part is
made anew whenever its link has a new session.

One session's part is items.py's, publish requests are publisher.py's, columns columns.py's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from domain.errors import FailedPrecondition
from fieldbus.faults import AnswerLost, LinkDown, Malformed, NoAnswer, ServiceFault
from fieldbus.opcua.columns import NodeColumns, overflows
from fieldbus.opcua.costs import REQUEST_BYTES
from fieldbus.opcua.data import DataColumns
from fieldbus.opcua.items import Items
from fieldbus.opcua.link import OpcUaLink
from fieldbus.opcua.pulse import Renewal
from fieldbus.opcua.session import status_name
from fieldbus.opcua.shards import Share
from fieldbus.opcua.wire import Published
from fieldbus.tasks import end
from fieldbus.values import BatchCallback, Counters, ValueBatch, unix_ms

_LOGGER = logging.getLogger(__name__)
_MOST_OF_A_ROW: Final = 16  # values of one row in an answer: more than the queues that we have set can hold

Rows = npt.NDArray[np.intp]


class OpcUaSubscription:
    """Runs until cancelled."""

    def __init__(
        self,
        link: OpcUaLink,
        columns: NodeColumns,
        callback: BatchCallback,
        counters: Counters,
        now: Callable[[], datetime],
        interval_s: float,
        noticed: Callable[[str], None] = lambda reason: None,
        answered: Callable[[], None] = lambda: None,
    ) -> None:
        """`noticed` hears what the server could not do as asked: deadbands it has not, items it has no room for;
        `answered` that it lives."""
        self.columns = columns
        self.counters = counters
        self.interval_s = interval_s
        self.noticed = noticed
        self.answered = answered
        self._link = link
        self._callback = callback
        self._now = now
        self.cancelled = False
        self._full: set[OpcUaLink] = set()
        self._parts: list[_Part] = []
        self._times = np.full(columns.time_nodes, np.nan)
        self._spread(np.arange(len(columns.places), dtype=np.intp))

    @property
    def sessions(self) -> int:
        """How many sessions carry it."""
        return len({part.share.link for part in self._parts})

    async def cancel(self) -> None:
        """Stop it; no callback comes after this returns."""
        self.cancelled = True
        await asyncio.gather(*(part.end() for part in self._parts))
        for part in self._parts:
            self._link.shards.release(part.share)
        self._parts.clear()

    def move(self, link: OpcUaLink, rows: Rows) -> Rows:
        """Find another session for rows that one is too full for. What remains has no room on this server."""
        self._full.add(link)
        return self._spread(rows)

    def _spread(self, places: Rows) -> Rows:
        position = 0
        for share in self._link.shards.claim(len(places), self._full):
            self._parts.append(_Part(self, share, places[position : position + share.count]))
            position += share.count
        return places[position:]

    def published(self, answer: Published) -> None:
        """Hand on the data changes of one publish answer."""
        for changes in answer.changes:
            self._changed(changes)

    def _changed(self, changes: DataColumns) -> None:
        places = changes.handles.astype(np.intp) - 1
        known = (places >= 0) & (places < len(self.columns.places))
        if not known.all():
            self.counters.discarded += 1
            changes, places = changes.take(np.flatnonzero(known)), places[known]
        self.counters.overflows += overflows(changes.status)
        is_row = places < len(self.columns.points)
        if len(self._times):
            times = np.flatnonzero(~is_row)
            usable = changes.status[times] < 0x8000_0000
            self._times[places[times] - len(self.columns.points)] = np.where(usable, changes.values[times], np.nan)
            changes, places = changes.take(np.flatnonzero(is_row)), places[is_row]
        parts, dropped = without_repetition(changes, places)
        self.counters.discarded += dropped
        for part, rows in parts:
            self._report(self.columns.notified(part, rows, self._times, unix_ms(self._now())))

    def absent(self, places: Rows, status: int) -> None:
        """Report rows that the server has no item for."""
        rows = places[places < len(self.columns.points)]
        if len(rows):
            self.noticed(f"{len(rows)} points are not reported: {status_name(status)}")
            self._report(self.columns.absent(rows, status, unix_ms(self._now())))

    def missing(self, places: Rows) -> None:
        """Report rows whose session is gone."""
        points = [self.columns.points[row] for row in places.tolist() if row < len(self.columns.points)]
        self._report(ValueBatch.missing(points, self._now()))

    def _report(self, batch: ValueBatch) -> None:
        if not self.cancelled and len(batch):
            self._callback(batch)


class _Part:
    """Some rows on one session's link, for as long as the subscription runs."""

    def __init__(self, whole: OpcUaSubscription, share: Share[OpcUaLink], places: Rows) -> None:
        self.share = share
        self._whole = whole
        self._places = places
        self._reported_missing = False
        self._task = asyncio.create_task(self._run(), name="fieldbus OPC UA subscription")

    async def end(self) -> None:
        """Stop it."""
        await end(self._task)

    async def _run(self) -> None:
        link = self.share.link
        renewal = Renewal(link)
        while True:
            had_session = True
            try:
                if not link.connected:
                    link.reading(REQUEST_BYTES)
                session = await link.session()
                items = Items(link, session, self._whole.counters, self._whole.interval_s, self._published)
                try:
                    refused = await items.create(self._whole.columns, self._places)
                    renewal.made()
                    self._reported_missing = False
                    self._whole.answered()
                    self._place_elsewhere(refused.no_room)
                    for status, places in refused.by_status():
                        self._whole.absent(places, status)
                    for reason in refused.reasons:
                        self._whole.noticed(reason)
                    self._whole.noticed(await items.until_lost())
                finally:
                    await items.delete()
            except FailedPrecondition as error:
                _LOGGER.warning("subscription ended: %s", error)
                return
            except (LinkDown, NoAnswer, AnswerLost, Malformed, ServiceFault) as error:
                _LOGGER.debug("subscription interrupted: %s", error)
                had_session = not isinstance(error, LinkDown)
                self._whole.noticed(str(error))
            except Exception as error:  # nothing that a server says may end the subscription without a word
                _LOGGER.exception("subscription interrupted")
                self._whole.noticed(repr(error))
            if not self._reported_missing:
                self._reported_missing = True
                self._whole.missing(self._places)
            await renewal.pause(had_session=had_session)

    def _published(self, answer: Published) -> None:
        self.share.link.account(self._whole.counters)
        self._whole.answered()
        self._whole.published(answer)

    def _place_elsewhere(self, no_room: dict[int, int]) -> None:
        """Rows that this session is too full for go to another one, once; the rest of the part stays."""
        if not no_room:
            return
        rows = np.array(sorted(no_room), dtype=np.intp)
        self._places = np.setdiff1d(self._places, rows)
        left = self._whole.move(self.share.link, rows)
        for place in left.tolist():
            self._whole.absent(np.array([place], dtype=np.intp), no_room[place])


def without_repetition(changes: DataColumns, places: Rows) -> tuple[list[tuple[DataColumns, Rows]], int]:
    """Queues may hold several values of a row: they come as several batches in their order, none with a row twice.

    Of a row that comes more often than a queue of ours can hold the last values are taken; the second number says how
    many were left out.
    """
    count = len(places)
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if count else order
    lengths = np.diff(np.append(begins, count))
    if not count or lengths.max() == 1:
        return ([(changes, places)] if count else []), 0
    turns = np.empty(count, dtype=np.intp)
    turns[order] = np.arange(count) - np.repeat(begins + np.maximum(lengths - _MOST_OF_A_ROW, 0), lengths)
    groups = (np.flatnonzero(turns == turn) for turn in range(int(turns.max()) + 1))
    return [(changes.take(at), places[at]) for at in groups], int(np.count_nonzero(turns < 0))
