"""The recorder while neither database nor disk takes readings, when it is ended, and beside a worker that has died."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.errors import TimedOut
from servicekit.clock import SteppedClock
from servicekit.database import Database
from services.metering.acquisition import recorder as recording
from services.metering.acquisition.recorder import Recorder
from services.metering.acquisition.spool import Record, Spool
from services.metering.metrics import READINGS_REFUSED
from services.metering.reading import Readings
from services.metering.slot import SLOT_MS
from services.metering.store.partitions import Partitions, months_between
from tests.services.metering.field import PatientRecorder, Town
from tests.services.metering.making import NOON_MS, NOW, series
from tests.support.disk import full_disk
from tests.support.waiting import eventually

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


class Rig:
    """A recorder with its loops, and a database that is there or not."""

    def __init__(self, town: Town, key: int, uid: str) -> None:
        self.has_database = False
        self.spool = Spool(town.folder / "spool")
        self.spool.open()
        self.recorder = PatientRecorder(town.database, self.spool, SteppedClock(NOW), ready=lambda: self.has_database)
        self._key, self._uid = key, uid
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Starts the loops."""
        loops = (self.recorder.keep, self.recorder.drain)
        self._tasks = [asyncio.create_task(loop(lambda: None)) for loop in loops]

    @property
    def lives(self) -> bool:
        """Whether the loops go on."""
        return not any(task.done() for task in self._tasks)

    def read(self, slot: int) -> None:
        """Hands over what was read at a slot."""
        readings = Readings.of([self._key], [NOON_MS + slot * SLOT_MS], [1_000_000 + 1000 * slot])
        self.recorder.submit(readings, {self._key: self._uid})

    async def cancel(self) -> None:
        """Ends the loops, as the server does before it closes what was opened."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def spooled(self) -> list[int]:
        """The slots that wait on the disk."""
        slots = [slot for record in self.spool.records() for slot in record.readings.slot_ms.tolist()]
        return [(slot - NOON_MS) // SLOT_MS for slot in slots]


@pytest.fixture
async def town(database: Database, tmp_path: Path) -> Town:
    await Partitions(database).ensure(months_between(NOON_MS, NOON_MS))
    town = Town(database, tmp_path)
    await town.add()
    return town


@pytest.fixture
async def rig(town: Town) -> AsyncIterator[Rig]:
    (life,) = await town.lives()
    rig = Rig(town, life.key, life.uid)
    rig.begin()
    yield rig
    await rig.cancel()


async def stored(town: Town) -> list[tuple[int, int]]:
    """Slots and statuses in the database."""
    found = await town.readings()
    return [((ms - NOON_MS) // SLOT_MS, s) for ms, s in zip(found.slot_ms.tolist(), found.status.tolist(), strict=True)]


def lost() -> float:
    return READINGS_REFUSED.labels("not_kept")._value.get()  # type: ignore[no-any-return]


async def test_what_a_full_disk_does_not_take_waits_in_memory_and_is_kept_in_order(town: Town, rig: Rig) -> None:
    before = lost()
    with full_disk():
        for slot in range(3):
            rig.read(slot)
            await rig.recorder.settle()
        assert rig.recorder.problem is not None
        assert not rig.recorder.is_settled
        assert [path.name for path in rig.spool._folder.iterdir()] == ["lock"]
    await eventually(lambda: rig.recorder.problem is None)
    assert rig.spooled() == [0, 1, 2]
    rig.has_database = True
    await eventually(lambda: rig.recorder.is_settled)
    assert await stored(town) == [(0, 1), (1, 1), (2, 1)]
    assert rig.lives
    assert lost() == before


async def test_a_spool_that_cannot_be_read_says_so_once_and_is_drained_when_it_can(
    town: Town, rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig.read(0)
    await eventually(lambda: bool(rig.spool.depth), within_s=120)
    attempts: list[int] = []
    plain = Path.read_bytes

    def broken(path: Path) -> bytes:
        if path.suffix == ".rec":
            attempts.append(1)
            raise OSError(5, "Input/output error")
        return plain(path)

    monkeypatch.setattr(recording, "LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr(recording, "FIRST_PAUSE_S", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", broken)
        rig.has_database = True
        await eventually(lambda: len(attempts) > 3, within_s=120)
    await eventually(lambda: not rig.spool.depth, within_s=120)
    told = [record.message for record in caplog.records if "Input/output error" in record.message]
    assert len(told) == 1
    assert (await town.readings()).slot_ms.tolist() == [NOON_MS]


async def test_what_waits_in_memory_goes_to_the_database_when_that_is_back_before_the_disk(
    town: Town, rig: Rig
) -> None:
    with full_disk():
        for slot in range(2):
            rig.read(slot)
            await rig.recorder.settle()
        rig.has_database = True
        await eventually(lambda: rig.recorder.problem is None)
    assert rig.spool.depth == 0
    assert await stored(town) == [(0, 1), (1, 1)]


async def test_more_than_memory_may_hold_is_lost_oldest_first_and_counted(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MOST_IN_MEMORY", 2)
    before = lost()
    with full_disk():
        for slot in range(5):
            rig.read(slot)
            await rig.recorder.settle()
    assert lost() == before + 3
    await eventually(lambda: rig.recorder.problem is None)
    assert rig.spooled() == [3, 4]


async def test_what_waits_in_memory_at_an_orderly_end_is_kept_or_counted(rig: Rig) -> None:
    before = lost()
    with full_disk():
        rig.read(0)
        await rig.recorder.settle()
        await rig.cancel()
    await rig.recorder.settle_within(1)
    assert rig.spooled() == [0]
    with full_disk():
        rig.read(1)
        await rig.recorder.settle_within(1)
    assert lost() == before + 1


async def test_what_a_database_takes_longer_for_than_it_may_goes_to_the_spool(
    town: Town, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    await rig.cancel()
    plain = Recorder(town.database, rig.spool, SteppedClock(NOW))
    monkeypatch.setattr(plain._partitions, "store", never)
    plain.submit(series(rig._key, NOON_MS, [1]), {rig._key: rig._uid})
    await plain.settle_within(0.05)
    assert rig.spooled() == [0]


async def test_what_is_being_gathered_at_an_orderly_end_is_kept(rig: Rig) -> None:
    rig.read(0)
    await eventually(rig.recorder._queue.empty)
    rig.read(1)
    await rig.cancel()
    assert rig.spooled() == []
    await rig.recorder.settle_within(1)
    assert rig.spooled() == [0, 1]
    await rig.recorder.settle()  # nobody waits for ever for what was cut off


async def test_what_a_worker_leaves_that_dies_is_drained_by_one_that_lives(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "TAKE_OVER_EVERY_S", 0.01)
    (life,) = await town.lives()
    dying, living = Rig(town, life.key, life.uid), Rig(town, life.key, life.uid)
    dying.begin()
    dying.read(1)
    await dying.recorder.settle()
    living.has_database = True
    living.begin()
    try:
        for slot in (0, 2):
            living.read(slot)
            await living.recorder.settle()
        await dying.cancel()
        assert await stored(town) == [(0, 1), (1, 2), (2, 1)]  # a gap, as far as the database knows
        folder = dying.spool._folder
        assert dying.spool._lock is not None
        os.close(dying.spool._lock)  # what its death does
        await eventually(lambda: not folder.exists() and living.recorder.is_settled)
        assert await stored(town) == [(0, 1), (1, 1), (2, 1)]
    finally:
        await living.cancel()


async def test_what_takes_the_database_too_long_at_once_is_drained_in_smaller_parts(
    town: Town, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = rig.recorder._store
    tried: list[int] = []

    async def slow(record: Record, patience_s: float) -> None:
        """A database that gets through three readings within its time."""
        tried.append(len(record.readings))
        if len(record.readings) > 3:
            raise TimedOut("the database took more than 30 s")
        await plain(record, patience_s)

    for slot in range(8):
        rig.read(slot)
        await rig.recorder.settle()
    await rig.cancel()
    assert rig.spool.depth == 8
    rig.has_database = True
    monkeypatch.setattr(rig.recorder, "_store", slow)
    monkeypatch.setattr(recording, "FIRST_PAUSE_S", 0.01)
    rig.begin()
    await eventually(lambda: rig.recorder.is_settled)
    assert await stored(town) == [(slot, 1) for slot in range(8)]
    assert tried[:3] == [8, 4, 2]
