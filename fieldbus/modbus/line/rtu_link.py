"""RTU frames: what a transparent serial server carries over TCP, and what a serial line carries itself.

There are no transaction ids: unit, function code, length and CRC must do, one request at a time, and after any doubt
what comes next is not believed. The serial line with its silences is serial_link.py.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Final

from fieldbus.faults import AnswerLost, LinkDown, NoAnswer
from fieldbus.modbus.line.frames import EXCEPTION_BIT, RTU_LONGEST, crc16, rtu_answer_length, rtu_frame
from fieldbus.modbus.line.link import Answer, fail, settle
from fieldbus.url import Endpoint

_NOISE: Final = 3  # bytes after an answer that cannot be a frame: the driver of a line switching off


class RtuLink(ABC):
    """One request at a time in RTU frames. How bytes travel is the subclass's."""

    frame_overhead: int = 3
    has_transactions: bool = False

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._answer: Answer | None = None
        self._asked = (0, 0)  # unit and function code
        self._given_s = 0.0
        self._received = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self.discarded = 0

    @property
    @abstractmethod
    def connected(self) -> bool:
        """See `ModbusLink.connected`."""

    @property
    def outstanding(self) -> int:
        """See `ModbusLink.outstanding`."""
        return 0 if self._answer is None else 1

    @abstractmethod
    async def connect(self, timeout_s: float) -> None:
        """See `ModbusLink.connect`."""

    @abstractmethod
    def distrust(self) -> None:
        """See `ModbusLink.distrust`."""

    @abstractmethod
    def close(self) -> None:
        """See `ModbusLink.close`."""

    @abstractmethod
    def _send(self, loop: asyncio.AbstractEventLoop, frame: bytes) -> float:
        """Put a frame on its way; the seconds until it will be out. Raises LinkDown."""

    def request(self, unit: int, function_code: int, payload: bytes, timeout_s: float) -> Answer:
        """See `ModbusLink.request`."""
        if not self.connected:
            raise LinkDown(f"not connected to {self._endpoint}")
        assert self._answer is None, "RTU takes one request at a time"
        loop = asyncio.get_running_loop()
        self._received.clear()
        under_way_s = self._send(loop, rtu_frame(unit, function_code, payload))
        answer = self._answer = loop.create_future()
        self._asked = (unit, function_code)
        self._given_s = timeout_s
        self._timer = loop.call_later(under_way_s + timeout_s, self._time_is_up)
        return answer

    def forgotten(self) -> None:
        """Its answer could pass for the next one's."""
        self.distrust()

    def _took(self, data: bytes) -> None:
        """Bytes that came."""
        if self._answer is None:
            self._doubt("bytes came that nobody asked for")
            return
        received = self._received
        received += data
        length = rtu_answer_length(received)
        if length is None or len(received) < length:
            if len(received) >= RTU_LONGEST or (length is not None and length > RTU_LONGEST):
                self._doubt("the byte stream made no sense")
            return
        surplus = len(received) - length
        frame = bytes(received[:length])
        unit, function_code = self._asked
        if surplus > _NOISE or crc16(frame) or frame[0] != unit or frame[1] & ~EXCEPTION_BIT != function_code:
            self._doubt("what came was damaged or not the answer")
            return
        answer = self._done()
        if answer is None or answer.done():
            self.discarded += 1
            self.distrust()
            return
        if surplus:
            self.discarded += 1
        settle(answer, unit, frame[1], frame[2:-2])

    def _doubt(self, reason: str) -> None:
        """Count it, end the request and believe nothing that may still come."""
        self.discarded += 1
        self._lost(reason)
        self.distrust()

    def _lost(self, reason: str) -> None:
        """The request under way, if any, gets no answer."""
        answer = self._done()
        if answer is not None:
            fail(answer, AnswerLost(f"{self._endpoint}: {reason}"))

    def _done(self) -> Answer | None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        answer, self._answer = self._answer, None
        self._received.clear()
        return answer

    def _time_is_up(self) -> None:
        self._timer = None
        answer = self._done()
        if answer is not None:
            fail(answer, NoAnswer(f"unit {self._asked[0]} did not answer within {self._given_s:g} s"))


class RtuTcpLink(RtuLink, asyncio.Protocol):
    """RTU frames through a transparent serial server. Doubt ends the connection, and with it what the server holds."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._transport: asyncio.Transport | None = None

    @property
    def connected(self) -> bool:
        """See `ModbusLink.connected`."""
        return self._transport is not None

    async def connect(self, timeout_s: float) -> None:
        """See `ModbusLink.connect`."""
        place = f"{self._endpoint.host}:{self._endpoint.port}"
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                await loop.create_connection(lambda: self, self._endpoint.host, self._endpoint.port)
        except TimeoutError:
            self.close()
            raise LinkDown(f"cannot connect to {place}: no answer within {timeout_s:g} s") from None
        except OSError as error:
            self.close()
            raise LinkDown(f"cannot connect to {place}: {error}") from None
        except asyncio.CancelledError:
            self.close()
            raise
        if self._transport is None:
            raise LinkDown(f"cannot connect to {place}: closed at once by the other side")

    def distrust(self) -> None:
        """See `ModbusLink.distrust`."""
        self.close()

    def close(self) -> None:
        """See `ModbusLink.close`."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        self._lost("the connection was closed")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = transport  # type: ignore[assignment]  # create_connection gives a full transport

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side closed, or the connection broke."""
        transport, self._transport = self._transport, None
        if transport is not None:
            self._lost(f"the connection broke: {exc}" if exc is not None else "closed by the other side")

    def data_received(self, data: bytes) -> None:
        """See `RtuLink._took`."""
        if self._transport is not None:
            self._took(data)

    def _send(self, loop: asyncio.AbstractEventLoop, frame: bytes) -> float:
        transport = self._transport
        assert transport is not None
        transport.write(frame)
        return 0.0
