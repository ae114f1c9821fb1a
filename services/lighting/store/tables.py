"""Lighting's tables. Queries are beside it, one file per theme; the schema is made by ../migrations.

Rows are keyed by immutable uids; `id` is the last part of the name, unique among what is not deleted. A deleted row
stays, since history and savings refer to it. Instants of the domain are Unix milliseconds. The tables have a registry
of their own: other services have tables of the same names.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, SmallInteger, Text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from servicekit.columns import BigKey


class LightingTable(SQLModel, registry=registry()):
    """Base of lighting's tables."""


class Named(LightingTable):
    """What every resource has. `version` counts changes, for etags; `deleted_at_ms` 0 while it exists."""

    uid: str = Field(primary_key=True, max_length=32)
    municipality_uid: str = Field(max_length=32)
    id: str = Field(max_length=63)
    version: int = 1
    created_at_ms: int = Field(sa_type=BigInteger)
    deleted_at_ms: int = Field(default=0, sa_type=BigInteger)


class EndpointRow(LightingTable, table=True):
    """A field endpoint that lighting owns, as the registry told last."""

    __tablename__: ClassVar[str] = "endpoint"

    uid: str = Field(primary_key=True, max_length=32)
    municipality_uid: str = Field(max_length=32)
    id: str = Field(max_length=63)
    display_name: str = ""
    url: str = Field(sa_type=Text)
    profile: str
    state: int
    deleted_at_ms: int = Field(default=0, sa_type=BigInteger)
    round_trip_ms: int = 0
    monthly_bytes: int = Field(default=0, sa_type=BigInteger)


class CabinetRow(Named, table=True):
    """A cabinet. `controller_uid` is an endpoint; position None for unknown."""

    __tablename__: ClassVar[str] = "cabinet"

    display_name: str = ""
    street: str = ""
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    controller_uid: str | None = None
    switching_owner: int = 1
    foreign_loads: list[list[Any]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    """Each [what, W, first month, last month], and local times of on and off where it has hours."""
    inrush_step_ms: int | None = None


class FeederRow(Named, table=True):
    """A circuit."""

    __tablename__: ClassVar[str] = "feeder"

    cabinet_uid: str = Field(sa_column_args=(ForeignKey("cabinet.uid"),))
    channel: int = 0
    phase: int = 0
    supply: int
    reduction: int = 0
    reduced_from: str = ""
    reduced_until: str = ""
    reduced_power_permille: int = 0
    inrush_step_ms: int | None = None


class GatewayRow(Named, table=True):
    """A gateway. `gear_groups` is a list of [number, [address, ...]]."""

    __tablename__: ClassVar[str] = "gateway"

    cabinet_uid: str = Field(sa_column_args=(ForeignKey("cabinet.uid"),))
    endpoint_uid: str
    gear_groups: list[list[Any]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))


class LuminaireModelRow(Named, table=True):
    """A product. `curve` is a list of [level, power] in per mille."""

    __tablename__: ClassVar[str] = "luminaire_model"

    display_name: str = ""
    rated_power_w: float
    standby_power_w: float = 0.0
    luminous_flux_lm: int = 0
    colour_temperature_k: int = 0
    curve: list[list[int]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    clo: list[list[int]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    """Each [burning hours, output in per mille]."""
    clo_by: int = 0
    least_level_permille: int = 0
    stored_profile: list[list[int]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    """Each [begin, end, level]: seconds around the middle of the lit time, per mille."""


class GroupRow(Named, table=True):
    """A plan group. The table's name is not "group", which is a word of SQL. `rule` is None for none; else a document
    (api/convert_rules.py, grouping.py)."""

    __tablename__: ClassVar[str] = "plan_group"

    display_name: str = ""
    rule: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True), nullable=True))


class LuminaireRow(Named, table=True):
    """A luminaire. References are uids, None for unknown; floor 0 for unknown."""

    __tablename__: ClassVar[str] = "luminaire"

    pole: str = ""
    street: str = ""
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    model_uid: str | None = Field(default=None, sa_column_args=(ForeignKey("luminaire_model.uid"),))
    feeder_uid: str | None = Field(default=None, sa_column_args=(ForeignKey("feeder.uid"),))
    gateway_uid: str | None = Field(default=None, sa_column_args=(ForeignKey("gateway.uid"),))
    gateway_address: int = 0
    group_uid: str = Field(sa_column_args=(ForeignKey("plan_group.uid"),))
    group_given: bool = False
    """False where its group follows from the rules of groups."""
    lighting_class: str = ""
    floor_permille: int = 0
    conflict_area: bool = False
    installed_on: str = ""
    """ISO date; empty for unknown."""
    installed_power_w: float = 0.0
    previous_known: bool = False
    previous_lamp_power_w: float = 0.0
    previous_ballast_power_w: float = 0.0
    previous_half_night: bool = False
    lamp_technology: str = ""
    reduction: int = 0
    virtual_output_permille: int = 0
    initial_burning_hours: int = 0


class InventoryVersionRow(LightingTable, table=True):
    """What a resource of the inventory held from an instant on, and who changed it so (store/versions.py)."""

    __tablename__: ClassVar[str] = "inventory_version"

    uid: str = Field(primary_key=True, max_length=32)
    version: int = Field(primary_key=True)
    kind: str = Field(max_length=32)
    """The table of the resource."""
    municipality_uid: str = Field(max_length=32)
    id: str = Field(max_length=63)
    from_ms: int = Field(sa_type=BigInteger)
    deleted: bool = False
    actor: str = ""
    request_id: str = ""
    reason: str = Field(default="", sa_type=Text)
    state: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


class OverrideRow(LightingTable, table=True):
    """A command of a person. `targets` are resource names as given; override_target holds their uids."""

    __tablename__: ClassVar[str] = "override"

    uid: str = Field(primary_key=True, max_length=32)
    municipality_uid: str = Field(max_length=32)
    id: str = Field(max_length=63)
    level_permille: int
    priority: int
    start_ms: int = Field(sa_type=BigInteger)
    expire_ms: int = Field(sa_type=BigInteger)
    issued_at_ms: int = Field(sa_type=BigInteger)
    released_at_ms: int = Field(default=0, sa_type=BigInteger)
    reason: str = Field(sa_type=Text)
    author: str


class OverrideTargetRow(LightingTable, table=True):
    """What an override holds for: the uid of a luminaire, group, feeder, cabinet or municipality."""

    __tablename__: ClassVar[str] = "override_target"

    override_uid: str = Field(primary_key=True, sa_column_args=(ForeignKey("override.uid"),))
    position: int = Field(primary_key=True)
    target_uid: str
    target_name: str


class LockoutRow(LightingTable, table=True):
    """A lock-out of a feeder; holds while `released_at_ms` is 0."""

    __tablename__: ClassVar[str] = "lockout"

    uid: str = Field(primary_key=True, max_length=32)
    municipality_uid: str = Field(max_length=32)
    id: str = Field(max_length=63)
    feeder_uid: str = Field(sa_column_args=(ForeignKey("feeder.uid"),))
    reason: str = Field(sa_type=Text)
    owner: str
    created_at_ms: int = Field(sa_type=BigInteger)
    released_at_ms: int = Field(default=0, sa_type=BigInteger)


class WaiverRow(LightingTable, table=True):
    """A council's decision that lowers floors. `decided_on` is an ISO date."""

    __tablename__: ClassVar[str] = "waiver"

    uid: str = Field(primary_key=True, max_length=32)
    municipality_uid: str = Field(max_length=32)
    id: str = Field(max_length=63)
    floor_permille: int
    decision_reference: str = Field(sa_type=Text)
    decided_on: str
    start_ms: int = Field(sa_type=BigInteger)
    review_ms: int = Field(sa_type=BigInteger)
    sign_at_pole: bool = False
    reason: str = Field(sa_type=Text)
    author: str
    created_at_ms: int = Field(sa_type=BigInteger)
    released_at_ms: int = Field(default=0, sa_type=BigInteger)


class WaiverTargetRow(LightingTable, table=True):
    """What a waiver is for: the uid of a luminaire, group, feeder, cabinet or municipality."""

    __tablename__: ClassVar[str] = "waiver_target"

    waiver_uid: str = Field(primary_key=True, sa_column_args=(ForeignKey("waiver.uid"),))
    position: int = Field(primary_key=True)
    target_uid: str
    target_name: str


class SensorRow(Named, table=True):
    """A sensor. `endpoint_uid` None where its values are sent to us; `group_uids` empty for all groups."""

    __tablename__: ClassVar[str] = "sensor"

    display_name: str = ""
    kind: int
    group_uids: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    endpoint_uid: str | None = None
    point: str = ""
    max_age_s: int


class SensorValueRow(LightingTable, table=True):
    """What a sensor said last, in thousandths of its kind's unit."""

    __tablename__: ClassVar[str] = "sensor_value"

    sensor_uid: str = Field(primary_key=True, max_length=32, sa_column_args=(ForeignKey("sensor.uid"),))
    value_milli: int = Field(sa_type=BigInteger)
    at_ms: int = Field(sa_type=BigInteger)


class PlanRow(LightingTable, table=True):
    """The plan of a group; instants, levels and ramps are lists, rules are documents (domain.plan_rule)."""

    __tablename__: ClassVar[str] = "plan"

    group_uid: str = Field(primary_key=True, sa_column_args=(ForeignKey("plan_group.uid"),))
    municipality_uid: str
    valid_from_ms: int = Field(sa_type=BigInteger)
    valid_until_ms: int = Field(sa_type=BigInteger)
    instants_ms: list[int] = Field(sa_column=Column(JSON, nullable=False))
    levels_permille: list[int] = Field(sa_column=Column(JSON, nullable=False))
    ramps_s: list[int] = Field(sa_column=Column(JSON, nullable=False))
    rules: list[dict[str, int | str]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    hash: str
    origin: str = ""
    put_at_ms: int = Field(sa_type=BigInteger)


class RevisionRow(LightingTable, table=True):
    """How often something changed, by theme ("inventory", "orders"): replicas and the worker notice by it."""

    __tablename__: ClassVar[str] = "revision"

    theme: str = Field(primary_key=True)
    number: int = Field(sa_type=BigInteger)


class LevelSeriesRow(LightingTable, table=True):
    """A short number for a luminaire's uid, so that its history is small."""

    __tablename__: ClassVar[str] = "level_series"

    number: int | None = Field(default=None, sa_column=Column(BigKey, primary_key=True, autoincrement=True))
    luminaire_uid: str = Field(max_length=32, unique=True)


class LevelChangeRow(LightingTable, table=True):
    """From this instant on this level in per mille; -1 for unknown."""

    __tablename__: ClassVar[str] = "level_change"

    series: int = Field(primary_key=True, sa_type=BigInteger)
    at_ms: int = Field(primary_key=True, sa_type=BigInteger)
    level_permille: int = Field(sa_type=SmallInteger)
    powered: bool


class ObservedRow(LightingTable, table=True):
    """Until when levels were last watched, so that a gap between two runs can be told. One row."""

    __tablename__: ClassVar[str] = "observed"

    id: int = Field(primary_key=True, default=1)
    until_ms: int = Field(sa_type=BigInteger)


class FaultRow(LightingTable, table=True):
    """A fault. What it is on is kept as it stood in the inventory: street, pole, position, cabinet. 0 for not yet."""

    __tablename__: ClassVar[str] = "fault"

    uid: str = Field(primary_key=True, max_length=32)
    municipality_uid: str = Field(max_length=32)
    id: str = Field(max_length=63)
    kind: int = Field(sa_type=SmallInteger)
    subject_kind: int = Field(sa_type=SmallInteger)
    subject_uid: str = Field(max_length=32)
    cabinet_uid: str | None = Field(default=None, max_length=32)
    street: str = ""
    pole: str = ""
    route: str = Field(max_length=300)
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    raised_ms: int = Field(sa_type=BigInteger)
    last_seen_ms: int = Field(sa_type=BigInteger)
    cleared_ms: int = Field(default=0, sa_type=BigInteger)
    end_reason: int = Field(default=0, sa_type=SmallInteger)
    measured: float | None = None
    expected: float | None = None
    by_hand: bool = False
    report: str = Field(default="", sa_type=Text)
    reported_by: str = ""
    acknowledged_ms: int = Field(default=0, sa_type=BigInteger)
    acknowledged_by: str = ""
    note: str = Field(default="", sa_type=Text)
