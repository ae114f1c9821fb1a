"""Framing, limits and disturbances of the Modbus server, on raw sockets."""

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence

import pytest

from simulator.modbus.server import Disturbance, ModbusPort
from simulator.modbus.unit import (
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    ModbusRefusal,
    Origin,
    Unit,
    registers,
)


class Memory(Unit):
    """Ten holding registers and ten coils."""

    model = "memory"

    def __init__(self) -> None:
        self.registers = list(range(10))
        self.coils = [False] * 10
        self.peers: list[str] = []

    def read_holding(self, address: int, count: int) -> bytes:
        if address + count > 10:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        return registers(self.registers[address : address + count])

    def read_coils(self, address: int, count: int) -> Sequence[bool]:
        return self.coils[address : address + count]

    def write_holding(self, address: int, values: Sequence[int], origin: Origin) -> None:
        self.peers.append(origin.peer)
        self.registers[address : address + len(values)] = values

    def write_coils(self, address: int, values: Sequence[bool], origin: Origin) -> None:
        self.coils[address : address + len(values)] = values


@pytest.fixture
async def port() -> AsyncIterator[ModbusPort]:
    port = ModbusPort("test", {1: Memory(), 2: Memory()}, before=lambda: None)
    await port.start()
    yield port
    await port.stop()


class Wire:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, int, bytes]:
        """Transaction, unit and PDU of the next frame."""
        header = await asyncio.wait_for(self.reader.readexactly(7), 20)
        transaction, protocol, length, unit = struct.unpack(">HHHB", header)
        assert protocol == 0
        return transaction, unit, await asyncio.wait_for(self.reader.readexactly(length - 1), 20)

    async def ask(self, pdu: bytes, unit: int = 1) -> bytes:
        self.writer.write(frame(1, unit, pdu))
        return (await self.answer())[2]


def frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


READ_TWO = struct.pack(">BHH", 3, 0, 2)


@pytest.fixture
async def wire(port: ModbusPort) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
    yield Wire(reader, writer)
    writer.close()


async def test_several_requests_in_one_segment_are_all_answered_in_order(wire: Wire) -> None:
    wire.writer.write(b"".join(frame(n, 1, READ_TWO) for n in range(5)))
    assert [(await wire.answer())[0] for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_a_request_that_arrives_byte_by_byte_is_answered_once(wire: Wire) -> None:
    for byte in frame(9, 1, READ_TWO):
        wire.writer.write(bytes([byte]))
        await wire.writer.drain()
        await asyncio.sleep(0)
    assert await wire.answer() == (9, 1, bytes([3, 4, 0, 0, 0, 1]))


@pytest.mark.parametrize(
    ("pdu", "code"),
    [
        (bytes([7]), ILLEGAL_FUNCTION),
        (bytes([4, 0, 0, 0, 1]), ILLEGAL_FUNCTION),
        (struct.pack(">BHH", 3, 0, 0), ILLEGAL_VALUE),
        (struct.pack(">BHH", 3, 0, 126), ILLEGAL_VALUE),
        (struct.pack(">BHH", 3, 0xFFFF, 2), ILLEGAL_ADDRESS),
        (struct.pack(">BHH", 3, 9, 2), ILLEGAL_ADDRESS),
        (struct.pack(">BHH", 5, 0, 0x1234), ILLEGAL_VALUE),
        (struct.pack(">BHHB", 16, 0, 2, 4) + b"\0\1", ILLEGAL_VALUE),
        (struct.pack(">BHHB", 15, 0, 3, 2) + b"\0\0", ILLEGAL_VALUE),
        (bytes([3, 0, 0]), ILLEGAL_VALUE),
        (bytes([0x2B, 0x0D, 1, 0]), ILLEGAL_FUNCTION),
        (bytes([0x2B, 0x0E, 4, 99]), ILLEGAL_ADDRESS),
        (bytes([0x2B, 0x0E, 9, 0]), ILLEGAL_VALUE),
    ],
)
async def test_what_the_specification_forbids_is_answered_with_its_exception(wire: Wire, pdu: bytes, code: int) -> None:
    assert await wire.ask(pdu) == bytes([pdu[0] | 0x80, code])


async def test_writes_are_echoed_and_the_peer_is_known(port: ModbusPort, wire: Wire) -> None:
    assert await wire.ask(struct.pack(">BHH", 6, 3, 77)) == struct.pack(">BHH", 6, 3, 77)
    assert await wire.ask(struct.pack(">BHHB2H", 16, 4, 2, 4, 5, 6)) == struct.pack(">BHH", 16, 4, 2)
    assert await wire.ask(struct.pack(">BHH", 5, 1, 0xFF00)) == struct.pack(">BHH", 5, 1, 0xFF00)
    assert await wire.ask(struct.pack(">BHHBB", 15, 2, 3, 1, 0b101)) == struct.pack(">BHH", 15, 2, 3)
    assert await wire.ask(struct.pack(">BHH", 1, 0, 10)) == bytes([1, 2, 0b00010110, 0])
    memory = port.units[1]
    assert isinstance(memory, Memory)
    assert memory.registers[3:6] == [77, 5, 6]
    host, number = wire.writer.get_extra_info("sockname")
    assert set(memory.peers) == {f"{host}:{number}"}


async def test_a_stream_that_is_no_modbus_is_hung_up_on(wire: Wire) -> None:
    wire.writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert await asyncio.wait_for(wire.reader.read(), 20) == b""


async def test_identification_gives_single_objects_too(wire: Wire) -> None:
    assert await wire.ask(bytes([0x2B, 0x0E, 4, 5])) == bytes([0x2B, 0x0E, 4, 0x83, 0, 0, 1, 5, 6]) + b"memory"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("transaction", (0x5555 ^ 1, 1, bytes([3, 4, 0, 0, 0, 1]))),
        ("unit", (1, 2, bytes([3, 4, 0, 0, 0, 1]))),
        ("function", (1, 1, bytes([4, 4, 0, 0, 0, 1]))),
        ("short", (1, 1, bytes([3, 2, 0, 0]))),
        ("exception", (1, 1, bytes([0x83, 6]))),
    ],
)
async def test_a_device_that_answers_wrongly_does_so_in_the_way_asked_for(
    port: ModbusPort, wire: Wire, kind: str, expected: tuple[int, int, bytes]
) -> None:
    await port.disturb(1, Disturbance(wrong=kind, exception_code=6))
    wire.writer.write(frame(1, 1, READ_TWO))
    assert await wire.answer() == expected
    await port.disturb(1, None)
    assert await wire.ask(READ_TWO) == bytes([3, 4, 0, 0, 0, 1])


async def test_only_every_nth_answer_is_wrong_where_asked(port: ModbusPort, wire: Wire) -> None:
    await port.disturb(1, Disturbance(wrong="transaction", every=3))
    wire.writer.write(frame(1, 1, READ_TWO) * 6)
    assert [(await wire.answer())[0] == 1 for _ in range(6)] == [True, True, False] * 2


async def test_garbage_is_not_a_valid_frame_of_this_request(port: ModbusPort, wire: Wire) -> None:
    await port.disturb(None, Disturbance(wrong="garbage"))
    wire.writer.write(frame(1, 1, READ_TWO))
    data = await asyncio.wait_for(wire.reader.read(300), 20)
    assert data
    assert data != frame(1, 1, bytes([3, 4, 0, 0, 0, 1]))


async def test_a_device_may_hang_up_in_the_middle_of_its_answer(port: ModbusPort, wire: Wire) -> None:
    await port.disturb(1, Disturbance(wrong="close"))
    wire.writer.write(frame(1, 1, READ_TWO))
    assert len(await asyncio.wait_for(wire.reader.read(), 20)) == 6


async def test_a_silent_unit_does_not_keep_its_neighbour_from_answering(port: ModbusPort, wire: Wire) -> None:
    await port.disturb(1, Disturbance(dead="silent"))
    wire.writer.write(frame(1, 1, READ_TWO) + frame(2, 2, READ_TWO))
    assert (await wire.answer())[:2] == (2, 2)
    assert port.requests[1] == 1


async def test_a_unit_without_target_is_answered_for_by_its_gateway(port: ModbusPort, wire: Wire) -> None:
    await port.disturb(2, Disturbance(dead="no-target"))
    assert await wire.ask(READ_TWO, unit=2) == bytes([0x83, 0x0B])
    assert await wire.ask(READ_TWO, unit=1) == bytes([3, 4, 0, 0, 0, 1])


async def test_a_slow_device_works_on_one_request_after_the_other(port: ModbusPort, wire: Wire) -> None:
    await port.disturb(1, Disturbance(delay_s=0.05))
    loop = asyncio.get_running_loop()
    begin = loop.time()
    wire.writer.write(frame(1, 1, READ_TWO) + frame(2, 1, READ_TWO) + frame(3, 2, READ_TWO))
    order = [(await wire.answer())[0] for _ in range(3)]
    assert order == [3, 1, 2]
    assert loop.time() - begin >= 0.1


async def test_a_port_that_refuses_drops_its_clients_and_comes_back_at_the_same_number(
    port: ModbusPort, wire: Wire
) -> None:
    number = port.port
    await port.disturb(None, Disturbance(dead="refuse"))
    assert await asyncio.wait_for(wire.reader.read(), 20) == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", number)
    await port.disturb(None, None)
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    assert await Wire(reader, writer).ask(READ_TWO) == bytes([3, 4, 0, 0, 0, 1])
    writer.close()
