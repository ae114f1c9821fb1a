"""Meters over real connections: in TLS, through an M-Bus gateway, many behind one gateway, and swapped ones."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import REGISTRY

from fieldbus.client import Fieldbus
from fieldbus.device import Limits
from fieldbus.values import PointAddress, Quality, ValueBatch
from fieldbus.values import TimeSource as FieldTimeSource
from servicekit.clock import SteppedClock
from servicekit.database import Database
from services.metering.acquisition.serials import are_same
from services.metering.acquisition.target import Target, sample_of
from services.metering.app import field_of
from services.metering.meter import Medium, Unit
from services.metering.reading import Status, TimeSource
from services.metering.settings import MeteringSettings
from services.metering.slot import ceil_slot_ms, from_ms, to_ms
from services.metering.vee import RegisterRules, RegisterState
from tests.fieldbus.servers import PymodbusServer, RawServer, answer_frame, registers_pdu
from tests.fieldbus.test_modbus_links import Authority
from tests.services.metering.field import Town, Worker
from tests.support.patient_loop import loop_time
from tests.support.ports import free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

DEAD, SLOW, UNITS = 7, 8, 30
HASTY = Limits(
    request_timeout_s=0.1, backoff_initial_s=0.05, backoff_max_s=0.2
)  # what the sick cost is paid back slowly
PATIENT = Limits(request_timeout_s=10.0)  # a question that is asked twice is one too many
METER_NUMBER = 66_600_106


class RealPace(SteppedClock):
    """Steps as the test says, and claims to be real time: others than the simulator may be talked to."""

    speed = 1.0


@pytest.fixture
async def town(database: Database, tmp_path: Path) -> Town:
    return Town(database, tmp_path, clock=RealPace)


@pytest.fixture
async def workers() -> AsyncIterator[list[Worker]]:
    started: list[Worker] = []
    yield started
    for worker in started:
        await worker.kill()


async def through_slot(worker: Worker, silent: Sequence[str] = ()) -> int:
    """Goes on until the next slot is dealt with. Its tolerance passes once all but the silent meters were read: how
    long that takes on a busy machine is not what is tried here."""
    clock, poller = worker.town.clock, worker.poller
    await eventually(lambda: clock._is_asleep(worker._tasks[0]))
    slot_ms = ceil_slot_ms(to_ms(clock.now()) + 1)
    await clock.advance(from_ms(slot_ms) - clock.now(), settle_s=0)

    def others_are_read() -> bool:
        others = [target for target in worker.book.targets if target.name.rpartition("/")[2] not in silent]
        return poller.polled_ms >= slot_ms or bool(silent and others and all(t.settled_ms >= slot_ms for t in others))

    for _ in range(5900):  # a little less than the tolerance
        if others_are_read():
            break
        await asyncio.sleep(0.01)
        await clock.advance(timedelta(milliseconds=50), settle_s=0)
    assert others_are_read()
    if poller.polled_ms < slot_ms:
        await clock.advance(from_ms(slot_ms) + timedelta(minutes=6) - clock.now(), settle_s=0)
    await eventually(lambda: poller.polled_ms >= slot_ms)
    await worker.recorder.settle()
    return slot_ms


# --- TLS -------------------------------------------------------------------------------------------------------------


async def test_a_meter_is_read_in_tls_and_one_without_its_entry_is_named(
    town: Town, workers: list[Worker], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("127.0.0.1"))
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readexactly(12)
                writer.write(answer_frame(request, registers_pdu(request, 0x4448)))
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    certificate, key = authority.issue("lichtbuch")
    security = tmp_path / "field.toml"
    security.write_text(
        f'[modbus."127.0.0.1:{port}"]\n'
        f'ca = "{authority.ca.name}"\ncertificate = "{certificate.name}"\nkey = "{key.name}"\n'
    )
    bus = field_of(town.clock, MeteringSettings(field_security=security))
    await town.add_at(f"modbus+tls://127.0.0.1:{port}", "eastron-sdm630", "M-1")
    await town.add_at(f"modbus+tls://127.0.0.1:{free_port()}", "eastron-sdm630", "M-2")
    workers.append(Worker(town, opener=bus))
    try:
        await through_slot(workers[0], ["M-2"])
    finally:
        server.close()
        await bus.close()
    assert (await town.readings("M-1")).status.tolist() == [Status.MEASURED]
    assert (await town.readings("M-2")).status.tolist() == [Status.GAP]
    assert "M-2 at modbus+tls://127.0.0.1" in caplog.text
    assert "modbus+tls needs an entry" in caplog.text


# --- many behind one gateway -----------------------------------------------------------------------------------------


async def test_one_dead_and_one_slow_unit_behind_a_gateway_cost_the_others_nothing(
    town: Town, workers: list[Worker]
) -> None:
    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        if request[6] == DEAD:
            return
        await asyncio.sleep(0.02 if request[6] == SLOW else 0.001)
        writer.write(answer_frame(request, registers_pdu(request, 0x4448)))

    server = RawServer(behave)
    await server.start()
    bus = Fieldbus(now=town.clock.now, limits=HASTY, monotonic=loop_time)
    for unit in range(1, UNITS + 1):
        await town.add_at(f"{server.url}?unit={unit}", "eastron-sdm630", f"M-{unit}")
    workers.append(Worker(town, opener=bus))
    try:
        slots = [await through_slot(workers[0], [f"M-{DEAD}"]) for _ in range(2)]
    finally:
        await bus.close()
        await server.stop()
    for unit in range(1, UNITS + 1):
        found = await town.readings(f"M-{unit}")
        assert found.slot_ms.tolist() == slots, unit
        assert set(found.status.tolist()) == {Status.GAP if unit == DEAD else Status.MEASURED}, unit


# --- M-Bus: the device's own time and number -------------------------------------------------------------------------


async def heat_gateway(town: Town, counted_before_s: int = 400) -> PymodbusServer:
    """An M-Bus gateway with one heat meter, which it read some time before the next slot."""
    at_s = ceil_slot_ms(to_ms(town.clock.now()) + 1) // 1000 - counted_before_s
    number = [METER_NUMBER >> 16, METER_NUMBER & 0xFFFF]
    stamp = [at_s >> 16, at_s & 0xFFFF]
    meter = [*number, 0x32A7, 0x0204, *stamp, 0, 0x0200, 0, 0]
    value = [0, 0, 0, 267, 0x4882, 0x5F00, 3, 5, *stamp]
    server = PymodbusServer({1: {"holding": {10: meter + value}}})
    await server.start()
    return server


@pytest.mark.parametrize(("registered", "foreign"), [("66600106", 0), ("LSE 66 600 106", 0), ("66600107", 1), ("", 0)])
async def test_heat_keeps_the_gateways_own_time_and_a_swapped_meter_is_told(
    town: Town, workers: list[Worker], registered: str, foreign: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = await heat_gateway(town)
    bus = Fieldbus(now=town.clock.now, limits=PATIENT, monotonic=loop_time)
    await town.add_at(
        server.url, "mbus-gateway-heat",
        medium=int(Medium.HEAT), unit=int(Unit.WH), point="energy_heat", serial_number=registered,
    )  # fmt: skip
    workers.append(Worker(town, opener=bus))
    try:
        with caplog.at_level(logging.ERROR):
            slot_ms = await through_slot(workers[0])
            asked = len(server.requests)
            await through_slot(workers[0])
    finally:
        await bus.close()
        await server.stop()
    found = await town.readings()
    assert found.value.tolist() == [267_000, 267_000]
    assert found.observed_ms.tolist() == [slot_ms - 400_000] * 2
    assert set(found.time_source.tolist()) == {TimeSource.DEVICE}
    assert REGISTRY.get_sample_value("lichtbuch_metering_foreign_meters") == foreign
    assert ("was it exchanged" in caplog.text) == bool(foreign)
    assert asked == (2 if registered else 1)  # the counter, and once a day the number
    assert len(server.requests) == asked + 1


@pytest.mark.parametrize(
    ("registered", "shown", "same"),
    [
        ("123456", "123456", True),
        ("00-123 456", "123456", True),
        ("1EMH0012345678", "12345678", True),
        ("123456", "123457", False),
        ("99123", "123", False),
        ("12345", "", False),
    ],
)
def test_numbers_that_are_written_otherwise_are_the_same_number(
    database_url: str, registered: str, shown: str, same: bool
) -> None:
    assert are_same(registered, shown) is same


def test_volumes_come_in_millilitres_and_are_stored_in_whole_litres(database_url: str) -> None:
    target = Target(
        name="t/W-1", meter_uid="m", municipality_uid="t", life_key=1, life_uid="l", endpoint_uid="e", url="",
        profile="mbus-gateway-water", point="volume_water", rules=RegisterRules(), state=RegisterState(),
    )  # fmt: skip
    batch = ValueBatch(
        (PointAddress("volume_water"),),
        np.array([12_345_999.0]),
        np.array([Quality.GOOD], np.uint8),
        np.array([1_000], np.int64),
        np.array([FieldTimeSource.OURS], np.uint8),
    )
    sample = sample_of(target, batch, 0, 2_000)
    assert sample is not None
    assert sample.value == 12_345
