"""Strict framing for pymodbus' client: only an answer that fits its request in every respect gets through.

pymodbus' own framers accept transaction id 0 for any request, do not compare the function code, and forget half a
frame whenever the next request is sent, so that the rest of a late answer is read as the head of a new one. Payloads
stay bytes here: register lists would only be taken apart again by the decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU

NO_REQUEST: Final = -1  # nothing is outstanding: whatever comes is discarded

_MBAP_HEADER: Final = 7  # transaction, protocol, length, unit
_LENGTH_MINIMUM: Final = 2  # unit and function code
_LENGTH_MAXIMUM: Final = 254  # unit and a PDU of at most 253 bytes
_EXCEPTION_BIT: Final = 0x80
_BUFFER_LIMIT: Final = 1 << 20  # never the reason to drop bytes: dropping some would shift all that follow


class RawPdu(ModbusPDU):
    """A function code with its bytes, neither interpreted on the way out nor on the way in."""

    def __init__(self, unit: int, function_code: int, payload: bytes) -> None:
        super().__init__(dev_id=unit)
        self.function_code = function_code
        self.payload = payload

    def encode(self) -> bytes:
        """The payload as it is."""
        return self.payload


class StrictSocketFramer(FramerSocket):
    """Modbus TCP: a continuous stream of frames, of which one may be the answer.

    `on_desync` is called when the stream makes no sense any more: nothing after that point can be trusted, the
    connection has to go.
    """

    MAX_SIZE = _BUFFER_LIMIT

    def __init__(self, on_desync: Callable[[], None]) -> None:
        super().__init__(DecodePDU(False))
        self.expected_function = NO_REQUEST
        self.discarded = 0
        self._on_desync = on_desync
        self._pending = bytearray()

    def handleFrame(self, data: bytes, exp_devid: int, exp_tid: int) -> tuple[int, ModbusPDU | None]:
        """All of `data` is taken; incomplete frames wait here, not in pymodbus' buffer, which requests clear."""
        pending = self._pending
        pending += data
        answer: ModbusPDU | None = None
        while len(pending) >= _MBAP_HEADER:
            length = int.from_bytes(pending[4:6], "big")
            if pending[2] or pending[3] or not _LENGTH_MINIMUM <= length <= _LENGTH_MAXIMUM:
                self.discarded += 1
                pending.clear()
                self._on_desync()
                return len(data), None
            if len(pending) < 6 + length:
                break
            frame = bytes(pending[: 6 + length])
            del pending[: 6 + length]
            fits = (
                answer is None
                and int.from_bytes(frame[0:2], "big") == exp_tid
                and frame[6] == exp_devid
                and frame[7] & ~_EXCEPTION_BIT == self.expected_function
            )
            if not fits:
                self.discarded += 1
                continue
            answer = RawPdu(frame[6], frame[7], frame[8:])
            answer.transaction_id = exp_tid
            # A second answer to the same request is one too many.
            self.expected_function = NO_REQUEST
        return len(data), answer


class StrictRtuFramer(FramerRTU):
    """RTU frames over TCP: no transaction ids, so unit, function code and CRC must do.

    After any doubt the link is dropped, because a late answer cannot be told from the one that is awaited.
    """

    MAX_SIZE = _BUFFER_LIMIT

    def __init__(self, on_desync: Callable[[], None]) -> None:
        super().__init__(DecodePDU(False))
        self.expected_function = NO_REQUEST
        self.discarded = 0
        self._on_desync = on_desync

    def handleFrame(self, data: bytes, exp_devid: int, exp_tid: int) -> tuple[int, ModbusPDU | None]:
        """One frame per answer; what does not check or does not fit ends the connection."""
        try:
            used, unit, _, frame = self.decode(data)
        except Exception:  # pymodbus raises whatever random bytes make of its length tables
            used, unit, frame = len(data), 0, b""
        if not used and len(data) <= self._longest_frame:
            return 0, None
        fits = bool(frame) and unit == exp_devid and frame[0] & ~_EXCEPTION_BIT == self.expected_function
        if not fits:
            self.discarded += 1
            self._on_desync()
            return len(data), None
        self.expected_function = NO_REQUEST
        answer = RawPdu(unit, frame[0], frame[1:])
        answer.transaction_id = exp_tid
        return len(data), answer

    _longest_frame: Final = 256
