"""One OPC UA session, shared by the devices behind one endpoint URL. Built on asyncua's client.

The client is thrown away and made anew after every doubt, with our own back-off: its built-in reconnect hangs on an
address that swallows packets. asyncua's watchdog still finds sessions that died without a word. Where one session is
not enough, siblings of the link carry more (shards.py). Which nodes are read and what they mean is device.py's
business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar
from urllib.parse import urlsplit

from asyncua.client.client import Client
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import BadTimeout, UaStatusCodeError

from domain.errors import FailedPrecondition, InvalidInput
from fieldbus.backoff import Backoff
from fieldbus.budget import Budget
from fieldbus.device import SIMULATOR_PRODUCT_URI, Limits
from fieldbus.faults import AnswerLost, LinkDown, Malformed, NoAnswer, ServiceFault
from fieldbus.opcua.costs import REQUEST_BYTES, upkeep_s
from fieldbus.opcua.security import OpcUaSecurity, SecurityPolicy
from fieldbus.opcua.session import FORGOTTEN, SESSION_GONE, Session, SessionGone, open_session, status_name
from fieldbus.opcua.shards import Shards
from fieldbus.opcua.transport import LeanClient, Traffic
from fieldbus.opcua.trust import SecurityRefused
from fieldbus.url import Endpoint
from fieldbus.values import Counters

Answer = TypeVar("Answer")

_REQUESTS_IN_FLIGHT: Final = 8
_SILENT_REQUESTS_BEFORE_RECONNECT: Final = 2
_MOST_UNANSWERED: Final = 64  # requests given up that the server still owes an answer
_FAREWELL_S: Final = 1.0
_SHORT_LIFE_S: Final = 10.0  # a session that breaks sooner counts as a failure to connect, from the second in a row on
_SHORT_LIVES_COUNTED: Final = 16  # the back-off is as long as it gets long before
_LOGIN_REFUSED: Final = frozenset(
    {StatusCodes.BadUserAccessDenied, StatusCodes.BadIdentityTokenRejected, StatusCodes.BadIdentityTokenInvalid}
)


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
        security: OpcUaSecurity | None = None,
        budget: Budget | None = None,
    ) -> None:
        """`budget` counts and bounds what goes over the link; all sessions with one server share it.

        Raises InvalidInput for a URL that carries a password: URLs are logged, listed and stored."""
        if urlsplit(endpoint.url).username is not None:
            raise InvalidInput.of("url", f"{endpoint}: user and password belong into the security settings, not here")
        self.endpoint = endpoint
        self.limits = limits
        self.monotonic = monotonic
        self.budget = budget
        self.traffic = Traffic(budget=budget)
        self.backoff = Backoff(limits.backoff_initial_s, limits.backoff_max_s, monotonic, uniform)
        self.not_simulator = False
        self.uniform = uniform
        self._require_simulator = require_simulator
        self._security = security or OpcUaSecurity(SecurityPolicy.NONE)
        self._lock = asyncio.Lock()
        self._in_flight = asyncio.Semaphore(_REQUESTS_IN_FLIGHT)
        self._session: Session | None = None
        self._generation = 0
        self._farewells: set[asyncio.Task[None]] = set()
        self._siblings: list[OpcUaLink] = []
        self._made_at = 0.0
        self._short_lives = 0
        self.shards: Shards[OpcUaLink] = Shards(self, self._sibling)
        self._last_failure: LinkDown | None = None
        self._closed = False
        _quieten_asyncua()

    @property
    def connected(self) -> bool:
        """Whether a session stands."""
        return self._session is not None

    def _sibling(self) -> OpcUaLink:
        """Another session with the same server, closed together with this one."""
        link = OpcUaLink(
            self.endpoint,
            self.limits,
            self.monotonic,
            self.uniform,
            require_simulator=self._require_simulator,
            security=self._security,
            budget=self.budget,
        )
        self._siblings.append(link)
        return link

    def reading(self, cost: int) -> None:
        """To be asked before something is read that costs about this many bytes. Raises OverBudget."""
        if self.budget is not None:
            self.budget.reading(cost)

    def affords(self, each: int, most: int) -> int:
        """How many things of `each` bytes may be asked for at once, at most `most`."""
        return most if self.budget is None else self.budget.affords(each, most)

    def held_s(self) -> float:
        """Seconds that publish requests are held back, because the link's bytes are used up."""
        return 0.0 if self.budget is None else self.budget.wait_s(REQUEST_BYTES)

    async def session(self) -> Session:
        """The standing session, made if need be. Raises LinkDown, FailedPrecondition if it must be the simulator."""
        async with self._lock:
            self._check_open()
            if self._session is not None:
                return self._session
            if not self.backoff.ready:
                before = "" if self._last_failure is None else f" ({self._last_failure})"
                raise LinkDown(f"no session, next attempt in {self.backoff.remaining_s:.1f} s{before}")
            try:
                session = self._session = await self._connect()
            except LinkDown as error:
                self._last_failure = error
                raise
            if self._closed:  # meanwhile, when there was no session yet that could have been ended
                self.drop(session)
            self._check_open()
            return session

    async def call(
        self, session: Session, counters: Counters, operation: Callable[[LeanClient], Awaitable[Answer]]
    ) -> Answer:
        """One service call. Raises NoAnswer, AnswerLost, Malformed, ServiceFault."""
        timeout_s = self.limits.request_timeout_s
        async with self._in_flight:
            if session.lost.is_set():
                raise SessionGone("the session was lost before the request could be sent")
            counters.requests += 1
            try:
                async with asyncio.timeout(timeout_s):
                    answer = await operation(session.client)
            except (TimeoutError, BadTimeout):
                counters.timeouts += 1
                session.silent += 1
                if session.silent >= _SILENT_REQUESTS_BEFORE_RECONNECT or session.client.unanswered > _MOST_UNANSWERED:
                    self.drop(session)
                raise NoAnswer(f"{self.endpoint} did not answer within {timeout_s:g} s") from None
            except UaStatusCodeError as error:
                counters.exceptions += 1
                if error.code in SESSION_GONE:
                    self.drop(session)
                    lost = SessionGone if error.code in FORGOTTEN else AnswerLost
                    raise lost(f"the session is gone: {status_name(error.code)}") from None
                raise ServiceFault(error.code, status_name(error.code)) from None
            except OSError as error:
                counters.connection_losses += 1
                self.drop(session)
                raise AnswerLost(f"connection to {self.endpoint} broke: {error}") from None
            except Malformed:
                counters.discarded += 1
                raise
            except Exception as error:  # asyncua raises whatever a malformed message makes of its parser
                counters.discarded += 1
                self.drop(session)
                raise Malformed(f"{self.endpoint} answered what could not be read: {error!r}") from None
            finally:
                self.account(counters)
            session.silent = 0
            counters.answers += 1
            return answer

    def account(self, counters: Counters) -> None:
        """Put the bytes since the last account to somebody's: exact in the sum, approximate where devices share."""
        sent, received = self.traffic.take()
        counters.bytes_sent += sent
        counters.bytes_received += received

    async def close(self) -> None:
        """End the session for good, and the siblings' too."""
        self._closed = True
        if self._session is not None:
            self.drop(self._session)
        for sibling in self._siblings:
            await sibling.close()
        while self._farewells:
            await asyncio.gather(*self._farewells, return_exceptions=True)

    def _check_open(self) -> None:
        if self._closed:
            raise LinkDown("the link was closed")

    def drop(self, session: Session) -> None:
        """Give a session up: it is gone, or what comes next over it could not be trusted."""
        if session.lost.is_set():
            return
        session.lost.set()
        if self._session is session:
            self._session = None
            self._count_short_lives()
        self._say_farewell(session.client, session)

    def _count_short_lives(self) -> None:
        """Once is a restart. A server that lets us in and throws us out again and again is to be asked ever more
        seldom: making a session costs far more than an answer."""
        if self.monotonic() - self._made_at >= _SHORT_LIFE_S:
            self._short_lives = 0
            return
        self._short_lives += 1
        for _ in range(min(self._short_lives - 1, _SHORT_LIVES_COUNTED)):
            self.backoff.failed()

    async def _connect(self) -> Session:
        client: LeanClient | None = None
        try:
            watchdog_s = upkeep_s(self.budget, self.limits.watchdog_interval_s)
            client = LeanClient(self.endpoint.url, self.limits.request_timeout_s, watchdog_s, self.traffic)
            async with asyncio.timeout(self.limits.connect_timeout_s):
                await self._security.secure(client, self.endpoint.host)
                session = await open_session(client, self._generation + 1)
        except asyncio.CancelledError:
            self._say_farewell(client)
            raise
        except Exception as error:
            # Whatever goes wrong between address and session has the same consequence: there is none.
            self._say_farewell(client)
            self.backoff.failed()
            if isinstance(error, SecurityRefused):
                raise SecurityRefused(f"{self.endpoint}: {error}", error.fingerprint) from None
            remark = f"; {client.remark}" if client is not None and client.remark else ""
            raise LinkDown(f"cannot connect to {self.endpoint}: {self._reason(error)}{remark}") from None
        self.not_simulator = self._require_simulator and session.product_uri != SIMULATOR_PRODUCT_URI
        if self.not_simulator:
            self._say_farewell(client)
            self.backoff.failed()
            raise FailedPrecondition.of(
                "endpoint",
                f"{self.endpoint} is not the simulator but '{session.product_uri}'; only that may be used now",
            )
        self._watch(session)
        self._made_at = self.monotonic()
        self.backoff.succeeded()
        return session

    def _watch(self, session: Session) -> None:
        """Have the session given up when its connection or its publishing fails."""
        self._generation = session.generation

        async def lost(_: Exception) -> None:
            self.drop(session)

        session.client.connection_lost_callback = lost
        session.publisher.held_s = self.held_s
        session.publisher.failed = lambda error: self.drop(session)

    def _reason(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return "no answer in time"
        if isinstance(error, UaStatusCodeError):
            name = status_name(error.code)
            if error.code in _LOGIN_REFUSED:
                return f"the server refuses to log in {self._security.login}: {name}"
            return f"the server refuses: {name}"
        return repr(error)

    def _say_farewell(self, client: Client | None, session: Session | None = None) -> None:
        """Close a client in the background, within a bounded time: the other end may never answer."""
        if client is None:
            return
        task = asyncio.create_task(_disconnect(client, session), name="fieldbus OPC UA farewell")
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)


async def _disconnect(client: Client, session: Session | None) -> None:
    protocol = client.uaclient.protocol
    if session is not None:
        await session.publisher.close()
    with suppress(Exception):
        async with asyncio.timeout(_FAREWELL_S):
            await client.disconnect()
    with suppress(Exception):
        client.disconnect_socket()
    if protocol is not None and protocol.transport is not None:
        protocol.transport.abort()  # closing waits for what the other end does not take, for ever


def _quieten_asyncua() -> None:
    """A lost server is told by our health, not by stack traces per attempt, and in our words: asyncua's client logs
    what servers say. An explicit level wins, each for its own logger."""
    for name in ("asyncua", "asyncua.client", "asyncua.uaprotocol"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.CRITICAL)
