"""A meter whose work fails keeps no other waiting, whatever it fails with; a database that is away ends the pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import Counter

from domain.errors import TimedOut, Unavailable
from servicekit.clock import SteppedClock
from servicekit.database import Database
from servicekit.tenants import FixedTenants
from services.metering import housekeeping, retention, rolling
from services.metering.meter import Medium
from services.metering.slot import to_ms
from services.metering.store.partitions import Partitions, months_between
from services.metering.store.rollup_build import delete_older, refresh
from services.metering.store.rollups import states_of
from services.metering.store.tables import MeterRow
from services.metering.waste import keeper as waste
from tests.services.metering.test_retention import FIRST, HERSFELD, LAST, NOW, AlwaysHeld, filled, keeper
from tests.services.metering.test_retention import retention as retention_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

OWN = [KeyError("that nobody has thought of"), TimedOut("more than there is time for"), ZeroDivisionError()]
AWAY = Unavailable("the database is away", 1.0)


@pytest.fixture
async def meters(database: Database) -> list[MeterRow]:
    await Partitions(database).ensure(months_between(to_ms(FIRST), to_ms(LAST)))
    return [await filled(database, meter_id=f"M-{number}") for number in range(3)]


def fails_at(row: MeterRow, error: Exception, work: Callable[..., Any]) -> Callable[..., Any]:
    """The same work, which fails at one meter."""

    def at(*given: Any, **named: Any) -> Any:
        concerned = [*given, *named.values(), *(named.get("rows") or ())]
        if any(isinstance(one, MeterRow) and one.uid == row.uid for one in concerned):
            raise error
        return work(*given, **named)

    return at


@pytest.mark.parametrize("error", OWN)
async def test_roll_ups_of_the_others_are_made(
    database: Database, meters: list[MeterRow], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(rolling, "refresh", fails_at(meters[0], error, refresh))
    assert await keeper(database, {}).bring_up_to_date() > 0
    states = await database.read(lambda session: states_of(session, [row.uid for row in meters]))
    assert set(states) == {row.uid for row in meters[1:]}


@pytest.mark.parametrize("error", OWN)
async def test_old_readings_of_the_others_go_and_the_ones_own_are_tried_again(
    database: Database, meters: list[MeterRow], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    await keeper(database, {}).bring_up_to_date()
    monkeypatch.setattr(retention, "delete_older", fails_at(meters[0], error, delete_older))
    work = retention_of(database, {Medium.ELECTRICITY: 1})
    of_two = await work.apply()
    monkeypatch.setattr(retention, "delete_older", delete_older)
    assert await work.apply() * 2 == of_two > 0


@pytest.mark.parametrize("error", OWN)
async def test_the_others_are_looked_at_for_waste(
    database: Database, meters: list[MeterRow], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    looked: list[str] = []

    def look(*given: Any, row: MeterRow, **_: Any) -> list[object]:
        looked.append(row.uid)
        if row.uid == meters[0].uid:
            raise error
        return []

    monkeypatch.setattr(waste, "_look", look)
    assert await watch(database).look() == 0
    assert set(looked) == {row.uid for row in meters}


async def test_a_database_that_is_away_ends_the_pass(
    database: Database, meters: list[MeterRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling, "refresh", fails_at(meters[0], AWAY, refresh))
    monkeypatch.setattr(waste, "_look", fails_at(meters[0], AWAY, waste._look))
    for work in (keeper(database, {}).bring_up_to_date, watch(database).look):
        with pytest.raises(Unavailable):
            await work()


async def test_what_went_before_the_database_was_away_is_counted_and_its_months_go_all_the_same(
    database: Database, meters: list[MeterRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    await keeper(database, {}).bring_up_to_date()
    work, dropped = retention_of(database, {Medium.ELECTRICITY: 1}), list[int]()

    def drop(_: object, before_ms: int) -> list[str]:
        dropped.append(before_ms)
        return []

    monkeypatch.setattr(retention, "drop_empty", drop)
    monkeypatch.setattr(retention, "READINGS_DELETED", counted := Counter("test_readings_deleted", "", registry=None))
    work._may_be_empty = False  # as it is after a pass that dropped what was empty
    monkeypatch.setattr(retention, "delete_older", fails_at(meters[2], AWAY, delete_older))
    with pytest.raises(Unavailable):
        await work.apply()
    gone = counted._value.get()
    assert gone > 0
    monkeypatch.setattr(retention, "delete_older", lambda *_: None)  # its roll-ups are not up to date any more
    assert await work.apply() == 0
    assert len(dropped) == 1
    assert counted._value.get() == gone


def watch(database: Database) -> waste.WasteKeeper:
    return waste.WasteKeeper(database, FixedTenants([HERSFELD]), SteppedClock(NOW), AlwaysHeld())  # type: ignore[arg-type]


async def test_partitions_wait_for_the_schema(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    async def ensure(self: Partitions, months: object) -> None:
        asked.append(months)

    monkeypatch.setattr(Partitions, "ensure", ensure)
    monkeypatch.setattr(housekeeping, "WAIT_S", 0.001)
    is_ready = asyncio.Event()
    beats: list[int] = []
    clock = SteppedClock(datetime(2026, 3, 10, tzinfo=UTC))
    loop = asyncio.create_task(
        housekeeping.keep_partitions(database, clock, lambda: beats.append(len(asked)), ready=is_ready.is_set)
    )
    await eventually(lambda: len(beats) > 2, within_s=120)
    assert asked == []
    is_ready.set()
    await eventually(lambda: bool(asked), within_s=120)
    loop.cancel()
