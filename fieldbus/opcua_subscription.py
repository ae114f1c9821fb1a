"""A subscription that outlives its session: made anew whenever the link has a new one.

Notifications are decoded in one go per publish answer instead of being dispatched item by item.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

import numpy as np
from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds

from domain.errors import FailedPrecondition
from fieldbus.faults import AnswerLost, LinkDown, Malformed, NoAnswer, ServiceFault
from fieldbus.opcua_columns import NodeColumns
from fieldbus.opcua_link import OpcUaLink, Session
from fieldbus.tasks import end
from fieldbus.values import BatchCallback, Counters, ValueBatch, unix_ms

_LOGGER = logging.getLogger(__name__)
_ITEMS_PER_REQUEST: Final = 1000
_KEEP_ALIVE_S: Final = 10.0
_RETRY_S: Final = 0.05
_FAREWELL_S: Final = 1.0


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
    ) -> None:
        self._link = link
        self._columns = columns
        self._callback = callback
        self._counters = counters
        self._now = now
        self._interval_s = interval_s
        self._broken = asyncio.Event()
        self._reported_missing = False
        self._cancelled = False
        self._task = asyncio.create_task(self._run(), name="fieldbus OPC UA subscription")

    async def cancel(self) -> None:
        """Stop it; no callback comes after this returns."""
        self._cancelled = True
        await end(self._task)

    async def _run(self) -> None:
        while True:
            try:
                session = await self._link.session()
                subscription_id = await self._subscribe(session)
                try:
                    await self._until_lost(session)
                finally:
                    if not session.lost.is_set():
                        await self._unsubscribe(session, subscription_id)
            except FailedPrecondition as error:
                _LOGGER.warning("subscription ended: %s", error)
                return
            except (LinkDown, NoAnswer, AnswerLost, Malformed, ServiceFault) as error:
                _LOGGER.debug("subscription interrupted: %s", error)
            self._report_missing()
            await asyncio.sleep(max(_RETRY_S, self._link.backoff.remaining_s))

    async def _subscribe(self, session: Session) -> int:
        self._broken.clear()
        parameters = ua.CreateSubscriptionParameters()
        parameters.RequestedPublishingInterval = self._interval_s * 1000
        keep_alive = max(1, round(_KEEP_ALIVE_S / self._interval_s))
        parameters.RequestedMaxKeepAliveCount = keep_alive
        parameters.RequestedLifetimeCount = 6 * keep_alive
        parameters.MaxNotificationsPerPublish = 0
        parameters.PublishingEnabled = True
        result = await self._link.call(
            session, self._counters, lambda services: services.create_subscription(parameters, self._published)
        )
        subscription_id = int(result.SubscriptionId)
        nodes = self._columns.nodes(session)
        known = [row for row, node in enumerate(nodes) if node is not None]
        refused = [row for row, node in enumerate(nodes) if node is None]
        for position in range(0, len(known), _ITEMS_PER_REQUEST):
            rows = known[position : position + _ITEMS_PER_REQUEST]
            items = ua.CreateMonitoredItemsParameters()
            items.SubscriptionId = subscription_id
            items.TimestampsToReturn = ua.TimestampsToReturn.Source
            items.ItemsToCreate = [self._item(row, nodes[row]) for row in rows]
            results = await self._link.call(session, self._counters, _creation(items))
            refused += [row for row, item in zip(rows, results, strict=False) if item.StatusCode.is_bad()]
        self._reported_missing = False
        if refused:
            self._report(refused, [None] * len(refused), absent=True)
        return subscription_id

    def _item(self, row: int, node: ua.NodeId | None) -> ua.MonitoredItemCreateRequest:
        item = ua.MonitoredItemCreateRequest()
        item.ItemToMonitor = ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value)
        item.MonitoringMode = ua.MonitoringMode.Reporting
        item.RequestedParameters = ua.MonitoringParameters(
            ClientHandle=row + 1, SamplingInterval=self._interval_s * 1000, QueueSize=1, DiscardOldest=True
        )
        return item

    async def _until_lost(self, session: Session) -> None:
        """Wait until the session or the subscription in it is gone."""
        waits = [asyncio.create_task(event.wait()) for event in (session.lost, self._broken)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _unsubscribe(self, session: Session, subscription_id: int) -> None:
        with suppress(Exception):
            async with asyncio.timeout(_FAREWELL_S):
                await session.services.delete_subscriptions([subscription_id])

    def _published(self, result: ua.PublishResult) -> None:
        """Called by asyncua for every publish answer of this subscription."""
        rows: list[int] = []
        answers: list[ua.DataValue | None] = []
        for notification in result.NotificationMessage.NotificationData or ():
            if isinstance(notification, ua.DataChangeNotification):
                for item in notification.MonitoredItems or ():
                    row = item.ClientHandle - 1
                    if 0 <= row < len(self._columns.points):
                        rows.append(row)
                        answers.append(item.Value)
            elif isinstance(notification, ua.StatusChangeNotification) and not notification.Status.is_good():
                self._broken.set()
        if rows:
            self._report(rows, answers)

    def _report(self, rows: list[int], answers: list[ua.DataValue | None], *, absent: bool = False) -> None:
        if self._cancelled:
            return
        absent_rows = range(len(rows)) if absent else ()
        batch = self._columns.batch(answers, unix_ms(self._now()), list(absent_rows), np.array(rows, dtype=np.intp))
        self._callback(batch)

    def _report_missing(self) -> None:
        if not self._reported_missing and not self._cancelled:
            self._reported_missing = True
            self._callback(ValueBatch.missing(self._columns.points, self._now()))


def _creation(
    items: ua.CreateMonitoredItemsParameters,
) -> Callable[[UaSession], Awaitable[list[ua.MonitoredItemCreateResult]]]:
    """A function of its own, so that each call keeps its own items."""
    return lambda services: services.create_monitored_items(items)
