"""Serial numbers are looked for without regard to case: two ways to write one are one number."""

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Goes forward. Not unique: what stands in two cases already stays, and is refused where it is stated anew."""
    alive = sa.text("deleted_at IS NULL AND serial_number <> ''")
    op.create_index(
        "meter_by_plain_serial_number",
        "meter",
        ["municipality_uid", sa.text("lower(serial_number)")],
        sqlite_where=alive,
        postgresql_where=alive,
    )
