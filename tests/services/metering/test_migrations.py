"""Databases of earlier versions come up to date with everything that is in them."""

from __future__ import annotations

from sqlalchemy import text
from sqlmodel import Session

from servicekit.database import Database
from servicekit.migrate import migrations_of
from servicekit.migrations import migrate
from services.metering.meter import Kind, Unit
from services.metering.reading import Readings
from services.metering.slot import SLOT_MS
from services.metering.store import ingest, meters
from services.metering.store.partitions import ensure_partitions, months_between
from services.metering.store.readings import fetch_lives
from tests.services.metering.making import NOON_MS, NOW, TOWN, source
from tests.support.postgres import PostgresServer

UID, LIFE = "0" * 31 + "1", "0" * 31 + "2"


def fill(session: Session) -> None:
    """A water meter with one register and three readings, as version 0002 had them."""
    ensure_partitions(session, months_between(NOON_MS, NOON_MS))
    connection = session.connection()
    connection.execute(
        text(
            "INSERT INTO meter (uid, municipality_uid, meter_id, display_name, medium, unit, cabinet_id, building,"
            " endpoint_uid, endpoint_id, point, serial_number, rollover, transformer_ratio, connected_load_w, revision,"
            " created_at) VALUES (:uid, :town, 'W-1', 'Water', 4, 2, '', 'Rathaus', '', '', 'volume_water', '4711',"
            " 100000000, 1, 0, 3, :now)"
        ),
        {"uid": UID, "town": TOWN, "now": NOW if connection.dialect.name == "postgresql" else NOW.isoformat(" ")},
    )
    connection.execute(
        text(
            "INSERT INTO register_life (key, uid, meter_uid, serial_number, first_reading, final_reading, origin,"
            " ended_by, rollover, transformer_ratio) VALUES (1, :life, :uid, '4711', 0, 0, 'created', '', 100000000, 1)"
        ),
        {"uid": UID, "life": LIFE},
    )
    for place, value in enumerate((100, 120, 150)):
        connection.execute(
            text(
                "INSERT INTO reading (life_key, slot_ms, value, observed_ms, batch_id, revision, status, time_source)"
                " VALUES (1, :slot, :value, :slot, 1, 0, 1, 2)"
            ),
            {"slot": NOON_MS - place * SLOT_MS, "value": value},
        )


def of_version_2(url: str) -> Database:
    """A database of version 0002 with data."""
    opened = Database(url, "metering", pool_size=1)
    migrate(opened.engine, migrations_of("metering"), "metering", "0002")
    opened.run_now(fill)
    return opened


def check(opened: Database) -> None:
    """Everything is there, means what it meant, and new kinds have their place."""
    opened.migrate_now(migrations_of("metering"))

    def look(session: Session) -> None:
        row = meters.get_row(session, TOWN, "W-1", "")
        assert (row.kind, row.unit, row.scale_exponent, row.obis_code) == (Kind.COUNTER, Unit.L, 0, "")
        assert (row.loss_tolerance_permille, row.device_uid, row.terms, row.rests_on_weekends) == (30, "", "[]", False)
        [life] = meters.whole(session, [row])[0].lives
        assert (life.unit, life.scale_exponent, life.rollover, life.serial_number) == (Unit.L, 0, 100_000_000, "4711")
        found = fetch_lives(session, [life], 0, NOON_MS + 1)
        assert found.value.tolist() == [150, 120, 100]

    def store_below_zero(session: Session) -> None:
        written = ingest.write(session, Readings.of([1], [NOON_MS - 9 * SLOT_MS], [-105]), source())
        assert written.batch_id

    opened.run_now(look)
    opened.run_now(store_below_zero)
    opened.close_now()


def test_meters_of_version_2_are_counters_of_their_unit_in_sqlite(tmp_path: object) -> None:
    check(of_version_2(f"sqlite:///{tmp_path}/old.db"))


def test_meters_of_version_2_are_counters_of_their_unit_in_postgresql(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database()
    check(of_version_2(url))
    postgres_server.drop_database(url)
