"""Polling over real Modbus TCP in a time-lapse: the stored counters are those that the simulated meters showed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from domain.timelapse import TimeLapse
from fieldbus.client import Fieldbus
from servicekit.clock import Clock, TimeLapseClock
from servicekit.database import Database, Session
from services.metering.acquisition.book import TargetBook
from services.metering.acquisition.devices import Devices
from services.metering.acquisition.polling import Poller
from services.metering.acquisition.recorder import Recorder
from services.metering.acquisition.resets import StoredResets
from services.metering.acquisition.spool import Spool
from services.metering.app import limits_for
from services.metering.reading import Readings, Status
from services.metering.settings import MeteringSettings
from services.metering.slot import SLOT_MS
from services.metering.store import readings
from services.metering.store.lives import lives_of
from services.metering.store.meters import all_rows
from services.metering.store.tables import EndpointRow
from simulator.app import Simulator
from simulator.clock import RunningClock
from simulator.demo import DemoSize, demo_town
from tests.services.metering.making import NOW, TOWN, add_meter
from tests.support.patient_loop import loop_time
from tests.support.waiting import eventually

SPEED = 600.0

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class SharedClock(RunningClock):
    """The simulator's clock, on another one."""

    def __init__(self, lapse: TimeLapse, clock: Clock) -> None:
        super().__init__(lapse)
        self._clock = clock

    def now_s(self) -> float:
        return self._clock.now().timestamp()


async def test_a_town_is_read_in_a_time_lapse_as_its_meters_show(database: Database, tmp_path: Path) -> None:
    town = demo_town(DemoSize(luminaires=40, cabinets=4, monitored=4))
    lapse = TimeLapse(NOW - timedelta(minutes=5), datetime.now(UTC), SPEED)
    began_s = loop_time()
    # A quarter hour is a second and a half: a pause that the machine makes must not swallow one.
    clock = TimeLapseClock(lapse, lambda: lapse.anchor + timedelta(seconds=loop_time() - began_s))
    simulator = Simulator(town, SharedClock(lapse, clock))
    await simulator.start()
    fieldbus = Fieldbus(
        now=clock.now, require_simulator=True, limits=limits_for(clock, MeteringSettings()), monotonic=loop_time
    )
    await database.run(partial(_seed, simulator=simulator))
    spool = Spool(tmp_path / "spool")
    spool.open()
    recorder = Recorder(database, spool, clock)
    poller = Poller(
        clock=clock,
        devices=Devices(fieldbus),
        book=TargetBook(database, tmp_path / "meters.json", spool, clock),
        keeper=recorder,
        resets=StoredResets(database, clock),
    )
    work = [asyncio.create_task(loop(lambda: None)) for loop in (poller.run, recorder.keep, recorder.drain)]
    try:
        await eventually(lambda: poller.polled_ms > 0, 30)
        first = poller.polled_ms
        await eventually(lambda: poller.polled_ms >= first + 3 * SLOT_MS, 60)
        await recorder.settle()
        await eventually(lambda: recorder.is_settled)  # a slow database has taken over from the spool
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await fieldbus.close()
        await simulator.stop()
    found = await database.read(_everything)
    assert len(found) == 7
    for meter_id, stored in found.items():
        slots = stored.slot_ms.tolist()
        assert slots == list(range(first, slots[-1] + 1, SLOT_MS))
        assert slots[-1] >= first + 3 * SLOT_MS
        # On a machine too busy to answer within a second a slot is a gap, and never a wrong value.
        measured = stored.take(stored.status == Status.MEASURED)
        assert len(measured) >= 1
        assert len(measured) + int(stored.is_gap.sum()) == len(stored)
        state = simulator.world.meters[meter_id]
        for value, observed_ms in zip(measured.value.tolist(), measured.observed_ms.tolist(), strict=True):
            # Between the device's answer and our stamp domain time runs on: five minutes at 20 kW are 1 667 Wh.
            assert abs(value - state.total_wh(observed_ms / 1000)) < 2_000, meter_id


def _seed(session: Session, simulator: Simulator) -> None:
    endpoints = {endpoint.id: endpoint for endpoint in simulator.town.endpoints}
    for number, meter in enumerate(simulator.town.meters):
        endpoint = endpoints[meter.endpoint]
        uid = f"{number:032x}"
        session.add(
            EndpointRow(
                uid=uid,
                municipality_uid=TOWN,
                endpoint_id=endpoint.id,
                url=endpoint.url,
                profile=endpoint.profile,
                state=2,
                etag="",
                seen_at=NOW,
            )
        )
        add_meter(session, meter.id, endpoint_uid=uid, endpoint_id=endpoint.id)


def _everything(session: Session) -> dict[str, Readings]:
    rows = all_rows(session)
    lives = lives_of(session, [row.uid for row in rows])
    return {row.meter_id: readings.fetch_lives(session, lives[row.uid], 0, 2**42) for row in rows}
