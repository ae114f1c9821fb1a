"""A lock-out is confirmed when every process that may write obeys it: one that looks in time, one that does not."""

import asyncio
from dataclasses import replace

import pytest

from domain.errors import FailedPrecondition
from servicekit.clock import SystemClock
from servicekit.database import Database
from services.lighting import writers as module
from services.lighting.records import Known, LockoutRecord, Orders
from services.lighting.store.revisions import ORDERS, bump
from services.lighting.writers import Writers
from tests.support.ending import ends_beside_news


class FakeLease:
    """Held or not, as the test says."""

    epoch = 1
    is_only_process = True

    def __init__(self, held: bool) -> None:
        self.held = held

    def holds(self) -> bool:
        """As the test says."""
        return self.held


class Process:
    """A process with the lease or without, that knows some orders."""

    def __init__(self, database: Database, name: str, *, held: bool) -> None:
        self.lease = FakeLease(held)
        self.known = Known(orders=Orders(revision=0))
        self.writers = Writers(database, SystemClock(), name)
        self.writing = asyncio.Event()
        self.writing.set()
        self.waited_for: list[str] = []
        self.writers.take_part(self.lease, known=lambda: self.known, quiet=self._quiet, ended=self._ended)

    async def _quiet(self, feeder: str) -> None:
        self.waited_for.append(feeder)
        await self.writing.wait()

    async def _ended(self) -> None:
        await self.writing.wait()

    def learn(self, revision: int, *feeders: str) -> None:
        """It looked at the database."""
        locked = tuple(LockoutRecord(f"k{feeder}", "t1", feeder) for feeder in feeders)
        self.known = replace(self.known, orders=Orders(revision, lockouts=locked))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for a process that does not answer."""
    monkeypatch.setattr(module, "CONFIRMED_WITHIN_S", 0.12)


async def lock_out(database: Database) -> None:
    await database.run(lambda session: bump(session, ORDERS))


async def test_it_is_confirmed_only_when_the_other_one_has_ended_what_it_was_writing(database: Database):
    holder, other = Process(database, "a", held=True), Process(database, "b", held=False)
    await database.run(holder.writers.announce)
    await lock_out(database)
    with pytest.raises(FailedPrecondition, match="a may still write"):
        await other.writers.confirm()
    holder.learn(1, "f1")
    holder.writing.clear()
    turn = asyncio.create_task(holder.writers.turn())
    with pytest.raises(FailedPrecondition, match="a may still write"):
        await other.writers.confirm()
    holder.writing.set()
    await turn
    await other.writers.confirm()
    assert holder.waited_for == ["f1"]


async def test_the_holder_need_not_wait_for_itself(database: Database):
    holder = Process(database, "a", held=True)
    await database.run(holder.writers.announce)
    await lock_out(database)
    await holder.writers.confirm()


async def test_a_former_holder_counts_until_its_last_step_has_ended(database: Database):
    former, holder = Process(database, "a", held=True), Process(database, "b", held=True)
    await database.run(former.writers.announce)
    await former.writers.turn()
    await lock_out(database)
    with pytest.raises(FailedPrecondition):
        await holder.writers.confirm()
    former.lease.held = False
    former.writing.clear()
    turn = asyncio.create_task(former.writers.turn())
    with pytest.raises(FailedPrecondition):
        await holder.writers.confirm()
    former.writing.set()
    await turn
    await holder.writers.confirm()


async def test_what_a_process_said_that_was_killed_holds_until_its_instance_starts_again(database: Database):
    killed, holder = Process(database, "a", held=True), Process(database, "b", held=True)
    await database.run(killed.writers.announce)
    await lock_out(database)
    with pytest.raises(FailedPrecondition):
        await holder.writers.confirm()
    again = Process(database, "a", held=False)
    again.lease.is_only_process = False  # the old one may still be there
    await again.writers.turn()
    with pytest.raises(FailedPrecondition):
        await holder.writers.confirm()
    again.lease.is_only_process = True
    await again.writers.turn()
    await holder.writers.confirm()


async def test_who_takes_the_lock_of_a_machine_knows_that_nobody_else_on_it_writes(database: Database):
    killed, holder = Process(database, "a", held=True), Process(database, "b", held=True)
    await database.run(killed.writers.announce)
    await holder.writers.announce_alone()
    await lock_out(database)
    await holder.writers.confirm()


async def test_who_ends_in_order_is_not_waited_for(database: Database):
    holder, other = Process(database, "a", held=True), Process(database, "b", held=False)
    await database.run(holder.writers.announce)
    await holder.writers.stop()
    await lock_out(database)
    await other.writers.confirm()


async def test_the_loop_ends_though_news_come_at_that_moment(database: Database):
    writers = Process(database, "a", held=True).writers
    await ends_beside_news(lambda: writers.keep(lambda: None), lambda: bool(writers._news._waiters), writers.look)
