"""Sensors, their values, and waivers."""

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None

UID = sa.String(32)
# Names are ordered by code point, whatever the database's language.
ID = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")


def upgrade() -> None:
    """Goes forward."""
    # Plans that are there have no rules.
    op.add_column("plan", sa.Column("rules", sa.JSON(), nullable=False, server_default="[]"))
    _waivers()
    _sensors()


def _waivers() -> None:
    op.create_table(
        "waiver",
        sa.Column("uid", UID, primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("floor_permille", sa.Integer(), nullable=False),
        sa.Column("decision_reference", sa.Text(), nullable=False),
        sa.Column("decided_on", sa.String(10), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("review_ms", sa.BigInteger(), nullable=False),
        sa.Column("sign_at_pole", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("released_at_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("waiver_by_name", "waiver", ["municipality_uid", "id"], unique=True)
    op.create_index("waiver_by_review", "waiver", ["review_ms"])
    op.create_table(
        "waiver_target",
        sa.Column("waiver_uid", UID, sa.ForeignKey("waiver.uid"), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("target_uid", UID, nullable=False),
        sa.Column("target_name", sa.String(400), nullable=False),
    )


def _sensors() -> None:
    op.create_table(
        "sensor",
        sa.Column("uid", UID, primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("group_uids", sa.JSON(), nullable=False),
        sa.Column("endpoint_uid", UID, nullable=True),
        sa.Column("point", sa.String(64), nullable=False),
        sa.Column("max_age_s", sa.Integer(), nullable=False),
    )
    op.create_index("sensor_by_name", "sensor", ["municipality_uid", "id", "deleted_at_ms"], unique=True)
    op.create_table(
        "sensor_value",
        sa.Column("sensor_uid", UID, sa.ForeignKey("sensor.uid"), primary_key=True),
        sa.Column("value_milli", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
    )
