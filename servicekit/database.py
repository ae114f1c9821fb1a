"""The database of a service: transactions in worker threads, retried where that is safe, failures in our own words.

Engines are built in engine.py, column types and bulk means in columns.py, migrations in migrations/. No engine exists
before a `Database` does, and nothing connects before the first transaction: a service starts without its database.
What ends transactions that nobody waits for any more is in abandonment.py.
"""

import asyncio
import contextvars
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlmodel import Session

from domain.errors import Exhausted, TimedOut, Unavailable
from servicekit.abandonment import AWAITED, Awaited, Ender, refuse_abandoned
from servicekit.columns import UtcDateTime, insert_ignore
from servicekit.database_errors import Failure, judge
from servicekit.engine import WRITES, build_engine, parse_url
from servicekit.metrics import DATABASE_FAILURES, DATABASE_RETRIES

__all__ = ["Database", "Session", "UtcDateTime", "insert_ignore"]

Result = TypeVar("Result")

_ATTEMPTS: Final = 6
_FIRST_PAUSE_S: Final = 0.02

_log = logging.getLogger(__name__)


class Database:
    """One service's store. `url` as in the settings; `service` names the schema on PostgreSQL."""

    def __init__(self, url: str, service: str, *, pool_size: int = 8, statement_timeout_s: float = 60.0) -> None:
        self.url = parse_url(url)
        self.service = service
        self.engine = build_engine(self.url, service, pool_size, statement_timeout_s)
        refuse_abandoned(self.engine)
        # A question of health waits for nobody: neither for a thread nor for a connection that others have.
        self._probe_engine = build_engine(self.url, service, 1, statement_timeout_s)
        self._probes = ThreadPoolExecutor(1, thread_name_prefix=f"{service}-ping")
        self._ender = Ender(f"{service}-end")
        self._readers = ThreadPoolExecutor(pool_size, thread_name_prefix=f"{service}-read")
        # SQLite has one writer: queueing in one thread beats waiting for its lock in many.
        writers = 1 if self.dialect == "sqlite" else pool_size
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix=f"{service}-write")
        self._inode: int | None = None

    @property
    def dialect(self) -> str:
        """ "sqlite" or "postgresql"."""
        return self.engine.dialect.name

    async def run(self, work: Callable[[Session], Result], *, serializable: bool = False) -> Result:
        """Runs `work` as one transaction in a thread: commits when it returns, rolls back when it raises.

        It may run several times (another transaction was in the way), so it touches nothing but the session. When the
        caller is cancelled before the commit (a deadline, a shutdown), nothing is stored, and the statement that runs
        is ended. `serializable` asks
        PostgreSQL for that isolation; SQLite has no other. What a driver raises becomes Unavailable, TimedOut,
        Exhausted or Corrupted; IntegrityError passes through, for the store to say what it means.
        """
        return await self._in_thread(self._writers, work, writes=True, serializable=serializable)

    async def read(self, work: Callable[[Session], Result]) -> Result:
        """Like `run`, but the transaction cannot write."""
        return await self._in_thread(self._readers, work, writes=False, serializable=False)

    def run_now(self, work: Callable[[Session], Result]) -> Result:
        """`run` in the calling thread: for jobs and tests."""
        return self._attempts(work, True, False, Awaited())

    async def migrate(self, script_location: str | Path) -> None:
        """Brings the schema to the newest version of the migrations in `script_location`."""
        await self._call(self._writers, partial(self.migrate_now, script_location))

    def migrate_now(self, script_location: str | Path) -> None:
        """`migrate` in the calling thread."""
        from servicekit.migrations import migrate

        try:
            migrate(self.engine, script_location, self.service)
        except DBAPIError as error:
            failure = judge(error)
            if failure is None:
                raise
            raise failure.error from error

    async def ping(self, timeout_s: float = 3.0) -> None:
        """Raises Unavailable unless the database answers and is the one it was, however busy with others it is."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._in_thread(self._probes, _answer, writes=False, engine=self._probe_engine)
                self._check_file()
        except TimeoutError as error:
            raise Unavailable(f"the database did not answer within {timeout_s} s", 1.0) from error

    def _check_file(self) -> None:
        # SQLite works on happily in a file that somebody has deleted or replaced.
        if self.dialect != "sqlite":
            return
        try:
            inode = Path(str(self.url.database)).expanduser().stat().st_ino
        except OSError as error:
            raise Unavailable(f"the database file is gone: {error.strerror}", 5.0) from error
        if self._inode is None:
            self._inode = inode
        elif inode != self._inode:
            raise Unavailable("the database file was replaced under us: restart", 5.0)

    async def close(self) -> None:
        """Waits for running transactions and closes every connection."""
        await asyncio.to_thread(self.close_now)

    def close_now(self) -> None:
        """`close` in the calling thread."""
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._writers.shutdown(wait=True, cancel_futures=True)
        self._probes.shutdown(wait=True, cancel_futures=True)
        self.engine.dispose()
        self._probe_engine.dispose()

    async def _in_thread(
        self,
        threads: ThreadPoolExecutor,
        work: Callable[[Session], Result],
        *,
        writes: bool,
        serializable: bool = False,
        engine: Engine | None = None,
    ) -> Result:
        awaited = Awaited()
        try:
            return await self._call(threads, partial(self._attempts, work, writes, serializable, awaited, engine))
        except asyncio.CancelledError:
            self._ender.end(awaited)
            raise

    async def _call(self, threads: ThreadPoolExecutor, function: Callable[[], Result]) -> Result:
        # The thread sees the caller's context: who calls, for whom, under which request id.
        context = contextvars.copy_context()
        try:
            future = asyncio.get_running_loop().run_in_executor(threads, context.run, function)
        except RuntimeError as error:  # the pool is shut down
            raise Unavailable("the database is closed") from error
        return await future

    def _attempts(
        self,
        work: Callable[[Session], Result],
        writes: bool,
        serializable: bool,
        awaited: Awaited,
        engine: Engine | None = None,
    ) -> Result:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._transaction(work, writes, serializable, awaited, engine or self.engine)
            except IntegrityError:
                raise
            except PoolTimeoutError as error:
                raise Exhausted("every connection to the database is in use", 0.5) from error
            except DBAPIError as error:
                awaited.check()  # it may be our own doing
                failure = judge(error)
                if failure is None:
                    raise
                if not failure.retry or attempt == _ATTEMPTS:
                    DATABASE_FAILURES.labels(failure.error.code).inc()
                    raise failure.error from error
                self._note(failure, attempt)
            time.sleep(_FIRST_PAUSE_S * 2**attempt * random.uniform(0.5, 1.0))
        raise TimedOut("the transaction found no gap")  # the loop above always returns or raises

    def _note(self, failure: Failure, attempt: int) -> None:
        DATABASE_RETRIES.inc()
        _log.debug("transaction of %s is tried again (%d): %s", self.service, attempt, failure.error)

    def _transaction(
        self,
        work: Callable[[Session], Result],
        writes: bool,
        serializable: bool,
        awaited: Awaited,
        engine: Engine,
    ) -> Result:
        awaited.check()
        with engine.connect() as connection:
            options: dict[str, object] = {WRITES: writes, AWAITED: awaited}
            if self.dialect == "postgresql":
                options["postgresql_readonly"] = not writes
                if serializable:
                    options["isolation_level"] = "SERIALIZABLE"
            awaited.begin(connection.connection.dbapi_connection)
            try:
                with Session(connection.execution_options(**options), expire_on_commit=False) as session:
                    result = work(session)
                    session.flush()
                    awaited.settle()
                    session.commit()
                    return result
            finally:
                if awaited.end():
                    connection.invalidate()


def _answer(session: Session) -> None:
    session.connection().execute(text("SELECT 1")).scalar()


def open_database(url: str, service: str, *, pool_size: int = 8) -> Database:
    """A database that has not connected yet. Raises InvalidInput for a URL it cannot serve."""
    return Database(url, service, pool_size=pool_size)
