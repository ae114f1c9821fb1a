"""Whether subscriptions of OPC UA still live: how often they are to say so, and what follows when they do not.

A server that has lost a subscription, or an address that swallows packets, says nothing; a keep-alive that does not
come is the only sign. What is monitored is items.py's and alarms.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from asyncua import ua

from fieldbus.opcua.costs import upkeep_s
from fieldbus.opcua.link import OpcUaLink
from fieldbus.opcua.publisher import Handler
from fieldbus.opcua.session import Session
from fieldbus.opcua.transport import LeanClient
from fieldbus.opcua.wire import Published
from fieldbus.values import Counters

KEEP_ALIVE_S: Final = 10.0
_KEEP_ALIVES_MISSED: Final = 3
_KEEP_ALIVES_PER_LIFE: Final = 6
_FAREWELL_S: Final = 1.0


class Pulse:
    """Some subscriptions of one session, alike in their interval. Made, used and thrown away with it."""

    def __init__(self, link: OpcUaLink, session: Session, counters: Counters, interval_s: float) -> None:
        self.interval_s = interval_s
        self._link = link
        self._session = session
        self._counters = counters
        self._heard_at: dict[int, float] = {}  # subscription to the time it was last heard of
        self._broken = asyncio.Event()
        self._silence_s = float("inf")

    async def subscribe(self, handler: Handler) -> int:
        """A subscription whose answers, keep-alives too, go to the handler. Raises as `OpcUaLink.call`."""
        request = _parameters(self.interval_s, upkeep_s(self._link.budget, KEEP_ALIVE_S))
        result = await self._link.call(self._session, self._counters, _subscription(request))
        subscription_id = int(result.SubscriptionId)
        interval_s = max(self.interval_s, result.RevisedPublishingInterval / 1000)
        self._silence_s = _KEEP_ALIVES_MISSED * interval_s * max(1, int(result.RevisedMaxKeepAliveCount))
        self._heard_at[subscription_id] = self._link.monotonic()
        self._session.publisher.add(subscription_id, lambda answer: self._heard(answer, handler))
        return subscription_id

    async def until_lost(self, *others: asyncio.Event) -> str:
        """Wait until the session, or a subscription in it, is gone or has gone silent, and say so; "" when it is one of
        the other events that came."""
        while True:
            if self._session.lost.is_set():
                return "the session is gone"
            if self._broken.is_set():
                return "the server gave up the subscription"
            if any(event.is_set() for event in others):
                return ""
            waiting_s = self._silence_s if self._heard_at else None
            await _until_one(self._session.lost, self._broken, *others, timeout_s=waiting_s)
            if self._link.held_s() > 0:
                # Nothing can come: the publish requests are held back.
                self._heard_at = dict.fromkeys(self._heard_at, self._link.monotonic())
            oldest = min(self._heard_at.values(), default=float("inf"))
            if self._link.monotonic() - oldest >= self._silence_s:
                return f"nothing was heard of the subscription for {self._silence_s:.0f} s"

    async def end(self) -> None:
        """Give the subscriptions back to the server, if it is still there."""
        ids = list(self._heard_at)
        self._heard_at.clear()
        for subscription_id in ids:
            self._session.publisher.remove(subscription_id)
        if ids and not self._session.lost.is_set():
            with suppress(Exception):
                async with asyncio.timeout(_FAREWELL_S):
                    await self._session.services.delete_subscriptions(ids)

    def _heard(self, answer: Published, handler: Handler) -> None:
        if answer.subscription_id not in self._heard_at:
            return
        self._heard_at[answer.subscription_id] = self._link.monotonic()
        for other in answer.others:
            if isinstance(other, ua.StatusChangeNotification) and not other.Status.is_good():
                self._broken.set()
        handler(answer)


def _parameters(interval_s: float, keep_alive_s: float) -> ua.CreateSubscriptionRequest:
    """A request for a subscription that publishes at this interval and says this often that it lives."""
    request = ua.CreateSubscriptionRequest()
    parameters = request.Parameters
    parameters.RequestedPublishingInterval = interval_s * 1000
    keep_alive = max(1, round(keep_alive_s / interval_s))
    parameters.RequestedMaxKeepAliveCount = ua.UInt32(keep_alive)
    parameters.RequestedLifetimeCount = ua.UInt32(_KEEP_ALIVES_PER_LIFE * keep_alive)
    parameters.MaxNotificationsPerPublish = ua.UInt32(0)
    parameters.PublishingEnabled = True
    return request


async def _until_one(*events: asyncio.Event, timeout_s: float | None) -> None:
    """Wait until one of the events is set, or the time is over."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=timeout_s)
    finally:
        for wait in waits:
            wait.cancel()


def _subscription(
    request: ua.CreateSubscriptionRequest,
) -> Callable[[LeanClient], Awaitable[ua.CreateSubscriptionResult]]:
    return lambda client: client.open_subscription(request)
