"""Kinds of meters: intervals, sensors, stocks, sums beside counters; dated attributes; deliveries, weather, findings.

What a register's values mean (unit, scale, OBIS code) moves to its life, as an exchange may change it. Values may be
negative from now on: a temperature is.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from servicekit.columns import UtcDateTime

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None

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
    PRIMARY KEY (life_key, slot_ms, revision)
"""


def upgrade() -> None:
    """Adds what is new; every meter of before is a counter."""
    _widen_meters()
    _widen_lives()
    op.add_column("reading_batch", sa.Column("reason", sa.String(500), nullable=False, server_default=""))
    _allow_negative_values()
    _create_deliveries()
    _create_weather()
    _create_findings()


def _widen_meters() -> None:
    small, number, big = sa.SmallInteger(), sa.Integer(), sa.BigInteger()
    for name, kind, default in (
        ("kind", small, "1"),
        ("obis_code", sa.String(32), ""),
        ("scale_exponent", small, "0"),
        ("reading_cycle", small, "0"),
        ("flow", small, "0"),
        ("device_uid", UID, ""),
        ("main_meter_uid", UID, ""),
        ("loss_tolerance_permille", small, "30"),
        ("purpose", small, "0"),
        ("market_location", sa.String(11), ""),
        ("metering_location", sa.String(33), ""),
        ("metering_operator", sa.String(200), ""),
        ("floor_area_m2", number, "0"),
        ("max_flow_per_h", big, "0"),
        ("gas_factors", sa.Text(), "[]"),
        ("terms", sa.Text(), "[]"),
        ("avoidable_price_micro_eur", big, "0"),
        ("acquisition", small, "0"),
    ):
        op.add_column("meter", sa.Column(name, kind, nullable=False, server_default=default))
    op.add_column("meter", sa.Column("rests_on_weekends", sa.Boolean(), nullable=False, server_default=sa.false()))
    for name, column in (("meter_by_device", "device_uid"), ("meter_by_main_meter", "main_meter_uid")):
        given = sa.text(f"deleted_at IS NULL AND {column} <> ''")
        op.create_index(name, "meter", [column], sqlite_where=given, postgresql_where=given)


def _widen_lives() -> None:
    op.add_column("register_life", sa.Column("obis_code", sa.String(32), nullable=False, server_default=""))
    op.add_column("register_life", sa.Column("unit", sa.SmallInteger(), nullable=False, server_default="1"))
    op.add_column("register_life", sa.Column("scale_exponent", sa.SmallInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE register_life SET unit = (SELECT unit FROM meter WHERE meter.uid = register_life.meter_uid)")


def _allow_negative_values() -> None:
    if op.get_bind().dialect.name != "postgresql":
        # SQLite drops no constraint: the table is written anew.
        op.execute("ALTER TABLE reading RENAME TO reading_before")
        op.execute(f"CREATE TABLE reading ({READING_COLUMNS}) WITHOUT ROWID")
        columns = "life_key, slot_ms, value, observed_ms, batch_id, revision, status, time_source"
        op.execute(f"INSERT INTO reading ({columns}) SELECT {columns} FROM reading_before")
        op.execute("DROP TABLE reading_before")
        return
    op.execute("ALTER TABLE reading DROP CONSTRAINT reading_value")
    # A month was a table of its own before it was attached, and keeps what it had then.
    months = op.get_bind().execute(
        sa.text("SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'reading'::regclass")
    )
    for (name,) in months.fetchall():
        op.execute(f"ALTER TABLE {name} DROP CONSTRAINT IF EXISTS reading_value")


def _create_deliveries() -> None:
    op.create_table(
        "delivery",
        sa.Column("uid", UID, primary_key=True),
        sa.Column("meter_uid", UID, sa.ForeignKey("meter.uid"), nullable=False),
        sa.Column("delivery_id", ID, nullable=False),
        sa.Column("delivered_ms", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("cost_cents", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.String(200), nullable=False),
        sa.Column("recorded_by", sa.String(255), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("withdrawn_by", sa.String(255), nullable=False, server_default=""),
        sa.Column("withdrawn_at", UtcDateTime(), nullable=True),
        sa.Column("withdrawal_reason", sa.String(500), nullable=False, server_default=""),
        sa.UniqueConstraint("meter_uid", "delivery_id", name="delivery_by_name"),
    )
    op.create_index("delivery_by_time", "delivery", ["meter_uid", "delivered_ms"])


def _create_weather() -> None:
    op.create_table(
        "weather_day",
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("station", ID, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("revision", sa.SmallInteger(), nullable=False),
        sa.Column("mean_centidegrees", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("stored_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("municipality_uid", "station", "day", "revision"),
    )


def _create_findings() -> None:
    op.create_table(
        "finding",
        sa.Column("uid", UID, primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("meter_uid", UID, sa.ForeignKey("meter.uid"), nullable=False),
        sa.Column("rule", sa.String(63), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("excess_amount", sa.BigInteger(), nullable=False),
        sa.Column("cost_cents", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.String(1000), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("acknowledged_by", sa.String(255), nullable=False, server_default=""),
        sa.Column("note", sa.String(500), nullable=False, server_default=""),
        sa.Column("coverage_permille", sa.Integer(), nullable=False),
        sa.Column("raised_at", UtcDateTime(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False, server_default="1"),
    )
    standing = sa.text("state IN (1, 2)")
    op.create_index(
        "finding_that_stands",
        "finding",
        ["meter_uid", "rule"],
        unique=True,
        sqlite_where=standing,
        postgresql_where=standing,
    )
    op.create_index("finding_by_time", "finding", ["municipality_uid", "raised_at"])
