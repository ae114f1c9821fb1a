"""Tables of commissioning: which luminaires blink, and what they do by themselves. Made by migration 0006."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import BigInteger, Text
from sqlmodel import Field

from services.lighting.store.tables import LightingTable


class IdentificationRow(LightingTable, table=True):
    """A luminaire that blinks, or did last: one row each."""

    __tablename__: ClassVar[str] = "identification"

    luminaire_uid: str = Field(primary_key=True, max_length=32)
    municipality_uid: str = Field(max_length=32)
    start_ms: int = Field(sa_type=BigInteger)
    end_ms: int = Field(sa_type=BigInteger)
    author: str = Field(sa_type=Text)


class ProtectionRow(LightingTable, table=True):
    """Levels that a luminaire is to take by itself, and what was read of them. `seen_for_ms` is the instant of the wish
    that the reading answers, 0 while it is pending. Per mille; -1 read for "as before"."""

    __tablename__: ClassVar[str] = "protection"

    luminaire_uid: str = Field(primary_key=True, max_length=32)
    municipality_uid: str = Field(max_length=32)
    power_on_permille: int = 0
    communication_loss_permille: int = 0
    asked_ms: int = Field(default=0, sa_type=BigInteger)
    author: str = Field(default="", sa_type=Text)
    seen_for_ms: int = Field(default=0, sa_type=BigInteger)
    read_ms: int = Field(default=0, sa_type=BigInteger)
    supported: bool = True
    confirmed: bool = False
    read_power_on: int | None = None
    read_communication_loss: int | None = None
