"""Profiles and calendars with every revision they ever had, and assignments."""

import sqlalchemy as sa
from alembic import op

from servicekit.columns import UtcDateTime
from servicekit.migrations import create_common_tables

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

UID = sa.String(32)
ID = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")


def upgrade() -> None:
    """Goes forward."""
    create_common_tables(op)
    for kind in ("profile", "calendar"):
        op.create_table(
            kind,
            sa.Column("uid", UID, primary_key=True),
            sa.Column("municipality_uid", UID, nullable=False),
            sa.Column("id", ID, nullable=False),
            sa.Column("revision", sa.Integer(), nullable=False),
            sa.UniqueConstraint("municipality_uid", "id", name=f"{kind}_id"),
        )
        op.create_table(
            f"{kind}_revision",
            sa.Column("uid", UID, primary_key=True),
            sa.Column("revision", sa.Integer(), primary_key=True, autoincrement=False),
            sa.Column("municipality_uid", UID, nullable=False),
            sa.Column("id", ID, nullable=False),
            sa.Column("display_name", sa.String(200), nullable=False),
            sa.Column("content", sa.JSON(), nullable=False),
            sa.Column("held_from", UtcDateTime(), nullable=False),
            sa.Column("held_until", UtcDateTime(), nullable=True),
            sa.Column("recorded_at", UtcDateTime(), nullable=False),
        )
        op.create_index(f"{kind}_revision_by_id", f"{kind}_revision", ["municipality_uid", "id"])
    op.create_table(
        "calendar_profile",
        sa.Column("calendar_uid", UID, sa.ForeignKey("calendar.uid"), primary_key=True),
        sa.Column("profile_uid", UID, sa.ForeignKey("profile.uid"), primary_key=True),
    )
    op.create_index("calendar_profile_by_profile", "calendar_profile", ["profile_uid"])
    op.create_table(
        "assignment",
        sa.Column("uid", UID, primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("group_uid", UID, nullable=False),
        sa.Column("calendar_uid", UID, sa.ForeignKey("calendar.uid"), nullable=False),
        sa.Column("planned_until", UtcDateTime(), nullable=True),
        sa.Column("refusal", sa.Text(), nullable=False),
        sa.Column("refused_key", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.UniqueConstraint("municipality_uid", "id", name="assignment_id"),
        sa.UniqueConstraint("municipality_uid", "group_uid", name="assignment_group"),
    )
    op.create_index("assignment_by_calendar", "assignment", ["calendar_uid"])
