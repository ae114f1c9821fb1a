"""Subscribing: once, and again where it failed. What servers then tell is test_subscription.py's, on a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from domain.errors import InvalidInput
from fieldbus.values import PointAddress, ValueBatch
from services.metering.acquisition.target import Target
from services.metering.acquisition.watching import Watches
from services.metering.meter import Acquisition
from tests.services.metering.acquisition.test_target import target
from tests.services.metering.making import NOON_MS


class Subscribed:
    """A subscription."""

    async def cancel(self) -> None:
        """Nobody listens any more."""


class Server:
    """A device that can be subscribed to while it is well."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.subscribed: list[list[PointAddress]] = []
        self.asked = asyncio.Event()

    async def subscribe(self, points: Sequence[PointAddress], callback: Callable[[ValueBatch], None]) -> Subscribed:
        """As `Device.subscribe`."""
        self.subscribed.append(list(points))
        self.asked.set()
        if isinstance(self.error, asyncio.TimeoutError):
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return Subscribed()


class Watching:
    """Subscriptions to one server, at times that the test says."""

    def __init__(self) -> None:
        self.server = Server()
        self.now_s = 1000.0
        self.watches = Watches(lambda: NOON_MS, lambda: self.now_s)

    async def keep(self, *targets: Target) -> bool:
        device: Any = self.server
        await self.watches.keep("e", device, targets or [watched()])
        return self.watches.has("e")


def watched(point: str = "energy_active_import") -> Target:
    return target(point, acquisition=int(Acquisition.SUBSCRIBE), url="opc.tcp://here")


@pytest.fixture
def watching() -> Watching:
    return Watching()


async def test_what_is_subscribed_to_is_so_once(watching: Watching) -> None:
    for _ in range(3):
        assert await watching.keep()
    assert len(watching.server.subscribed) == 1


async def test_what_could_not_be_subscribed_to_is_tried_again_ever_more_seldom(watching: Watching) -> None:
    watching.server.error = InvalidInput.of("points", "no room")
    tried = []
    for minute in range(600):
        watching.now_s = 1000.0 + minute * 60
        before = len(watching.server.subscribed)
        assert not await watching.keep()
        if len(watching.server.subscribed) > before:
            tried.append(minute)
    assert tried[:7] == [0, 1, 3, 7, 15, 31, 63]
    assert {later - earlier for earlier, later in pairwise(tried[6:])} == {60}
    watching.server.error = None
    watching.now_s += 3600
    assert await watching.keep()
    count = len(watching.server.subscribed)
    assert await watching.keep()
    assert len(watching.server.subscribed) == count


async def test_whatever_a_server_does_its_values_can_be_asked_for(
    watching: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    watching.server.error = ZeroDivisionError("that nobody has thought of")
    for hour in range(3):
        watching.now_s = 1000.0 + hour * 3600
        assert not await watching.keep()
    assert len(watching.server.subscribed) == 3
    assert len([record for record in caplog.records if "cannot be subscribed to" in record.message]) == 1


async def test_an_attempt_that_the_deadline_ends_is_not_the_last_one(watching: Watching) -> None:
    watching.server.error = TimeoutError()
    attempt = asyncio.create_task(watching.keep())
    await watching.server.asked.wait()
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    watching.server.error = None
    assert not await watching.keep()  # not at once
    watching.now_s += 60
    assert await watching.keep()


async def test_other_points_are_another_subscription_and_are_tried_at_once(watching: Watching) -> None:
    watching.server.error = InvalidInput.of("points", "no such point")
    assert not await watching.keep()
    watching.server.error = None
    assert not await watching.keep()
    assert await watching.keep(watched(), watched("energy_active_export"))
    assert [len(points) for points in watching.server.subscribed] == [1, 2]
