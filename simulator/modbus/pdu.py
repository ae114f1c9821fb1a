"""Modbus requests to a unit and its answers, as protocol data units (function code and data), without framing.

Limits and exception codes follow the Modbus application protocol specification 1.1b3.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from simulator.modbus.unit import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, ILLEGAL_VALUE, ModbusRefusal, Origin, Unit

READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT = 1, 2, 3, 4
WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS = 5, 6, 15, 16
ENCAPSULATED, DEVICE_IDENTIFICATION = 0x2B, 0x0E

MAX_READ_BITS, MAX_READ_REGISTERS = 2000, 125
MAX_WRITE_BITS, MAX_WRITE_REGISTERS = 1968, 123
MAX_IDENTIFICATION_BYTES = 240


def answer(unit: Unit, request: bytes, origin: Origin) -> bytes:
    """The answer to a request; anything a unit refuses becomes an exception answer."""
    function = request[0]
    try:
        handler = _HANDLERS.get(function)
        if handler is None:
            raise ModbusRefusal(ILLEGAL_FUNCTION)
        return bytes([function]) + handler(unit, request[1:], origin)
    except ModbusRefusal as refusal:
        return exception(function, refusal.code)


def exception(function: int, code: int) -> bytes:
    """An exception answer."""
    return bytes([function | 0x80, code])


def _span(data: bytes, most: int) -> tuple[int, int]:
    """Address and count at the start of a request, within limits."""
    if len(data) < 4:
        raise ModbusRefusal(ILLEGAL_VALUE)
    address, count = struct.unpack_from(">HH", data)
    if not 1 <= count <= most:
        raise ModbusRefusal(ILLEGAL_VALUE)
    if address + count > 0x10000:
        raise ModbusRefusal(ILLEGAL_ADDRESS)
    return address, count


def _exact(data: bytes, length: int) -> None:
    if len(data) != length:
        raise ModbusRefusal(ILLEGAL_VALUE)


def _pack_bits(bits: Sequence[bool]) -> bytes:
    packed = sum(1 << i for i, bit in enumerate(bits) if bit).to_bytes((len(bits) + 7) // 8, "little")
    return bytes([len(packed)]) + packed


def _read_coils(unit: Unit, data: bytes, origin: Origin) -> bytes:
    _exact(data, 4)
    return _pack_bits(unit.read_coils(*_span(data, MAX_READ_BITS)))


def _read_discrete(unit: Unit, data: bytes, origin: Origin) -> bytes:
    _exact(data, 4)
    return _pack_bits(unit.read_discrete_inputs(*_span(data, MAX_READ_BITS)))


def _read_holding(unit: Unit, data: bytes, origin: Origin) -> bytes:
    _exact(data, 4)
    values = unit.read_holding(*_span(data, MAX_READ_REGISTERS))
    return bytes([len(values)]) + values


def _read_input(unit: Unit, data: bytes, origin: Origin) -> bytes:
    _exact(data, 4)
    values = unit.read_input(*_span(data, MAX_READ_REGISTERS))
    return bytes([len(values)]) + values


def _write_coil(unit: Unit, data: bytes, origin: Origin) -> bytes:
    _exact(data, 4)
    address, value = struct.unpack(">HH", data)
    if value not in (0x0000, 0xFF00):
        raise ModbusRefusal(ILLEGAL_VALUE)
    unit.write_coils(address, [value == 0xFF00], origin)
    return data


def _write_register(unit: Unit, data: bytes, origin: Origin) -> bytes:
    _exact(data, 4)
    address, value = struct.unpack(">HH", data)
    unit.write_holding(address, [value], origin)
    return data


def _write_coils(unit: Unit, data: bytes, origin: Origin) -> bytes:
    address, count = _span(data, MAX_WRITE_BITS)
    packed = (count + 7) // 8
    if len(data) != 5 + packed or data[4] != packed:
        raise ModbusRefusal(ILLEGAL_VALUE)
    bits = int.from_bytes(data[5:], "little")
    unit.write_coils(address, [bool(bits >> i & 1) for i in range(count)], origin)
    return data[:4]


def _write_registers(unit: Unit, data: bytes, origin: Origin) -> bytes:
    address, count = _span(data, MAX_WRITE_REGISTERS)
    if len(data) != 5 + 2 * count or data[4] != 2 * count:
        raise ModbusRefusal(ILLEGAL_VALUE)
    unit.write_holding(address, struct.unpack_from(f">{count}H", data, 5), origin)
    return data[:4]


def _identify(unit: Unit, data: bytes, origin: Origin) -> bytes:
    """Device identification: basic (1), regular (2), extended (3) as a stream, or one object (4)."""
    if len(data) < 1 or data[0] != DEVICE_IDENTIFICATION:
        raise ModbusRefusal(ILLEGAL_FUNCTION)
    _exact(data, 3)
    code, first = data[1], data[2]
    objects = unit.identification()
    if code == 4:
        if first not in objects:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        chosen = [first]
    elif code in (1, 2, 3):
        last = {1: 0x02, 2: 0x7F, 3: 0xFF}[code]
        # A stream that begins beyond what there is begins anew.
        chosen = [i for i in sorted(objects) if i <= last]
        chosen = [i for i in chosen if i >= first] or chosen
    else:
        raise ModbusRefusal(ILLEGAL_VALUE)
    body, more, following, sent = b"", 0x00, 0, 0
    for i in chosen:
        text = objects[i].encode("ascii", "replace")[:200]
        if len(body) + 2 + len(text) > MAX_IDENTIFICATION_BYTES:
            more, following = 0xFF, i
            break
        body += bytes([i, len(text)]) + text
        sent += 1
    return bytes([DEVICE_IDENTIFICATION, code, 0x83, more, following, sent]) + body


_HANDLERS: dict[int, Callable[[Unit, bytes, Origin], bytes]] = {
    READ_COILS: _read_coils,
    READ_DISCRETE: _read_discrete,
    READ_HOLDING: _read_holding,
    READ_INPUT: _read_input,
    WRITE_COIL: _write_coil,
    WRITE_REGISTER: _write_register,
    WRITE_COILS: _write_coils,
    WRITE_REGISTERS: _write_registers,
    ENCAPSULATED: _identify,
}
