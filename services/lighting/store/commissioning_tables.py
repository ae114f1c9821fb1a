"""Tables of commissioning: which luminaires blink. The schema is made by migration 0006."""

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
