"""A standing OPC UA session: its client, what the server's namespaces are called, who it is, and what it can bear.

How sessions come and go is link.py's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from fieldbus.faults import AnswerLost, Malformed
from fieldbus.opcua.publisher import Publisher
from fieldbus.opcua.transport import LeanClient
from fieldbus.raw import told
from fieldbus.values import Identity

_BUILD_INFO: Final = (
    ObjectIds.Server_ServerStatus_BuildInfo_ProductUri,
    ObjectIds.Server_ServerStatus_BuildInfo_ManufacturerName,
    ObjectIds.Server_ServerStatus_BuildInfo_ProductName,
    ObjectIds.Server_ServerStatus_BuildInfo_SoftwareVersion,
)
# OPC 10000-5, 6.3.2 and 6.3.11: what a server says it can bear. Many servers leave some out, or say 0 for "no limit".
_LIMITS: Final = {
    "nodes_per_read": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    "nodes_per_write": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerWrite,
    "nodes_per_call": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerMethodCall,
    "nodes_per_browse": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
    "nodes_per_history": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerHistoryReadData,
    "items_per_call": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
    "items_per_subscription": ObjectIds.Server_ServerCapabilities_MaxMonitoredItemsPerSubscription,
    "subscriptions": ObjectIds.Server_ServerCapabilities_MaxSubscriptionsPerSession,
}
UNLIMITED: Final = 2**31


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """How much the server takes at once."""

    nodes_per_read: int = UNLIMITED
    nodes_per_write: int = UNLIMITED
    nodes_per_call: int = UNLIMITED
    nodes_per_browse: int = UNLIMITED
    nodes_per_history: int = UNLIMITED
    items_per_call: int = UNLIMITED
    items_per_subscription: int = UNLIMITED
    subscriptions: int = UNLIMITED


@dataclass(slots=True, eq=False)
class Session:
    """A standing session: who is there, and what its namespaces are called."""

    client: LeanClient
    generation: int  # never the same for two sessions of one link
    namespaces: dict[str, int]
    uris: tuple[str, ...]
    identity: Identity
    product_uri: str
    limits: ServerLimits
    publisher: Publisher
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    silent: int = 0

    @property
    def services(self) -> UaSession:
        """The service calls of asyncua."""
        return self.client.services


async def open_session(client: LeanClient, generation: int) -> Session:
    """Connect, and read what every later request depends on. Raises what asyncua raises."""
    await client.connect()
    nodes = [
        ua.NodeId(ua.Int32(identifier))
        for identifier in (ObjectIds.Server_NamespaceArray, *_BUILD_INFO, *_LIMITS.values())
    ]
    answers = await client.uaclient.session.read_attributes(nodes, AttributeIds.Value)
    values = [answer.Value.Value if answer.Value is not None else None for answer in answers]
    uris = tuple(str(uri) for uri in values[0]) if isinstance(values[0], list) else ()
    product_uri, vendor, product, revision = (told(value) for value in values[1 : 1 + len(_BUILD_INFO)])
    numbers = values[1 + len(_BUILD_INFO) :]
    limits = {
        name: number
        for name, number in zip(_LIMITS, numbers, strict=True)
        if isinstance(number, int) and 0 < number < UNLIMITED
    }
    return Session(
        client=client,
        generation=generation,
        namespaces={uri: index for index, uri in enumerate(uris)},
        uris=uris,
        identity=Identity(vendor, product, revision),
        product_uri=product_uri,
        limits=ServerLimits(**limits),
        publisher=Publisher(client),
    )


def status_name(code: int) -> str:
    """The specification's name of a status code, with its number."""
    return f"{ua.StatusCode(ua.UInt32(code)).name} (0x{code:08X})"


def check_count(results: Sequence[object], asked: int) -> None:
    """Raises Malformed unless there is one result for each thing asked for: which is whose could only be guessed."""
    if len(results) != asked:
        raise Malformed(f"{len(results)} results came for {asked}")


class SessionGone(AnswerLost):
    """The server no longer knew the session: what was asked has certainly not been done."""


# The server answers so instead of doing what it was asked.
FORGOTTEN: Final = frozenset(
    {StatusCodes.BadSessionIdInvalid, StatusCodes.BadSessionClosed, StatusCodes.BadSessionNotActivated}
)
# Faults after which the session is of no use any more.
SESSION_GONE: Final = FORGOTTEN | frozenset(
    {
        StatusCodes.BadSecureChannelIdInvalid,
        StatusCodes.BadSecureChannelClosed,
        StatusCodes.BadConnectionClosed,
        StatusCodes.BadServerHalted,
        StatusCodes.BadShutdown,
        StatusCodes.BadSequenceNumberInvalid,
        StatusCodes.BadSecurityChecksFailed,
    }
)
# The server would have taken less of the same.
TOO_MUCH_AT_ONCE: Final = frozenset(
    {
        StatusCodes.BadTooManyOperations,
        StatusCodes.BadEncodingLimitsExceeded,
        StatusCodes.BadResponseTooLarge,
        StatusCodes.BadRequestTooLarge,
        StatusCodes.BadTcpMessageTooLarge,
    }
)
