"""One OPC UA session, shared by the devices behind one endpoint URL. Built on asyncua's client.

The client is thrown away and made anew after every doubt, with our own back-off: its built-in reconnect hangs on an
address that swallows packets. asyncua's watchdog still finds sessions that died without a word. Which nodes are read
and what they mean is opcua.py's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import BadTimeout, UaStatusCodeError

from domain.errors import FailedPrecondition
from fieldbus.backoff import Backoff
from fieldbus.device import SIMULATOR_PRODUCT_URI, Limits
from fieldbus.faults import AnswerLost, LinkDown, Malformed, NoAnswer, ServiceFault
from fieldbus.url import Endpoint
from fieldbus.values import Counters, Identity

Answer = TypeVar("Answer")

_REQUESTS_IN_FLIGHT: Final = 8
_SILENT_REQUESTS_BEFORE_RECONNECT: Final = 2
_FAREWELL_S: Final = 1.0
_BUILD_INFO: Final = {
    "product_uri": ObjectIds.Server_ServerStatus_BuildInfo_ProductUri,
    "vendor": ObjectIds.Server_ServerStatus_BuildInfo_ManufacturerName,
    "product": ObjectIds.Server_ServerStatus_BuildInfo_ProductName,
    "revision": ObjectIds.Server_ServerStatus_BuildInfo_SoftwareVersion,
}
# Faults after which the session is of no use any more.
_SESSION_GONE: Final = frozenset(
    {
        StatusCodes.BadSessionIdInvalid,
        StatusCodes.BadSessionClosed,
        StatusCodes.BadSessionNotActivated,
        StatusCodes.BadSecureChannelIdInvalid,
        StatusCodes.BadSecureChannelClosed,
        StatusCodes.BadConnectionClosed,
        StatusCodes.BadServerHalted,
        StatusCodes.BadShutdown,
        StatusCodes.BadSequenceNumberInvalid,
        StatusCodes.BadSecurityChecksFailed,
    }
)


@dataclass(slots=True)
class Session:
    """A standing session: who is there, and what its namespaces are called."""

    client: Client
    generation: int
    namespaces: dict[str, int]
    identity: Identity
    product_uri: str
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    silent: int = 0

    @property
    def services(self) -> UaSession:
        """The service calls."""
        return self.client.uaclient.session


class OpcUaLink:
    """Keeps a session as long as it is wanted."""

    def __init__(
        self,
        endpoint: Endpoint,
        limits: Limits,
        monotonic: Callable[[], float],
        uniform: Callable[[], float],
        *,
        require_simulator: bool,
    ) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._require_simulator = require_simulator
        self._lock = asyncio.Lock()
        self._in_flight = asyncio.Semaphore(_REQUESTS_IN_FLIGHT)
        self._session: Session | None = None
        self._generation = 0
        self._farewells: set[asyncio.Task[None]] = set()
        self._closed = False
        self.backoff = Backoff(limits.backoff_initial_s, limits.backoff_max_s, monotonic, uniform)
        self.not_simulator = False
        _quieten_asyncua()

    @property
    def connected(self) -> bool:
        """Whether a session stands."""
        return self._session is not None

    async def session(self) -> Session:
        """The standing session, made if need be. Raises LinkDown, FailedPrecondition if it must be the simulator."""
        async with self._lock:
            if self._closed:
                raise LinkDown("the link was closed")
            if self._session is not None:
                return self._session
            if not self.backoff.ready:
                raise LinkDown(f"no session, next attempt in {self.backoff.remaining_s:.1f} s")
            self._session = await self._connect()
            return self._session

    async def call(
        self, session: Session, counters: Counters, operation: Callable[[UaSession], Awaitable[Answer]]
    ) -> Answer:
        """One service call. Raises NoAnswer, AnswerLost, Malformed, ServiceFault."""
        timeout_s = self._limits.request_timeout_s
        async with self._in_flight:
            if session.lost.is_set():
                raise AnswerLost("the session was lost before the request could be sent")
            counters.requests += 1
            try:
                async with asyncio.timeout(timeout_s):
                    answer = await operation(session.services)
            except (TimeoutError, BadTimeout):
                counters.timeouts += 1
                session.silent += 1
                if session.silent >= _SILENT_REQUESTS_BEFORE_RECONNECT:
                    self._drop(session)
                raise NoAnswer(f"{self._endpoint} did not answer within {timeout_s:g} s") from None
            except UaStatusCodeError as error:
                counters.exceptions += 1
                if error.code in _SESSION_GONE:
                    self._drop(session)
                    raise AnswerLost(f"the session is gone: {status_name(error.code)}") from None
                raise ServiceFault(error.code, status_name(error.code)) from None
            except OSError as error:
                counters.connection_losses += 1
                self._drop(session)
                raise AnswerLost(f"connection to {self._endpoint} broke: {error}") from None
            except Exception as error:  # asyncua raises whatever a malformed message makes of its parser
                counters.discarded += 1
                self._drop(session)
                raise Malformed(f"{self._endpoint} answered what could not be read: {error!r}") from None
            session.silent = 0
            counters.answers += 1
            return answer

    async def close(self) -> None:
        """End the session for good."""
        self._closed = True
        if self._session is not None:
            self._drop(self._session)
        while self._farewells:
            await asyncio.gather(*self._farewells, return_exceptions=True)

    def drop(self, session: Session) -> None:
        """Give a session up: what comes next over it could not be trusted."""
        self._drop(session)

    async def _connect(self) -> Session:
        limits = self._limits
        client: Client | None = None
        try:
            client = Client(
                self._endpoint.url,
                timeout=limits.request_timeout_s,
                watchdog_intervall=limits.watchdog_interval_s,
                auto_reconnect=False,
            )
            async with asyncio.timeout(limits.connect_timeout_s):
                session = await self._open(client)
        except asyncio.CancelledError:
            self._say_farewell(client)
            raise
        except Exception as error:
            # Whatever goes wrong between address and session has the same consequence: there is none.
            self._say_farewell(client)
            self.backoff.failed()
            reason = "no answer in time" if isinstance(error, TimeoutError) else repr(error)
            raise LinkDown(f"cannot connect to {self._endpoint}: {reason}") from None
        self.not_simulator = self._require_simulator and session.product_uri != SIMULATOR_PRODUCT_URI
        if self.not_simulator:
            self._say_farewell(client)
            self.backoff.failed()
            raise FailedPrecondition.of(
                "endpoint",
                f"{self._endpoint} is not the simulator but '{session.product_uri}'; only that may be used now",
            )
        self.backoff.succeeded()
        return session

    async def _open(self, client: Client) -> Session:
        await client.connect()
        services = client.uaclient.session
        identifiers = (ObjectIds.Server_NamespaceArray, *_BUILD_INFO.values())
        nodes = [ua.NodeId(ua.Int32(identifier)) for identifier in identifiers]
        answers = await services.read_attributes(nodes, AttributeIds.Value)
        values = [answer.Value.Value if answer.Value is not None else None for answer in answers]
        namespaces = {str(uri): index for index, uri in enumerate(values[0] or [])}
        texts = dict(zip(_BUILD_INFO, (str(value or "") for value in values[1:]), strict=True))
        self._generation += 1
        session = Session(
            client,
            self._generation,
            namespaces,
            Identity(texts["vendor"], texts["product"], texts["revision"]),
            texts["product_uri"],
        )

        async def lost(_: Exception) -> None:
            self._drop(session)

        client.connection_lost_callback = lost
        return session

    def _drop(self, session: Session) -> None:
        if session.lost.is_set():
            return
        session.lost.set()
        if self._session is session:
            self._session = None
        self._say_farewell(session.client)

    def _say_farewell(self, client: Client | None) -> None:
        """Close a client in the background, within a bounded time: the other end may never answer."""
        if client is None:
            return
        task = asyncio.create_task(_disconnect(client), name="fieldbus OPC UA farewell")
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)


async def _disconnect(client: Client) -> None:
    with suppress(Exception):
        async with asyncio.timeout(_FAREWELL_S):
            await client.disconnect()
    with suppress(Exception):
        client.disconnect_socket()


def status_name(code: int) -> str:
    """The specification's name of a status code, with its number."""
    return f"{ua.StatusCode(ua.UInt32(code)).name} (0x{code:08X})"


def _quieten_asyncua() -> None:
    """A lost server is told by our health, not by stack traces per attempt. An explicit level wins."""
    logger = logging.getLogger("asyncua")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
