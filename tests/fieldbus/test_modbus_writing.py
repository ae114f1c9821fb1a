"""Commands over Modbus: coalesced, each with its outcome, confirmed after quantisation, sparing of what wears out."""

from __future__ import annotations

import asyncio

import pytest

from domain.errors import InvalidInput
from fieldbus.client import Fieldbus
from fieldbus.device import Limits
from fieldbus.format.toml_source import TomlSource
from fieldbus.profile_loader import load_profile, profile_from_toml
from fieldbus.values import PointAddress, WriteOutcome, WriteRequest
from tests.fieldbus.conftest import Serve, ServeRaw
from tests.fieldbus.servers import Manual, answer_frame
from tests.support.ports import free_port

WRITE_FUNCTIONS = (5, 6, 15, 16)


def lamps_memory() -> dict[int, dict[str, dict[int, list[int]]]]:
    return {1: {"holding": {0: [0] * 400}, "input": {0: [0] * 700}}}


async def test_neighbouring_lamps_are_written_in_one_request_and_each_is_confirmed(
    fieldbus: Fieldbus, serve: Serve
) -> None:
    server = await serve(lamps_memory())
    lamps = fieldbus.open(server.url, "generic-level-status")
    results = await lamps.write([WriteRequest(PointAddress("level_command", gear), 10 * gear) for gear in range(64)])
    assert {result.outcome for result in results} == {WriteOutcome.CONFIRMED}
    assert server.registers(1, "holding", 0, 64) == [10 * gear for gear in range(64)]
    writes = [request for request in server.requests if request[1] in WRITE_FUNCTIONS]
    assert writes == [(1, 16, 0, 64)]


async def test_results_come_in_the_order_asked_though_the_wire_is_sorted(fieldbus: Fieldbus, serve: Serve) -> None:
    server = await serve(lamps_memory())
    lamps = fieldbus.open(server.url, "generic-level-status")
    asked = [(PointAddress("level_command", gear), 100.0 + gear) for gear in (9, 3, 8, 4)]
    results = await lamps.write(asked)
    assert [result.address.index for result in results] == [9, 3, 8, 4]
    assert [result.read_back for result in results] == [109, 103, 108, 104]
    assert [request[2:] for request in server.requests if request[1] == 16] == [(3, 2), (8, 2)]


async def test_a_broadcast_goes_out_before_the_single_lamps_that_differ(fieldbus: Fieldbus, serve: Serve) -> None:
    server = await serve(lamps_memory())
    lamps = fieldbus.open(server.url, "generic-level-status")
    await lamps.write(
        [(PointAddress("level_command", 5), 1000), (PointAddress("broadcast_level_command", 0), 300)], verify=False
    )
    assert [request[2] for request in server.requests] == [300, 5]


async def test_a_level_is_confirmed_after_the_gateways_quantisation(fieldbus: Fieldbus, serve: Serve) -> None:
    server = await serve({1: {"holding": {0: [0] * 200}}})
    gateway = fieldbus.open(server.url, "intesis-dali")
    results = await gateway.write([(PointAddress("level_command", 0), 333), (PointAddress("level_command", 1), 3)])
    assert [result.outcome for result in results] == [WriteOutcome.CONFIRMED] * 2
    assert [result.written for result in results] == [330, 10], "a lit lamp is never rounded to off"
    assert server.registers(1, "holding", 15) == [33]
    assert server.registers(1, "holding", 115) == [1]


async def test_arc_power_values_are_written_here_and_read_back_there(fieldbus: Fieldbus, serve_raw: ServeRaw) -> None:
    """Arlight's gateway takes levels at 256+a and shows them at 2560+a, after a moment."""
    cache = {2560: 0}
    reads = 0

    async def gateway(request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal reads
        if request[7] == 6:
            pending.append(int.from_bytes(request[10:12], "big"))
            writer.write(answer_frame(request, request[7:]))
            return
        reads += 1
        if pending and reads > 2:
            cache[2560] = pending.pop()
        writer.write(answer_frame(request, bytes((3, 2)) + cache[2560].to_bytes(2, "big")))

    pending: list[int] = []
    server = await serve_raw(gateway)
    lamp = fieldbus.open(server.url, "arlight-dali")
    (result,) = await lamp.write([(PointAddress("level_command", 0), 500)])
    assert server.requests[0][7:12] == bytes((6, 1, 0, 0, 229)), "50 % is arc power 229 (IEC 62386-102)"
    assert result.outcome is WriteOutcome.CONFIRMED
    assert result.read_back == 505
    assert reads == 3


async def test_a_device_that_acknowledges_and_does_nothing_is_not_confirmed(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    async def pretend(request: bytes, writer: asyncio.StreamWriter) -> None:
        pdu = request[7:12] if request[7] == 6 else bytes((3, 2, 0, 0))
        writer.write(answer_frame(request, pdu))

    server = await serve_raw(pretend)
    lamp = fieldbus.open(server.url, "intesis-dali")
    (result,) = await lamp.write([(PointAddress("level_command", 0), 500)])
    assert result.outcome is WriteOutcome.ACCEPTED
    assert result.reason == "reads back 0 permille, commanded 500 permille"
    (unverified,) = await lamp.write([(PointAddress("level_command", 0), 500)], verify=False)
    assert (unverified.outcome, unverified.reason) == (WriteOutcome.ACCEPTED, "")


@pytest.mark.parametrize(("value", "reason"), [(1001, "not within 0..1000"), (-1, "not within"), (float("nan"), "nan")])
async def test_a_command_beyond_the_limits_never_reaches_the_wire(
    fieldbus: Fieldbus, serve: Serve, value: float, reason: str
) -> None:
    server = await serve(lamps_memory())
    lamps = fieldbus.open(server.url, "generic-level-status")
    bad, good = await lamps.write([(PointAddress("level_command", 0), value), (PointAddress("level_command", 1), 200)])
    assert bad.outcome is WriteOutcome.REFUSED
    assert reason in bad.reason
    assert good.outcome is WriteOutcome.CONFIRMED
    assert server.registers(1, "holding", 0, 2) == [0, 200]
    assert lamps.health().counters.writes_refused == 1


async def test_measured_points_cannot_be_commanded(fieldbus: Fieldbus, serve: Serve) -> None:
    server = await serve(lamps_memory())
    lamps = fieldbus.open(server.url, "generic-level-status")
    (result,) = await lamps.write([(PointAddress("lamp_power", 0), 5)])
    assert (result.outcome, result.reason) == (WriteOutcome.REFUSED, "can only be read")
    assert server.requests == []


async def test_the_same_point_twice_in_one_write_is_a_mistake_of_the_caller(fieldbus: Fieldbus) -> None:
    lamps = fieldbus.open("modbus+tcp://127.0.0.1:1", "generic-level-status")
    with pytest.raises(InvalidInput, match="commanded twice"):
        await lamps.write([(PointAddress("level_command", 0), 5), (PointAddress("level_command", 0), 6)])


async def test_registers_that_wear_are_written_only_on_change(fieldbus: Fieldbus, serve: Serve) -> None:
    server = await serve(lamps_memory())
    lamps = fieldbus.open(server.url, "generic-level-status")
    first, keep = await lamps.write([(PointAddress("level_power_on", 0), 700), (PointAddress("level_power_on", 1), -1)])
    assert (first.outcome, keep.outcome) == (WriteOutcome.CONFIRMED, WriteOutcome.CONFIRMED)
    assert server.registers(1, "holding", 100, 2) == [700, 65535]
    server.requests.clear()
    again = await lamps.write([(PointAddress("level_power_on", 0), 700), (PointAddress("level_power_on", 1), -1)])
    assert [result.reason for result in again] == ["held already, not written"] * 2
    assert not [request for request in server.requests if request[1] in WRITE_FUNCTIONS]


async def test_a_register_that_wears_is_left_alone_when_it_cannot_be_read(fieldbus: Fieldbus) -> None:
    lamps = fieldbus.open(f"modbus+tcp://127.0.0.1:{free_port()}", "generic-level-status")
    (result,) = await lamps.write([(PointAddress("level_power_on", 0), 700)])
    assert result.outcome is WriteOutcome.UNKNOWN
    assert "could not be read" in result.reason


async def test_contactors_are_switched_together_and_confirmed(fieldbus: Fieldbus, serve: Serve) -> None:
    server = await serve({1: {"coil": {0: [0] * 8}}})
    cabinet = fieldbus.open(server.url, "cabinet-plc")
    results = await cabinet.write([(PointAddress("contactor_command", channel), channel % 2) for channel in range(8)])
    assert {result.outcome for result in results} == {WriteOutcome.CONFIRMED}
    assert [server.bit(1, "coil", channel) for channel in range(8)] == [False, True] * 4
    assert [request[1] for request in server.requests] == [15, 1]
    server.requests.clear()
    (one,) = await cabinet.write([(PointAddress("contactor_command", 3), 0)], verify=False)
    assert one.outcome is WriteOutcome.ACCEPTED
    assert [request[1] for request in server.requests] == [5]
    assert not server.bit(1, "coil", 3)


async def test_one_refused_lamp_does_not_take_its_neighbours_with_it(fieldbus: Fieldbus, serve_raw: ServeRaw) -> None:
    held = [0] * 64

    async def refuses_lamp_5(request: bytes, writer: asyncio.StreamWriter) -> None:
        function, start = request[7], int.from_bytes(request[8:10], "big")
        count = int.from_bytes(request[10:12], "big") if function in (3, 16) else 1
        if function == 3:
            data = b"".join(value.to_bytes(2, "big") for value in held[start : start + count])
            writer.write(answer_frame(request, bytes((3, 2 * count)) + data))
        elif start <= 5 < start + count:
            writer.write(answer_frame(request, bytes((function | 0x80, 2))))
        else:
            words = request[13:] if function == 16 else request[10:12]
            held[start : start + count] = [int.from_bytes(words[2 * n : 2 * n + 2], "big") for n in range(count)]
            writer.write(answer_frame(request, request[7:12]))

    server = await serve_raw(refuses_lamp_5)
    lamps = fieldbus.open(server.url, "generic-level-status")
    results = await lamps.write([(PointAddress("level_command", gear), 400) for gear in range(16)])
    outcomes = [result.outcome for result in results]
    assert outcomes[5] is WriteOutcome.REFUSED
    assert results[5].reason == "exception 02: illegal data address"
    assert outcomes.count(WriteOutcome.CONFIRMED) == 15
    assert held[:16] == [400] * 5 + [0] + [400] * 10


async def test_a_device_without_multiple_writes_is_written_one_by_one_from_then_on(
    fieldbus: Fieldbus, serve: Serve
) -> None:
    server = await serve(lamps_memory())
    server.refuse[16] = 1
    lamps = fieldbus.open(server.url, "generic-level-status")
    commands = [(PointAddress("level_command", gear), 100.0) for gear in range(3)]
    assert {result.outcome for result in await lamps.write(commands)} == {WriteOutcome.CONFIRMED}
    server.requests.clear()
    await lamps.write(commands, verify=False)
    assert [request[1] for request in server.requests] == [6, 6, 6]


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (2, WriteOutcome.REFUSED),
        (3, WriteOutcome.REFUSED),
        (4, WriteOutcome.UNKNOWN),  # it failed at it, perhaps half-way
        (5, WriteOutcome.ACCEPTED),
        (6, WriteOutcome.REFUSED),
        (10, WriteOutcome.UNKNOWN),
        (11, WriteOutcome.UNKNOWN),
    ],
)
async def test_what_each_exception_means_for_a_command(
    fieldbus: Fieldbus, serve: Serve, code: int, outcome: WriteOutcome
) -> None:
    server = await serve(lamps_memory())
    server.refuse[6] = code
    lamps = fieldbus.open(server.url, "generic-level-status")
    (result,) = await lamps.write([(PointAddress("level_command", 0), 5)], verify=False)
    assert result.outcome is outcome


async def test_nothing_is_sent_to_a_dead_device_and_the_outcome_says_so(fieldbus: Fieldbus) -> None:
    lamps = fieldbus.open(f"modbus+tcp://127.0.0.1:{free_port()}", "generic-level-status")
    results = await lamps.write([(PointAddress("level_command", gear), 5) for gear in range(3)])
    assert {result.outcome for result in results} == {WriteOutcome.UNKNOWN}
    assert all(result.reason.startswith("not sent") for result in results)
    assert lamps.health().counters.writes_sent == 0


def lamps_apart() -> dict[int, dict[str, dict[int, list[int]]]]:
    """Intesis' gears lie a hundred registers apart: each takes a request of its own."""
    return {1: {"holding": {0: [0] * 1200}}}


async def test_what_is_not_sent_by_the_deadline_is_not_sent(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual
) -> None:
    """Each answer takes three seconds of the deadline's ten."""

    async def slow(request: bytes, writer: asyncio.StreamWriter) -> None:
        clock.seconds += 3
        writer.write(answer_frame(request, request[7:12]))

    server = await serve_raw(slow)
    lamps = fieldbus.open(server.url, "intesis-dali", limits=Limits(write_deadline_s=10.0))
    results = await lamps.write([(PointAddress("level_command", gear), 500) for gear in range(6)], verify=False)
    assert [result.outcome for result in results] == [*[WriteOutcome.ACCEPTED] * 4, *[WriteOutcome.UNKNOWN] * 2]
    assert {result.reason for result in results[4:]} == {"not sent: writing took longer than 10 s"}
    assert lamps.health().counters.writes_sent == 4


async def test_a_unit_that_its_gateway_does_not_reach_costs_one_request(fieldbus: Fieldbus, serve: Serve) -> None:
    server = await serve(lamps_apart())
    server.refuse[6] = 11
    lamps = fieldbus.open(server.url, "intesis-dali")
    results = await lamps.write([(PointAddress("level_command", gear), 500) for gear in range(8)])
    assert [request[1] for request in server.requests] == [6]
    assert results[0].reason == "exception 0B: gateway target device failed to respond"
    assert all(result.reason.startswith("not sent: exception 0B") for result in results[1:])


async def test_silence_to_what_must_be_read_first_costs_one_request(fieldbus: Fieldbus, serve_raw: ServeRaw) -> None:
    async def silent(request: bytes, writer: asyncio.StreamWriter) -> None:
        pass

    server = await serve_raw(silent)
    lamps = fieldbus.open(server.url, "generic-level-status", limits=Limits(request_timeout_s=0.05))
    results = await lamps.write([(PointAddress("level_power_on", 0), 700), (PointAddress("level_command", 0), 700)])
    assert len(server.requests) == 1
    assert all(result.reason.startswith("not sent: ") for result in results)


WIDE = """
[profile]
name = "wide"
kind = "meter"
vendor = "test"
product = "test"
protocol = "modbus"
source = "this test"
[modbus]
word_order = "little"
write_mode = "multiple"
[points.heartbeat]
access = "read_write"
address = 0
type = "uint16"
[points.heartbeat_timeout]
access = "read_write"
address = 1
type = "float32"
"""


async def test_values_of_several_registers_keep_the_devices_word_order(fieldbus: Fieldbus, serve: Serve) -> None:
    server = await serve({1: {"holding": {0: [0] * 4}}})
    device = fieldbus.open(server.url, profile_from_toml(TomlSource("wide.toml", WIDE)))
    results = await device.write([(PointAddress("heartbeat", None), 7), (PointAddress("heartbeat_timeout"), 0.1)])
    assert {result.outcome for result in results} == {WriteOutcome.CONFIRMED}
    # 0.1 as float32 is 0x3DCCCCCD; the low word stands first.
    assert server.registers(1, "holding", 0, 3) == [7, 0xCCCD, 0x3DCC]
    assert [request[1:] for request in server.requests if request[1] in WRITE_FUNCTIONS] == [(16, 0, 3)]


def test_every_lamp_profile_offers_the_points_that_lighting_lives_by() -> None:
    for name in ("intesis-dali", "arlight-dali", "generic-level-status", "opcua-lamp"):
        profile = load_profile(name)
        assert profile.readable("level_command")
        assert profile.writable("level_command")
        assert profile.readable("lamp_failure")
