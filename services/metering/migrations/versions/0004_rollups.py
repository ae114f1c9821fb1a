"""Runs of plain readings, and roll-ups of local days and months with what is to be worked out anew."""

import sqlalchemy as sa
from alembic import op

from servicekit.columns import BigKey

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None

RUN_COLUMNS = """
    life_key BIGINT NOT NULL,
    first_slot_ms BIGINT NOT NULL,
    last_slot_ms BIGINT NOT NULL,
    first_value BIGINT NOT NULL,
    last_value BIGINT NOT NULL,
    PRIMARY KEY (life_key, first_slot_ms)
"""
BETWEEN_COLUMNS = """
    life_key BIGINT NOT NULL,
    slot_ms BIGINT NOT NULL,
    PRIMARY KEY (life_key, slot_ms)
"""
ROLLUP_COLUMNS = """
    meter_key BIGINT NOT NULL,
    span SMALLINT NOT NULL,
    start_ms BIGINT NOT NULL,
    end_ms BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    estimated_amount BIGINT NOT NULL,
    measured_ms BIGINT NOT NULL,
    flag SMALLINT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (meter_key, span, start_ms)
"""


def upgrade() -> None:
    """Adds the tables. They are filled by the service: runs with what is stored from now on and with each meter's
    first roll-up."""
    clustered = "" if op.get_bind().dialect.name == "postgresql" else " WITHOUT ROWID"
    op.execute(f"CREATE TABLE reading_run ({RUN_COLUMNS}){clustered}")
    op.execute(f"CREATE TABLE reading_between_slots ({BETWEEN_COLUMNS}){clustered}")
    op.execute(f"CREATE TABLE rollup ({ROLLUP_COLUMNS}){clustered}")
    op.create_table(
        "rollup_meter",
        sa.Column("key", BigKey, primary_key=True, autoincrement=True),
        sa.Column("meter_uid", sa.String(32), sa.ForeignKey("meter.uid"), nullable=False, unique=True),
        sa.Column("time_zone", sa.String(64), nullable=False),
        sa.Column("basis", sa.String(64), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("sealed_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "rollup_dirty",
        sa.Column("id", BigKey, primary_key=True, autoincrement=True),
        sa.Column("meter_key", sa.BigInteger(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("rollup_dirty_by_meter", "rollup_dirty", ["meter_key"])
