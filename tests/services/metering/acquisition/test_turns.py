"""When devices are asked, and how often: a thousand do not wake together, ten registers are one request."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import cast

import numpy as np

from domain.names import new_uid
from fieldbus.client import Fieldbus
from fieldbus.profile_loader import load_profile_file
from fieldbus.values import PointAddress, ValueBatch
from servicekit.clock import SteppedClock
from services.metering.acquisition.devices import Devices
from services.metering.acquisition.polling import LATE_MS, SPREAD_MS, Poller
from services.metering.acquisition.target import Target
from services.metering.reading import Readings
from services.metering.slot import SLOT_MS, from_ms, to_ms
from tests.services.metering.acquisition.test_target import target
from tests.services.metering.field import FieldMeter
from tests.services.metering.making import NOON_MS
from tests.services.metering.soak.station import Station
from tests.services.metering.soak.truth import POINTS, REGISTERS, make_truth
from tests.services.metering.soak.worker import PROFILE


class Book:
    """A list that does not change."""

    def __init__(self, targets: list[Target]) -> None:
        self.targets = targets
        self.saved = 0

    async def refresh(self) -> bool:
        return False

    def forget(self) -> None:
        """Nothing is known that somebody else might know better."""

    async def save(self) -> None:
        """Nobody starts anew here."""
        self.saved += 1


class Kept:
    """What was handed over."""

    is_settled = True
    problem: str | None = None

    def __init__(self) -> None:
        self.parts: list[Readings] = []

    def submit(self, readings: Readings, lives: dict[int, str]) -> None:
        self.parts.append(readings)

    async def settle(self) -> None:
        """It is here at once."""


class NoResets:
    async def record(self, *arguments: object) -> bool:
        return False


class Timed(FieldMeter):
    """A meter that knows when it was asked."""

    asked_ms: list[int]

    async def read(self, points: Sequence[PointAddress]) -> ValueBatch:
        self.asked_ms.append(to_ms(self._clock.now()))
        return await super().read(points)


class Street:
    """Meters by their URL."""

    def __init__(self, clock: SteppedClock) -> None:
        self._clock = clock
        self.meters: dict[str, Timed] = {}

    def open(self, url: str, profile: str, **options: object) -> Timed:
        meter = self.meters[url] = Timed(self._clock)
        meter.asked_ms = []
        return meter


def poller_of(clock: SteppedClock, opener: object, targets: list[Target]) -> tuple[Poller, Kept]:
    kept = Kept()
    poller = Poller(
        clock=clock, devices=Devices(opener), book=Book(targets), keeper=kept, resets=NoResets(),  # type: ignore[arg-type]
    )  # fmt: skip
    return poller, kept


async def polled(poller: Poller, clock: SteppedClock, slot_ms: int, step: timedelta) -> None:
    """One slot, the clock going on in steps."""
    await clock.advance(from_ms(slot_ms) - clock.now())
    polling = asyncio.create_task(poller.poll(slot_ms))
    while not polling.done():
        await asyncio.sleep(0.001)
        await clock.advance(step, settle_s=0)
    await polling


async def test_a_thousand_endpoints_are_asked_one_after_the_other_each_at_its_own_time_in_every_slot() -> None:
    clock = SteppedClock(from_ms(NOON_MS))
    street = Street(clock)
    targets = [
        target(endpoint_uid=new_uid(), url=f"test://{number}", meter_uid=str(number), life_key=number)
        for number in range(1000)
    ]
    poller, kept = poller_of(clock, street, targets)
    for slot in range(2):
        await polled(poller, clock, NOON_MS + slot * SLOT_MS, timedelta(milliseconds=100))
    offsets = np.array([[at % SLOT_MS for at in meter.asked_ms] for meter in street.meters.values()])
    assert offsets.shape == (1000, 2)
    assert (offsets[:, 0] == offsets[:, 1]).all()
    assert offsets.max() <= 1000 * SPREAD_MS
    busiest = max(Counter((offsets[:, 0] // 1000).tolist()).values())
    assert busiest < 100  # of a thousand, within any second
    assert sum(map(len, kept.parts)) == 2000
    assert poller._late_ms == 1000 * SPREAD_MS + LATE_MS  # whose turn comes last is not late


async def test_where_registers_stand_is_not_saved_while_their_readings_wait_in_memory() -> None:
    poller, kept = poller_of(SteppedClock(from_ms(NOON_MS)), object(), [])
    book = cast("Book", poller._book)
    kept.problem = "the disk is full"
    await poller._save()
    assert book.saved == 0
    kept.problem = None
    await poller._save()
    assert book.saved == 1


async def test_a_device_with_ten_registers_is_read_with_one_request_and_handed_over_as_one_record() -> None:
    truth = make_truth(1, NOON_MS, devices=3, slots=20, exchanges=0, resets=0, silences=0, no_change=range(0))
    station = Station(truth)
    await station.start()
    clock = SteppedClock(from_ms(NOON_MS))
    fieldbus = Fieldbus(now=clock.now, require_simulator=True)

    class Opener:
        def open(self, url: str, profile: str, **options: object) -> object:
            return fieldbus.open(url, load_profile_file(PROFILE))

    targets = [
        target(
            point, endpoint_uid=f"e-{device}", url=station.url(device), life_key=device * REGISTERS + place,
            meter_uid=f"{device}-{place}",
        )
        for device in range(3)
        for place, point in enumerate(POINTS)
    ]  # fmt: skip
    poller, kept = poller_of(clock, Opener(), targets)
    try:
        await station.show(0)
        await polled(poller, clock, NOON_MS, timedelta(seconds=1))
        before = station.requests
        await station.show(1)
        await polled(poller, clock, NOON_MS + SLOT_MS, timedelta(seconds=1))
        assert station.requests - before == 3
        assert station.connections == 1  # all of them hang at one gateway
        assert [len(part) for part in kept.parts] == [REGISTERS] * 6
        second = Readings.concatenate(kept.parts[3:])
        assert second.value[np.argsort(second.register)].tolist() == truth.shown[:, 1].tolist()
    finally:
        await fieldbus.close()
        await station.stop()
