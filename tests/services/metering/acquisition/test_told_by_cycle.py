"""One subscription tells of registers with different cycles, and the past is asked for at their slots: each takes what
stands at its own ones, and nobody subscribes anew because it is not every register's turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from fieldbus.values import PointAddress, Quality, TimeSource, ValueBatch
from servicekit.clock import SteppedClock
from servicekit.database import Database
from services.metering.meter import Acquisition, Cycle, Kind, Medium, Unit
from services.metering.reading import Status
from services.metering.slot import SLOT_MS, ceil_slot_ms, from_ms, to_ms
from tests.fieldbus.opcua_servers import Plant
from tests.services.metering.acquisition.test_cycles import pass_slots
from tests.services.metering.acquisition.test_subscription import (
    ENERGY,
    TEMPERATURE,
    Opener,
    begin_slot,
    build,
    catch_up_of,
    end_slot,
    tell,
    watch_of,
)
from tests.services.metering.field import FieldMeter, Town, Worker
from tests.services.metering.making import NOON_MS
from tests.support.waiting import eventually

pytestmark = [pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]

HOUR_MS = 4 * SLOT_MS


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
async def worker(town: Town, plant: Plant) -> AsyncIterator[Worker]:
    opener = Opener(town)
    told = {"acquisition": int(Acquisition.SUBSCRIBE), "connected_load_w": 0}
    await town.add_at(plant.url, "opcua-meter", "M-1", reading_cycle=int(Cycle.HOUR), **told)
    await town.add_at(
        plant.url, "opcua-meter", "T-1", point="temperature_return", kind=int(Kind.INSTANT), scale_exponent=-1,
        medium=int(Medium.TEMPERATURE), unit=int(Unit.CELSIUS), **told,
        endpoint_uid=town.stored["M-1"].row.endpoint_uid,
    )  # fmt: skip
    worker = Worker(town, opener=opener)
    yield worker
    await worker.kill()
    await opener.fieldbus.close()


async def test_an_hourly_register_takes_what_stands_at_the_hour_from_the_subscription_that_it_shares(
    town: Town, worker: Worker, plant: Plant
) -> None:
    before = from_ms(NOON_MS - 60_000)
    await tell(plant, ENERGY, 1_000_000, before)
    await tell(plant, TEMPERATURE, 1.0, before)
    await end_slot(worker, await begin_slot(worker))
    watches = worker.poller._watches._watches
    [watch] = watches.values()
    for quarter in range(1, 4):
        at = from_ms(NOON_MS + quarter * SLOT_MS - 30_000)
        await tell(plant, ENERGY, 1_000_000 + 250 * quarter, at)
        await eventually(lambda: NOON_MS + HOUR_MS in watch_of(worker, "energy_active_import"))
        slot_ms = await begin_slot(worker)
        await tell(plant, TEMPERATURE, 1.0 + quarter, from_ms(slot_ms + 1000))  # a sign of life
        await end_slot(worker, slot_ms)
    at = from_ms(NOON_MS + HOUR_MS) - timedelta(seconds=10)
    await tell(plant, ENERGY, 1_000_990, at)
    await eventually(lambda: watch_of(worker, "energy_active_import")[NOON_MS + HOUR_MS].observed_ms == to_ms(at))
    slot_ms = await begin_slot(worker)
    await tell(plant, TEMPERATURE, 9.0, from_ms(slot_ms + 1000))
    await end_slot(worker, slot_ms)
    found = await town.readings("M-1")
    assert found.slot_ms.tolist() == [NOON_MS, NOON_MS + HOUR_MS]
    assert found.status.tolist() == [Status.MEASURED] * 2
    assert found.value.tolist() == [1_000_000, 1_000_990]
    assert found.observed_ms.tolist()[1] == to_ms(at)
    assert found.time_source.tolist()[1] == TimeSource.DEVICE
    assert (await town.readings("T-1")).slot_ms.tolist() == [NOON_MS + n * SLOT_MS for n in range(5)]
    assert next(iter(watches.values())) is watch


class RecordingMeter(FieldMeter):
    """A meter that has recorded what it showed at every quarter hour."""

    def __init__(self, clock: SteppedClock) -> None:
        super().__init__(clock)
        self.asked: list[tuple[datetime, datetime]] = []

    async def history(self, points: Sequence[PointAddress], start: datetime, end: datetime) -> list[ValueBatch]:
        """1 000 Wh a quarter hour since noon."""
        self.asked.append((start, end))
        slots = np.arange(ceil_slot_ms(to_ms(start)), to_ms(end), SLOT_MS, dtype=np.int64)
        count = len(slots)
        return [
            ValueBatch(
                [point] * count,
                1_000_133.0 + 1_000 * (slots - NOON_MS) / SLOT_MS,
                np.full(count, Quality.GOOD, np.uint8),
                slots,
                np.full(count, TimeSource.DEVICE, np.uint8),
            )
            for point in points
        ]


async def test_the_past_is_asked_for_at_the_slots_of_the_cycle_only(town: Town) -> None:
    meter = town.field.meters["test://hour"] = RecordingMeter(town.clock)
    await town.add_at("test://hour", "eastron-sdm630", "hour", reading_cycle=int(Cycle.HOUR))
    first = Worker(town)
    try:
        await pass_slots(first, NOON_MS)
    finally:
        await first.kill()
    await town.clock.advance(timedelta(hours=3, minutes=20))
    second = Worker(town)
    try:
        now_ms = NOON_MS + 3 * HOUR_MS + 2 * SLOT_MS
        await pass_slots(second, now_ms)
        opened: object = await second.poller._devices.of(second.book.targets[0])
        assert opened is meter  # what has just been flagged is asked for before the next turn comes
        assert await catch_up_of(town, second).look(now_ms) == 3
    finally:
        await second.kill()
    found = await town.readings("hour")
    assert found.slot_ms.tolist() == [NOON_MS + n * HOUR_MS for n in range(4)]
    assert found.status.tolist() == [Status.MEASURED] * 4
    assert np.diff(found.value).tolist() == [4_000] * 3
    assert [to_ms(end) - 1 for _, end in meter.asked] == [NOON_MS + 3 * HOUR_MS]
