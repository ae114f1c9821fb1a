"""The tables. Readings are a plain table without a class: they move in columns, never as objects one by one.

Keys: whatever the outside names has a uid; readings carry the small integer key of their register life instead, as
there are millions of them. Rows of readings are never updated, and deleted by retention alone. Roll-ups and runs, which
are made of readings, have no class either: rollups.py and runs.py know their columns.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Column, MetaData, SmallInteger, Table
from sqlmodel import Field, SQLModel

from servicekit.columns import BigKey, UtcDateTime


class MeterRow(SQLModel, table=True):
    """A meter. Deleted ones stay, without their name. `revision` counts changes."""

    __tablename__ = "meter"

    uid: str = Field(primary_key=True)
    municipality_uid: str
    meter_id: str
    display_name: str
    medium: int
    unit: int
    cabinet_id: str
    building: str
    endpoint_uid: str
    endpoint_id: str
    point: str
    serial_number: str
    rollover: int = Field(sa_column=Column(BigInteger, nullable=False))
    transformer_ratio: int
    connected_load_w: int = Field(sa_column=Column(BigInteger, nullable=False))
    revision: int
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    deleted_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime, nullable=True))
    kind: int = 1
    obis_code: str = ""
    scale_exponent: int = 0
    reading_cycle: int = 0
    flow: int = 0
    device_uid: str = ""
    """Meter in whose housing this register sits; empty for one of its own."""
    main_meter_uid: str = ""
    loss_tolerance_permille: int = 30
    purpose: int = 0
    market_location: str = ""
    metering_location: str = ""
    metering_operator: str = ""
    floor_area_m2: int = 0
    max_flow_per_h: int = Field(default=0, sa_type=BigInteger)
    gas_factors: str = "[]"
    """JSON: [valid_from as "2026-10-01", calorific value in Wh per m3, state number in ten-thousandths] each."""
    terms: str = "[]"
    """JSON: [uid of the meter, 1 or -1] each."""
    avoidable_price_micro_eur: int = Field(default=0, sa_type=BigInteger)
    acquisition: int = 0
    rests_on_weekends: bool = False


class RegisterLifeRow(SQLModel, table=True):
    """A register from installation to removal; see life.RegisterLife."""

    __tablename__ = "register_life"

    key: int | None = Field(default=None, sa_column=Column(BigKey, primary_key=True, autoincrement=True))
    uid: str = Field(unique=True)
    meter_uid: str = Field(foreign_key="meter.uid")
    serial_number: str
    installed_ms: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    removed_ms: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    first_reading: int = Field(sa_column=Column(BigInteger, nullable=False))
    final_reading: int = Field(sa_column=Column(BigInteger, nullable=False))
    origin: str
    ended_by: str
    rollover: int = Field(sa_column=Column(BigInteger, nullable=False))
    transformer_ratio: int
    obis_code: str = ""
    unit: int
    scale_exponent: int = 0


class RegisterHeadRow(SQLModel, table=True):
    """The newest of each register, kept with every write so that nobody has to search for it. Slots are 0 for none."""

    __tablename__ = "register_head"

    life_key: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    latest_slot_ms: int = Field(sa_column=Column(BigInteger, nullable=False))
    """Slot of the newest reading that is no gap."""
    latest_value: int = Field(sa_column=Column(BigInteger, nullable=False))
    polled_slot_ms: int = Field(sa_column=Column(BigInteger, nullable=False))
    """Newest slot that polling has dealt with: read, or flagged as a gap."""


class BatchRow(SQLModel, table=True):
    """Readings that were stored together: where they came from, who brought them, and their place in the feed."""

    __tablename__ = "reading_batch"

    id: int | None = Field(default=None, sa_column=Column(BigKey, primary_key=True, autoincrement=True))
    source: str
    actor: str
    stored_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    first_slot_ms: int = Field(sa_column=Column(BigInteger, nullable=False))
    last_slot_ms: int = Field(sa_column=Column(BigInteger, nullable=False))
    readings: int = Field(sa_column=Column(BigInteger, nullable=False))
    feed_sequence: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True, unique=True))
    """Place in the feed: without holes and in the order of commits. None only inside the transaction that stores it."""
    reason: str = ""


class FeedRow(SQLModel, table=True):
    """Counter of the feed. Whoever stores readings holds the row from insert to commit, and takes a number last."""

    __tablename__ = "reading_feed"

    name: str = Field(primary_key=True)
    sequence: int = Field(sa_column=Column(BigInteger, nullable=False))


class EndpointRow(SQLModel, table=True):
    """Copy of a field endpoint that metering owns; the registry has the original."""

    __tablename__ = "endpoint_replica"

    uid: str = Field(primary_key=True)
    municipality_uid: str
    endpoint_id: str
    url: str
    profile: str
    state: int
    etag: str
    seen_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    round_trip_ms: int = 0
    monthly_bytes: int = Field(default=0, sa_type=BigInteger)


class DeliveryRow(SQLModel, table=True):
    """A delivery into the store that a meter stands for. Withdrawn ones stay, marked."""

    __tablename__ = "delivery"

    uid: str = Field(primary_key=True)
    meter_uid: str = Field(foreign_key="meter.uid")
    delivery_id: str
    delivered_ms: int = Field(sa_column=Column(BigInteger, nullable=False))
    amount: int = Field(sa_column=Column(BigInteger, nullable=False))
    cost_cents: int = Field(sa_column=Column(BigInteger, nullable=False))
    document: str
    recorded_by: str
    recorded_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    withdrawn_by: str = ""
    withdrawn_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime, nullable=True))
    withdrawal_reason: str = ""


class WeatherDayRow(SQLModel, table=True):
    """Mean temperature of a local day at a station. A correction is a further revision; the highest one counts."""

    __tablename__ = "weather_day"

    municipality_uid: str = Field(primary_key=True)
    station: str = Field(primary_key=True)
    day: int = Field(primary_key=True)
    """Days since 1970-01-01."""
    revision: int = Field(primary_key=True)
    mean_centidegrees: int
    source: str
    actor: str
    stored_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class FindingRow(SQLModel, table=True):
    """What the watch over waste has found at a meter. `revision` counts changes."""

    __tablename__ = "finding"

    uid: str = Field(primary_key=True)
    municipality_uid: str
    meter_uid: str = Field(foreign_key="meter.uid")
    rule: str
    start_ms: int = Field(sa_column=Column(BigInteger, nullable=False))
    end_ms: int = Field(sa_column=Column(BigInteger, nullable=False))
    excess_amount: int = Field(sa_column=Column(BigInteger, nullable=False))
    cost_cents: int = Field(sa_column=Column(BigInteger, nullable=False))
    detail: str
    state: int
    acknowledged_by: str = ""
    note: str = ""
    coverage_permille: int
    raised_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    closed_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime, nullable=True))
    revision: int = 1


READING_COLUMNS: Final = (
    "life_key",
    "slot_ms",
    "value",
    "observed_ms",
    "batch_id",
    "revision",
    "status",
    "time_source",
)
"""In the order of the table: what takes eight bytes first."""

READING: Final = Table(
    "reading",
    MetaData(),
    Column("life_key", BigInteger, primary_key=True),
    Column("slot_ms", BigInteger, primary_key=True),
    Column("value", BigInteger, nullable=False),
    Column("observed_ms", BigInteger, nullable=False),
    Column("batch_id", BigInteger, nullable=False),
    Column("revision", SmallInteger, primary_key=True),
    Column("status", SmallInteger, nullable=False),
    Column("time_source", SmallInteger, nullable=False),
)
