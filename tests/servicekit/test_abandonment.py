"""Transactions that nobody waits for any more: they end, free their thread, and disturb nobody else."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event, text
from sqlmodel import Session, select

from servicekit.abandonment import Abandoned, Awaited, Ender
from servicekit.database import Database
from tests.support.meter_service import MIGRATIONS, MeterRow
from tests.support.waiting import eventually

HOURS = 3600.0
COUNT_FOR_EVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """With one thread for reads and one for writes, and a server that ends nothing by itself."""
    opened = Database(database_url, "metering", pool_size=1, statement_timeout_s=24 * HOURS)
    await opened.migrate(MIGRATIONS)
    yield opened
    await opened.close()


def meter(uid: str) -> MeterRow:
    return MeterRow(uid=uid, municipality_uid="m", id=uid, display_name="")


async def uids(database: Database) -> list[str]:
    return await database.read(lambda session: [row.uid for row in session.exec(select(MeterRow)).all()])


def without_end(session: Session) -> None:
    """A statement that never comes to an end."""
    statement = COUNT_FOR_EVER if session.connection().dialect.name == "sqlite" else "SELECT pg_sleep(86400)"
    session.connection().execute(text(statement)).all()


def saying_its_question(work: Callable[[Session], None], begun: threading.Event) -> Callable[[Session], None]:
    """The work, and says when it puts a question to the driver: what it writes before is no end of anything."""

    def noted(session: Session) -> None:
        connection = session.connection()

        @event.listens_for(connection, "before_cursor_execute")
        def tell(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
            if statement.startswith(("WITH", "SELECT")):
                begun.set()

        work(session)

    return noted


async def give_up(call: Callable[[Callable[[Session], None]], Awaitable[None]], work: Callable[[Session], None]) -> Any:
    """Calls, waits until its question is put to the driver, and goes away."""
    begun = threading.Event()
    noted = saying_its_question(work, begun)
    task = asyncio.ensure_future(call(noted))
    await eventually(begun.is_set, within_s=120)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_read_whose_caller_is_gone_frees_its_thread_in_the_middle_of_a_statement(database):
    await give_up(database.read, without_end)
    assert await uids(database) == []


async def test_nor_does_it_begin_another_statement(database):
    def one_after_the_other(session: Session) -> None:
        while True:
            session.connection().execute(text("SELECT 1")).all()

    await give_up(database.read, one_after_the_other)
    assert await uids(database) == []


async def test_a_deadline_does_the_same(database):
    begun = threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as deadline:
            reading = asyncio.ensure_future(database.read(saying_its_question(without_end, begun)))
            await eventually(begun.is_set, within_s=120)
            deadline.reschedule(asyncio.get_running_loop().time())
            await reading
    assert await uids(database) == []


async def test_a_write_whose_caller_is_gone_frees_its_thread_and_leaves_no_trace(database):
    def half(session: Session) -> None:
        session.add(meter("half"))
        session.flush()
        without_end(session)

    await give_up(database.run, half)
    await database.run(lambda session: session.add(meter("whole")))
    assert await uids(database) == ["whole"]


async def test_who_comes_next_is_not_met_by_the_end_of_the_one_before(database):
    for number in range(15):
        await give_up(database.run, without_end)
        await database.run(lambda session, uid=f"{number:02}": session.add(meter(uid)))
        assert len(await uids(database)) == number + 1


async def test_work_that_was_waiting_for_its_turn_never_begins(database):
    go_on, ran = threading.Event(), []
    first = asyncio.create_task(database.read(lambda _: go_on.wait(600)))
    waiting = asyncio.create_task(database.read(lambda _: ran.append("waiting")))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    await first
    await database.read(lambda _: ran.append("next"))
    assert ran == ["next"]


async def test_health_answers_while_every_reader_is_busy(database_url):
    database = Database(database_url, "metering", pool_size=2)
    await database.migrate(MIGRATIONS)
    go_on, busy = threading.Event(), threading.Semaphore(0)

    def long(session: Session) -> None:
        session.connection().execute(text("SELECT 1")).all()
        busy.release()
        go_on.wait(600)

    calls = [asyncio.create_task(database.read(long)) for _ in range(6)]
    try:
        for _ in range(2):
            assert await asyncio.to_thread(busy.acquire, timeout=120)
        await database.ping(timeout_s=120)
        assert not any(call.done() for call in calls)
    finally:
        go_on.set()
    await asyncio.gather(*calls)
    await database.close()


class Driver:
    """A connection that counts how often it is cancelled."""

    def __init__(self) -> None:
        self.stops, self.is_stopped = 0, threading.Event()

    def cancel_safe(self, timeout: float) -> None:
        """As psycopg's."""
        self.stops += 1
        self.is_stopped.set()


def test_nothing_is_stopped_before_it_begins_nor_once_it_has_only_to_be_committed():
    driver, awaited = Driver(), Awaited()
    awaited.stop()
    awaited.begin(driver)
    awaited.settle()
    awaited.give_up()
    awaited.stop()
    assert not awaited.is_at_work
    assert not awaited.end()
    assert driver.stops == 0


def test_what_was_given_up_does_not_begin_and_is_not_committed():
    early = Awaited()
    early.give_up()
    with pytest.raises(Abandoned):
        early.begin(Driver())
    late = Awaited()
    late.begin(Driver())
    late.give_up()
    with pytest.raises(Abandoned):
        late.settle()


def test_a_connection_that_was_stopped_is_not_used_again():
    driver, awaited = Driver(), Awaited()
    awaited.begin(driver)
    awaited.give_up()
    awaited.stop()
    assert driver.stops == 1
    assert awaited.end()


def test_where_no_thread_is_to_be_had_the_next_one_that_is_abandoned_ends_both(monkeypatch):
    ender, first, second, start = Ender("ends"), Awaited(), Awaited(), threading.Thread.start
    drivers = Driver(), Driver()
    for awaited, driver in zip((first, second), drivers, strict=True):
        awaited.begin(driver)

    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    ender.end(first)
    assert first.is_at_work
    monkeypatch.setattr(threading.Thread, "start", start)
    ender.end(second)
    assert all(driver.is_stopped.wait(120) for driver in drivers)
    for awaited in (first, second):
        awaited.end()
