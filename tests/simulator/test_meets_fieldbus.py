"""Our device profiles against the simulated devices: both were written on their own, so an error in one shows here."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from fieldbus.client import Fieldbus
from fieldbus.device import Device
from fieldbus.values import PointAddress, Quality, ValueBatch, WriteOutcome
from simulator.app import Simulator
from simulator.clock import SteppedClock
from simulator.daylight import illuminance_lx
from simulator.roadside import rain_intensity, traffic_flow
from simulator.town import Town
from tests.simulator.conftest import NOON, Bench
from tests.support.patient_loop import loop_time

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(town: Town) -> AsyncIterator[Bench]:
    """A day on, with two contactors closed and lamps at various levels."""
    simulator = Simulator(town, SteppedClock(NOON))
    await simulator.start()
    bench = Bench(simulator)
    bench.world.command_contactor("C-001", 0, True)
    bench.world.command_contactor("C-003", 0, True)
    for gateway in bench.world.gateways.values():
        for place, level in enumerate((1000, 700, 500, 350)):
            bench.world.command_level(gateway.lamps[place : place + 1], float(level))
    bench.step(86_400.0)
    yield bench
    await bench.http.aclose()
    await simulator.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def field(running: Bench) -> AsyncIterator[Fieldbus]:
    def now() -> datetime:
        return datetime.fromtimestamp(running.world.now, UTC)

    fieldbus = Fieldbus(now=now, require_simulator=True, monotonic=loop_time)
    yield fieldbus
    await fieldbus.close()


def device(field: Fieldbus, bench: Bench, endpoint: str) -> Device:
    profile = next(e.profile for e in bench.town.endpoints if e.id == endpoint)
    return field.open(bench.urls[endpoint], profile)


async def read(device: Device, *points: str, index: int | None = None) -> list[float]:
    batch = await device.read([PointAddress(point, index) for point in points])
    assert batch.complete, [(str(p), q) for p, q in zip(batch.points, batch.quality, strict=True)]
    return [float(value) for value in batch.values]


@pytest.mark.parametrize("endpoint", ["M-001-tcp", "M-B1-tcp", "M-B2-tcp", "M-B3-tcp"])
async def test_meters_are_read_as_they_count(running: Bench, field: Fieldbus, endpoint: str) -> None:
    meter = endpoint.removesuffix("-tcp")
    truth = running.world.meters[meter].reading(running.world.now)
    phases = ("l1", "l2", "l3")
    names = ["energy_active_import", "energy_active_export", "power_active_total", "frequency"]
    for quantity in ("voltage", "current", "power_active", "energy_active_import"):
        names += [f"{quantity}_{phase}" for phase in phases]
    energy, export, power, frequency, *rest = await read(device(field, running, endpoint), *names)
    # One count of the product: 10 Wh, or what a float32 resolves.
    assert energy == pytest.approx(truth.total_wh, abs=max(10.0, truth.total_wh * 6e-8))
    assert export == 0.0
    assert power == pytest.approx(truth.total_w, rel=1e-3)
    assert frequency == pytest.approx(50.0, abs=0.03)
    assert rest[0:3] == pytest.approx(truth.voltage_v.tolist(), abs=0.1)
    assert rest[3:6] == pytest.approx(truth.current_a.tolist(), abs=0.01)
    assert rest[6:9] == pytest.approx(truth.power_w.tolist(), rel=1e-3, abs=0.01)
    assert rest[9:12] == pytest.approx(truth.energy_wh.tolist(), abs=max(10.0, truth.total_wh * 6e-8))


@pytest.mark.parametrize("meter", ["M-001", "M-B2", "M-B3"])
async def test_what_a_meter_does_not_know_is_no_number(running: Bench, field: Fieldbus, meter: str) -> None:
    running.world.meters[meter].available = False
    try:
        batch = await device(field, running, f"{meter}-tcp").read([PointAddress("energy_active_import")])
        assert batch.quality[0] == Quality.BAD
    finally:
        running.world.meters[meter].available = True


async def test_the_controller_is_read_and_switched(running: Bench, field: Fieldbus) -> None:
    controller = device(field, running, "C-002-plc")
    command = PointAddress("contactor_command", 1)
    (result,) = await controller.write([(command, 1.0)])
    assert result.outcome is WriteOutcome.CONFIRMED
    assert await read(controller, "contactor_command", "contactor_feedback", "circuit_breaker_tripped", index=1) == [
        1,
        1,
        0,
    ]
    assert await read(controller, "contactor_feedback", index=0) == [0]
    assert await read(controller, "hand_off_auto", "door_open", "supply_present") == [2, 0, 1]
    await running.simulator.faults.inject({"kind": "hand_switch", "cabinet": "C-002", "position": "off"})
    await running.simulator.faults.inject({"kind": "door_open", "cabinet": "C-002"})
    await running.simulator.faults.inject({"kind": "breaker_tripped", "feeder": "C-002-F2"})
    assert await read(controller, "hand_off_auto", "door_open") == [1, 1]
    assert await read(controller, "contactor_feedback", "circuit_breaker_tripped", index=1) == [0, 1]
    await running.simulator.faults.clear()
    results = await controller.write([(PointAddress("heartbeat"), 5.0), (PointAddress("heartbeat_timeout"), 900.0)])
    assert {r.outcome for r in results} == {WriteOutcome.CONFIRMED}


async def test_lamps_behind_intesis_are_read_as_they_are(running: Bench, field: Fieldbus) -> None:
    gateway = device(field, running, "C-001-gw")
    names = ("level_actual", "level_command", "lamp_on", "lamp_failure", "gear_failure", "fade_running", "lamp_power",
             "lamp_energy", "burning_hours", "lamp_starts", "level_power_on", "level_communication_loss",
             "fade_time")  # fmt: skip
    lamps, now = running.world.lamps, running.world.now
    for gear in range(4):
        place = running.world.gateways["C-001-gw"].addresses[gear]
        level = float(lamps.light_level(now)[place])
        values = await read(gateway, *names, index=gear)
        assert values[:6] == [level, level, 1, 0, 0, 0]
        assert values[6:9] == [
            round(float(lamps.power_w(now)[place])), int(lamps.energy_wh(now)[place]), int(lamps.burning_s(now)[place])
        ]  # fmt: skip
        assert values[9:] == [int(lamps.starts[place]), 1000, 1000, 2.0]


@pytest.mark.parametrize("endpoint", ["C-001-gw", "C-003-gw"])
async def test_a_level_is_confirmed_and_reaches_the_lamp(running: Bench, field: Fieldbus, endpoint: str) -> None:
    gateway = device(field, running, endpoint)
    (result,) = await gateway.write([(PointAddress("level_command", 2), 450.0)])
    assert (result.outcome, result.read_back) == (WriteOutcome.CONFIRMED, 450.0)
    running.step(10.0)
    assert await read(gateway, "level_actual", index=2) == [450.0]


async def test_a_level_reaches_lamps_behind_arlight_on_its_curve(running: Bench, field: Fieldbus) -> None:
    gateway = device(field, running, "C-002-gw")
    gear = next(x.gear for x in running.town.luminaires if x.feeder == "C-002-F3")
    (result,) = await gateway.write([(PointAddress("level_command", gear), 450.0)], verify=False)
    assert result.outcome is WriteOutcome.ACCEPTED
    running.step(10.0)
    (held,) = await read(gateway, "level_command", index=gear)
    place = running.world.gateways["C-002-gw"].addresses[gear]
    assert held == pytest.approx(float(running.world.lamps.light_level(running.world.now)[place]), abs=1.0)
    assert held == pytest.approx(450.0, abs=10.0)
    assert await read(gateway, "lamp_on", "lamp_failure", "gear_failure", index=gear) == [1, 0, 0]


@pytest.mark.parametrize("endpoint", ["C-001-gw", "C-003-gw"])
async def test_stored_levels_are_written_and_confirmed(running: Bench, field: Fieldbus, endpoint: str) -> None:
    gateway = device(field, running, endpoint)
    wanted = [(PointAddress("level_power_on", 1), 800.0), (PointAddress("level_communication_loss", 1), 600.0)]
    assert {r.outcome for r in await gateway.write(wanted)} == {WriteOutcome.CONFIRMED}
    place = running.world.gateways[endpoint].addresses[1]
    assert running.world.lamps.power_on_level[place] == 800.0
    assert running.world.lamps.system_failure_level[place] == 600.0


async def test_group_and_broadcast_commands_reach_their_lamps(running: Bench, field: Fieldbus) -> None:
    gateway = device(field, running, "C-001-gw")
    writes = [(PointAddress("broadcast_level_command", 0), 300.0), (PointAddress("group_level_command", 1), 900.0)]
    assert {r.outcome for r in await gateway.write(writes)} == {WriteOutcome.CONFIRMED}
    running.step(10.0)
    levels = {
        lamp.feeder: float(running.world.lamps.light_level(running.world.now)[running.world.lamp_index[lamp.id]])
        for lamp in running.town.luminaires
        if lamp.cabinet == "C-001"
    }
    assert levels == {"C-001-F1": 300.0, "C-001-F2": 900.0}


async def test_lamps_on_opc_ua_are_read_as_they_are(running: Bench, field: Fieldbus) -> None:
    gateway = device(field, running, "C-003-gw")
    lamps, now = running.world.lamps, running.world.now
    place = running.world.gateways["C-003-gw"].addresses[0]
    names = ("level_actual", "level_command", "lamp_failure", "lamp_power", "lamp_energy", "burning_hours")
    values = await read(gateway, *names, index=0)
    assert values[:3] == [1000.0, 1000.0, 0.0]
    assert values[3] == pytest.approx(float(lamps.power_w(now)[place]))
    assert values[4:] == [int(lamps.energy_wh(now)[place]), int(lamps.burning_s(now)[place])]


async def test_dead_gear_is_never_mistaken_for_a_measured_value(running: Bench, field: Fieldbus) -> None:
    # The second feeders of C-002 and C-003 were never closed for these lamps.
    for endpoint, feeder, point in (
        ("C-002-gw", "C-002-F1", "level_command"),
        ("C-003-gw", "C-003-F2", "level_actual"),
        ("C-003-gw", "C-003-F2", "lamp_energy"),
    ):
        gear = next(x.gear for x in running.town.luminaires if x.feeder == feeder)
        batch: ValueBatch = await device(field, running, endpoint).read([PointAddress(point, gear)])
        assert batch.quality[0] in (Quality.BAD, Quality.MISSING), (endpoint, point)


async def test_illuminance_is_read(running: Bench, field: Fieldbus) -> None:
    (lux,) = await read(device(field, running, "LS-1-tcp"), "illuminance")
    assert lux == pytest.approx(illuminance_lx(50.868, 9.707, running.world.now), rel=1e-6)


async def test_traffic_and_rain_are_read_and_the_same_for_the_same_seed(running: Bench, field: Fieldbus) -> None:
    town, now = running.town, running.world.now
    traffic, good = await read(device(field, running, "TS-1-tcp"), "traffic_flow", "sensor_failure")
    assert (traffic, good) == (traffic_flow(town.seed, "TS-1", town.time_zone, now), 0)
    (rain,) = await read(device(field, running, "RS-1-tcp"), "rain_intensity")
    assert rain == pytest.approx(rain_intensity(town.seed, "RS-1", now))
    running.simulator.devices.sensors["RS-1"].failed = True
    assert await read(device(field, running, "RS-1-tcp"), "rain_intensity", "sensor_failure") == [0, 1]
    running.simulator.devices.sensors["RS-1"].failed = False


async def test_every_endpoint_is_identified_as_the_simulator(running: Bench, field: Fieldbus) -> None:
    for endpoint in ("C-001-plc", "C-001-gw", "C-003-gw", "M-001-tcp", "LS-1-tcp", "TS-1-tcp"):
        identity = await device(field, running, endpoint).identify()
        assert (identity.vendor, identity.product) == ("Lichtbuch", "Simulator")
