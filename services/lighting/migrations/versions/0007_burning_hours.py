"""Burning hours of light sources, who keeps their light constant, and how little their drivers can do."""

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Goes forward."""
    op.add_column("luminaire_model", sa.Column("clo_by", sa.SmallInteger(), nullable=False, server_default="0"))
    op.add_column(
        "luminaire_model", sa.Column("least_level_permille", sa.Integer(), nullable=False, server_default="0")
    )
    op.create_table(
        "burning",
        sa.Column("luminaire_uid", sa.String(32), primary_key=True),
        sa.Column("counted_s", sa.BigInteger(), nullable=False),
        sa.Column("counted_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("installed_on", sa.String(10), nullable=False),
        sa.Column("reported_s", sa.BigInteger(), nullable=True),
        sa.Column("reported_before_s", sa.BigInteger(), nullable=False),
    )
