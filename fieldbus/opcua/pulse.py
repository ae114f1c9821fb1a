"""Whether subscriptions of OPC UA still live: how often they are to say so, and when lost ones are made anew.

A server that has lost a subscription, or an address that swallows packets, says nothing; a keep-alive that does not
come is the only sign. What is monitored is items.py's and alarms.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from asyncua import ua

from fieldbus.backoff import Backoff
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
_LONGEST_SILENCE_S: Final = 600.0  # whatever the server makes of what was asked for; longer only where we asked for it
_FAREWELL_S: Final = 1.0
_RETRY_S: Final = 0.05
_HELD_MAX_S: Final = 60.0  # until a link without bytes is looked at again
_LONG_LIFE_S: Final = 10.0  # a subscription that lived so long was none that cannot be had


class Pulse:
    """Some subscriptions of one session, alike in their interval. Made, used and thrown away with it."""

    def __init__(self, link: OpcUaLink, session: Session, counters: Counters, interval_s: float) -> None:
        self.interval_s = interval_s
        self._link = link
        self._session = session
        self._counters = counters
        self._heard_at: dict[int, float] = {}  # subscription to the time it was last heard of
        self._broken = asyncio.Event()
        self.silence_s = float("inf")  # after which a subscription of which nothing was heard is taken for lost

    async def subscribe(self, handler: Handler) -> int:
        """A subscription whose answers, keep-alives too, go to the handler. Raises as `OpcUaLink.call`."""
        request = _parameters(self.interval_s, upkeep_s(self._link.budget, KEEP_ALIVE_S))
        result = await self._link.call(self._session, self._counters, _subscription(request))
        subscription_id = int(result.SubscriptionId)
        interval_s = max(self.interval_s, result.RevisedPublishingInterval / 1000)
        asked_s = _KEEP_ALIVES_MISSED * max(self.interval_s, upkeep_s(self._link.budget, KEEP_ALIVE_S))
        promised_s = _KEEP_ALIVES_MISSED * interval_s * max(1, int(result.RevisedMaxKeepAliveCount))
        self.silence_s = min(promised_s, max(asked_s, _LONGEST_SILENCE_S))
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
            waiting_s = self.silence_s if self._heard_at else None
            await _until_one(self._session.lost, self._broken, *others, timeout_s=waiting_s)
            if self._link.held_s() > 0:
                # Nothing can come: the publish requests are held back.
                self._heard_at = dict.fromkeys(self._heard_at, self._link.monotonic())
            oldest = min(self._heard_at.values(), default=float("inf"))
            if self._link.monotonic() - oldest >= self.silence_s:
                return f"nothing was heard of the subscription for {self.silence_s:.0f} s"

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


class Renewal:
    """When a subscription that was lost is made anew: soon at first, as after a restart of the server; ever more seldom
    where the server does not let it be, or takes it back again and again. A missing session has its link's back-off."""

    def __init__(self, link: OpcUaLink) -> None:
        self._link = link
        limits = link.limits
        self._backoff = Backoff(limits.backoff_initial_s, limits.backoff_max_s, link.monotonic, link.uniform)
        self._made_at: float | None = None
        self._failed_before = False

    def made(self) -> None:
        """It stands."""
        self._made_at = self._link.monotonic()

    async def pause(self, *, had_session: bool) -> None:
        """It is lost, or could not be made: wait for the next attempt."""
        link = self._link
        if self._made_at is not None and link.monotonic() - self._made_at >= _LONG_LIFE_S:
            self._backoff.succeeded()
            self._failed_before = False
        self._made_at = None
        if had_session and self._failed_before:
            self._backoff.failed()
        self._failed_before |= had_session
        held_s = min(link.held_s(), _HELD_MAX_S)
        await asyncio.sleep(max(_RETRY_S, self._backoff.remaining_s, link.backoff.remaining_s, held_s))


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
