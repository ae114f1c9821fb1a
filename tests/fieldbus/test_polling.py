"""Polled subscriptions: each at a moment of its own, only what changed, and ended for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from domain.errors import FailedPrecondition
from fieldbus.polling import PollingSubscription, changed_rows
from fieldbus.values import PointAddress, Quality, TimeSource, ValueBatch

POINTS = (PointAddress("a"), PointAddress("b"))


def batch(values: list[float], quality: list[int] | None = None, texts: dict[int, str] | None = None) -> ValueBatch:
    return ValueBatch(
        POINTS,
        np.array(values),
        np.array(quality or [Quality.GOOD] * 2, dtype=np.uint8),
        np.zeros(2, dtype=np.int64),
        np.full(2, TimeSource.OURS, dtype=np.uint8),
        texts or {},
    )


def reading(script: list[ValueBatch]) -> Callable[[], Awaitable[ValueBatch]]:
    async def read() -> ValueBatch:
        return script.pop(0) if len(script) > 1 else script[0]

    return read


async def test_the_first_batch_is_everything_and_the_next_only_what_changed() -> None:
    batches: asyncio.Queue[ValueBatch] = asyncio.Queue()
    script = [batch([1, 2]), batch([1, 2]), batch([1, 3])]
    subscription = PollingSubscription(reading(script), batches.put_nowait, 0.001)
    async with asyncio.timeout(20):
        assert (await batches.get()).values.tolist() == [1, 2]
        changed = await batches.get()
    assert list(changed.points) == [PointAddress("b")]
    assert changed.values.tolist() == [3]
    await subscription.cancel()


async def test_subscriptions_that_begin_together_do_not_wake_together() -> None:
    woken: list[int] = []
    both = asyncio.Event()

    def waking(number: int) -> Callable[[], Awaitable[ValueBatch]]:
        async def read() -> ValueBatch:
            woken.append(number)
            if len(woken) == 2:
                both.set()
            return batch([1, 2])

        return read

    late = PollingSubscription(waking(1), lambda _: None, 0.05, uniform=lambda: 0.9)
    early = PollingSubscription(waking(2), lambda _: None, 0.05, uniform=lambda: 0.1)
    async with asyncio.timeout(20):
        await both.wait()
    assert woken[:2] == [2, 1]
    await early.cancel()
    await late.cancel()


async def test_a_reading_that_raises_ends_the_subscription() -> None:
    async def read() -> ValueBatch:
        calls.append(1)
        raise FailedPrecondition.of("endpoint", "is not the simulator")

    calls: list[int] = []
    subscription = PollingSubscription(read, lambda _: None, 0.001)
    async with asyncio.timeout(20):
        while not calls:  # noqa: ASYNC110 - what is waited for gives no event
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    assert len(calls) == 1
    await subscription.cancel()


async def test_a_callback_that_fails_is_told_and_the_next_change_comes(caplog: pytest.LogCaptureFixture) -> None:
    seen: asyncio.Queue[ValueBatch] = asyncio.Queue()

    def callback(changed: ValueBatch) -> None:
        seen.put_nowait(changed)
        if seen.qsize() == 1:
            raise ValueError("not mine")

    subscription = PollingSubscription(reading([batch([1, 2]), batch([1, 3])]), callback, 0.001)
    async with asyncio.timeout(20):
        while seen.qsize() < 2:  # noqa: ASYNC110 - what is waited for gives no event
            await asyncio.sleep(0.001)
    before = subscription.cancelled
    await subscription.cancel()
    assert (before, subscription.cancelled) == (False, True)
    assert "a subscription's callback failed" in caplog.text


def test_a_changed_text_quality_or_number_is_a_change_and_nothing_else_is() -> None:
    nan = float("nan")
    before = batch([nan, 2], [Quality.GOOD, Quality.GOOD], {0: "v1"})
    assert len(changed_rows(before, batch([nan, 2], [Quality.GOOD, Quality.GOOD], {0: "v1"}))) == 0
    text = changed_rows(before, batch([nan, 2], [Quality.GOOD, Quality.GOOD], {0: "v2"}))
    assert text.text(PointAddress("a")) == "v2"
    assert len(text) == 1
    assert len(changed_rows(before, batch([nan, 2], [Quality.GOOD, Quality.UNCERTAIN], {0: "v1"}))) == 1
