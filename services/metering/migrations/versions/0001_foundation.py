"""Meters, register lives, readings and their feed, the copy of the registry's endpoints.

Readings are partitioned by month on PostgreSQL from the first version on: a table of a hundred million rows is not
turned into a partitioned one in a maintenance window. Partitions are made ahead by the service (store/partitions.py).
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from servicekit.columns import BigKey, UtcDateTime
from servicekit.migrations import create_common_tables

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

# Ids are ordered by code point on both databases, whatever the locale: pages of a list follow that order.
ID = sa.String(63).with_variant(postgresql.VARCHAR(63, collation="C"), "postgresql")
UID = sa.String(32)

READING_COLUMNS = """
    life_key BIGINT NOT NULL,
    slot_ms BIGINT NOT NULL,
    value BIGINT NOT NULL,
    observed_ms BIGINT NOT NULL,
    batch_id BIGINT NOT NULL,
    revision SMALLINT NOT NULL,
    status SMALLINT NOT NULL,
    time_source SMALLINT NOT NULL,
    CONSTRAINT reading_status CHECK (status BETWEEN 1 AND 99),
    CONSTRAINT reading_gap_has_no_value CHECK (status <> 2 OR value = 0),
    CONSTRAINT reading_value CHECK (value >= 0),
    PRIMARY KEY (life_key, slot_ms, revision)
"""


def upgrade() -> None:
    """Creates everything."""
    create_common_tables(op)
    _create_inventory()
    _create_readings()


def _create_inventory() -> None:
    op.create_table(
        "meter",
        sa.Column("uid", UID, primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("meter_id", ID, nullable=False),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.Column("medium", sa.SmallInteger(), nullable=False),
        sa.Column("unit", sa.SmallInteger(), nullable=False),
        sa.Column("cabinet_id", ID, nullable=False),
        sa.Column("building", sa.String(200), nullable=False),
        sa.Column("endpoint_uid", UID, nullable=False),
        sa.Column("endpoint_id", ID, nullable=False),
        sa.Column("point", sa.String(100), nullable=False),
        sa.Column("serial_number", sa.String(64), nullable=False),
        sa.Column("rollover", sa.BigInteger(), nullable=False),
        sa.Column("transformer_ratio", sa.Integer(), nullable=False),
        sa.Column("connected_load_w", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
    )
    living = sa.text("deleted_at IS NULL")
    op.create_index(
        "meter_by_name",
        "meter",
        ["municipality_uid", "meter_id"],
        unique=True,
        sqlite_where=living,
        postgresql_where=living,
    )
    serial = sa.text("deleted_at IS NULL AND serial_number <> ''")
    op.create_index(
        "meter_by_serial_number",
        "meter",
        ["municipality_uid", "serial_number"],
        unique=True,
        sqlite_where=serial,
        postgresql_where=serial,
    )
    op.create_table(
        "register_life",
        sa.Column("key", BigKey, primary_key=True, autoincrement=True),
        sa.Column("uid", UID, nullable=False, unique=True),
        sa.Column("meter_uid", UID, sa.ForeignKey("meter.uid"), nullable=False),
        sa.Column("serial_number", sa.String(64), nullable=False),
        sa.Column("installed_ms", sa.BigInteger(), nullable=True),
        sa.Column("removed_ms", sa.BigInteger(), nullable=True),
        sa.Column("first_reading", sa.BigInteger(), nullable=False),
        sa.Column("final_reading", sa.BigInteger(), nullable=False),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("ended_by", sa.String(16), nullable=False),
        sa.Column("rollover", sa.BigInteger(), nullable=False),
        sa.Column("transformer_ratio", sa.Integer(), nullable=False),
        # The key of a life that is gone must never name another one: readings rest on it.
        sqlite_autoincrement=True,
    )
    op.create_index("register_life_by_meter", "register_life", ["meter_uid"])
    op.create_table(
        "endpoint_replica",
        sa.Column("uid", UID, primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("endpoint_id", ID, nullable=False),
        sa.Column("url", sa.String(500), nullable=False),
        sa.Column("profile", sa.String(100), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("etag", sa.String(64), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
    )
    op.create_index("endpoint_replica_by_name", "endpoint_replica", ["municipality_uid", "endpoint_id"])


def _create_readings() -> None:
    op.create_table(
        "register_head",
        sa.Column("life_key", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("latest_slot_ms", sa.BigInteger(), nullable=False),
        sa.Column("latest_value", sa.BigInteger(), nullable=False),
        sa.Column("polled_slot_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "reading_batch",
        sa.Column("id", BigKey, primary_key=True, autoincrement=True),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("stored_at", UtcDateTime(), nullable=False),
        sa.Column("first_slot_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_slot_ms", sa.BigInteger(), nullable=False),
        sa.Column("readings", sa.BigInteger(), nullable=False),
        sa.Column("feed_sequence", sa.BigInteger(), nullable=True, unique=True),
    )
    feed = op.create_table(
        "reading_feed",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
    )
    op.bulk_insert(feed, [{"name": "readings", "sequence": 0}])
    # No foreign key to register_life: lives are never deleted, and a check per reading would halve the ingest.
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"CREATE TABLE reading ({READING_COLUMNS}) PARTITION BY RANGE (slot_ms)")
    else:
        op.execute(f"CREATE TABLE reading ({READING_COLUMNS}) WITHOUT ROWID")
