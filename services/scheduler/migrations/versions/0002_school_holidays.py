"""School holidays that municipalities were given, with every revision they ever had."""

import sqlalchemy as sa
from alembic import op

from servicekit.columns import UtcDateTime

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

UID = sa.String(32)
ID = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")


def upgrade() -> None:
    """Goes forward. Calendars and profiles need nothing: their new fields have defaults in the documents."""
    op.create_table(
        "school_holidays",
        sa.Column("uid", UID, primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.UniqueConstraint("municipality_uid", "id", name="school_holidays_id"),
    )
    op.create_table(
        "school_holidays_revision",
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
    op.create_index("school_holidays_revision_by_id", "school_holidays_revision", ["municipality_uid", "id"])
