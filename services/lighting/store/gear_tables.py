"""The table of drivers: one row for each that is or was in a luminaire. Made by migration 0009."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import BigInteger, SmallInteger, Text
from sqlmodel import Field

from services.lighting.store.tables import LightingTable


class GearLifeRow(LightingTable, table=True):
    """A driver in a luminaire, numbered from 1. Seconds for counters, Unix ms for instants; 0 for unknown or never."""

    __tablename__: ClassVar[str] = "gear_life"

    uid: str = Field(primary_key=True, max_length=32)
    municipality_uid: str = Field(max_length=32)
    luminaire_uid: str = Field(max_length=32)
    number: int
    state: int = Field(sa_type=SmallInteger)
    installed_ms: int = Field(default=0, sa_type=BigInteger)
    signs: int = Field(default=0, sa_type=SmallInteger)
    evidence: str = Field(default="", sa_type=Text)
    identity: str = Field(default="", sa_type=Text)
    serial: str = Field(default="", sa_type=Text)
    first_s: int | None = Field(default=None, sa_type=BigInteger)
    last_s: int | None = Field(default=None, sa_type=BigInteger)
    last_ms: int = Field(default=0, sa_type=BigInteger)
    carried_s: int = Field(default=0, sa_type=BigInteger)
    reason: str = Field(default="", sa_type=Text)
    author: str = Field(default="", sa_type=Text)
    decided_ms: int = Field(default=0, sa_type=BigInteger)
