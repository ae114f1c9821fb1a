"""Leases: one worker at a time, also when one crashes, when the database is away, and when it was restored."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from servicekit.database import Database
from servicekit.lease import DatabaseLease, Lease, lease_for
from servicekit.local_lease import LocalLease
from tests.support.meter_service import MIGRATIONS
from tests.support.postgres import PostgresServer
from tests.support.waiting import eventually

TTL_S = 60.0
"""Longer than any test: it does not run out because a machine is busy."""
SHORT_S = 0.6
"""For what is to run out."""


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url, "metering", pool_size=4)
    await opened.migrate(MIGRATIONS)
    yield opened
    await opened.close()


@pytest.fixture
async def postgres(postgres_database_url: str) -> AsyncIterator[Database]:
    opened = Database(postgres_database_url, "metering", pool_size=4)
    await opened.migrate(MIGRATIONS)
    yield opened
    await opened.close()


class Instances:
    """Instances of a service, each with its own folder where the database is PostgreSQL, one folder on SQLite."""

    def __init__(self, store: Database, folder: Path) -> None:
        self._store, self._folder = store, folder

    def lease(self, holder: str, ttl_s: float = TTL_S) -> Lease:
        folder = self._folder if self._store.dialect == "sqlite" else self._folder / holder
        return lease_for("metering/field", self._store, folder, holder=holder, ttl_s=ttl_s)


@pytest.fixture
def instances(store: Database, tmp_path: Path) -> Instances:
    return Instances(store, tmp_path)


def crash(lease: Lease) -> None:
    """What the kernel does for a process that is killed: its file locks are gone, nothing else happens."""
    assert isinstance(lease, LocalLease)
    lease._lock.release(force=True)


async def taken_by(lease: Lease) -> None:
    """Waits until a lease that nobody renews has run out and is taken."""
    async with asyncio.timeout(30):
        while not await lease.try_acquire():  # noqa: ASYNC110 - expiry has no event
            await asyncio.sleep(0.02)


async def test_the_kind_of_lease_fits_the_database(store, tmp_path):
    kind = LocalLease if store.dialect == "sqlite" else DatabaseLease
    assert type(lease_for("x", store, tmp_path, holder="a")) is kind
    assert type(lease_for("x", None, tmp_path, holder="a")) is LocalLease


async def test_one_holds_and_the_other_waits(instances):
    first, second = instances.lease("a"), instances.lease("b")
    assert await first.try_acquire()
    assert not await second.try_acquire()
    assert first.holds()
    assert not second.holds()
    assert await first.try_acquire()
    assert first.epoch == 1
    await first.release()


async def test_what_is_released_is_free_at_once_under_a_newer_epoch(instances):
    first, second = instances.lease("a"), instances.lease("b")
    await first.try_acquire()
    await first.release()
    assert not first.holds()
    assert await second.try_acquire()
    assert second.epoch == 2
    await second.release()


async def test_after_a_crash_the_next_one_takes_over(instances):
    first, second = instances.lease("a", SHORT_S), instances.lease("b")
    await first.try_acquire()
    crash(first)
    await taken_by(second)
    assert second.epoch == 2
    await second.release()


async def test_an_instance_that_starts_again_need_not_wait(instances):
    before = instances.lease("a")
    await before.try_acquire()
    crash(before)
    again = instances.lease("a")
    assert await again.try_acquire()
    assert again.epoch == 2
    await again.release()


async def test_of_many_at_the_same_moment_one_wins(instances):
    leases = [instances.lease(f"{n}") for n in range(6)]
    won = await asyncio.gather(*(lease.try_acquire() for lease in leases))
    assert sum(won) == 1
    for lease in leases:
        await lease.release()


async def test_the_loop_keeps_it_past_its_expiry_and_hands_it_on(instances):
    for life_s in (SHORT_S, 3.0, 9.0):  # a machine may be busy for longer than a short life
        first, second = instances.lease("a", life_s), instances.lease("b", life_s)
        beats: list[int] = []
        loops = [asyncio.create_task(lease.keep(lambda: beats.append(1))) for lease in (first, second)]  # noqa: B023
        await eventually(lambda: first.holds() or second.holds())  # noqa: B023
        holder, other = (first, second) if first.holds() else (second, first)
        # Each loop beats every third of the lease's life.
        await eventually(lambda: len(beats) > 14, 60)  # noqa: B023
        kept = holder.holds() and not other.holds()
        loops[0 if holder is first else 1].cancel()
        await holder.release()
        async with asyncio.timeout(30):
            await other.wait_held()
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await other.release()
        if kept:
            return
    pytest.fail("it ran out although its loop was at work")


async def test_cut_off_from_the_database_the_holder_goes_on(
    postgres: Database, postgres_database_url: str, postgres_server: PostgresServer, tmp_path: Path
):
    lease = DatabaseLease("field", postgres, tmp_path, holder="a", ttl_s=TTL_S)
    assert await lease.try_acquire()
    postgres_server.cut_off(postgres_database_url)
    assert await lease.try_acquire()
    assert metric("lichtbuch_lease_cut_off", "field") == 1
    postgres_server.bring_back(postgres_database_url)
    assert await lease.try_acquire()
    assert metric("lichtbuch_lease_cut_off", "field") == 0
    assert lease.epoch == 1
    await lease.release()


async def test_a_holder_that_sees_a_newer_epoch_gives_up_and_counts_the_overlap(postgres, tmp_path):
    first = DatabaseLease("overlap", postgres, tmp_path / "a", holder="a", ttl_s=SHORT_S)
    second = DatabaseLease("overlap", postgres, tmp_path / "b", holder="b", ttl_s=TTL_S)
    assert await first.try_acquire()
    await taken_by(second)  # the first is cut off: it renews nothing, and cannot know
    assert first.holds()
    assert second.epoch == 2
    assert not await first.try_acquire()
    assert not first.holds()
    assert metric("lichtbuch_lease_lost_total", "overlap") == 1
    assert metric("lichtbuch_lease_overlap_seconds_total", "overlap") > 0
    await second.release()


async def test_without_the_database_a_newcomer_does_not_take_it(
    postgres, postgres_database_url, postgres_server, tmp_path
):
    postgres_server.cut_off(postgres_database_url)
    lease = DatabaseLease("field", postgres, tmp_path, holder="a", ttl_s=TTL_S)
    assert not await lease.try_acquire()
    postgres_server.bring_back(postgres_database_url)


async def test_who_ended_in_order_while_cut_off_takes_it_up_again_without_the_database(
    postgres, postgres_database_url, postgres_server, tmp_path
):
    before = DatabaseLease("field", postgres, tmp_path, holder="a", ttl_s=TTL_S)
    assert await before.try_acquire()
    postgres_server.cut_off(postgres_database_url)
    await before.release()
    assert not before.holds()
    again = DatabaseLease("field", postgres, tmp_path, holder="a", ttl_s=TTL_S)
    assert await again.try_acquire()
    postgres_server.bring_back(postgres_database_url)
    assert await again.try_acquire()
    await again.release()


async def test_who_held_it_and_crashed_takes_it_up_again_without_the_database(
    postgres, postgres_database_url, postgres_server, tmp_path
):
    before = DatabaseLease("field", postgres, tmp_path, holder="a", ttl_s=TTL_S)
    assert await before.try_acquire()
    crash(before)
    postgres_server.cut_off(postgres_database_url)
    again = DatabaseLease("field", postgres, tmp_path, holder="a", ttl_s=TTL_S)
    assert await again.try_acquire()
    assert again.epoch == 1
    assert again.cut_off
    postgres_server.bring_back(postgres_database_url)
    assert await again.try_acquire()
    await again.release()


async def test_who_gave_it_up_does_not_take_it_up_without_the_database(
    postgres, postgres_database_url, postgres_server, tmp_path
):
    before = DatabaseLease("field", postgres, tmp_path, holder="a", ttl_s=TTL_S)
    await before.try_acquire()
    await before.release()
    postgres_server.cut_off(postgres_database_url)
    again = DatabaseLease("field", postgres, tmp_path, holder="a", ttl_s=TTL_S)
    assert not await again.try_acquire()
    postgres_server.bring_back(postgres_database_url)


async def test_after_a_restore_the_epoch_still_grows(postgres, tmp_path):
    lease = DatabaseLease("field", postgres, tmp_path, holder="a", ttl_s=TTL_S)
    for _ in range(3):
        await lease.try_acquire()
        await lease.release()
    await lease.try_acquire()
    await postgres.run(lambda session: session.connection().execute(text("DELETE FROM lease")))
    assert await lease.try_acquire()
    assert lease.epoch == 5
    await lease.release()


async def test_two_processes_of_one_instance_exclude_each_other(postgres, tmp_path):
    first, second = (DatabaseLease("field", postgres, tmp_path, holder="a", ttl_s=TTL_S) for _ in range(2))
    assert await first.try_acquire()
    assert not await second.try_acquire()
    assert first.holds()
    await first.release()


async def test_the_memory_of_a_lease_may_be_damaged(instances, tmp_path):
    first = instances.lease("a")
    await first.try_acquire()
    await first.release()
    for file in tmp_path.rglob("*.lease"):
        file.write_text("{half")
    again = instances.lease("a")
    assert await again.try_acquire()
    await again.release()


def metric(name: str, lease: str) -> float:
    return REGISTRY.get_sample_value(name, {"lease": lease}) or 0.0
