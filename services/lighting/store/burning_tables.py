"""The table of burning hours: what was counted of each light source, and what gear said of itself. Made by migration
0007."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import BigInteger
from sqlmodel import Field

from services.lighting.store.tables import LightingTable


class BurningRow(LightingTable, table=True):
    """Seconds that a luminaire was lit since it is known, counted until an instant (Unix ms, 0 for not yet), and the
    seconds that its gear reported last, None for never."""

    __tablename__: ClassVar[str] = "burning"

    luminaire_uid: str = Field(primary_key=True, max_length=32)
    counted_s: int = Field(default=0, sa_type=BigInteger)
    counted_until_ms: int = Field(default=0, sa_type=BigInteger)
    reported_s: int | None = Field(default=None, sa_type=BigInteger)
    reported_ms: int = Field(default=0, sa_type=BigInteger)
