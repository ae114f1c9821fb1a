"""Migrations: bringing a service's schema up to date, and the tables that every service has.

A service keeps its versions in services/NAME/migrations/versions; the environment that Alembic runs them in is here,
the same for all. The first version of each calls `create_common_tables`.
"""

import hashlib
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from domain.errors import InvalidInput
from servicekit.columns import BigKey, UtcDateTime
from servicekit.engine import WRITES

_ENVIRONMENT: Final = Path(__file__).parent


def create_common_tables(op: Any) -> None:
    """Creates the tables behind audit, idempotency, tenants and leases. For the first migration of a service."""
    op.create_table(
        "audit_record",
        sa.Column("sequence", BigKey, primary_key=True, autoincrement=True),
        sa.Column("uid", sa.String(32), nullable=False, unique=True),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("domain_at", UtcDateTime(), nullable=False),
        sa.Column("municipality_uid", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("actor_kind", sa.String(16), nullable=False),
        sa.Column("action", sa.String(255), nullable=False),
        sa.Column("resource", sa.String(400), nullable=False),
        sa.Column("resource_uid", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("before_json", sa.Text(), nullable=False),
        sa.Column("after_json", sa.Text(), nullable=False),
    )
    op.create_index("audit_record_by_municipality", "audit_record", ["municipality_uid", "sequence"])
    op.create_index("audit_record_by_resource", "audit_record", ["municipality_uid", "resource", "sequence"])
    op.create_table(
        "idempotency_key",
        sa.Column("subject", sa.String(255), primary_key=True),
        sa.Column("action", sa.String(255), primary_key=True),
        sa.Column("municipality_uid", sa.String(32), primary_key=True),
        sa.Column("request_id", sa.String(64), primary_key=True),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
    )
    op.create_index("idempotency_key_by_age", "idempotency_key", ["created_at"])
    op.create_table(
        "tenant_cache",
        sa.Column("uid", sa.String(32), primary_key=True),
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.Column("time_zone", sa.String(64), nullable=False),
        sa.Column("latitude_deg", sa.Float(), nullable=False),
        sa.Column("longitude_deg", sa.Float(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("holder", sa.String(255), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("acquired_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
    )


def migrate(engine: Engine, script_location: str | Path, service: str, revision: str = "head") -> None:
    """Brings the schema to a revision. Replicas that start together take turns."""
    if engine.dialect.name == "postgresql":
        _create_schema(engine, service)
    with engine.connect() as plain:
        connection = plain.execution_options(**{WRITES: True})
        with connection.begin():
            # On SQLite the transaction itself is the lock.
            if engine.dialect.name == "postgresql":
                # Building an index over a year of readings may take longer than any query should.
                connection.execute(text("SET LOCAL statement_timeout = 0"))
                connection.execute(text("SET LOCAL lock_timeout = 0"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _lock_key(service)})
            configuration = _configuration(script_location, service)
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, revision)


def newest_revision(script_location: str | Path, service: str) -> str:
    """Name of the newest migration."""
    return ScriptDirectory.from_config(_configuration(script_location, service)).get_current_head() or ""


def version_table(service: str) -> str:
    """Table that keeps a service's revision."""
    return f"{service}_schema_version"


def _create_schema(engine: Engine, service: str) -> None:
    with engine.begin() as connection:
        if connection.execute(text("SELECT 1 FROM pg_namespace WHERE nspname = :name"), {"name": service}).first():
            return
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _lock_key(service)})
        connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{service}"'))


def _lock_key(service: str) -> int:
    digest = hashlib.sha256(f"lichtbuch migration {service}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _configuration(script_location: str | Path, service: str) -> Config:
    versions = Path(script_location) / "versions"
    if not versions.is_dir():
        raise InvalidInput.of("script_location", f"{versions} is not a folder of migrations")
    configuration = Config()
    configuration.set_main_option("script_location", _escaped(_ENVIRONMENT))
    configuration.set_main_option("path_separator", "newline")
    configuration.set_main_option("version_locations", _escaped(versions))
    configuration.attributes["version_table"] = version_table(service)
    return configuration


def _escaped(path: Path) -> str:
    return str(path.resolve()).replace("%", "%%")


def is_current(connection: Connection, script_location: str | Path, service: str) -> bool:
    """True if the schema is at the newest revision."""
    found = connection.execute(text(f"SELECT version_num FROM {version_table(service)}")).scalar()
    return found == newest_revision(script_location, service)
