"""The registry's tables. SQLModel does not validate rows: what gets here has been checked by the domain modules."""

from datetime import datetime
from typing import Final

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, ForeignKeyConstraint, String, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from servicekit.columns import UtcDateTime

MAX_BUS: Final = 600


def identifier(length: int) -> String:
    """Text that is compared byte by byte on both databases, so that pages are in the same order everywhere."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


class RegistryTable(SQLModel, registry=registry()):
    """Base of the registry's tables: their names are its own affair, whatever other services call theirs."""


class MunicipalityRow(RegistryTable, table=True):
    """A municipality."""

    __tablename__ = "municipality"

    uid: str = Field(primary_key=True)
    id: str = Field(sa_column=Column(identifier(63), unique=True, nullable=False))
    display_name: str
    time_zone: str
    latitude_deg: float
    longitude_deg: float
    synthetic: bool
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    version: int


class UnionRow(RegistryTable, table=True):
    """A union. Not named "union": that is a word of SQL."""

    __tablename__ = "municipal_union"

    uid: str = Field(primary_key=True)
    id: str = Field(sa_column=Column(identifier(63), unique=True, nullable=False))
    display_name: str
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class UnionMemberRow(RegistryTable, table=True):
    """A municipality in a union."""

    __tablename__ = "union_member"

    union_uid: str = Field(sa_column=Column(ForeignKey("municipal_union.uid"), primary_key=True))
    municipality_uid: str = Field(sa_column=Column(ForeignKey("municipality.uid"), primary_key=True))


class RoleBindingRow(RegistryTable, table=True):
    """A role of a person. `municipality_uid` None means every municipality."""

    __tablename__ = "role_binding"

    uid: str = Field(primary_key=True)
    municipality_uid: str | None = Field(sa_column=Column(ForeignKey("municipality.uid"), nullable=True))
    subject: str
    role: str
    scopes: list[str] = Field(sa_column=Column(JSON, nullable=False))
    expires_at: datetime | None = Field(sa_column=Column(UtcDateTime, nullable=True))
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class FieldBusRow(RegistryTable, table=True):
    """Who owns what can be connected to. Endpoints refer to bus and owner together: the database itself keeps a bus
    from having two owners, whatever two transactions do at once.
    """

    __tablename__ = "field_bus"
    __table_args__ = (UniqueConstraint("bus", "owner"),)

    bus: str = Field(sa_column=Column(identifier(MAX_BUS), primary_key=True))
    owner: str


class EndpointRow(RegistryTable, table=True):
    """A field endpoint."""

    __tablename__ = "endpoint"
    __table_args__ = (
        UniqueConstraint("municipality_uid", "id", name="endpoint_id"),
        UniqueConstraint("bus", "station", name="endpoint_station"),
        ForeignKeyConstraint(["bus", "owner"], ["field_bus.bus", "field_bus.owner"], name="endpoint_bus"),
    )

    uid: str = Field(primary_key=True)
    municipality_uid: str = Field(sa_column=Column(ForeignKey("municipality.uid"), nullable=False))
    id: str = Field(sa_column=Column(identifier(63), nullable=False))
    display_name: str
    url: str
    bus: str = Field(sa_column=Column(identifier(MAX_BUS), nullable=False))
    station: str
    profile: str
    owner: str
    state: str
    released_by: str
    released_at: datetime | None = Field(sa_column=Column(UtcDateTime, nullable=True))
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    version: int
    round_trip_ms: int = 0
    monthly_bytes: int = Field(default=0, sa_type=BigInteger)
