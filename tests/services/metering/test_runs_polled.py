"""Runs as polling makes them, one reading of every register at a time: never more than is stored, nothing forgotten."""

from __future__ import annotations

import numpy as np

from servicekit.database import Database
from services.metering.reading import Readings, Status
from services.metering.slot import SLOT_MS
from services.metering.store import runs
from services.metering.store.ingest import write
from services.metering.store.partitions import Partitions, months_between
from services.metering.store.readings import fetch
from tests.services.metering.making import NOON_MS, add_meter, source

SLOTS = 60


async def test_runs_go_on_with_every_slot_and_break_where_something_is_amiss(database: Database) -> None:
    chance = np.random.default_rng(7)
    await Partitions(database).ensure(months_between(NOON_MS, NOON_MS + SLOTS * SLOT_MS))
    keys = [
        (await database.run(lambda s, n=n: add_meter(s, f"M-{n}"))).lives[0].key  # type: ignore[misc]
        for n in range(8)
    ]
    counters = np.cumsum(chance.integers(0, 50, (8, SLOTS)), axis=1)
    counters[3, 20:] -= 500  # a step back
    status = np.full((8, SLOTS), int(Status.MEASURED))
    status[1, 10] = status[2, 30:33] = Status.GAP
    status[4, ::7] = Status.DOUBTFUL
    counters[status == Status.GAP] = 0
    counters[3] += 1000
    for slot in range(SLOTS):
        rows = [n for n in range(8) if not (n == 5 and slot % 4 == 3)]  # one is read now and then only
        slots = [NOON_MS + slot * SLOT_MS] * len(rows)
        ordered = Readings.of([keys[n] for n in rows], slots, counters[rows, slot], status[rows, slot])
        await database.run(lambda s, r=ordered: write(s, r, source(), polled=True))  # type: ignore[misc]
        if slot == 40:  # a reading between two quarter hours, and a late one for the gap
            between = Readings.of([keys[6]], [NOON_MS + slot * SLOT_MS + 60_000], [int(counters[6, slot])], [4])
            late = Readings.of([keys[1]], [NOON_MS + 10 * SLOT_MS], [int(counters[1, 9])])
            for one in (between, late):
                await database.run(lambda s, r=one: write(s, r, source("hand")))  # type: ignore[misc]
    found = await database.read(lambda s: runs.of_lives(s, keys, 0, 2**60))
    stored = await database.read(lambda s: fetch(s, keys, 0, 2**60))
    for key in keys:
        mine = stored.take(stored.register == key)
        by_slot = dict(
            zip(mine.slot_ms.tolist(), zip(mine.value.tolist(), mine.status.tolist(), strict=True), strict=True)
        )
        for run in found.get(key, []):
            values = [by_slot[slot] for slot in range(run.first_ms, run.last_ms + 1, SLOT_MS)]
            assert all(status == Status.MEASURED for _, status in values)
            assert [value for value, _ in values] == sorted(value for value, _ in values)
            assert (values[0][0], values[-1][0]) == (run.first_value, run.last_value)
            assert not [slot for slot in by_slot if run.first_ms < slot < run.last_ms and slot % SLOT_MS]
    for n in (0, 7):
        (run,) = found[keys[n]]
        assert (run.first_ms, run.slots) == (NOON_MS, SLOTS)
    assert found[keys[3]][-1].first_ms == NOON_MS + 20 * SLOT_MS
    assert found[keys[2]][-1].first_ms == NOON_MS + 33 * SLOT_MS
    assert found[keys[6]][-1].first_ms == NOON_MS + 41 * SLOT_MS
