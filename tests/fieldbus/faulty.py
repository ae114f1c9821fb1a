"""Modbus devices that tell the truth until a script makes them misbehave, on every kind of connection.

`Truth` holds the registers, `Faulty` frames and spoils its answers; the servers carry bytes over TCP (plain or TLS) or
a pair of pseudo terminals. What a script never does is lie in a frame that is right in every way: nobody could tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from fieldbus.modbus.line.frames import rtu_frame
from tests.support.tcp import TcpServer

_READS: Final = {3: "holding", 4: "input"}
_LIE: Final = 777  # what a wrong answer says; nothing true is ever 777


@dataclass(frozen=True)
class Fault:
    """One misbehaviour: what it is, and a number whose meaning depends on that."""

    kind: str
    number: int = 0


RIGHT: Final = Fault("right")
# What a Modbus TCP device may do, and with it what an RTU device may.
RTU_KINDS: Final = (
    "right", "silence", "short", "long", "split", "unit", "function", "exception", "refused though done", "close",
    "close inside", "reset", "garbage", "damaged", "done but silent", "twice",
)  # fmt: skip
TCP_KINDS: Final = (*RTU_KINDS, "transaction", "protocol", "late", "swapped", "garbage before", "strangers")
# Without effect on a command: it was certainly not carried out.
_NOT_DONE: Final = frozenset({"silence", "exception", "close", "reset"})


def true_register(unit: int, table: str, address: int) -> int:
    """What a register holds at first. No two of a device are alike, and none is what a lie says."""
    value = (address * 7 + unit * 131 + (500 if table == "input" else 0)) % 1000
    return value + 1 if value == _LIE else value


@dataclass
class Truth:
    """The registers of all units."""

    written: dict[tuple[int, int], int] = field(default_factory=dict)

    def register(self, unit: int, table: str, address: int) -> int:
        if table == "holding" and (unit, address) in self.written:
            return self.written[unit, address]
        return true_register(unit, table, address)

    def answer(self, unit: int, function: int, payload: bytes, *, do: bool = True) -> bytes:
        """The right payload of an answer; a command is carried out if `do`."""
        start, count = struct.unpack_from(">HH", payload)
        if function in _READS:
            words = [self.register(unit, _READS[function], start + offset) for offset in range(count)]
            return bytes((2 * count,)) + struct.pack(f">{count}H", *words)
        values = (count,) if function == 6 else struct.unpack_from(f">{count}H", payload, 5)
        if do:
            self.written.update({(unit, start + offset): value for offset, value in enumerate(values)})
        return payload[:4]


Send = Callable[[bytes], None]


class Faulty:
    """The devices behind one connection. `script` gives the fault of each request, then all is right."""

    def __init__(self, script: Iterable[Fault], *, rtu: bool) -> None:
        self.truth = Truth()
        self.rtu = rtu
        self.well_behaved: set[int] = set()  # units to which the script does not apply
        self.requests: list[tuple[int, int]] = []
        self._script: Iterator[Fault] = iter(script)
        self._held: list[bytes] = []

    def calm(self) -> None:
        """From now on all is right."""
        self._script = iter(())

    def take(self, data: bytearray) -> bytes | None:
        """The first whole request in `data`, which it leaves."""
        size = 0
        if self.rtu and len(data) >= 8:
            size = 8 if data[1] != 16 else 9 + data[6]
        elif not self.rtu and len(data) >= 8:
            size = 6 + int.from_bytes(data[4:6], "big")
        if not size or len(data) < size:
            return None
        frame = bytes(data[:size])
        del data[:size]
        return frame

    def request(self, frame: bytes, send: Send, close: Callable[[], None], reset: Callable[[], None]) -> None:
        """Answer a request, or do something else."""
        at = 0 if self.rtu else 6
        unit, function, payload = frame[at], frame[at + 1], frame[at + 2 : -2 if self.rtu else None]
        self.requests.append((unit, function))
        fault = RIGHT if unit in self.well_behaved else next(self._script, RIGHT)
        answer = self.truth.answer(unit, function, payload, do=fault.kind not in _NOT_DONE)
        lie = answer if function not in _READS else answer[:1] + struct.pack(">H", _LIE) * ((len(answer) - 1) // 2)

        def framed(body: bytes, *, unit: int = unit, function: int = function, transaction: int = 0) -> bytes:
            if self.rtu:
                return rtu_frame(unit, function, body)
            number = (int.from_bytes(frame[:2], "big") + transaction) % 65536
            return struct.pack(">HHHBB", number, 0, len(body) + 2, unit, function) + body

        held, self._held = self._held, []
        right = framed(answer)
        number = fault.number
        match fault.kind:
            case "right" | "swapped":
                if fault.kind == "swapped" and not held:
                    self._held = [right]
                    return
                late = b"".join(held)
                send(late + right if number % 2 else right + late)
            case "silence" | "done but silent":
                pass
            case "late":
                self._held = [*held, right]
            case "short":
                send(framed(lie[: number % max(len(lie), 1)]))
            case "long":
                send(framed(lie + bytes(number % 40 + 1)))
            case "split":
                for byte in right:
                    send(bytes((byte,)))
            case "transaction":
                send(framed(lie, transaction=number % 50_000 + 1000))
            case "unit":
                send(framed(lie, unit=(unit + number % 254 + 1) % 256))
            case "function":
                send(framed(lie, function=function ^ (number % 127 + 1)))
            case "protocol":
                send(right[:2] + b"\x01" + right[3:])
            case "exception" | "refused though done":
                code = number % 11 + 1 if fault.kind == "exception" else (4, 5, 10, 11)[number % 4]
                send(framed(bytes((code,)), function=function | 0x80))
            case "close":
                close()
            case "close inside":
                send(framed(lie)[: number % len(right)])
                close()
            case "reset":
                reset()
            case "garbage":
                send(_noise(number, number % 300 + 1))
            case "garbage before":
                send(_noise(number, number % 5 + 1) + framed(lie))
            case "damaged":
                send(_damaged(framed(lie), number, anywhere=self.rtu))
            case "twice":
                send(right + framed(lie))
            case "strangers":
                strangers = b"".join(framed(lie, transaction=n + 1, unit=9) for n in range(number % 50))
                send(strangers + right)
        if fault.kind not in ("right", "swapped", "late"):
            for answer in held:
                send(answer)


def _noise(seed: int, size: int) -> bytes:
    """Bytes that look like nothing, the same for the same seed."""
    return bytes((seed * 2654435761 + at * at * 40503 + at * 97) >> 7 & 0xFF for at in range(size))


def _damaged(frame: bytes, number: int, *, anywhere: bool) -> bytes:
    """One bit flipped: anywhere where a CRC tells, else in the transaction id (TCP's own sum guards the rest)."""
    spoilt = bytearray(frame)
    at = number % len(frame) if anywhere else 0
    spoilt[at] ^= 1 << (number // 7 % 8)
    return bytes(spoilt)


class FaultyTcp(TcpServer):
    """Over TCP, plain or in TLS. With `pieces` what is sent is cut into pieces of that many bytes."""

    def __init__(self, faulty: Faulty, context: ssl.SSLContext | None = None, pieces: int = 0) -> None:
        super().__init__(context)
        self.faulty = faulty
        self._pieces = pieces

    @property
    def url(self) -> str:
        scheme = "rtutcp" if self.faulty.rtu else "tcp" if self._context is None else "tls"
        return f"modbus+{scheme}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pending = bytearray()
        outgoing = bytearray()
        while data := await reader.read(4096):
            pending += data
            while (frame := self.faulty.take(pending)) is not None:
                self.faulty.request(frame, outgoing.extend, writer.close, writer.transport.abort)
                step = self._pieces or len(outgoing) or 1
                for start in range(0, len(outgoing), step):
                    if not writer.transport.is_closing() or start == 0:
                        writer.write(bytes(outgoing[start : start + step]))
                        await writer.drain()
                        if self._pieces:
                            await asyncio.sleep(0)
                outgoing.clear()


class FaultyLine:
    """On a serial line, as a pair of pseudo terminals. What closes a connection elsewhere is silence here."""

    def __init__(self, faulty: Faulty) -> None:
        self.faulty = faulty
        self._master, self._slave = os.openpty()
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._pending = bytearray()

    @property
    def url(self) -> str:
        return f"modbus+rtu://{self.path}?baud=115200"

    async def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    async def stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._slave)
        os.close(self._master)

    def _readable(self) -> None:
        with contextlib.suppress(OSError):
            self._pending += os.read(self._master, 4096)
        while (frame := self.faulty.take(self._pending)) is not None:
            self.faulty.request(frame, self._send, lambda: None, lambda: None)

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._master, data)
