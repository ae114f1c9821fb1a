"""The list of what is polled: kept as it is while it cannot be read anew, whatever the reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domain.errors import Unavailable
from servicekit.database import Database
from services.metering.acquisition import book as module
from services.metering.acquisition.book import TargetBook
from services.metering.acquisition.spool import Record, Spool
from services.metering.acquisition.target import Target
from services.metering.slot import SLOT_MS
from services.metering.store.polled import write_polled
from services.metering.store.targets import load
from services.metering.validation.parameters import DEFAULTS
from services.metering.vee import Point
from tests.services.metering.field import Town
from tests.services.metering.making import NOON_MS, series, source

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def town(database: Database, tmp_path: Path) -> Town:
    town = Town(database, tmp_path)
    await town.add()
    return town


def book_of(town: Town, *, ready: Callable[[], bool] = lambda: True, spool: Spool | None = None) -> TargetBook:
    spool = spool or Spool(town.folder / "spool")
    return TargetBook(town.database, town.folder / "meters.json", spool, town.clock, ready=ready)


@pytest.mark.parametrize("error", [Unavailable("the database is away", 1.0), KeyError("that nobody has thought of")])
async def test_a_list_that_cannot_be_read_anew_stays_and_a_new_worker_takes_the_snapshot(
    town: Town, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    first = book_of(town)
    assert await first.refresh()
    await first.save()

    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(module, "load", fails)
    first.touch()
    assert not await first.refresh()
    assert len(first.targets) == 1
    second = book_of(town)
    assert not await second.refresh()
    assert [target.meter_uid for target in second.targets] == [target.meter_uid for target in first.targets]


async def test_before_the_database_has_its_schema_the_snapshot_is_taken_too(town: Town) -> None:
    first = book_of(town)
    await first.refresh()
    await first.save()
    early = book_of(town, ready=lambda: False)
    assert not await early.refresh()
    assert len(early.targets) == 1


async def test_what_is_drained_while_the_database_is_asked_counts_as_read(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    (life,) = await town.lives()
    spool = Spool(town.folder / "spool")
    spool.open()
    for number in range(3):
        spool.append(Record(series(life.key, NOON_MS + number * SLOT_MS, [number]), {life.key: life.uid}))

    def load_and_drain(*arguments: Any, **named: Any) -> tuple[list[Target], int]:
        found = load(*arguments, **named)
        for name, _ in spool.oldest(most=3):
            spool.remove(name)
        return found

    monkeypatch.setattr(module, "load", load_and_drain)
    book = book_of(town, spool=spool)
    assert await book.refresh()
    assert spool.depth == 0
    assert [target.settled_ms for target in book.targets] == [NOON_MS + 2 * SLOT_MS]
    spool.close()
    assert not list((town.folder / "spool").iterdir())


async def test_what_the_worker_before_spooled_and_nobody_has_taken_over_yet_counts_as_read(town: Town) -> None:
    (life,) = await town.lives()
    spool, dead = Spool(town.folder / "spool"), Spool(town.folder / "spool")
    spool.open()
    dead.open()
    dead.append(Record(series(life.key, NOON_MS, [1]), {life.key: life.uid}))
    assert dead._lock is not None
    os.close(dead._lock)
    book = book_of(town, spool=spool)
    assert await book.refresh()
    assert [target.settled_ms for target in book.targets] == [NOON_MS]
    assert spool.depth == 1


async def test_where_a_target_stands_is_looked_up_after_a_start_from_an_old_snapshot(town: Town) -> None:
    first = book_of(town)
    await first.refresh()
    await first.save()
    (life,) = await town.lives()
    # The spool was drained, and its worker killed before it saved what it knew.
    await town.database.run(
        lambda session: write_polled(
            session, series(life.key, NOON_MS, [1_000]), {life.key: life.uid}, source("poll"), DEFAULTS
        )
    )
    is_there = False
    second = book_of(town, ready=lambda: is_there)
    assert not await second.refresh()
    assert [target.settled_ms for target in second.targets] == [0]
    is_there = True
    second.touch()
    assert await second.refresh()
    (target,) = second.targets
    assert (target.settled_ms, target.state.good) == (NOON_MS, Point(NOON_MS, 1_000))
