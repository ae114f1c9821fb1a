"""A Modbus connection: a request's bytes out, its answer's bytes in. What every kind of link has in common lives here,
with Modbus TCP itself (plain or in TLS); RTU frames are rtu_link.py, serial lines serial_link.py.

Who may speak when, pauses and back-off are the bus's business (bus.py); what bytes mean, the device's.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, Protocol

from fieldbus.faults import AnswerLost, DeviceException, LinkDown, Malformed, NoAnswer
from fieldbus.modbus.line.frames import EXCEPTION_BIT, MBAP, MBAP_HEADER, MBAP_LENGTH_MAXIMUM, MBAP_LENGTH_MINIMUM
from fieldbus.url import Endpoint

Answer = asyncio.Future[bytes]

_CLOCK_SLACK_S: Final = 0.001  # a timer may fire this much early
_TLS_GOODBYE_S: Final = 1.0
_BUFFER_BYTES: Final = 2048  # several of the longest frames
_MOST_STRAYS: Final = 256  # frames that answer nothing, between two requests: more is a flood, and no device
_OWED_REMEMBERED: Final = 1024  # transactions that were given up and may still be answered


class ModbusLink(Protocol):
    """What a bus needs of its connection. One object is one connection: it is made, used and thrown away."""

    discarded: int  # frames that were no answer to any request of ours
    frame_overhead: int  # bytes on the wire beside function code and payload
    has_transactions: bool  # answers say which request they belong to, so several may be under way

    @property
    def connected(self) -> bool:
        """Whether a request can be sent."""
        ...

    @property
    def outstanding(self) -> int:
        """Requests that were sent and not answered yet."""
        ...

    async def connect(self, timeout_s: float) -> None:
        """Connect, once. Raises LinkDown."""
        ...

    def request(self, unit: int, function_code: int, payload: bytes, timeout_s: float) -> Answer:
        """Send a request. The future gives the payload of the answer, function code stripped, or raises NoAnswer,
        AnswerLost, Malformed or DeviceException. Raises LinkDown when nothing was sent."""
        ...

    def distrust(self) -> None:
        """What arrives next may belong to an earlier request: make sure that it is never taken for an answer."""
        ...

    def forgotten(self) -> None:
        """Nobody waits any more for a request that is under way."""
        ...

    def close(self) -> None:
        """Drop the connection; a request under way ends with AnswerLost."""
        ...


def settle(answer: Answer, unit: int, function_code: int, payload: bytes) -> None:
    """Give an answer that fits its request to whoever waits for it."""
    if not function_code & EXCEPTION_BIT:
        answer.set_result(payload)
    elif len(payload) == 1:
        answer.set_exception(DeviceException(payload[0]))
    else:
        answer.set_exception(Malformed(f"unit {unit} answered with an exception of {len(payload)} bytes"))


def fail(answer: Answer, error: Exception) -> None:
    """End a request without an answer, also one that nobody waits for any more."""
    if not answer.done():
        answer.set_exception(error)
        answer.add_done_callback(_look_away)


def _look_away(answer: Answer) -> None:
    """Nobody may be waiting any more; then the exception is of no interest."""
    if not answer.cancelled():
        answer.exception()


class TcpLink(asyncio.BufferedProtocol):
    """Modbus TCP, plain or in TLS: a continuous stream of frames, each of which may answer one request.

    One timer serves all requests of a connection: it is set when none runs, and looks after whoever is due. Bytes are
    received into a buffer of ours: asyncio would make one of 256 KiB for every answer, at three times the cost.
    """

    frame_overhead: int = 7
    has_transactions: bool = True

    def __init__(self, endpoint: Endpoint, context: Callable[[], tuple[ssl.SSLContext, str]] | None = None) -> None:
        """`context` makes the TLS context, anew for each connection, and names the server that has to be there."""
        self._endpoint = endpoint
        self._context = context
        self._place = f"{endpoint.host}:{endpoint.port}"
        self._transport: asyncio.Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        # transaction to (future, unit and function code as one number, due time, time given)
        self._waiting: dict[int, tuple[Answer, int, float, float]] = {}
        self._transaction = 0
        self._owed: dict[int, None] = {}  # transactions given up, oldest first: not to be used again on this connection
        self._strays = 0
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._pending = bytearray()  # an incomplete frame
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self.discarded = 0

    @property
    def connected(self) -> bool:
        """See `ModbusLink.connected`."""
        return self._transport is not None

    @property
    def outstanding(self) -> int:
        """See `ModbusLink.outstanding`."""
        return len(self._waiting)

    async def connect(self, timeout_s: float) -> None:
        """See `ModbusLink.connect`."""
        loop = self._loop = asyncio.get_running_loop()
        try:
            context, name = self._context() if self._context is not None else (None, None)
            async with asyncio.timeout(timeout_s):
                await loop.create_connection(
                    lambda: self,
                    self._endpoint.host,
                    self._endpoint.port,
                    ssl=context,
                    server_hostname=name,
                    ssl_shutdown_timeout=_TLS_GOODBYE_S if context is not None else None,
                )
        except TimeoutError:
            self.close()
            raise LinkDown(f"cannot connect to {self._place}: no answer within {timeout_s:g} s") from None
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise LinkDown(f"cannot trust {self._place}: {error.verify_message}") from None
        except (OSError, ssl.SSLError) as error:
            self.close()
            raise LinkDown(f"cannot connect to {self._place}: {error}") from None
        except asyncio.CancelledError:
            self.close()
            raise
        if self._transport is None:
            raise LinkDown(f"cannot connect to {self._place}: closed at once by the other side")

    def request(self, unit: int, function_code: int, payload: bytes, timeout_s: float) -> Answer:
        """See `ModbusLink.request`."""
        transport, loop = self._transport, self._loop
        if transport is None or loop is None:
            raise LinkDown(f"not connected to {self._place}")
        waiting = self._waiting
        transaction = self._transaction % 0xFFFF + 1  # never 0: some devices answer everything with it
        while transaction in waiting or transaction in self._owed:
            transaction = transaction % 0xFFFF + 1
        self._transaction = transaction
        self._strays = 0
        key = unit << 8 | function_code
        due = loop.time() + timeout_s
        if self._timer is None or due < self._timer_at:
            self._set_timer(loop, due)
        answer: Answer = loop.create_future()
        waiting[transaction] = (answer, key, due, timeout_s)
        transport.write(MBAP.pack(transaction, 0, len(payload) + 2, key) + payload)
        return answer

    def distrust(self) -> None:
        """A late answer carries another transaction id, but who is silent for long may be gone without a word."""
        self.close()

    def forgotten(self) -> None:
        """The transaction id tells a late answer."""

    def close(self) -> None:
        """See `ModbusLink.close`."""
        transport, self._transport = self._transport, None
        if transport is not None:
            if self._waiting:
                transport.abort()
            else:
                transport.close()
        self._lost(AnswerLost(f"connection to {self._place} was closed"))

    # --- asyncio.BufferedProtocol ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = transport  # type: ignore[assignment]  # create_connection gives a full transport

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side closed, or the connection broke. When we dropped it, everybody knows already."""
        transport, self._transport = self._transport, None
        if transport is not None:
            reason = f"broke: {exc}" if exc is not None else "was closed by the other side"
            self._lost(AnswerLost(f"connection to {self._place} {reason}"))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to put what comes. A view, for asyncio's TLS writes into slices of it: slices of the bytes themselves
        would be copies, and every record but the first of several would be lost."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Almost always exactly one whole answer; everything else goes the long way."""
        if not self._pending and nbytes >= 8:
            transaction, protocol, length, key = MBAP.unpack_from(self._buffer)
            entry = self._waiting.get(transaction)
            if (
                entry is not None
                and entry[1] == key
                and not protocol
                and length + MBAP_HEADER == nbytes
                and length <= MBAP_LENGTH_MAXIMUM
            ):
                del self._waiting[transaction]
                if entry[0].done():  # cancelled meanwhile
                    self.discarded += 1
                else:
                    entry[0].set_result(self._view[8:nbytes].tobytes())
                return
        self._take_apart(self._view[:nbytes])

    # --- the long way --------------------------------------------------------------------------------------------

    def _take_apart(self, data: memoryview) -> None:
        pending = self._pending
        pending += data
        while len(pending) >= MBAP_HEADER:
            protocol = pending[2] << 8 | pending[3]
            length = pending[4] << 8 | pending[5]
            if protocol or not MBAP_LENGTH_MINIMUM <= length <= MBAP_LENGTH_MAXIMUM:
                self._desynchronised()
                return
            if len(pending) < MBAP_HEADER + length:
                return
            frame = bytes(pending[: MBAP_HEADER + length])
            del pending[: MBAP_HEADER + length]
            self._frame(frame)

    def _frame(self, frame: bytes) -> None:
        """A whole frame: the answer to a request, or one to throw away."""
        transaction, _, _, key = MBAP.unpack_from(frame)
        entry = self._waiting.get(transaction)
        if entry is None or key & ~EXCEPTION_BIT != entry[1]:
            self.discarded += 1
            self._strays += 1
            if self._strays > _MOST_STRAYS:
                self._desynchronised("it sends what nobody asked for")
            return
        del self._waiting[transaction]
        if entry[0].done():
            self.discarded += 1
        else:
            settle(entry[0], frame[6], frame[7], frame[8:])

    def _desynchronised(self, reason: str = "the byte stream made no sense") -> None:
        """Nothing that comes after this point can be trusted."""
        self.discarded += 1
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        self._lost(AnswerLost(f"connection to {self._place} was dropped: {reason}"))

    def _lost(self, error: AnswerLost) -> None:
        self._pending.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, {}
        for answer, _, _, _ in waiting.values():
            fail(answer, error)

    def _owe(self, transaction: int) -> None:
        """A request was given up. When ids have gone round, its answer must not pass for that to another request."""
        self._owed[transaction] = None
        if len(self._owed) > _OWED_REMEMBERED:
            del self._owed[next(iter(self._owed))]

    def _set_timer(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = loop.call_at(at, self._time_is_up)

    def _time_is_up(self) -> None:
        """End the requests that are due, and come back for the next."""
        loop = self._loop
        assert loop is not None
        self._timer = None
        now = loop.time() + _CLOCK_SLACK_S
        for transaction, (answer, key, due, timeout_s) in list(self._waiting.items()):
            if due <= now:
                del self._waiting[transaction]
                self._owe(transaction)
                fail(answer, NoAnswer(f"unit {key >> 8} did not answer within {timeout_s:g} s"))
        if self._waiting:
            self._set_timer(loop, min(due for _, _, due, _ in self._waiting.values()))
