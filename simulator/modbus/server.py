"""A lean Modbus TCP server: one listening port with its units, correct framing, and disturbances on demand.

Own code because pymodbus' server answers one request per TCP segment only, hides the peer from its hooks and cannot
answer wrongly on purpose. Requests are handled in order, synchronously; only a slow device defers its answers.
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import cast

from simulator.modbus import pdu
from simulator.modbus.unit import TARGET_FAILED_TO_RESPOND, Origin, Unit

HOST = "127.0.0.1"
_HEADER = struct.Struct(">HHHB")
MAX_FRAME = 260

SILENT, REFUSE, NO_TARGET = "silent", "refuse", "no-target"
WRONG_ANSWERS = ("transaction", "unit", "function", "short", "garbage", "exception", "close")


@dataclass
class Disturbance:
    """What is wrong with a unit or a whole port. `delay_s` is real time; `every` picks each n-th answer."""

    dead: str = ""
    delay_s: float = 0.0
    wrong: str = ""
    exception_code: int = 0x04
    every: int = 1
    _answers: int = field(default=0, repr=False)

    def wrong_now(self) -> str:
        """The kind of wrong answer that is due for this answer, or nothing."""
        if not self.wrong:
            return ""
        self._answers += 1
        return self.wrong if self._answers % self.every == 0 else ""


class ModbusPort:
    """One TCP port. `before` is called ahead of each request, so that the town's time is moved to now."""

    def __init__(self, name: str, units: Mapping[int, Unit], before: Callable[[], None], port: int = 0) -> None:
        self.name = name
        self.units = dict(units)
        self.port = port
        self.requests: Counter[int] = Counter()
        self.exceptions: Counter[int] = Counter()
        self.connections: set[_Connection] = set()
        self.accepted = 0
        self.busy_until = 0.0
        self._before = before
        self._server: asyncio.Server | None = None
        self._disturbances: dict[int | None, Disturbance] = {}
        self._random = Random(name)

    async def start(self) -> None:
        """Listen; a port of 0 becomes whatever is free and stays so."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop all connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self.connections):
            connection.abort()

    @property
    def listening(self) -> bool:
        """Whether connections are accepted."""
        return self._server is not None

    async def disturb(self, unit: int | None, disturbance: Disturbance | None) -> None:
        """Set or, with None, end what is wrong with one unit, or with the whole port where `unit` is None."""
        if disturbance is None:
            self._disturbances.pop(unit, None)
        else:
            self._disturbances[unit] = disturbance
        refuse = any(d.dead == REFUSE for d in self._disturbances.values())
        if refuse and self.listening:
            await self.stop()
        elif not refuse and not self.listening:
            await self.start()

    def disturbance(self, unit: int) -> Disturbance | None:
        """What is wrong with a unit now."""
        return self._disturbances.get(unit) or self._disturbances.get(None)

    def handle(self, header: tuple[int, int], request: bytes, origin: Origin) -> tuple[bytes, bool]:
        """The frame that answers a request, empty where the device stays silent, and whether it then hangs up."""
        transaction, unit_id = header
        self.requests[unit_id] += 1
        disturbance = self.disturbance(unit_id) if self._disturbances else None
        if disturbance is not None and disturbance.dead == SILENT:
            return b"", False
        unit = self.units.get(unit_id)
        if unit is None or (disturbance is not None and disturbance.dead == NO_TARGET):
            answer = pdu.exception(request[0], TARGET_FAILED_TO_RESPOND)
        else:
            self._before()
            answer = pdu.answer(unit, request, origin)
        if answer[0] & 0x80:
            self.exceptions[unit_id] += 1
        frame = _HEADER.pack(transaction, 0, len(answer) + 1, unit_id) + answer
        wrong = disturbance.wrong_now() if disturbance is not None else ""
        if wrong == "close":
            return frame[: len(frame) // 2], True
        if wrong and disturbance is not None:
            frame = self._wrong(wrong, disturbance, transaction, unit_id, answer)
        return frame, False

    def _wrong(self, kind: str, disturbance: Disturbance, transaction: int, unit: int, answer: bytes) -> bytes:
        if kind == "transaction":
            transaction ^= 0x5555
        elif kind == "unit":
            unit = (unit + 1) & 0xFF
        elif kind == "function":
            answer = bytes([answer[0] ^ 0x07]) + answer[1:]
        elif kind == "exception":
            answer = pdu.exception(answer[0] & 0x7F, disturbance.exception_code)
        elif kind == "short" and len(answer) > 4:
            # Byte count and frame agree with each other, but a register is missing.
            answer = bytes([answer[0], max(0, answer[1] - 2)]) + answer[2:-2]
        elif kind == "garbage":
            return self._random.randbytes(self._random.randint(1, 40))
        return _HEADER.pack(transaction, 0, len(answer) + 1, unit) + answer


class _Connection(asyncio.Protocol):
    """One client's connection: cuts the stream into frames and answers them."""

    def __init__(self, port: ModbusPort) -> None:
        self._port = port
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._origin = Origin("")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # other loops have transports of their own
        host, number = transport.get_extra_info("peername")[:2]
        self._origin = Origin(f"{host}:{number}")
        self._port.connections.add(self)
        self._port.accepted += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._port.connections.discard(self)
        self._transport = None

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 8:
            transaction, protocol, length, unit = _HEADER.unpack_from(self._buffer)
            if protocol != 0 or not 2 <= length <= MAX_FRAME - 6:
                self.abort()
                return
            if len(self._buffer) < 6 + length:
                return
            request = bytes(self._buffer[7 : 6 + length])
            del self._buffer[: 6 + length]
            self._take((transaction, unit), request)

    def _take(self, header: tuple[int, int], request: bytes) -> None:
        disturbance = self._port.disturbance(header[1])
        if disturbance is None or disturbance.delay_s <= 0:
            self._answer(header, request)
            return
        # A slow device works on one request after the other, whoever asked.
        loop = asyncio.get_running_loop()
        self._port.busy_until = max(self._port.busy_until, loop.time()) + disturbance.delay_s
        loop.call_at(self._port.busy_until, self._answer, header, request)

    def _answer(self, header: tuple[int, int], request: bytes) -> None:
        frame, hang_up = self._port.handle(header, request, self._origin)
        if self._transport is not None:
            if frame:
                self._transport.write(frame)
            if hang_up:
                self._transport.close()
