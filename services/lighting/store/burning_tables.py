"""The table of burning hours: what was counted of each light source, and what gear said of itself. Made by migration
0007."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import BigInteger
from sqlmodel import Field

from services.lighting.store.tables import LightingTable


class BurningRow(LightingTable, table=True):
    """As burning.Burning: seconds, an instant in Unix ms, an ISO date."""

    __tablename__: ClassVar[str] = "burning"

    luminaire_uid: str = Field(primary_key=True, max_length=32)
    counted_s: int = Field(default=0, sa_type=BigInteger)
    counted_until_ms: int = Field(default=0, sa_type=BigInteger)
    installed_on: str = Field(default="", max_length=10)
    reported_s: int | None = Field(default=None, sa_type=BigInteger)
    reported_before_s: int = Field(default=0, sa_type=BigInteger)
