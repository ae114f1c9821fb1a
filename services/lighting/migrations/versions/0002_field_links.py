"""What the connection to an endpoint can carry: mobile radio is slow and counted."""

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Goes forward: what is there already is reached through a wired network."""
    for name, kind in (("round_trip_ms", sa.Integer()), ("monthly_bytes", sa.BigInteger())):
        op.add_column("endpoint", sa.Column(name, kind, nullable=False, server_default="0"))
