"""The publish requests of one session: several outstanding, so that the server never waits for us to ask again.

Each answer is acknowledged with the next request and handed to its subscription. The server can send no more than was
asked for, so that a flood waits there, in queues of a length that we have set, and never in our memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from asyncua import ua
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from fieldbus.opcua.transport import LeanClient
from fieldbus.opcua.wire import Published, publish_answer
from fieldbus.tasks import end

_LOGGER = logging.getLogger(__name__)
_MOST_OUTSTANDING: Final = 8
_PAUSE_S: Final = 0.1
_HELD_MAX_S: Final = 10.0
_SPARE: Final = 1  # beyond one request per subscription: one is always at the server while an answer is being read

Handler = Callable[[Published], None]
# A fault of the session itself; the caller gives the session up.
Failed = Callable[[Exception], None]


class Publisher:
    """Asks as long as there is a subscription."""

    def __init__(self, client: LeanClient) -> None:
        self.failed: Failed = lambda error: None
        self.held_s: Callable[[], float] = lambda: 0.0  # how long the link bears no further answer
        self._client = client
        self._handlers: dict[int, Handler] = {}
        self._acknowledgements: list[ua.SubscriptionAcknowledgement] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._most = _MOST_OUTSTANDING

    @property
    def outstanding(self) -> int:
        """Requests that lie with the server."""
        return len(self._tasks)

    def add(self, subscription_id: int, handler: Handler) -> None:
        """Hand over what is published for a subscription. The handler must not block."""
        self._handlers[subscription_id] = handler
        while len(self._tasks) < min(len(self._handlers) + _SPARE, self._most):
            self._tasks.add(asyncio.create_task(self._ask(), name="fieldbus OPC UA publish"))

    def remove(self, subscription_id: int) -> None:
        """Hand over nothing more."""
        self._handlers.pop(subscription_id, None)

    async def close(self) -> None:
        """Ask no more."""
        self._handlers.clear()
        for task in list(self._tasks):
            await end(task)
        self._tasks.clear()  # of those that were ended before they began

    async def _ask(self) -> None:
        try:
            await self._ask_on()
        finally:
            # At once, not when the loop tells that the task is done: others that decide meanwhile whether to go on
            # count those who do.
            if (task := asyncio.current_task()) is not None:
                self._tasks.discard(task)

    async def _ask_on(self) -> None:
        while self._handlers:
            if (held_s := self.held_s()) > 0:
                await asyncio.sleep(min(held_s, _HELD_MAX_S))
                continue
            request = ua.PublishRequest()
            request.Parameters.SubscriptionAcknowledgements = self._acknowledgements
            self._acknowledgements = []
            try:
                answer = publish_answer(await self._client.request(request, 0))
            except UaStatusCodeError as error:
                if error.code == StatusCodes.BadTooManyPublishRequests:
                    self._most = max(1, len(self._tasks) - 1)
                    if len(self._tasks) > 1:
                        return
                elif error.code not in (StatusCodes.BadTimeout, StatusCodes.BadNoSubscription):
                    self.failed(error)
                    return
                # Neither is a fault, but asking again at once would be a loop at full speed.
                await asyncio.sleep(_PAUSE_S)
                continue
            except Exception as error:  # whatever an unreadable answer makes of its parser
                self.failed(error)
                return
            if answer.count:
                self._acknowledgements.append(
                    ua.SubscriptionAcknowledgement(ua.UInt32(answer.subscription_id), ua.UInt32(answer.sequence_number))
                )
            self._hand_over(answer)
            if not answer.count or answer.subscription_id not in self._handlers:
                # Nobody misses the next one yet. A server that sends such as fast as we ask would keep us busy.
                await asyncio.sleep(_PAUSE_S)

    def _hand_over(self, answer: Published) -> None:
        handler = self._handlers.get(answer.subscription_id)
        if handler is None:
            return
        try:
            handler(answer)
        except Exception:
            _LOGGER.exception("a subscription's callback failed")
