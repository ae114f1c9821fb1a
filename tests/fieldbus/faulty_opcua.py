"""An OPC UA server that tells the truth about lamps until it is told to misbehave, byte by byte if need be.

It speaks just enough of OPC UA binary for a session, reads, writes and subscriptions; `twist` decides what becomes of
each answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asyncua import ua
from asyncua.common.connection import SecureConnection, TransportLimits
from asyncua.common.utils import Buffer
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.ua.object_ids import ObjectIdNames, ObjectIds
from asyncua.ua.ua_binary import (
    header_from_binary,
    nodeid_from_binary,
    struct_from_binary,
    struct_to_binary,
    uatcp_to_binary,
)

from tests.fieldbus.servers import LAMP_NAMESPACE, NOON
from tests.support.tcp import TcpServer

_NAMESPACES = ["http://opcfoundation.org/UA/", "urn:somebody:else", LAMP_NAMESPACE]
_HEADER = 8
# asyncua says less of these types than it gives.
_KIND: Any = ua.MessageType
_NAMES: Any = ObjectIdNames
_NOON: Any = NOON


def level_of(lamp: int) -> float:
    """The true level of a lamp, in per mille: no two lamps are alike."""
    return 10.0 * (lamp % 97 + 1)


@dataclass
class Exchange:
    """A request that came, with its truthful answer."""

    kind: str  # "Read", "CreateSession" ...
    request: Any
    request_id: int
    answer: Any
    connection: SecureConnection
    writer: asyncio.StreamWriter

    def frame(self, answer: Any = None, *, request_id: int | None = None, body: bytes | None = None) -> bytes:
        """An answer as it goes over the wire."""
        body = struct_to_binary(self.answer if answer is None else answer) if body is None else body
        number = self.request_id if request_id is None else request_id
        return self.connection.message_to_binary(body, request_id=number)

    def send(self, data: bytes) -> None:
        if not self.writer.is_closing():
            self.writer.write(data)


Twist = Callable[[Exchange], bool]  # whether it has dealt with the answer itself


def truthfully(exchange: Exchange) -> bool:
    return False


class FaultyOpcUa(TcpServer):
    """Serves until stopped."""

    def __init__(self, twist: Twist = truthfully) -> None:
        super().__init__()
        self.twist = twist
        self.requests: list[str] = []
        self.values: dict[str, float] = {}
        self.acknowledge = ua.Acknowledge(ReceiveBufferSize=ua.UInt32(65535), SendBufferSize=ua.UInt32(65535))
        self.lifetime_ms = 3_600_000
        self.session_timeout_ms = 3_600_000.0
        self.publishing: list[Exchange] = []

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    def get_new_channel_id(self) -> int:
        """For asyncua's channel, which asks its server for this."""
        return 5

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = SecureConnection(SecurityPolicyNone(), TransportLimits())
        while True:
            head = await reader.readexactly(_HEADER)
            size = int.from_bytes(head[4:8], "little")
            data = Buffer(head + await reader.readexactly(size - _HEADER))
            header = header_from_binary(data)
            message = connection.receive_from_header_and_body(header, data)
            if header.MessageType == _KIND.Hello:
                writer.write(uatcp_to_binary(_KIND.Acknowledge, self.acknowledge))
            elif header.MessageType == _KIND.SecureOpen:
                self._open(message, connection, writer)
            elif header.MessageType == _KIND.SecureClose:
                return
            elif message is not None:
                self._answer(message, connection, writer)
            await writer.drain()

    def _open(self, message: Any, connection: SecureConnection, writer: asyncio.StreamWriter) -> None:
        self.requests.append("OpenSecureChannel")
        body = message.body()
        nodeid_from_binary(body)
        request = struct_from_binary(ua.OpenSecureChannelRequest, message.body())
        request.Parameters.RequestedLifetime = ua.UInt32(self.lifetime_ms)
        answer = ua.OpenSecureChannelResponse()
        answer.ResponseHeader.RequestHandle = request.RequestHeader.RequestHandle
        answer.Parameters = connection.open(request.Parameters, self)
        writer.write(
            connection.message_to_binary(
                struct_to_binary(answer), message_type=_KIND.SecureOpen, request_id=message.request_id()
            )
        )

    def _answer(self, message: Any, connection: SecureConnection, writer: asyncio.StreamWriter) -> None:
        body = message.body()
        kind = _NAMES[nodeid_from_binary(body.copy()).Identifier].removesuffix("Request_Encoding_DefaultBinary")
        self.requests.append(kind)
        request = struct_from_binary(getattr(ua, f"{kind}Request"), body)
        answer = getattr(ua, f"{kind}Response")()
        answer.ResponseHeader.RequestHandle = request.RequestHeader.RequestHandle
        answer.ResponseHeader.Timestamp = NOON
        fill = getattr(self, f"_on_{kind.lower()}", None)
        if fill is not None:
            fill(request, answer)
        exchange = Exchange(kind, request, message.request_id(), answer, connection, writer)
        if self.twist(exchange):
            return
        if kind == "Publish":
            self.publishing.append(exchange)
        else:
            exchange.send(exchange.frame())

    # --- services ------------------------------------------------------------------------------------------------

    def _on_createsession(self, request: Any, answer: Any) -> None:
        parameters = answer.Parameters
        parameters.SessionId = ua.NodeId(ua.Int32(1))
        parameters.AuthenticationToken = ua.NodeId(ua.Int32(2))
        parameters.RevisedSessionTimeout = self.session_timeout_ms
        parameters.ServerEndpoints = [
            ua.EndpointDescription(
                EndpointUrl=self.url,
                SecurityMode=ua.MessageSecurityMode.None_,
                SecurityPolicyUri="http://opcfoundation.org/UA/SecurityPolicy#None",
                UserIdentityTokens=[ua.UserTokenPolicy(PolicyId="anonymous", TokenType=ua.UserTokenType.Anonymous)],
            )
        ]

    def _on_read(self, request: Any, answer: Any) -> None:
        answer.Results = [self._value(node.NodeId) for node in request.Parameters.NodesToRead]

    def _on_write(self, request: Any, answer: Any) -> None:
        answer.Results = []
        for item in request.Parameters.NodesToWrite:
            self.values[item.NodeId.Identifier] = item.Value.Value.Value
            answer.Results.append(ua.StatusCode(ua.UInt32(0)))

    def _on_createsubscription(self, request: Any, answer: Any) -> None:
        answer.Parameters.SubscriptionId = ua.UInt32(9)
        answer.Parameters.RevisedPublishingInterval = request.Parameters.RequestedPublishingInterval
        answer.Parameters.RevisedMaxKeepAliveCount = request.Parameters.RequestedMaxKeepAliveCount

    def _on_createmonitoreditems(self, request: Any, answer: Any) -> None:
        answer.Results = [ua.MonitoredItemCreateResult() for _ in request.Parameters.ItemsToCreate]

    def _on_call(self, request: Any, answer: Any) -> None:
        answer.Results = [ua.CallMethodResult() for _ in request.Parameters.MethodsToCall]

    def _on_browse(self, request: Any, answer: Any) -> None:
        answer.Results = [ua.BrowseResult() for _ in request.Parameters.NodesToBrowse]

    def _on_historyread(self, request: Any, answer: Any) -> None:
        answer.Results = [ua.HistoryReadResult(HistoryData=ua.HistoryData()) for _ in request.Parameters.NodesToRead]

    def _value(self, node: ua.NodeId) -> ua.DataValue:
        name = node.Identifier
        value: Any = None
        if isinstance(name, str) and name.startswith("Lamp."):
            _, number, variable = name.split(".")
            value = self.values.get(name, level_of(int(number)) / 10)
            if not variable.endswith("Level"):
                value = 0.0
        elif name == ObjectIds.Server_NamespaceArray:
            value = _NAMESPACES
        elif name == ObjectIds.Server_ServerStatus_State:
            value = 0
        elif name == ObjectIds.Server_ServerStatus_BuildInfo_ProductUri:
            value = "urn:acme:lamps"
        return ua.DataValue(ua.Variant(value), SourceTimestamp=_NOON)
