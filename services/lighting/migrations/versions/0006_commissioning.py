"""Commissioning: luminaires that blink, and the levels that they take by themselves."""

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None

UID = sa.String(32)


def upgrade() -> None:
    """Goes forward."""
    op.create_table(
        "identification",
        sa.Column("luminaire_uid", UID, primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
    )
    op.create_table(
        "protection",
        sa.Column("luminaire_uid", UID, primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("power_on_permille", sa.Integer(), nullable=False),
        sa.Column("communication_loss_permille", sa.Integer(), nullable=False),
        sa.Column("asked_ms", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("seen_for_ms", sa.BigInteger(), nullable=False),
        sa.Column("read_ms", sa.BigInteger(), nullable=False),
        sa.Column("supported", sa.Boolean(), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("read_power_on", sa.Integer(), nullable=True),
        sa.Column("read_communication_loss", sa.Integer(), nullable=True),
    )
    # Looked at every few seconds, and nearly always empty.
    waiting = sa.text("seen_for_ms = 0")
    op.create_index("protection_pending", "protection", ["asked_ms"], sqlite_where=waiting, postgresql_where=waiting)
