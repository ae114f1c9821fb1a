"""The Modbus devices as a plain pymodbus client sees them: values, commands, exceptions, identification."""

import struct
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient

from simulator.daylight import illuminance_lx
from simulator.modbus.unit import ILLEGAL_ADDRESS, ILLEGAL_VALUE, TARGET_FAILED_TO_RESPOND
from tests.simulator.conftest import NOON, Bench

CONTROLLER, GATEWAY = 1, 2


def floats(registers: list[int]) -> list[float]:
    return [struct.unpack(">f", struct.pack(">2H", *registers[i : i + 2]))[0] for i in range(0, len(registers), 2)]


def whole(registers: list[int]) -> int:
    return int.from_bytes(struct.pack(f">{len(registers)}H", *registers), "big")


def levels_by_feeder(bench: Bench) -> dict[str, set[float]]:
    levels: dict[str, set[float]] = {}
    for lamp, level in zip(bench.town.luminaires, bench.world.lamps.light_level(bench.world.now).tolist(), strict=True):
        levels.setdefault(lamp.feeder, set()).add(level)
    return levels


async def holding(client: AsyncModbusTcpClient, address: int, count: int, unit: int = 1) -> list[int]:
    answer = await client.read_holding_registers(address, count=count, device_id=unit)
    assert not answer.isError(), answer
    return list(answer.registers)


async def inputs(client: AsyncModbusTcpClient, address: int, count: int, unit: int = 1) -> list[int]:
    answer = await client.read_input_registers(address, count=count, device_id=unit)
    assert not answer.isError(), answer
    return list(answer.registers)


# --- cabinet controller -----------------------------------------------------------------------------------------------


async def test_the_controller_switches_a_feeder_and_reports_contactor_breaker_door_and_mains(bench: Bench) -> None:
    client = await bench.modbus("C-001-plc")
    assert not (await client.write_coil(0, True, device_id=CONTROLLER)).isError()
    bits = (await client.read_discrete_inputs(0, count=18, device_id=CONTROLLER)).bits[:18]
    assert bits == [True] + [False] * 16 + [True]
    assert (await client.read_coils(0, count=8, device_id=CONTROLLER)).bits == [True] + [False] * 7
    assert await inputs(client, 0, 1) == [2]
    assert (await inputs(client, 0, 18))[10] == 1
    client.close()


async def test_the_controller_takes_a_heartbeat_and_its_timeout(bench: Bench) -> None:
    client = await bench.modbus("C-001-plc")
    await client.write_registers(0, [17, 600], device_id=CONTROLLER)
    assert await holding(client, 0, 2) == [17, 600]
    assert bench.world.cabinets["C-001"].heartbeat_timeout_s == 600
    client.close()


async def test_registers_that_do_not_exist_are_illegal_addresses(bench: Bench) -> None:
    client = await bench.modbus("C-001-plc")
    for answer in (
        await client.read_coils(7, count=2, device_id=CONTROLLER),
        await client.read_discrete_inputs(18, count=1, device_id=CONTROLLER),
        await client.read_input_registers(18, count=1, device_id=CONTROLLER),
        await client.write_register(2, 1, device_id=CONTROLLER),
        await client.write_coil(8, True, device_id=CONTROLLER),
        await client.read_holding_registers(32_000, count=1, device_id=GATEWAY),
        await client.write_register(6, 50, device_id=GATEWAY),
    ):
        assert answer.isError()
        assert answer.exception_code == ILLEGAL_ADDRESS
    client.close()


async def test_a_unit_that_is_not_there_fails_to_respond_as_behind_a_real_gateway(bench: Bench) -> None:
    client = await bench.modbus("C-001-plc")
    assert (await client.read_coils(0, count=1, device_id=9)).exception_code == TARGET_FAILED_TO_RESPOND
    client.close()


async def test_every_unit_says_on_the_wire_that_it_is_a_simulator(bench: Bench) -> None:
    for endpoint, unit in (("C-001-plc", 1), ("C-001-gw", 2), ("M-001-tcp", 1), ("LS-1-tcp", 1)):
        client = await bench.modbus(endpoint)
        answer: Any = await client.read_device_information(read_code=2, device_id=unit)
        assert (answer.information[0], answer.information[1]) == (b"Lichtbuch", b"Simulator")
        client.close()


async def test_a_meters_serial_number_is_in_its_extended_identification_and_its_register(bench: Bench) -> None:
    client = await bench.modbus("M-001-tcp")
    bench.world.meters["M-001"].exchange(NOON, "SDM777001", 0.0)
    answer: Any = await client.read_device_information(read_code=3, device_id=1)
    assert answer.information[0x80] == b"SDM777001"
    assert whole(await holding(client, 0xFC00, 2)) == 777001
    client.close()


# --- Intesis ----------------------------------------------------------------------------------------------------------


def intesis(gear: int, signal: int) -> int:
    return 100 * gear + signal


async def test_an_intesis_gear_goes_to_its_level_in_per_cent_and_fades(bench: Bench) -> None:
    client = await bench.modbus("C-001-gw")
    assert await holding(client, intesis(0, 5), 2, GATEWAY) == [0, 0]
    await client.write_register(intesis(0, 15), 60, device_id=GATEWAY)
    assert await holding(client, intesis(0, 15), 1, GATEWAY) == [60]
    bench.step(1.0)
    assert await holding(client, intesis(0, 5), 2, GATEWAY) == [0x14, 30]
    bench.step(1.0)
    assert await holding(client, intesis(0, 5), 2, GATEWAY) == [0x04, 60]
    assert await inputs(client, intesis(0, 6), 1, GATEWAY) == [60]
    client.close()


async def test_energy_power_and_operating_time_are_32_bit_with_the_high_word_first(bench: Bench) -> None:
    client = await bench.modbus("C-001-gw")
    await client.write_register(intesis(1, 15), 100, device_id=GATEWAY)
    bench.step(36_000.0)
    block = await holding(client, 25_000 + 100 + 34, 18, GATEWAY)
    lamp = bench.world.gateways["C-001-gw"].addresses[1]
    assert whole(block[0:2]) == int(bench.world.lamps.energy_wh(bench.world.now)[lamp])
    assert whole(block[2:4]) == round(float(bench.world.lamps.power_w(bench.world.now)[lamp]))
    assert whole(block[12:14]) == int(bench.world.lamps.burning_s(bench.world.now)[lamp])
    assert whole(block[14:16]) == 1
    client.close()


async def test_gear_on_a_dead_feeder_shows_as_failed_hears_nothing_and_has_no_energy_to_tell(bench: Bench) -> None:
    client = await bench.modbus("C-001-gw")
    gear = next(lamp.gear for lamp in bench.town.luminaires if lamp.feeder == "C-001-F2")
    assert not (await client.write_register(intesis(gear, 15), 50, device_id=GATEWAY)).isError()
    assert await holding(client, intesis(gear, 5), 2, GATEWAY) == [0x01, 0]
    assert await holding(client, 25_000 + 100 * gear + 34, 2, GATEWAY) == [0xFFFF, 0xFFFF]
    bench.world.command_contactor("C-001", 0, True)
    # Supply came back: it starts at its power-on level and says that it did.
    assert await holding(client, intesis(gear, 5), 2, GATEWAY) == [0x84, 100]
    client.close()


async def test_one_read_over_several_gears_gives_each_its_own_signals(bench: Bench) -> None:
    client = await bench.modbus("C-001-gw")
    for gear, level in enumerate((20, 30)):
        await client.write_register(intesis(gear, 15), level, device_id=GATEWAY)
    bench.step(10.0)
    block = await holding(client, intesis(0, 6), 110, GATEWAY)
    assert (block[0], block[100]) == (20, 30)
    assert (block[9], block[109]) == (20, 30)
    client.close()


async def test_group_and_broadcast_reach_their_lamps_and_can_be_read_back(bench: Bench) -> None:
    client = await bench.modbus("C-001-gw")
    bench.world.command_contactor("C-001", 0, True)
    await client.write_register(6800, 40, device_id=GATEWAY)
    bench.step(10.0)
    assert set(bench.world.lamps.light_level(bench.world.now)[:8].tolist()) == {400.0}
    # DALI group 1 holds the lamps of the second feeder.
    await client.write_register(6420, 70, device_id=GATEWAY)
    bench.step(10.0)
    assert levels_by_feeder(bench)["C-001-F2"] == {700.0}
    assert levels_by_feeder(bench)["C-001-F1"] == {400.0}
    assert await holding(client, 6800, 1, GATEWAY) == [40]
    assert await holding(client, 6420, 1, GATEWAY) == [70]
    client.close()


async def test_stored_levels_are_written_to_their_setters_and_read_back_where_the_manual_has_them(bench: Bench) -> None:
    client = await bench.modbus("C-001-gw")
    await client.write_register(intesis(0, 27), 80, device_id=GATEWAY)
    await client.write_register(intesis(0, 28), 55, device_id=GATEWAY)
    await client.write_register(intesis(0, 23), 6, device_id=GATEWAY)
    assert await holding(client, intesis(0, 11), 3, GATEWAY) == [80, 55, 6]
    await client.write_register(intesis(0, 31), 5090, device_id=GATEWAY)
    assert await holding(client, intesis(0, 11), 1, GATEWAY) == [90]
    assert (await client.write_register(intesis(0, 11), 10, device_id=GATEWAY)).exception_code == ILLEGAL_ADDRESS
    client.close()


async def test_a_level_above_100_per_cent_is_refused_and_a_block_write_is_all_or_nothing(bench: Bench) -> None:
    client = await bench.modbus("C-001-gw")
    assert (await client.write_register(intesis(0, 15), 101, device_id=GATEWAY)).exception_code == ILLEGAL_VALUE
    answer = await client.write_registers(intesis(0, 15), [50, 1, 1], device_id=GATEWAY)
    assert answer.exception_code == ILLEGAL_ADDRESS
    assert await holding(client, intesis(0, 15), 1, GATEWAY) == [0]
    client.close()


async def test_failures_of_lamp_and_gear_show_in_status_and_in_the_lines_bit_field(bench: Bench) -> None:
    client = await bench.modbus("C-001-gw")
    bench.world.command_contactor("C-001", 0, True)
    lamps = bench.world.lamps
    bench.world.change_lamp(lamps.set_lamp_failure, "L-0002", True)
    bench.world.change_lamp(lamps.set_gear_failure, "L-0004", True)
    assert (await holding(client, intesis(1, 5), 1, GATEWAY))[0] & 0x03 == 0x02
    assert (await holding(client, intesis(3, 5), 1, GATEWAY))[0] == 0x01
    assert (await holding(client, 0, 4, GATEWAY))[0] == 0b1010
    client.close()


# --- Arlight ----------------------------------------------------------------------------------------------------------


async def test_an_arlight_gear_takes_arc_power_levels_on_the_logarithmic_curve(bench: Bench) -> None:
    client = await bench.modbus("C-002-gw")
    permanent = next(lamp for lamp in bench.town.luminaires if lamp.feeder == "C-002-F3")
    await client.write_register(256 + permanent.gear, 229, device_id=GATEWAY)
    bench.step(10.0)
    place = bench.world.lamp_index[permanent.id]
    assert bench.world.lamps.light_level(bench.world.now)[place] == pytest.approx(505)
    assert await holding(client, 2560 + permanent.gear, 1, GATEWAY) == [229]
    assert await holding(client, 256 + permanent.gear, 1, GATEWAY) == [229]
    assert await holding(client, permanent.gear, 1, GATEWAY) == [0x04]
    client.close()


async def test_an_arlight_gateway_asking_dead_gear_gets_no_answer_and_knows_no_level(bench: Bench) -> None:
    client = await bench.modbus("C-002-gw")
    answer = await client.read_holding_registers(256, count=1, device_id=GATEWAY)
    assert answer.exception_code == TARGET_FAILED_TO_RESPOND
    assert await holding(client, 2560, 1, GATEWAY) == [255]
    assert await holding(client, 0, 1, GATEWAY) == [0x01]
    client.close()


async def test_an_arlight_group_is_written_at_once_and_cached(bench: Bench) -> None:
    client = await bench.modbus("C-002-gw")
    assert await holding(client, 2688 + 2, 1, GATEWAY) == [255]
    await client.write_register(384 + 2, 254, device_id=GATEWAY)
    bench.step(10.0)
    assert [feeder for feeder, levels in levels_by_feeder(bench).items() if levels == {1000.0}] == ["C-002-F3"]
    assert await holding(client, 2688 + 2, 1, GATEWAY) == [254]
    assert (await client.write_register(256, 255, device_id=GATEWAY)).exception_code == ILLEGAL_VALUE
    client.close()


# --- meters and sensor ------------------------------------------------------------------------------------------------


async def test_the_sdm630_shows_what_its_cabinets_lamps_use(bench: Bench) -> None:
    bench.world.set_hand_switch("C-001", "hand")
    bench.step(7_200.0)
    client = await bench.modbus("M-001-tcp")
    reading = bench.world.meters["M-001"].reading(bench.world.now)
    block = floats(await inputs(client, 0, 80))
    assert block[0:3] == pytest.approx(reading.voltage_v.tolist(), rel=1e-6)
    assert block[3:6] == pytest.approx(reading.current_a.tolist(), rel=1e-6)
    assert block[6:9] == pytest.approx(reading.power_w.tolist(), rel=1e-6)
    assert block[0x34 // 2] == pytest.approx(reading.total_w, rel=1e-6)
    assert block[0x46 // 2] == pytest.approx(50.0, abs=0.03)
    assert block[0x48 // 2] * 1000 == pytest.approx(reading.total_wh, rel=1e-7)
    assert floats(await inputs(client, 0x156, 2)) == [block[0x48 // 2]]
    per_phase = floats(await inputs(client, 0x15A, 6))
    assert sum(per_phase) == pytest.approx(block[0x48 // 2], rel=1e-6)
    assert reading.total_w > 50
    client.close()


async def test_the_sdm630_takes_at_most_forty_values_a_request(bench: Bench) -> None:
    client = await bench.modbus("M-001-tcp")
    assert (await client.read_input_registers(0, count=82, device_id=1)).exception_code == ILLEGAL_VALUE
    client.close()


async def test_the_abb_b23_counts_in_hundredths_of_a_kilowatt_hour(bench: Bench) -> None:
    bench.step(86_400.0)
    client = await bench.modbus("M-B2-tcp")
    reading = bench.world.meters["M-B2"].reading(bench.world.now)
    assert whole(await holding(client, 0x5000, 4)) == int(reading.total_wh / 10)
    assert whole(await holding(client, 0x5004, 4)) == 0
    assert whole(await holding(client, 0x5B14, 2)) == round(reading.total_w * 100)
    assert whole(await holding(client, 0x5B00, 2)) == round(float(reading.voltage_v[0]) * 10)
    assert (await holding(client, 0x5B2C, 1))[0] == pytest.approx(5000, abs=3)
    assert whole(await holding(client, 0x5460, 4)) == int(reading.energy_wh[0] / 10)
    assert (await client.read_holding_registers(0x4FFF, count=4, device_id=1)).exception_code == ILLEGAL_ADDRESS
    client.close()


async def test_the_abb_b23_marks_what_it_does_not_know_with_its_patterns(bench: Bench) -> None:
    bench.world.meters["M-B2"].available = False
    client = await bench.modbus("M-B2-tcp")
    assert await holding(client, 0x5000, 4) == [0xFFFF] * 4
    assert await holding(client, 0x5B14, 2) == [0x7FFF, 0xFFFF]
    client.close()


async def test_the_janitza_counts_in_watt_hours(bench: Bench) -> None:
    bench.step(86_400.0)
    client = await bench.modbus("M-B3-tcp")
    reading = bench.world.meters["M-B3"].reading(bench.world.now)
    assert floats(await holding(client, 19068, 2))[0] == pytest.approx(reading.total_wh, rel=1e-7)
    assert floats(await holding(client, 19026, 2))[0] == pytest.approx(reading.total_w, rel=1e-6)
    assert floats(await holding(client, 19000, 6)) == pytest.approx(reading.voltage_v.tolist(), rel=1e-6)
    assert floats(await holding(client, 19062, 6)) == pytest.approx(reading.energy_wh.tolist(), rel=1e-6)
    client.close()


async def test_the_light_sensor_gives_the_illuminance_of_its_place_and_says_when_it_failed(bench: Bench) -> None:
    client = await bench.modbus("LS-1-tcp")
    registers = await inputs(client, 0, 3)
    assert floats(registers[:2])[0] == pytest.approx(illuminance_lx(50.868, 9.707, NOON), rel=1e-6)
    assert registers[2] == 0
    bench.simulator.devices.sensors["LS-1"].failed = True
    assert await inputs(client, 0, 3) == [0, 0, 1]
    client.close()
