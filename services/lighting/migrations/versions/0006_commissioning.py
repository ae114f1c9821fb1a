"""Commissioning: luminaires that blink."""

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
