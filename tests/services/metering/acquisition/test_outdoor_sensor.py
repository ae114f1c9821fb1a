"""From the sensor outdoors to degree days: a day of its temperatures over Modbus and over OPC UA, polled and answered.

What degree days are of any values is figures/test_weather.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from asyncua import ua

from fieldbus.client import Fieldbus
from fieldbus.device import Device
from fieldbus.profile_loader import load_profile_file
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.convert import timestamp_to_proto
from servicekit.database import Database
from services.metering.meter import Cycle, Kind, Medium, Unit
from services.metering.reading import Status
from services.metering.slot import HOUR_MS, from_ms, to_ms
from tests.fieldbus.opcua_servers import Plant
from tests.fieldbus.servers import PymodbusServer
from tests.services.metering.acquisition.test_field_traffic import RealPace
from tests.services.metering.field import Town, Worker
from tests.services.metering.running import PARENT, name_of, running_metering
from tests.support.issuer import Issuer
from tests.support.running import HERSFELD
from tests.support.waiting import eventually

OPCUA_PROFILE = Path(__file__).with_name("opcua-meter.toml")
NODE = "Meter.Temperature"
MIDNIGHT = datetime(2026, 3, 26, 23, tzinfo=UTC)
"""The begin of the 27th of March in Germany."""
TENTHS = [abs(12 - hour) * 10 - 35 for hour in range(24)]
"""From 8.5 degrees at midnight to -3.5 at noon and back, by the hour."""


class Sensor(Protocol):
    """A sensor on the wire."""

    url: str
    profile: str
    point: str

    async def shows(self, tenths: int) -> None:
        """It is so warm from now on."""
        ...


class ModbusSensor:
    """The transmitter of profile outdoor-sensor."""

    profile, point = "outdoor-sensor", "temperature_outdoor"

    def __init__(self, server: PymodbusServer) -> None:
        self._server = server
        self.url = f"{server.url}?unit=1"

    async def shows(self, tenths: int) -> None:
        """In two's complement."""
        self._server.set_registers(1, "input", 0, [tenths & 0xFFFF])


class OpcuaSensor:
    """A node with a temperature."""

    profile, point = "opcua-meter", "temperature_return"

    def __init__(self, plant: Plant, town: Town) -> None:
        self._plant, self._town = plant, town
        self.url = plant.url

    async def shows(self, tenths: int) -> None:
        """With the time at which it was measured."""
        now = self._town.clock.now()
        await self._plant.set(NODE, tenths / 10, ua.VariantType.Double, SourceTimestamp=now, ServerTimestamp=now)


@asynccontextmanager
async def sensor_over(protocol: str, town: Town) -> AsyncIterator[Sensor]:
    """One that answers until the end of the block."""
    if protocol == "modbus":
        server = PymodbusServer({1: {"input": {0: [0, 400, 0]}}})
        await server.start()
        yield ModbusSensor(server)
        await server.stop()
        return
    plant = Plant(lamps=0)

    async def build(plant: Plant) -> None:
        folder = await plant.server.nodes.objects.add_folder(plant.id("Meter"), "Meter")
        await folder.add_variable(plant.id(NODE), "Temperature", ua.Variant(20.0, ua.VariantType.Double))

    plant.build = build
    await plant.start()
    yield OpcuaSensor(plant, town)
    await plant.stop()


class Opener:
    """The real field layer, which knows the profile of the OPC UA server from its file."""

    def __init__(self, town: Town) -> None:
        self.fieldbus = Fieldbus(now=town.clock.now)

    def open(self, url: str, profile: str, **options: Any) -> Device:
        found = load_profile_file(OPCUA_PROFILE) if profile == OpcuaSensor.profile else profile
        return self.fieldbus.open(url, found, **options)


async def through_hour(worker: Worker, slot_ms: int) -> None:
    """On to an hour, and on until it was read and stored."""
    clock = worker.town.clock
    await eventually(lambda: clock._is_asleep(worker._tasks[0]))
    await clock.advance(from_ms(slot_ms) - clock.now(), settle_s=0)
    for _ in range(5_900):  # a little less than the tolerance
        if worker.book.targets and all(target.settled_ms >= slot_ms for target in worker.book.targets):
            break
        await asyncio.sleep(0.01)
        await clock.advance(timedelta(milliseconds=50), settle_s=0)
    await eventually(lambda: worker.poller.polled_ms >= slot_ms)
    await worker.recorder.settle()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("protocol", ["modbus", "opcua"])
async def test_a_day_of_a_polled_sensor_is_its_degree_days(
    issuer: Issuer, database: Database, tmp_path: Path, protocol: str
) -> None:
    town = Town(database, tmp_path, MIDNIGHT - timedelta(minutes=2), RealPace)
    opener = Opener(town)
    async with sensor_over(protocol, town) as sensor:
        await town.add_at(
            sensor.url, sensor.profile, "T-1", point=sensor.point, municipality_uid=HERSFELD.uid, connected_load_w=0,
            kind=int(Kind.INSTANT), medium=int(Medium.TEMPERATURE), unit=int(Unit.CELSIUS), scale_exponent=-1,
            reading_cycle=int(Cycle.HOUR),
        )  # fmt: skip
        worker = Worker(town, opener=opener)
        try:
            for hour, tenths in enumerate(TENTHS):
                await sensor.shows(tenths)
                await through_hour(worker, to_ms(MIDNIGHT) + hour * HOUR_MS)
        finally:
            await worker.kill()
            await opener.fieldbus.close()
    stored = await town.readings("T-1")
    assert stored.value.tolist() == TENTHS
    assert stored.slot_ms.tolist() == [to_ms(MIDNIGHT) + hour * HOUR_MS for hour in range(24)]
    assert set(stored.status.tolist()) == {Status.MEASURED}
    request = pb.QueryDegreeDaysRequest(
        parent=PARENT,
        weather=name_of("T-1"),
        start_time=timestamp_to_proto(MIDNIGHT),
        end_time=timestamp_to_proto(MIDNIGHT + timedelta(days=1)),
        step=pb.STEP_TOTAL,
    )
    async with running_metering(issuer, database) as metering:
        [found] = (await metering.as_().QueryDegreeDays(request)).degree_days
    mean_centi = 10 * sum(TENTHS) // 24
    assert (found.mean_centidegrees, found.degree_days_centi) == (mean_centi, 2000 - mean_centi)
    assert (found.heating_days, found.known_days, found.days) == (1, 1, 1)
