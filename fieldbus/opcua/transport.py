"""asyncua's client with four things changed: requests can be made of ready bytes, bytes are counted, what a server may
pile up in memory is bounded, and only the answer to a request is taken for one.

Only these hooks live here; when to connect and what a failure means is link.py's business.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClient, UASocketProtocol
from asyncua.client.ua_session import UaSession
from asyncua.common.shortcuts import Shortcuts
from asyncua.common.utils import Buffer
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary
from asyncua.ua.uaerrors import BadTimeout, UaError

from fieldbus.budget import Budget
from fieldbus.opcua.costs import COUNTED_CHANNEL_LIFE_MS
from fieldbus.opcua.data import DataColumns
from fieldbus.opcua.hardening import STEPS, allow
from fieldbus.opcua.wire import read_answer, read_request

# A chunk is at most as long as the receive buffer that asyncua announces; a message is bounded here, as asyncua lets
# the server say how much it may send.
_LONGEST_CHUNK: Final = 65_535
_LONGEST_MESSAGE: Final = 8 * 1024 * 1024
_MOST_CHUNKS: Final = 2048  # of one message: they may be empty
_SHORTEST_BUFFER: Final = 1024  # that a server may have for what we send; the specification says 8192
_SIZE_AT: Final = slice(4, 8)
_TIMESTAMP_BYTES: Final = 8
_STEPS_PER_VALUE: Final = 12
_STEPS_OF_BROWSING: Final = 5 * STEPS  # only for commissioning, where nobody else waits; some servers send all at once
# Below this a server's word on how long channel and session live would have us renew them without pause.
_SHORTEST_LIFE_MS: Final = 10_000

# asyncua logs whole requests at debug level, a password among them, and every refusal as fatal, which is ours to judge.
_LOGGER: Final = logging.getLogger("fieldbus.opcua.transport.requests")
_LOGGER.setLevel(logging.CRITICAL + 1)


_CALLS: Final[Any] = sys.modules[UaClient.__module__]
_wait_for_of_asyncua: Final = _CALLS.wait_for


async def _wait_for(awaited: Awaitable[Any], timeout: float | None) -> Any:
    """asyncua's, of which an answer that comes in the very moment of a time-out makes a cancellation of a kind of its
    own. `asyncio.timeout` does not know that for its own: it would end whoever waits, with nobody having asked for it.
    """
    try:
        return await _wait_for_of_asyncua(awaited, timeout)
    except asyncio.CancelledError:
        raise asyncio.CancelledError from None


_CALLS.wait_for = _wait_for


@dataclass(slots=True)
class Traffic:
    """Bytes over one link, not yet put to somebody's account; what is paid by the byte is counted at once."""

    sent: int = 0
    received: int = 0
    budget: Budget | None = None

    def connecting(self) -> None:
        """A connection is about to be made."""
        if self.budget is not None:
            self.budget.connecting()

    def wrote(self, count: int) -> None:
        """So much goes out."""
        self.sent += count
        if self.budget is not None:
            self.budget.carried(count, 0)

    def came(self, count: int) -> None:
        """So much came in."""
        self.received += count
        if self.budget is not None:
            self.budget.carried(0, count)

    def take(self) -> tuple[int, int]:
        """What has gone over the line since the last call."""
        taken = self.sent, self.received
        self.sent = self.received = 0
        return taken


@dataclass(slots=True)
class ReadyRead:
    """A ReadRequest whose nodes are encoded already."""

    nodes: tuple[bytes, ...]
    RequestHeader: ua.RequestHeader = field(default_factory=ua.RequestHeader)


class _CountingTransport:
    """What asyncua needs of a transport, counted."""

    def __init__(self, transport: asyncio.Transport, traffic: Traffic) -> None:
        self._transport = transport
        self._traffic = traffic

    def write(self, data: bytes) -> None:
        self._traffic.wrote(len(data))
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Protocol(UASocketProtocol):
    """One connection."""

    def __init__(self, timeout: float, security_policy: Any, traffic: Traffic) -> None:
        super().__init__(timeout, security_policy=security_policy)
        self.logger = _LOGGER
        self._traffic = traffic
        self._barren = 0  # chunks in a row that were no message

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_CountingTransport(transport, self._traffic))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        self._traffic.came(len(data))
        super().data_received(data)
        waiting = self.receive_buffer
        announced = int.from_bytes(waiting[_SIZE_AT], "little") if waiting and len(waiting) >= 8 else 0
        connection = self._connection
        if (
            announced > _LONGEST_CHUNK
            or connection._incoming_size > _LONGEST_MESSAGE
            or len(connection._incoming_parts) > _MOST_CHUNKS
            or connection._limits.max_send_buffer < _SHORTEST_BUFFER
        ):
            self.receive_buffer = None
            if self.transport is not None:
                self.transport.abort()

    def _process_received_message(self, msg: Any) -> None:
        """See asyncua, which takes what it has aborted, or begun, without end."""
        self._barren = 0 if msg is not None else self._barren + 1
        if self._barren > _MOST_CHUNKS:
            raise UaError("chunks come without end, and no message")
        super()._process_received_message(msg)

    async def send_request(
        self, request: Any, timeout: float | None = None, message_type: Any = ua.MessageType.SecureMessage
    ) -> Buffer:
        """See asyncua. Raises UaError for an answer to something else."""
        data = await super().send_request(request, timeout, message_type)
        _check_is_answer(request, data)
        if isinstance(request, ReadyRead):
            allow(data, max(STEPS, _STEPS_PER_VALUE * len(request.nodes)))
        elif isinstance(request, (ua.BrowseRequest, ua.BrowseNextRequest)):
            allow(data, _STEPS_OF_BROWSING)
        return data

    def _send_request(
        self, request: Any, timeout: float = 1, message_type: Any = ua.MessageType.SecureMessage
    ) -> asyncio.Future[Any]:
        if not isinstance(request, ReadyRead):
            return super()._send_request(request, timeout, message_type)
        if self.transport is None:
            raise ConnectionError("Connection is not open")
        self._setup_request_header(request.RequestHeader, timeout)
        self.revolve_security_token()
        self._request_id += 1
        message = self._connection.message_to_binary(
            read_request(request.RequestHeader, request.nodes), request_id=self._request_id
        )
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._callbackmap[self._request_id] = answer
        self.transport.write(message)
        return answer


def _check_is_answer(request: Any, data: Buffer) -> None:
    """Raises UaError unless the answer is one to this request: its kind and the handle that it must repeat.

    A handle of 0 is let pass: some servers never fill it in.
    """
    head = data.copy()
    kind = nodeid_from_binary(head)
    if kind.NamespaceIndex or kind.Identifier != _answer_kind(type(request).__name__):
        raise UaError(f"{kind} is no answer to {type(request).__name__}")
    head.skip(_TIMESTAMP_BYTES)
    handle = int.from_bytes(head.read(4), "little")
    if handle not in (0, int(request.RequestHeader.RequestHandle)):
        raise UaError(f"an answer to request {handle} came for {request.RequestHeader.RequestHandle}")


@cache
def _answer_kind(request: str) -> int:
    name = request.removesuffix("Request").replace(ReadyRead.__name__, "Read")
    kind: int = getattr(ObjectIds, f"{name}Response_Encoding_DefaultBinary")
    return kind


class _Transport(UaClient):
    """asyncua's service calls over our connection."""

    def __init__(self, timeout: float, traffic: Traffic) -> None:
        super().__init__(timeout)
        self._traffic = traffic

    def _make_protocol(self) -> UASocketProtocol:
        self.protocol = _Protocol(self._timeout, self.security_policy, self._traffic)
        self.protocol.pre_request_hook = self._pre_request_hook
        self.protocol.on_connection_lost = self._on_transport_lost
        self.protocol.is_session_closing = self._is_session_closing
        return self.protocol


class DiscoveryRefused(ConnectionError):
    """The server speaks OPC UA, but does not say without security what it offers."""


class LeanClient(Client):
    """asyncua's client over our transport. Never given credentials in the URL: link.py refuses them."""

    def __init__(self, url: str, timeout: float, watchdog_interval_s: float, traffic: Traffic) -> None:
        super().__init__(url, timeout=timeout, watchdog_intervall=watchdog_interval_s, auto_reconnect=False)
        self.uaclient = _Transport(timeout, traffic)
        self.uaclient.pre_request_hook = self._wait_until_ready
        self.nodes = Shortcuts(self.uaclient.session)
        self._traffic = traffic
        if traffic.budget is not None:
            self.secure_channel_timeout = COUNTED_CHANNEL_LIFE_MS
        self.remark = ""  # what is to be known when the connection fails

    @property
    def services(self) -> UaSession:
        """The service calls of asyncua."""
        return self.uaclient.session

    async def connect_socket(self) -> None:
        """See asyncua."""
        self._traffic.connecting()
        await super().connect_socket()

    async def discover(self) -> list[ua.EndpointDescription]:
        """What the server offers, asked over a connection of its own without security. Raises DiscoveryRefused where
        it was reached but does not answer that; OSError and asyncua's errors where it was not."""
        await self.connect_socket()
        try:
            await self.send_hello()
            try:
                await self.open_secure_channel()
                try:
                    return await self.get_endpoints()
                finally:
                    await self.close_secure_channel()
            except (TimeoutError, BadTimeout):
                raise DiscoveryRefused("no answer in time") from None
            except (OSError, UaError) as error:
                raise DiscoveryRefused(str(error) or type(error).__name__) from None
            except Exception as error:  # asyncua raises whatever a malformed message makes of its parser
                raise DiscoveryRefused(f"its answer cannot be read: {error!r}") from None
        finally:
            self.disconnect_socket()

    @property
    def unanswered(self) -> int:
        """Requests that nobody waits for any more and that the server has not answered yet."""
        protocol = self.uaclient.protocol
        return 0 if protocol is None else sum(answer.done() for answer in protocol._callbackmap.values())

    async def open_secure_channel(self, renew: bool = False) -> None:
        """See asyncua, which would believe in a channel that lives no time at all."""
        await super().open_secure_channel(renew)
        self.secure_channel_timeout = max(self.secure_channel_timeout, _SHORTEST_LIFE_MS)

    async def create_session(self) -> ua.CreateSessionResult:
        """See asyncua, which would believe in a session that lives no time at all."""
        result = await super().create_session()
        if not self.session_timeout >= _SHORTEST_LIFE_MS:
            self.session_timeout = _SHORTEST_LIFE_MS
        return result

    async def open_subscription(self, request: ua.CreateSubscriptionRequest) -> ua.CreateSubscriptionResult:
        """A subscription without asyncua's publish loop, which has one request outstanding at a time."""
        response = struct_from_binary(ua.CreateSubscriptionResponse, await self.request(request))
        response.ResponseHeader.ServiceResult.check()
        result: ua.CreateSubscriptionResult = response.Parameters
        return result

    async def read_columns(self, nodes: tuple[bytes, ...]) -> DataColumns:
        """Values of nodes encoded by `node_bytes`."""
        return read_answer(await self.request(ReadyRead(nodes)), len(nodes))

    async def request(self, request: Any, timeout_s: float | None = None) -> Buffer:
        """Send a request and give its answer as it came; refusals raise UaStatusCodeError. 0 waits for ever."""
        return await self.uaclient._send_request(request, timeout_s)
