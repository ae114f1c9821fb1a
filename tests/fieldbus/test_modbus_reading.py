"""Reading real Modbus servers: few requests, right values, and nothing wrong taken for good."""

from __future__ import annotations

import asyncio
import math
import struct
from dataclasses import replace
from itertools import pairwise

import pytest

from domain.errors import InvalidInput
from fieldbus.client import Fieldbus
from fieldbus.profile_loader import load_profile
from fieldbus.values import DeviceState, PointAddress, Quality, TimeSource, unix_ms
from tests.fieldbus.conftest import FAST, Serve, ServeRaw
from tests.fieldbus.servers import NOON, Manual, answer_frame, eventually, registers_pdu
from tests.support.patient_loop import loop_time
from tests.support.ports import free_port

GEAR_POINTS = ("gear_failure", "lamp_failure", "lamp_on", "level_actual", "level_command")


def float_registers(*values: float) -> list[int]:
    raw = b"".join(struct.pack(">f", value) for value in values)
    return list(struct.unpack(f">{len(raw) // 2}H", raw))


def intesis_registers(gear: int) -> list[int]:
    """The registers 0..99 of one gear: 60 % commanded, 55 % reached, lamp on and fading."""
    block = [0] * 100
    block[5] = 0b10100
    block[6] = 55
    block[11], block[12] = 100, 70
    block[15] = 60
    return block


async def test_a_whole_meter_is_read_in_the_fewest_requests_its_maker_allows(fieldbus: Fieldbus, serve: Serve) -> None:
    server = await serve({1: {"input": {0: float_registers(*[230.5] * 40), 342: float_registers(*[1234.5] * 20)}}})
    meter = fieldbus.open(server.url, "eastron-sdm630")
    batch = await meter.read(load_profile("eastron-sdm630").device_points)
    assert server.requests == [(1, 4, 0, 80), (1, 4, 342, 16)]
    assert batch.value(PointAddress("voltage_l1")) == 230.5
    assert batch.value(PointAddress("energy_active_sum")) == 1_234_500


async def test_a_gateway_with_64_gear_and_five_points_each_takes_half_a_request_per_gear(
    fieldbus: Fieldbus, serve: Serve
) -> None:
    server = await serve({1: {"holding": {0: [word for gear in range(64) for word in intesis_registers(gear)]}}})
    gateway = fieldbus.open(server.url, "intesis-dali")
    points = tuple(PointAddress(name, gear) for gear in range(64) for name in GEAR_POINTS)
    batch = await gateway.read(points)
    assert len(server.requests) == 32
    assert batch.complete
    assert batch.values[:5].tolist() == [0, 0, 1, 550, 600]
    assert batch.values[-5:].tolist() == [0, 0, 1, 550, 600]


async def test_rows_come_in_the_order_asked_even_with_repetitions(fieldbus: Fieldbus, serve: Serve) -> None:
    server = await serve({1: {"holding": {0: intesis_registers(0) + intesis_registers(1)}}})
    gateway = fieldbus.open(server.url, "intesis-dali")
    asked = [PointAddress("level_command", 1), PointAddress("level_actual", 0), PointAddress("level_command", 1)]
    batch = await gateway.read(asked)
    assert list(batch.points) == asked
    assert batch.values.tolist() == [600, 550, 600]


async def test_values_carry_our_instant_because_the_meter_has_no_clock(
    fieldbus: Fieldbus, serve: Serve, clock: Manual
) -> None:
    server = await serve({1: {"input": {0: float_registers(100.0)}}})
    sensor = fieldbus.open(server.url, "light-sensor")
    batch = await sensor.read([PointAddress("illuminance")])
    assert batch.observed_at.tolist() == [unix_ms(NOON)]
    assert batch.time_source.tolist() == [TimeSource.OURS]


@pytest.mark.parametrize("reading", [math.nan, math.inf, -5.0, 1e9])
async def test_impossible_readings_become_bad_quality_and_no_number(
    fieldbus: Fieldbus, serve: Serve, reading: float
) -> None:
    server = await serve({1: {"input": {0: float_registers(reading)}}})
    sensor = fieldbus.open(server.url, "light-sensor")
    batch = await sensor.read([PointAddress("illuminance")])
    assert batch.quality.tolist() == [Quality.BAD]
    assert math.isnan(batch.values[0])


async def test_the_makers_not_available_pattern_is_a_missing_value_never_energy(
    fieldbus: Fieldbus, serve: Serve
) -> None:
    server = await serve({1: {"holding": {0x5000: [0xFFFF] * 4 + [0, 0, 1, 0xE240]}}})
    meter = fieldbus.open(server.url, "abb-b23")
    batch = await meter.read([PointAddress("energy_active_import"), PointAddress("energy_active_export")])
    assert batch.quality.tolist() == [Quality.BAD, Quality.GOOD]
    assert batch.value(PointAddress("energy_active_export")) == 1_234_560


async def test_coils_discrete_inputs_and_registers_of_a_cabinet_come_in_one_reading(
    fieldbus: Fieldbus, serve: Serve
) -> None:
    server = await serve(
        {
            3: {
                "coil": {0: [1, 0, 1, 0, 0, 0, 0, 0]},
                "discrete": {0: [1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1]},
                "input": {0: [2]},
                "holding": {0: [7, 60]},
            }
        }
    )
    cabinet = fieldbus.open(f"{server.url}?unit=3", "cabinet-plc")
    asked = [
        *(PointAddress("contactor_command", channel) for channel in range(3)),
        *(PointAddress("contactor_feedback", channel) for channel in range(3)),
        PointAddress("circuit_breaker_tripped", 1),
        PointAddress("door_open"),
        PointAddress("hand_off_auto"),
        PointAddress("heartbeat_timeout"),
    ]
    batch = await cabinet.read(asked)
    assert batch.values.tolist() == [1, 0, 1, 1, 0, 0, 1, 1, 2, 60]
    assert {function for _, function, _, _ in server.requests} == {1, 2, 3, 4}
    assert len(server.requests) == 4


async def test_a_block_that_the_device_refuses_is_split_and_remembered(
    fieldbus: Fieldbus, serve: Serve, clock: Manual
) -> None:
    """This gateway has gear 0 and 1 but refuses the registers between them; gear 2 does not exist."""
    parts = {
        gear * 100 + start: intesis_registers(gear)[start:stop] for gear in (0, 1) for start, stop in ((5, 7), (15, 16))
    }
    server = await serve({1: {"holding": parts}})
    gateway = fieldbus.open(server.url, "intesis-dali")
    asked = tuple(PointAddress(name, gear) for gear in range(3) for name in ("level_actual", "level_command"))
    first = await gateway.read(asked)
    assert first.values[:4].tolist() == [550, 600, 550, 600]
    assert first.quality.tolist() == [1, 1, 1, 1, Quality.BAD, Quality.BAD]

    before = gateway.health().counters.requests
    second = await gateway.read(asked)
    assert second.quality.tolist() == first.quality.tolist()
    health = gateway.health()
    assert health.counters.requests - before == 4
    assert health.state is DeviceState.ONLINE
    assert health.refused_points == 2
    assert health.counters.blocks_split > 0

    clock.seconds += 31
    await gateway.read(asked)
    assert gateway.health().counters.requests - health.counters.requests > 4, "refused points are tried again"


async def test_a_device_that_refuses_a_function_is_not_asked_again(fieldbus: Fieldbus, serve: Serve) -> None:
    server = await serve({1: {"input": {0: float_registers(100.0)}}})
    server.refuse[4] = 1
    sensor = fieldbus.open(server.url, "light-sensor")
    assert (await sensor.read([PointAddress("illuminance")])).quality.tolist() == [Quality.BAD]
    await sensor.read([PointAddress("illuminance")])
    assert len(server.requests) == 1


async def test_a_busy_device_is_missing_for_this_cycle_only(fieldbus: Fieldbus, serve: Serve) -> None:
    server = await serve({1: {"input": {0: float_registers(100.0)}}})
    server.refuse[4] = 6
    sensor = fieldbus.open(server.url, "light-sensor")
    assert (await sensor.read([PointAddress("illuminance")])).quality.tolist() == [Quality.MISSING]
    server.refuse.clear()
    assert (await sensor.read([PointAddress("illuminance")])).quality.tolist() == [Quality.GOOD]


async def test_units_behind_one_address_share_a_connection(fieldbus: Fieldbus, serve: Serve) -> None:
    server = await serve({unit: {"input": {0: float_registers(float(unit))}} for unit in (1, 2, 3)})
    sensors = [fieldbus.open(f"{server.url}?unit={unit}", "light-sensor") for unit in (1, 2, 3)]
    batches = [await sensor.read([PointAddress("illuminance")]) for sensor in sensors]
    assert [batch.values[0] for batch in batches] == [1.0, 2.0, 3.0]
    assert server.connections == 1


async def test_a_dead_address_is_missing_and_tried_once_per_back_off(fieldbus: Fieldbus, clock: Manual) -> None:
    dead = fieldbus.open(f"modbus+tcp://127.0.0.1:{free_port()}", "light-sensor")
    batch = await dead.read([PointAddress("illuminance")])
    assert batch.quality.tolist() == [Quality.MISSING]
    health = dead.health()
    assert health.state is DeviceState.BACKING_OFF
    assert health.seconds_to_next_attempt == pytest.approx(0.5, rel=0.01)
    assert "cannot connect" in health.last_error
    await dead.read([PointAddress("illuminance")])
    assert "next attempt" in dead.health().last_error


async def test_a_server_that_comes_back_is_found_after_the_back_off(
    fieldbus: Fieldbus, serve: Serve, clock: Manual
) -> None:
    port = free_port()
    sensor = fieldbus.open(f"modbus+tcp://127.0.0.1:{port}", "light-sensor")
    assert (await sensor.read([PointAddress("illuminance")])).quality.tolist() == [Quality.MISSING]
    await serve({1: {"input": {0: float_registers(5.0)}}}, port=port)
    clock.seconds += 0.6
    assert (await sensor.read([PointAddress("illuminance")])).values.tolist() == [5.0]
    assert sensor.health().state is DeviceState.ONLINE


async def test_reading_a_point_that_can_only_be_written_or_is_unknown_is_a_mistake_of_the_caller(
    fieldbus: Fieldbus,
) -> None:
    gateway = fieldbus.open("modbus+tcp://127.0.0.1:1", "intesis-dali")
    with pytest.raises(InvalidInput, match="no point 'voltage_l1'"):
        await gateway.read([PointAddress("voltage_l1")])
    with pytest.raises(InvalidInput, match=r"needs a gear index 0\.\.127"):
        await gateway.read([PointAddress("level_actual", 128)])
    with pytest.raises(InvalidInput, match="needs a gear index"):
        await gateway.read([PointAddress("level_actual")])


async def test_units_read_at_the_same_time_take_turns_and_get_their_own_answers(
    fieldbus: Fieldbus, serve: Serve
) -> None:
    units = {unit: {"holding": {0: [unit] * 64}} for unit in range(1, 21)}
    server = await serve(units)
    gateways = [fieldbus.open(f"{server.url}?unit={unit}", "generic-level-status") for unit in units]
    points = tuple(PointAddress("level_command", gear) for gear in range(64))
    batches = await asyncio.gather(*(gateway.read(points) for gateway in gateways for _ in range(3)))
    assert [set(batch.values.tolist()) for batch in batches] == [{unit} for unit in units for _ in range(3)]
    assert server.connections == 1


async def test_a_reading_ends_at_its_deadline_with_what_it_has(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual
) -> None:
    async def slow(request: bytes, writer: asyncio.StreamWriter) -> None:
        clock.seconds += 3.0  # of the five that a reading may take
        writer.write(answer_frame(request, registers_pdu(request, 60)))

    server = await serve_raw(slow)
    gateway = fieldbus.open(server.url, "intesis-dali")
    batch = await gateway.read([PointAddress("level_command", gear) for gear in range(0, 64, 2)])
    assert batch.quality.tolist() == [Quality.GOOD] * 2 + [Quality.MISSING] * 30
    assert "longer than 5 s" in gateway.health().last_error


async def test_a_device_gets_the_pause_it_needs_between_requests(serve_raw: ServeRaw) -> None:
    arrivals: list[float] = []

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        arrivals.append(asyncio.get_running_loop().time())
        writer.write(answer_frame(request, registers_pdu(request, 100)))

    server = await serve_raw(behave)
    profile = load_profile("light-sensor")
    patient = replace(profile, modbus=replace(profile.modbus, pause_s=0.03))
    bus = Fieldbus(now=lambda: NOON, monotonic=loop_time)
    sensor = bus.open(server.url, patient)
    for _ in range(3):
        await sensor.read([PointAddress("illuminance")])
    await bus.close()
    # Never sooner; how much later does not matter.
    assert all(later - earlier >= 0.029 for earlier, later in pairwise(arrivals))


async def test_a_cancelled_reading_leaves_nothing_behind_for_the_next_one(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    held: list[tuple[bytes, asyncio.StreamWriter]] = []

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        if not held:
            held.append((request, writer))
            return
        first, _ = held[0]
        writer.write(answer_frame(first, registers_pdu(first, 999)))
        writer.write(answer_frame(request, registers_pdu(request, 300)))

    server = await serve_raw(behave)
    lamps = fieldbus.open(server.url, "generic-level-status")
    reading = asyncio.create_task(lamps.read([PointAddress("level_command", 0)]))
    await eventually(lambda: bool(held))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (await lamps.read([PointAddress("level_command", 0)])).values.tolist() == [300]


async def test_closing_ends_a_reading_under_way(fieldbus: Fieldbus, serve_raw: ServeRaw) -> None:
    async def silence(request: bytes, writer: asyncio.StreamWriter) -> None:
        pass

    server = await serve_raw(silence)
    patient = replace(FAST, request_timeout_s=60.0)
    lamps = fieldbus.open(server.url, "generic-level-status", limits=patient)
    reading = asyncio.create_task(lamps.read([PointAddress("level_command", 0)]))
    await eventually(lambda: bool(server.requests))
    await fieldbus.close()
    async with asyncio.timeout(20):
        assert (await reading).quality.tolist() == [Quality.MISSING]


async def test_counters_tell_what_went_over_the_wire(fieldbus: Fieldbus, serve: Serve) -> None:
    server = await serve({1: {"input": {0: float_registers(5.0)}}})
    sensor = fieldbus.open(server.url, "light-sensor")
    await sensor.read([PointAddress("illuminance")])
    counters = sensor.health().counters
    assert (counters.requests, counters.answers, counters.bytes_sent, counters.bytes_received) == (1, 1, 12, 13)
