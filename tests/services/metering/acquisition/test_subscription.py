"""Values that an OPC UA server tells of, and the past that it keeps: real traffic, on a stepped clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.server.binary_server_asyncio import BinaryServer
from prometheus_client import REGISTRY
from sqlalchemy import text

from fieldbus.client import Fieldbus
from fieldbus.device import Device, Limits
from fieldbus.opcua import pulse
from fieldbus.profile_loader import load_profile_file
from fieldbus.values import PointAddress, TimeSource
from servicekit.database import Database
from services.metering.acquisition.asked import Asked
from services.metering.acquisition.catch_up import CatchUp
from services.metering.meter import Acquisition, Kind, Medium, Unit
from services.metering.reading import Status
from services.metering.slot import SLOT_MS, ceil_slot_ms, from_ms, to_ms
from tests.fieldbus.opcua_servers import Plant
from tests.services.metering.field import Town, Worker
from tests.services.metering.making import NOON_MS
from tests.support.waiting import eventually

pytestmark = [pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]

PROFILE = Path(__file__).with_name("opcua-meter.toml")
ENERGY, TEMPERATURE = "Meter.Energy", "Meter.Temperature"
LIMITS = Limits(backoff_initial_s=0.01, backoff_max_s=0.02, poll_interval_s=0.02)
TOLD = "lichtbuch_metering_slots_told_total"


class Opener:
    """The real field layer with the profile of these tests."""

    def __init__(self, town: Town) -> None:
        self.fieldbus = Fieldbus(now=town.clock.now, limits=LIMITS)

    def open(self, url: str, profile: str, **options: Any) -> Device:
        return self.fieldbus.open(url, load_profile_file(PROFILE), **options)


async def build(plant: Plant) -> None:
    folder = await plant.server.nodes.objects.add_folder(plant.id("Meter"), "Meter")
    await folder.add_variable(plant.id(ENERGY), "Energy", ua.Variant(1_000_000, ua.VariantType.UInt64))
    await folder.add_variable(plant.id(TEMPERATURE), "Temperature", ua.Variant(20.0, ua.VariantType.Double))
    await plant.server.historize_node_data_change(plant.node(ENERGY), timedelta(days=36500), 10_000)


@pytest.fixture
async def plant() -> AsyncIterator[Plant]:
    plant = Plant(lamps=0)
    plant.build = build
    await plant.start()
    yield plant
    await plant.stop()


@pytest.fixture
async def town(database: Database, tmp_path: Path) -> Town:
    return Town(database, tmp_path)


@pytest.fixture
async def opener(town: Town) -> AsyncIterator[Opener]:
    opener = Opener(town)
    yield opener
    await opener.fieldbus.close()


@pytest.fixture
async def worker(town: Town, plant: Plant, opener: Opener) -> AsyncIterator[Worker]:
    await town.add_at(plant.url, "opcua-meter", "M-1", acquisition=int(Acquisition.SUBSCRIBE), connected_load_w=0)
    await town.add_at(
        plant.url, "opcua-meter", "T-1", acquisition=int(Acquisition.SUBSCRIBE), connected_load_w=0,
        point="temperature_return", kind=int(Kind.INSTANT), medium=int(Medium.TEMPERATURE), unit=int(Unit.CELSIUS),
        scale_exponent=-1, endpoint_uid=town.stored["M-1"].row.endpoint_uid,
    )  # fmt: skip
    worker = Worker(town, opener=opener)
    yield worker
    await worker.kill()


async def tell(plant: Plant, name: str, value: float, at: datetime) -> None:
    """The server's own device measures a value at an instant."""
    kind = ua.VariantType.UInt64 if name == ENERGY else ua.VariantType.Double
    given = int(value) if name == ENERGY else float(value)
    await plant.set(name, given, kind, SourceTimestamp=at, ServerTimestamp=at)


async def begin_slot(worker: Worker) -> int:
    """On to the next quarter hour, until everybody who reads waits for something to be told."""
    clock = worker.town.clock
    await eventually(lambda: clock._is_asleep(worker._tasks[0]))
    slot_ms = ceil_slot_ms(to_ms(clock.now()) + 1)
    await clock.advance(from_ms(slot_ms) - clock.now(), settle_s=0)
    await clock.advance(timedelta(seconds=2), settle_s=0)  # longer than endpoints are spread
    await eventually(worker._waits_for_the_clock)
    return slot_ms


async def end_slot(worker: Worker, slot_ms: int) -> None:
    """Until the quarter hour has been dealt with."""
    clock = worker.town.clock
    for _ in range(200):
        await eventually(worker._waits_for_the_clock)
        if worker.poller.polled_ms >= slot_ms:
            break
        await clock.advance(timedelta(seconds=10), settle_s=0)
    await worker.recorder.settle()


def told() -> float:
    return REGISTRY.get_sample_value(TOLD) or 0.0


def watch_of(worker: Worker, point: str) -> dict[int, Any]:
    """What was told of a point."""
    watches = list(worker.poller._watches._watches.values())
    return {slot: report for watch in watches for slot, report in watch.told.get(PointAddress(point), {}).items()}


async def first_slot(worker: Worker, plant: Plant) -> int:
    """The first quarter hour: values that stand, subscribed to and read."""
    before = from_ms(NOON_MS - 60_000)
    await tell(plant, ENERGY, 1_000_000, before)
    await tell(plant, TEMPERATURE, -3.5, before)
    slot_ms = await begin_slot(worker)
    await end_slot(worker, slot_ms)
    await eventually(lambda: bool(watch_of(worker, "energy_active_import")))
    return slot_ms


async def test_the_value_that_stands_at_a_slot_is_the_last_one_not_after_it_with_its_own_time(
    town: Town, worker: Worker, plant: Plant
) -> None:
    await first_slot(worker, plant)
    before = told()
    at = from_ms(NOON_MS + SLOT_MS - 40_000)
    await tell(plant, ENERGY, 1_000_700, at)
    await tell(plant, TEMPERATURE, -4.26, at)
    points = ("energy_active_import", "temperature_return")
    await eventually(lambda: all(NOON_MS + SLOT_MS in watch_of(worker, point) for point in points))
    slot_ms = await begin_slot(worker)
    await tell(plant, ENERGY, 1_000_900, from_ms(slot_ms + 1000))
    await eventually(lambda: slot_ms + SLOT_MS in watch_of(worker, "energy_active_import"))
    await end_slot(worker, slot_ms)
    assert told() == before + 2
    energy, temperature = await town.readings("M-1"), await town.readings("T-1")
    assert energy.value.tolist() == [1_000_000, 1_000_700]
    assert temperature.value.tolist() == [-35, -43]
    for found in (energy, temperature):
        assert found.observed_ms.tolist()[1] == to_ms(at)
        assert found.time_source.tolist()[1] == TimeSource.DEVICE
        assert found.status.tolist() == [Status.MEASURED] * 2


async def test_a_subscription_that_gives_no_sign_of_life_is_not_believed_and_the_value_is_asked_for(
    town: Town, worker: Worker, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "KEEP_ALIVE_S", 600.0)  # longer than any test: none comes because a machine is busy
    slot_ms = await first_slot(worker, plant)
    before = told()
    await end_slot(worker, await begin_slot(worker))
    assert told() == before
    found = await town.readings("M-1")
    assert found.slot_ms.tolist() == [slot_ms, slot_ms + SLOT_MS]
    assert found.status.tolist() == [Status.MEASURED] * 2


async def test_slots_of_a_line_outage_are_filled_from_the_servers_history_once_and_the_rest_stay_gaps(
    town: Town, worker: Worker, plant: Plant
) -> None:
    await first_slot(worker, plant)
    server = plant.server
    assert server.bserver is not None
    await server.bserver.stop()
    # Four quarter hours without the line. The server records on; the last one but one has nothing within reach.
    for number, counted in ((1, 1_000_500), (2, 1_001_000), (4, 1_002_000)):
        await tell(plant, ENERGY, counted, from_ms(NOON_MS + number * SLOT_MS - (5_000 if number != 4 else 0)))
    for _ in range(4):
        await end_slot(worker, await begin_slot(worker))
    assert (await town.readings("M-1")).status.tolist() == [1, 2, 2, 2, 2]
    server.bserver = BinaryServer(server.iserver, "127.0.0.1", plant.port, server.limits)
    server.bserver.set_policies(server._policies)
    await server.bserver.start()
    await tell(plant, ENERGY, 1_002_500, from_ms(NOON_MS + 5 * SLOT_MS - 1000))
    for _ in range(3):  # the line's back-off is real time, the slot's is not
        slot_ms = await begin_slot(worker)
        await end_slot(worker, slot_ms)
        if (await town.readings("M-1")).status.tolist()[-1] == Status.MEASURED:
            break
    catch_up = catch_up_of(town, worker)
    filled = await catch_up.look(slot_ms)
    found = await town.readings("M-1")
    assert filled >= 3
    assert found.status.tolist()[:5] == [1, 1, 1, 2, 1]
    assert found.value.tolist()[:5] == [1_000_000, 1_000_500, 1_001_000, 0, 1_002_000]
    assert found.observed_ms.tolist()[1] == NOON_MS + SLOT_MS - 5_000
    assert found.revision.tolist()[:5] == [0, 1, 1, 0, 1]
    sources = await town.database.read(
        lambda s: s.connection().execute(text("SELECT DISTINCT source FROM reading_batch ORDER BY 1")).scalars().all()
    )
    assert list(sources) == ["history", "poll"]
    # The thermometer's node keeps no history, the meter's gap that is left has none: neither is asked for again.
    device: Any = worker.poller._devices.opened(town.stored["M-1"].row.endpoint_uid)
    asked: list[object] = []
    plain = device.history

    async def history(*question: object) -> object:
        asked.append(question)
        return await plain(*question)

    device.history = history  # a subscription's own requests come and go meanwhile, and are not these
    assert await catch_up.look(slot_ms) == 0
    assert await catch_up_of(town, worker).look(slot_ms) == 0  # nor after a restart
    assert asked == []


def catch_up_of(town: Town, worker: Worker) -> CatchUp:
    return CatchUp(
        clock=town.clock,
        database=town.database,
        devices=worker.poller._devices,
        book=worker.book,
        asked=Asked(town.folder / "caught-up.json"),
        polled_ms=lambda: worker.poller.polled_ms,
        may_work=lambda: True,
        settle=worker.recorder.settle,
    )
