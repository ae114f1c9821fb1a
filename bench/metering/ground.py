"""What the parts stand on: databases of both kinds with metering's schema on them, meters, and readings by the million.

SQLite is set up as the service sets it up (WAL, synchronous=FULL); PostgreSQL is the one that the tests use, which
need not survive a power cut. Ours and every peer work on the same kind of database in the same run.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from sqlalchemy import make_url
from sqlmodel import Session

from domain.names import new_uid
from servicekit.database import Database
from servicekit.migrate import migrations_of
from services.metering.meter import Cycle, Medium, Unit
from services.metering.reading import Int64, Readings
from services.metering.slot import SLOT_MS
from services.metering.store import feed, meters
from services.metering.store.partitions import ensure_partitions, months_between
from services.metering.store.tables import MeterRow
from tests.support.postgres import PostgresServer, start_postgres

KINDS: Final = ("sqlite", "postgresql")
TITLES: Final = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
TOWN: Final = "0190000000007000800000000000bbbb"
SOURCE: Final = feed.Source("import:benchmark", "person:benchmark", datetime(2026, 11, 1, tzinfo=UTC))


@dataclass
class Ground:
    """Where databases come from: copies of a template, so that every round begins with the same nothing."""

    folder: Path
    server: PostgresServer
    template: str

    @contextmanager
    def fresh(self, kind: str, first_ms: int, last_ms: int) -> Iterator[Database]:
        """A database with the schema and the months of a period, gone after the block."""
        name = f"bench_{new_uid()}"  # the server may be shared with others who measure
        if kind == "sqlite":
            file = self.folder / f"{name}.db"
            shutil.copy(self.folder / "template.db", file)
            url = f"sqlite:///{file}"
        else:
            self.server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self.template}" STRATEGY FILE_COPY')
            url = self.server.database_url(name)
        database = Database(url, "metering")
        try:
            database.run_now(lambda session: ensure_partitions(session, months_between(first_ms, last_ms)))
            yield database
        finally:
            database.close_now()
            if kind == "sqlite":
                for left in self.folder.glob(f"{name}.db*"):
                    left.unlink()
            else:
                self.server.drop_database(url)


@contextmanager
def ground() -> Iterator[Ground]:
    """Both kinds of database, until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="lichtbuch-bench-"))
    folder.chmod(0o755)  # the server runs as a user of its own where we are root
    server = start_postgres(folder / "postgres")
    try:
        for url in (f"sqlite:///{folder / 'template.db'}", template := server.create_database()):
            opened = Database(url, "metering", pool_size=1)
            opened.migrate_now(migrations_of("metering"))
            opened.close_now()
        yield Ground(folder, server, str(make_url(template).database))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def add_meters(session: Session, count: int) -> list[meters.StoredMeter]:
    """Electricity meters that are read every quarter hour."""
    created = datetime(2020, 1, 1, tzinfo=UTC)
    rows = [
        MeterRow(
            uid=new_uid(), municipality_uid=TOWN, meter_id=f"m-{number:05d}", display_name="",
            medium=int(Medium.ELECTRICITY), unit=int(Unit.WH), cabinet_id="", building="", endpoint_uid="",
            endpoint_id="", point="energy_active_import", serial_number="", rollover=0, transformer_ratio=1,
            connected_load_w=0, revision=1, created_at=created, reading_cycle=int(Cycle.QUARTER_HOUR),
        )
        for number in range(count)
    ]  # fmt: skip
    return [meters.create(session, row, row.meter_id) for row in rows]


def counters(keys: Int64, first_ms: int, begin: int, slots: int) -> Readings:
    """Counters of registers at `slots` quarter hours from number `begin` on, in order of register and slot."""
    place = np.arange(begin, begin + slots, dtype=np.int64)
    slot = first_ms + place * SLOT_MS
    # Rising by what differs from quarter hour to quarter hour, and known without the ones before.
    shape = place * 250 + (place % 96) * (95 - place % 96) // 4
    registers = np.repeat(keys, slots)
    return Readings.of(registers, np.tile(slot, len(keys)), np.tile(shape, len(keys)) + registers * 1_000)


def seconds(work: Callable[[], object]) -> float:
    """Time on the wall: of a database in another process the processor's time here tells nothing."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
