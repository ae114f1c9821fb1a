"""The book of faults."""

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None

UID = sa.String(32)
# Streets and poles are ordered by code point, whatever the database's language.
ROUTE = sa.String(300).with_variant(sa.String(300, collation="C"), "postgresql")
ID = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")


def upgrade() -> None:
    """Goes forward."""
    op.create_table(
        "fault",
        sa.Column("uid", UID, primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("subject_kind", sa.SmallInteger(), nullable=False),
        sa.Column("subject_uid", UID, nullable=False),
        sa.Column("cabinet_uid", UID, nullable=True),
        sa.Column("street", sa.Text(), nullable=False),
        sa.Column("pole", sa.Text(), nullable=False),
        sa.Column("route", ROUTE, nullable=False),
        sa.Column("latitude_deg", sa.Float(), nullable=True),
        sa.Column("longitude_deg", sa.Float(), nullable=True),
        sa.Column("raised_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("cleared_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_reason", sa.SmallInteger(), nullable=False),
        sa.Column("measured", sa.Float(), nullable=True),
        sa.Column("expected", sa.Float(), nullable=True),
        sa.Column("by_hand", sa.Boolean(), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("reported_by", sa.Text(), nullable=False),
        sa.Column("acknowledged_ms", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged_by", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
    )
    op.create_index("fault_by_name", "fault", ["municipality_uid", "id"], unique=True)
    op.create_index("fault_by_route", "fault", ["municipality_uid", "cleared_ms", "route", "uid"])
    # Nothing is raised twice, whoever raises it: of one kind at most one stands on a subject.
    standing = sa.text("cleared_ms = 0 AND NOT by_hand")
    op.create_index(
        "fault_standing",
        "fault",
        ["subject_uid", "kind"],
        unique=True,
        sqlite_where=standing,
        postgresql_where=standing,
    )
