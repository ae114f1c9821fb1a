"""Every released schema goes forward with what stands in it: tables as they were, filled, then brought up to date."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from servicekit.database import Database
from servicekit.migrations import migrate

SERVICES = Path(__file__).parents[2] / "services"
UID, TOWN = "0" * 31 + "1", "0" * 31 + "2"
AT = datetime(2026, 1, 1, tzinfo=UTC)

REGISTRY = [
    (
        "municipality",
        {"uid": TOWN, "id": "borken", "display_name": "Borken", "time_zone": "Europe/Berlin", "latitude_deg": 51.0}
        | {"longitude_deg": 9.3, "synthetic": False, "created_at": AT, "version": 1},
    ),
    ("field_bus", {"bus": "10.0.0.1:502", "owner": "lighting"}),
    (
        "endpoint",
        {"uid": UID, "municipality_uid": TOWN, "id": "gw-1", "display_name": "", "url": "modbus+tcp://10.0.0.1"}
        | {"bus": "10.0.0.1:502", "station": "1", "profile": "intesis-dali", "owner": "lighting", "state": "planned"}
        | {"released_by": "", "created_at": AT, "version": 1},
    ),
]
LIGHTING = [
    (
        "endpoint",
        {"uid": UID, "municipality_uid": TOWN, "id": "gw-1", "display_name": "", "url": "modbus+tcp://10.0.0.1"}
        | {"profile": "intesis-dali", "state": 4, "deleted_at_ms": 0},
    )
]
METERING = [
    (
        "endpoint_replica",
        {"uid": UID, "municipality_uid": TOWN, "endpoint_id": "m-1", "url": "modbus+tcp://10.0.0.2"}
        | {"profile": "abb-b23", "state": 4, "etag": "x", "seen_at": AT},
    )
]


def only_up_to(revision: str, service: str, folder: Path) -> Path:
    """The service's migrations as they were when `revision` was the newest."""
    shutil.copytree(SERVICES / service / "migrations", folder)
    for file in (folder / "versions").glob("[0-9]*.py"):
        if file.name[:4] > revision:
            file.unlink()
    return folder


def insert(database: Database, rows: list[tuple[str, dict[str, Any]]]) -> None:
    is_sqlite = database.engine.dialect.name == "sqlite"
    with database.engine.begin() as connection:
        for name, values in rows:
            kept = {key: str(v) if is_sqlite and isinstance(v, datetime) else v for key, v in values.items()}
            names = ", ".join(f'"{key}"' for key in kept)
            marks = ", ".join(f":{key}" for key in kept)
            connection.execute(sa.text(f'INSERT INTO "{name}" ({names}) VALUES ({marks})'), kept)


@pytest.mark.parametrize(("service", "rows"), [("registry", REGISTRY), ("lighting", LIGHTING), ("metering", METERING)])
async def test_an_endpoint_of_the_first_schema_is_reached_through_a_wired_network(
    database_url: str, tmp_path: Path, service: str, rows: list[tuple[str, dict[str, Any]]]
) -> None:
    database = Database(database_url, service, pool_size=1)
    try:
        migrate(database.engine, only_up_to("0001", service, tmp_path / "then"), service)
        insert(database, rows)
        migrate(database.engine, SERVICES / service / "migrations", service)
        table = rows[-1][0]
        with database.engine.connect() as connection:
            found = connection.execute(sa.text(f'SELECT uid, round_trip_ms, monthly_bytes FROM "{table}"')).all()
        assert [tuple(row) for row in found] == [(UID, 0, 0)]
    finally:
        await database.close()
