"""Transactions on both databases: whole or not at all, retried where safe, failures in our own words."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Column, text
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlmodel import Field, Session, SQLModel, select

from domain.errors import Corrupted, InvalidInput, LichtbuchError, TimedOut, Unavailable
from servicekit.database import Database, UtcDateTime, insert_ignore
from servicekit.migrations import is_current, migrate, newest_revision
from tests.support.meter_service import MIGRATIONS, MeterRow
from tests.support.postgres import PostgresServer


class Instant(SQLModel, table=True):
    """An instant and a name."""

    __tablename__ = "instant"

    name: str = Field(primary_key=True)
    at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url, "metering", pool_size=4)
    await opened.migrate(MIGRATIONS)
    await opened.run(lambda session: Instant.__table__.create(session.connection()))  # type: ignore[attr-defined]
    yield opened
    await opened.close()


def meter(uid: str, name: str = "") -> MeterRow:
    return MeterRow(uid=uid, municipality_uid="m", id=name or uid, display_name="")


async def count(database: Database) -> int:
    return await database.read(lambda session: len(session.exec(select(MeterRow)).all()))


async def test_what_returns_is_stored(database):
    await database.run(lambda session: session.add(meter("a")))
    assert await count(database) == 1


async def test_what_raises_leaves_no_trace(database):
    def half(session: Session) -> None:
        session.add(meter("a"))
        session.flush()
        raise InvalidInput.of("x", "no")

    with pytest.raises(InvalidInput):
        await database.run(half)
    assert await count(database) == 0


async def test_a_read_cannot_write(database):
    with pytest.raises(LichtbuchError):
        await database.read(lambda session: (session.add(meter("a")), session.flush()))
    assert await count(database) == 0
    await database.run(lambda session: session.add(meter("a")))
    assert await count(database) == 1


async def test_a_broken_constraint_is_for_the_store_to_name(database):
    await database.run(lambda session: session.add(meter("a")))
    with pytest.raises(IntegrityError):
        await database.run(lambda session: session.add(meter("b", "a")))


async def test_a_mistake_in_sql_is_raised_as_it_is(database):
    with pytest.raises(DBAPIError):
        await database.read(lambda session: session.connection().execute(text("SELECT * FROM nothing")))


async def test_a_cancelled_transaction_leaves_no_trace(database):
    entered, go_on = threading.Event(), threading.Event()

    def slow(session: Session) -> None:
        session.add(meter("a"))
        session.flush()
        entered.set()
        go_on.wait(10)

    task = asyncio.create_task(database.run(slow))
    await asyncio.to_thread(entered.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await database.run(lambda session: session.add(meter("b")))
    assert await count(database) == 1


async def test_writers_at_once_all_get_their_turn(database):
    def increment(session: Session) -> None:
        row = session.exec(select(MeterRow).where(MeterRow.uid == "a").with_for_update()).one()
        row.display_name = str(int(row.display_name or "0") + 1)
        session.add(row)

    await database.run(lambda session: session.add(meter("a")))
    await asyncio.gather(*(database.run(increment) for _ in range(40)))
    row = await database.read(lambda session: session.exec(select(MeterRow)).one())
    assert row.display_name == "40"


async def test_transactions_that_cannot_be_ordered_are_tried_again(database):
    attempts = []

    def check_and_add(session: Session) -> None:
        attempts.append(1)
        rows = len(session.exec(select(MeterRow)).all())
        session.add(meter(f"{rows}-{len(attempts)}"))

    await asyncio.gather(*(database.run(check_and_add, serializable=True) for _ in range(6)))
    rows = await database.read(lambda session: session.exec(select(MeterRow)).all())
    assert sorted(row.uid.split("-")[0] for row in rows) == ["0", "1", "2", "3", "4", "5"]


async def test_two_processes_write_the_same_file(database, database_url):
    other = Database(database_url, "metering", pool_size=2)

    def write(one: Database, uid: str):
        return one.run(lambda session: session.add(meter(uid)))

    await asyncio.gather(*(write(one, f"{n}-{i}") for i in range(15) for n, one in enumerate((database, other))))
    assert await count(database) == 30
    await other.close()


async def test_rows_that_are_there_change_nothing(database):
    rows = [{"uid": f"{n}", "municipality_uid": "m", "id": f"{n}", "display_name": "first"} for n in range(1000)]
    assert await database.run(lambda session: insert_ignore(session, MeterRow, rows)) == 1000
    again = [{**row, "display_name": "second"} for row in rows] + [{**rows[0], "uid": "new", "id": "new"}]
    assert await database.run(lambda session: insert_ignore(session, MeterRow, again)) == 1
    assert await database.run(lambda session: insert_ignore(session, MeterRow, [])) == 0
    stored = await database.read(lambda session: session.exec(select(MeterRow).where(MeterRow.uid == "7")).one())
    assert stored.display_name == "first"


async def test_an_instant_comes_back_as_it_went_in_utc(database):
    summer = datetime(2026, 7, 1, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    await database.run(lambda session: session.add(Instant(name="a", at=summer)))
    at = await database.read(lambda session: session.exec(select(Instant)).one().at)
    assert at == summer
    assert at.tzinfo is UTC
    with pytest.raises(StatementError, match="time zone"):
        await database.run(lambda session: session.add(Instant(name="b", at=datetime(2026, 1, 1))))


async def test_migrating_again_changes_nothing_and_at_once_takes_turns(database_url):
    databases = [Database(database_url, "metering", pool_size=1) for _ in range(3)]
    await asyncio.gather(*(one.migrate(MIGRATIONS) for one in databases))
    await databases[0].migrate(MIGRATIONS)
    assert newest_revision(MIGRATIONS, "metering") == "0001"
    assert await databases[0].read(lambda session: is_current(session.connection(), MIGRATIONS, "metering"))
    for one in databases:
        await one.close()


async def test_a_migration_that_fails_leaves_the_schema_as_it_was(database, database_url, tmp_path):
    versions = tmp_path / "broken" / "versions"
    versions.mkdir(parents=True)
    (versions / "0001_meters.py").write_text((MIGRATIONS / "versions" / "0001_meters.py").read_text())
    (versions / "0002_broken.py").write_text(
        "from alembic import op\nimport sqlalchemy as sa\nrevision = '0002'\ndown_revision = '0001'\n"
        "def upgrade():\n    op.create_table('half', sa.Column('x', sa.Integer()))\n    op.execute('NONSENSE')\n"
    )
    with pytest.raises(DBAPIError):
        await database.migrate(tmp_path / "broken")
    with pytest.raises(DBAPIError):
        await database.read(lambda session: session.connection().execute(text("SELECT * FROM half")))
    with pytest.raises(InvalidInput):
        migrate(database.engine, tmp_path / "nowhere", "metering")


async def test_services_share_a_postgresql_without_sharing_tables(postgres_database_url):
    first, second = (Database(postgres_database_url, name, pool_size=1) for name in ("metering", "lighting"))
    await first.migrate(MIGRATIONS)
    await second.migrate(MIGRATIONS)
    await first.run(lambda session: session.add(meter("a")))
    assert await count(first) == 1
    assert await count(second) == 0
    await first.close()
    await second.close()


async def test_a_database_that_goes_away_is_unavailable_and_comes_back(
    postgres_database_url: str, postgres_server: PostgresServer
):
    database = Database(postgres_database_url, "metering", pool_size=2)
    await database.migrate(MIGRATIONS)
    postgres_server.cut_off(postgres_database_url)
    for work in (count(database), database.ping(), database.run(lambda session: session.add(meter("a")))):
        with pytest.raises(Unavailable):
            await work
    postgres_server.bring_back(postgres_database_url)
    await database.ping()
    assert await count(database) == 0
    await database.close()


async def test_a_transaction_that_loses_its_connection_is_unavailable(postgres_database_url, postgres_server):
    database = Database(postgres_database_url, "metering", pool_size=2)
    await database.migrate(MIGRATIONS)

    def interrupted(session: Session) -> None:
        session.add(meter("a"))
        session.flush()
        postgres_server.cut_off(postgres_database_url)
        session.add(meter("b"))
        session.flush()

    with pytest.raises(Unavailable):
        await database.run(interrupted)
    postgres_server.bring_back(postgres_database_url)
    assert await count(database) == 0
    await database.close()


async def test_a_statement_that_takes_too_long_is_ended(postgres_database_url):
    database = Database(postgres_database_url, "metering", pool_size=1, statement_timeout_s=0.05)
    with pytest.raises(TimedOut):
        await database.read(lambda session: session.connection().execute(text("SELECT pg_sleep(5)")))
    await database.close()


async def test_nothing_connects_before_it_is_used():
    database = Database("postgresql://nobody@127.0.0.1:1/nothing", "metering", pool_size=1)
    with pytest.raises(Unavailable):
        await database.ping()
    await database.close()
    with pytest.raises(Unavailable):
        await database.ping()


async def test_a_deleted_file_is_noticed(sqlite_url, tmp_path):
    database = Database(sqlite_url, "metering", pool_size=1)
    await database.migrate(MIGRATIONS)
    await database.ping()
    (tmp_path / "test.db").unlink()
    with pytest.raises(Unavailable, match="gone"):
        await database.ping()
    (tmp_path / "test.db").touch()
    with pytest.raises(Unavailable, match="replaced"):
        await database.ping()
    await database.close()


async def test_a_file_that_is_no_database_is_corrupted(tmp_path: Path):
    (tmp_path / "x.db").write_bytes(b"this is a letter, not a database" * 100)
    database = Database(f"sqlite:///{tmp_path / 'x.db'}", "metering", pool_size=1)
    with pytest.raises(Corrupted):
        await database.ping()
    await database.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://h/d", "nonsense"])
def test_a_database_that_would_not_keep_is_refused(url):
    with pytest.raises(InvalidInput, match="database_url"):
        Database(url, "metering")


async def test_what_is_acknowledged_survives_a_power_cut_by_setting(database):
    if database.dialect == "sqlite":
        values = await database.read(
            lambda session: [
                session.connection().execute(text(f"PRAGMA {name}")).scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            ]
        )
        assert values == ["wal", 2, 1]
