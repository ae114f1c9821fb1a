"""Municipalities, unions, role bindings, field endpoints."""

import sqlalchemy as sa
from alembic import op

from servicekit.columns import UtcDateTime
from servicekit.migrations import create_common_tables

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def _identifier(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Goes forward."""
    create_common_tables(op)
    op.create_table(
        "municipality",
        sa.Column("uid", sa.String(32), primary_key=True),
        sa.Column("id", _identifier(63), nullable=False, unique=True),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.Column("time_zone", sa.String(64), nullable=False),
        sa.Column("latitude_deg", sa.Float(53), nullable=False),
        sa.Column("longitude_deg", sa.Float(53), nullable=False),
        sa.Column("synthetic", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
    )
    op.create_table(
        "municipal_union",
        sa.Column("uid", sa.String(32), primary_key=True),
        sa.Column("id", _identifier(63), nullable=False, unique=True),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "union_member",
        sa.Column("union_uid", sa.String(32), sa.ForeignKey("municipal_union.uid"), primary_key=True),
        sa.Column("municipality_uid", sa.String(32), sa.ForeignKey("municipality.uid"), primary_key=True),
    )
    op.create_index("union_member_by_municipality", "union_member", ["municipality_uid"])
    op.create_table(
        "role_binding",
        sa.Column("uid", sa.String(32), primary_key=True),
        sa.Column("municipality_uid", sa.String(32), sa.ForeignKey("municipality.uid"), nullable=True),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
    )
    op.create_index("role_binding_by_subject", "role_binding", ["subject"])
    op.create_index("role_binding_by_municipality", "role_binding", ["municipality_uid", "uid"])
    op.create_table(
        "field_bus",
        sa.Column("bus", _identifier(600), primary_key=True),
        sa.Column("owner", sa.String(16), nullable=False),
        sa.UniqueConstraint("bus", "owner", name="field_bus_owner"),
    )
    op.create_table(
        "endpoint",
        sa.Column("uid", sa.String(32), primary_key=True),
        sa.Column("municipality_uid", sa.String(32), sa.ForeignKey("municipality.uid"), nullable=False),
        sa.Column("id", _identifier(63), nullable=False),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.Column("url", sa.String(500), nullable=False),
        sa.Column("bus", _identifier(600), nullable=False),
        sa.Column("station", sa.String(500), nullable=False),
        sa.Column("profile", sa.String(100), nullable=False),
        sa.Column("owner", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("released_by", sa.String(255), nullable=False),
        sa.Column("released_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.UniqueConstraint("municipality_uid", "id", name="endpoint_id"),
        sa.UniqueConstraint("bus", "station", name="endpoint_station"),
        sa.ForeignKeyConstraint(["bus", "owner"], ["field_bus.bus", "field_bus.owner"], name="endpoint_bus"),
    )
