"""Devices that answer late, short, wrongly, or not at all: nothing hangs, nothing crashes, no wrong value is good."""

from __future__ import annotations

import asyncio
import random
import struct

import pytest

from fieldbus.client import Fieldbus
from fieldbus.device import Device
from fieldbus.values import DeviceState, PointAddress, Quality, WriteOutcome
from tests.fieldbus.conftest import ServeRaw
from tests.fieldbus.servers import Behaviour, Manual, answer_frame, registers_pdu

LEVELS = tuple(PointAddress("level_command", gear) for gear in range(64))
RIGHT = 700
WRONG = 123


def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    if not writer.is_closing():
        writer.write(data)


async def right(request: bytes, writer: asyncio.StreamWriter) -> None:
    _send(writer, answer_frame(request, registers_pdu(request, RIGHT)))


async def wrong_transaction(request: bytes, writer: asyncio.StreamWriter) -> None:
    number = int.from_bytes(request[0:2], "big")
    _send(writer, answer_frame(request, registers_pdu(request, WRONG), transaction=number + 1))


async def transaction_zero(request: bytes, writer: asyncio.StreamWriter) -> None:
    _send(writer, answer_frame(request, registers_pdu(request, WRONG), transaction=0))


async def wrong_unit(request: bytes, writer: asyncio.StreamWriter) -> None:
    _send(writer, answer_frame(request, registers_pdu(request, WRONG), unit=9))


async def wrong_function(request: bytes, writer: asyncio.StreamWriter) -> None:
    pdu = registers_pdu(request, WRONG)
    _send(writer, answer_frame(request, b"\x04" + pdu[1:]))


async def too_short(request: bytes, writer: asyncio.StreamWriter) -> None:
    _send(writer, answer_frame(request, registers_pdu(request, WRONG)[:-2]))


async def fewer_registers(request: bytes, writer: asyncio.StreamWriter) -> None:
    _send(writer, answer_frame(request, bytes((3, 4)) + struct.pack(">HH", WRONG, WRONG)))


async def too_long(request: bytes, writer: asyncio.StreamWriter) -> None:
    _send(writer, answer_frame(request, registers_pdu(request, WRONG) + b"\0\1"))


async def odd_byte_count(request: bytes, writer: asyncio.StreamWriter) -> None:
    pdu = registers_pdu(request, WRONG)
    _send(writer, answer_frame(request, bytes((3, pdu[1] - 1)) + pdu[2:-1]))


async def wrong_protocol(request: bytes, writer: asyncio.StreamWriter) -> None:
    frame = answer_frame(request, registers_pdu(request, WRONG))
    _send(writer, frame[:2] + b"\x12\x34" + frame[4:])


async def absurd_length(request: bytes, writer: asyncio.StreamWriter) -> None:
    _send(writer, request[:4] + b"\xff\xff" + request[6:7] + registers_pdu(request, WRONG))


async def empty_exception(request: bytes, writer: asyncio.StreamWriter) -> None:
    _send(writer, answer_frame(request, bytes((request[7] | 0x80,))))


async def silence(request: bytes, writer: asyncio.StreamWriter) -> None:
    pass


async def close_at_once(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def close_mid_answer(request: bytes, writer: asyncio.StreamWriter) -> None:
    _send(writer, answer_frame(request, registers_pdu(request, WRONG))[:20])
    writer.close()


async def reset_connection(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize(
    "behave",
    [
        wrong_transaction,
        transaction_zero,
        wrong_unit,
        wrong_function,
        too_short,
        fewer_registers,
        too_long,
        odd_byte_count,
        wrong_protocol,
        absurd_length,
        empty_exception,
        silence,
        close_at_once,
        close_mid_answer,
        reset_connection,
    ],
    ids=lambda behave: behave.__name__,
)
async def test_an_answer_that_does_not_fit_is_never_used(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual, behave: Behaviour
) -> None:
    server = await serve_raw(behave)
    lamps = fieldbus.open(server.url, "generic-level-status")
    batch = await asyncio.wait_for(lamps.read(LEVELS), 20)
    assert set(batch.quality.tolist()) == {Quality.MISSING}
    assert lamps.health().state is DeviceState.BACKING_OFF
    if behave not in (silence, close_at_once, close_mid_answer, reset_connection):
        assert lamps.health().counters.discarded > 0

    # The same device answers rightly after its back-off: it is believed again.
    server.behave = right
    clock.seconds += 100
    batch = await asyncio.wait_for(lamps.read(LEVELS), 20)
    assert set(batch.values.tolist()) == {RIGHT}


@pytest.mark.parametrize("code", [*range(1, 12), 0, 99, 255])
async def test_every_exception_code_ends_in_no_value(fieldbus: Fieldbus, serve_raw: ServeRaw, code: int) -> None:
    async def refuse(request: bytes, writer: asyncio.StreamWriter) -> None:
        _send(writer, answer_frame(request, bytes((request[7] | 0x80, code))))

    server = await serve_raw(refuse)
    lamps = fieldbus.open(server.url, "generic-level-status")
    batch = await asyncio.wait_for(lamps.read(LEVELS), 20)
    assert set(batch.quality.tolist()) <= {Quality.BAD, Quality.MISSING}
    assert lamps.health().counters.exceptions >= 1


async def test_a_late_answer_is_not_taken_for_the_next_one(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual
) -> None:
    """The first answer comes only once the second request has arrived, before the second's own."""
    late: list[bytes] = []

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        if not late:
            late.append(answer_frame(request, registers_pdu(request, WRONG)))
            return
        _send(writer, late[0])
        await right(request, writer)

    server = await serve_raw(behave)
    lamps = fieldbus.open(server.url, "generic-level-status")
    assert set((await lamps.read(LEVELS)).quality.tolist()) == {Quality.MISSING}
    clock.seconds += 100
    assert set((await lamps.read(LEVELS)).values.tolist()) == {RIGHT}
    assert server.connections == 1
    assert lamps.health().counters.discarded == 1


async def test_the_second_half_of_a_late_answer_is_not_read_as_a_new_frame(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual
) -> None:
    """Half an answer stays behind. Its rest is made to look like a frame with transaction id 0 for unit 1."""
    trap = b"\0\0" + b"\0\0" + b"\0\x05" + b"\x01\x03\x02" + WRONG.to_bytes(2, "big")
    pending: list[bytes] = []

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        if not pending:
            payload = b"\0" * 2 + trap + b"\0" * (128 - 2 - len(trap))
            frame = answer_frame(request, bytes((3, 128)) + payload)
            head = 9 + 2
            pending.append(frame[head:])
            _send(writer, frame[:head])
            return
        _send(writer, pending[0])
        await right(request, writer)

    server = await serve_raw(behave)
    lamps = fieldbus.open(server.url, "generic-level-status")
    await lamps.read(LEVELS)
    clock.seconds += 100
    batch = await lamps.read([PointAddress("level_command", 0)])
    assert batch.values.tolist() == [RIGHT]


async def test_an_answer_may_arrive_byte_by_byte(fieldbus: Fieldbus, serve_raw: ServeRaw) -> None:
    async def drip(request: bytes, writer: asyncio.StreamWriter) -> None:
        for byte in answer_frame(request, registers_pdu(request, RIGHT)):
            _send(writer, bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0)

    server = await serve_raw(drip)
    lamps = fieldbus.open(server.url, "generic-level-status")
    assert set((await lamps.read(LEVELS[:8])).values.tolist()) == {RIGHT}


async def test_answers_twice_and_unasked_ones_are_discarded(fieldbus: Fieldbus, serve_raw: ServeRaw) -> None:
    async def twice(request: bytes, writer: asyncio.StreamWriter) -> None:
        frame = answer_frame(request, registers_pdu(request, RIGHT))
        wrong = answer_frame(request, registers_pdu(request, WRONG))
        _send(writer, frame + wrong)

    server = await serve_raw(twice)
    lamps = fieldbus.open(server.url, "generic-level-status")
    for _ in range(5):
        assert set((await lamps.read(LEVELS)).values.tolist()) == {RIGHT}
    assert lamps.health().counters.discarded >= 4


async def test_a_connection_that_the_device_closed_while_idle_is_renewed_without_a_gap(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    async def answer_once_per_connection(request: bytes, writer: asyncio.StreamWriter) -> None:
        await right(request, writer)
        await writer.drain()
        writer.close()

    server = await serve_raw(answer_once_per_connection)
    lamps = fieldbus.open(server.url, "generic-level-status")
    for _ in range(4):
        assert set((await lamps.read(LEVELS)).values.tolist()) == {RIGHT}
    assert server.connections == 4


async def test_a_silent_unit_costs_its_bus_one_request_per_back_off_and_its_neighbour_nothing(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual
) -> None:
    async def only_unit_1(request: bytes, writer: asyncio.StreamWriter) -> None:
        if request[6] == 1:
            await right(request, writer)

    server = await serve_raw(only_unit_1)
    alive = fieldbus.open(f"{server.url}?unit=1", "generic-level-status")
    dead = fieldbus.open(f"{server.url}?unit=2", "generic-level-status")
    for _ in range(10):
        assert set((await alive.read(LEVELS)).values.tolist()) == {RIGHT}
        assert set((await dead.read(LEVELS)).quality.tolist()) == {Quality.MISSING}
    assert sum(request[6] == 2 for request in server.requests) == 1
    waits = []
    for _ in range(9):
        wait_s = dead.health().seconds_to_next_attempt
        waits.append(wait_s)
        clock.seconds += wait_s + 0.001
        await dead.read(LEVELS)
    assert sum(request[6] == 2 for request in server.requests) == 10
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(60, rel=0.01)


async def test_a_write_without_answer_is_unknown_and_what_follows_is_not_sent(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    server = await serve_raw(silence)
    lamps = fieldbus.open(server.url, "generic-level-status")
    results = await lamps.write([(PointAddress("level_command", 0), 500), (PointAddress("level_command", 9), 500)])
    assert [result.outcome for result in results] == [WriteOutcome.UNKNOWN] * 2
    assert "did not answer" in results[0].reason
    assert results[1].reason.startswith("not sent")
    assert len(server.requests) == 1


async def test_the_echo_of_another_write_is_no_acknowledgement(fieldbus: Fieldbus, serve_raw: ServeRaw) -> None:
    async def echo_elsewhere(request: bytes, writer: asyncio.StreamWriter) -> None:
        pdu = bytearray(request[7:12])
        pdu[2] ^= 1
        _send(writer, answer_frame(request, bytes(pdu)))

    server = await serve_raw(echo_elsewhere)
    lamps = fieldbus.open(server.url, "generic-level-status")
    results = await lamps.write([(PointAddress("level_command", 0), 500)])
    assert results[0].outcome is WriteOutcome.UNKNOWN


async def _read_often(device: Device, clock: Manual, times: int) -> set[float]:
    seen: set[float] = set()
    for _ in range(times):
        batch = await asyncio.wait_for(device.read(LEVELS[:4]), 20)
        seen |= {float(value) for value, good in zip(batch.values, batch.good, strict=True) if good}
        clock.seconds += 100
    return seen


@pytest.mark.parametrize("seed", range(6))
async def test_random_bytes_between_right_answers_never_become_values(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual, seed: int
) -> None:
    dice = random.Random(seed)

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        frame = answer_frame(request, registers_pdu(request, RIGHT))
        choice = dice.randrange(5)
        if choice == 0:
            _send(writer, dice.randbytes(dice.randrange(1, 400)))
        elif choice == 1:
            broken = bytearray(frame)
            broken[dice.randrange(8)] ^= 1 << dice.randrange(8)
            _send(writer, bytes(broken))
        elif choice == 2:
            _send(writer, frame[: dice.randrange(1, len(frame))])
            writer.close()
        else:
            _send(writer, frame)

    server = await serve_raw(behave)
    lamps = fieldbus.open(server.url, "generic-level-status")
    # A flip in the header may also hit nothing that matters; what is taken must be right all the same.
    assert await _read_often(lamps, clock, 25) <= {float(RIGHT)}


async def test_rtu_frames_over_tcp_are_read_and_damaged_ones_are_not(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual
) -> None:
    damage = False

    async def rtu(request: bytes, writer: asyncio.StreamWriter) -> None:
        count = int.from_bytes(request[4:6], "big")
        value = WRONG if damage else RIGHT
        body = request[:2] + bytes((2 * count,)) + value.to_bytes(2, "big") * count
        check = _crc16(body)
        _send(writer, body + (check ^ (1 if damage else 0)).to_bytes(2, "little"))

    server = await serve_raw(rtu, rtu=True)
    lamps = fieldbus.open(f"{server.url}?unit=5", "generic-level-status")
    assert set((await lamps.read(LEVELS)).values.tolist()) == {RIGHT}
    damage = True
    assert set((await lamps.read(LEVELS)).quality.tolist()) == {Quality.MISSING}
    assert lamps.health().counters.discarded >= 1
    damage = False
    clock.seconds += 100
    assert set((await lamps.read(LEVELS)).values.tolist()) == {RIGHT}


def _crc16(data: bytes) -> int:
    """CRC of Modbus RTU, bit by bit (polynomial 0xA001), for the test's side of the line."""
    check = 0xFFFF
    for byte in data:
        check ^= byte
        for _ in range(8):
            check = check >> 1 ^ (0xA001 if check & 1 else 0)
    return check


async def test_a_device_that_calls_itself_by_escapes_is_called_by_what_can_be_shown(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        objects = b"".join(
            bytes((number, len(text))) + text for number, text in enumerate((b"\x1b[2J\nACME", b"\xff\x9b", b"v1"))
        )
        writer.write(answer_frame(request, bytes((0x2B, 0x0E, 1, 1, 0, 0, 3)) + objects))

    server = await serve_raw(behave)
    identity = await fieldbus.open(server.url, "generic-level-status").identify()
    assert identity.vendor.endswith("ACME")
    assert all(text.isprintable() for text in (identity.vendor, identity.product, identity.revision))
