"""Modbus frames as bytes: the header of Modbus TCP, the CRC and the lengths of RTU. Pure; who may use an answer is
decided by the links.

Sources: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3 (MBAP header); MODBUS over Serial Line V1.02,
2.5.1 (RTU frames, CRC); MODBUS Application Protocol V1.1b3, 6 (lengths of answers).
"""

from __future__ import annotations

from struct import Struct
from typing import Final

# Transaction, protocol (0), bytes that follow, and unit and function code as one number: they are compared together.
MBAP: Final = Struct(">HHHH")
MBAP_HEADER: Final = 6  # bytes not counted by the header's own length
MBAP_LENGTH_MINIMUM: Final = 2  # unit and function code
MBAP_LENGTH_MAXIMUM: Final = 254  # unit and a PDU of at most 253 bytes
EXCEPTION_BIT: Final = 0x80
RTU_LONGEST: Final = 256
RTU_SHORTEST: Final = 4  # unit, function code, CRC

_WITH_BYTE_COUNT: Final = frozenset({1, 2, 3, 4, 0x0C, 0x11, 0x14, 0x15, 0x17})
_FIXED: Final = {5: 8, 6: 8, 7: 5, 8: 8, 0x0B: 8, 0x0F: 8, 0x10: 8, 0x16: 10}
_FIFO: Final = 0x18
_ENCAPSULATED: Final = 0x2B
_IDENTIFICATION: Final = 0x0E


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def crc16(data: bytes | bytearray) -> int:
    """CRC of an RTU frame (polynomial 0x8005 reflected, start 0xFFFF)."""
    check = 0xFFFF
    table = _CRC_TABLE
    for byte in data:
        check = check >> 8 ^ table[(check ^ byte) & 0xFF]
    return check


def rtu_frame(unit: int, function_code: int, payload: bytes) -> bytes:
    """A frame as it goes over the line, CRC with its low byte first."""
    body = bytes((unit, function_code)) + payload
    return body + crc16(body).to_bytes(2, "little")


def rtu_answer_length(frame: bytes | bytearray) -> int | None:
    """Bytes that the answer beginning here takes with its CRC; None while too little of it is there to say.

    An answer to a function that the specification does not name ends where its CRC is right.
    """
    size = len(frame)
    if size < 3:
        return None
    function = frame[1]
    if function & EXCEPTION_BIT:
        return 5
    if function in _WITH_BYTE_COUNT:
        return 5 + frame[2]
    if function in _FIXED:
        return _FIXED[function]
    if function == _FIFO:
        return None if size < 4 else 6 + (frame[2] << 8 | frame[3])
    if function == _ENCAPSULATED and frame[2] == _IDENTIFICATION:
        return _identification_length(frame)
    return size if size >= RTU_SHORTEST and crc16(frame) == 0 else None


def _identification_length(frame: bytes | bytearray) -> int | None:
    if len(frame) < 8:
        return None
    position = 8
    for _ in range(frame[7]):
        if len(frame) < position + 2:
            return None
        position += 2 + frame[position + 1]
    return position + 2
