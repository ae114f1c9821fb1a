"""Publish requests: as long as there is a subscription, somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asyncua.ua.uaerrors import BadTooManyPublishRequests

from fieldbus.opcua.publisher import Publisher
from tests.fieldbus.servers import eventually


class Asked:
    """The server's end: the requests that wait for an answer."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[Any]] = []

    async def request(self, request: Any, timeout: float) -> Any:
        """Waits until the test answers."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting.append(answer)
        try:
            return await answer
        finally:
            self.waiting.remove(answer)


@pytest.fixture
async def asked() -> AsyncIterator[tuple[Asked, Publisher]]:
    client = Asked()
    publisher = Publisher(client)  # type: ignore[arg-type]  # an honest part of it
    yield client, publisher
    await publisher.close()


async def test_a_server_that_refuses_all_requests_at_once_is_asked_on(asked: tuple[Asked, Publisher]) -> None:
    client, publisher = asked
    publisher.add(1, lambda _: None)
    await eventually(lambda: len(client.waiting) == 2)
    for answer in list(client.waiting):
        answer.set_exception(BadTooManyPublishRequests())
    await eventually(lambda: not client.waiting)
    await eventually(lambda: len(client.waiting) == 1)
    assert publisher.outstanding == 1
