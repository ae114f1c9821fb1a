"""Between the contract's messages and metering's own shapes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from domain.errors import InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.convert import etag_of, optional_timestamp_to_proto, timestamp_from_proto, timestamp_to_proto
from services.metering.api.calls import meter_name
from services.metering.batch import Brought
from services.metering.life import Origin, RegisterLife, installation_of
from services.metering.meter import Kind
from services.metering.reading import Int64, Readings, column
from services.metering.slot import from_ms, to_ms
from services.metering.store.meters import StoredMeter
from services.metering.store.relations import terms_of


def meter_to_proto(tenant_id: str, meter: StoredMeter) -> pb.Meter:
    """A meter with its lives and its newest reading."""
    row, latest, town = meter.row, meter.latest, f"municipalities/{tenant_id}"
    hung = installation_of(meter.lives[0])
    return pb.Meter(
        name=meter_name(tenant_id, row),
        uid=row.uid,
        display_name=row.display_name,
        medium=row.medium,  # type: ignore[arg-type]  # stored as the contract numbers it
        unit=row.unit,  # type: ignore[arg-type]
        cabinet=f"{town}/cabinets/{row.cabinet_id}" if row.cabinet_id else "",
        building=row.building,
        endpoint=f"{town}/endpoints/{row.endpoint_id}" if row.endpoint_id else "",
        point=row.point,
        serial_number=meter.serial_number,
        rollover=row.rollover,
        transformer_ratio=row.transformer_ratio,
        connected_load_w=row.connected_load_w,
        lives=[life_to_proto(life) for life in meter.lives],
        etag=etag(meter),
        latest_value=latest.latest_value if latest else 0,
        latest_slot=optional_timestamp_to_proto(from_ms(latest.latest_slot_ms) if latest else None),
        kind=row.kind,  # type: ignore[arg-type]
        obis_code=row.obis_code,
        scale_exponent=row.scale_exponent,
        reading_cycle=row.reading_cycle,  # type: ignore[arg-type]
        flow=row.flow,  # type: ignore[arg-type]
        device=f"{town}/meters/{meter.named[row.device_uid]}" if row.device_uid else "",
        main_meter=f"{town}/meters/{meter.named[row.main_meter_uid]}" if row.main_meter_uid else "",
        loss_tolerance_permille=row.loss_tolerance_permille,
        purpose=row.purpose,  # type: ignore[arg-type]
        market_location=row.market_location,
        metering_location=row.metering_location,
        metering_operator=row.metering_operator,
        floor_area_m2=row.floor_area_m2,
        max_flow_per_h=row.max_flow_per_h,
        gas_factors=[
            pb.GasFactor(valid_from=day, calorific_value_wh_per_m3=calorific, state_number_e4=state)
            for day, calorific, state in json.loads(row.gas_factors)
        ],
        terms=[
            pb.MeterTerm(meter=f"{town}/meters/{meter.named[uid]}", is_subtracted=sign < 0)
            for uid, sign in terms_of(row)
        ],
        avoidable_price_micro_eur=row.avoidable_price_micro_eur,
        acquisition=row.acquisition,  # type: ignore[arg-type]
        rests_on_weekends=row.rests_on_weekends,
        installed_at=optional_timestamp_to_proto(from_ms(hung.at_ms) if hung else None),
        first_reading=hung.first_reading if hung and row.kind == Kind.COUNTER else None,
    )


def etag(meter: StoredMeter) -> str:
    """Version of what a client may set."""
    return etag_of(meter.row.uid, meter.row.revision)


def life_to_proto(life: RegisterLife) -> pb.RegisterLife:
    """A register's life; instants that nobody knows stay unset."""
    return pb.RegisterLife(
        uid=life.uid,
        serial_number=life.serial_number,
        installed_at=None if life.installed_ms is None else timestamp_to_proto(from_ms(life.installed_ms)),
        removed_at=None if life.removed_ms is None else timestamp_to_proto(from_ms(life.removed_ms)),
        first_reading=life.first_reading,
        final_reading=life.final_reading,
        obis_code=life.obis_code,
        unit=life.unit,  # type: ignore[arg-type]
        scale_exponent=life.scale_exponent,
        transformer_ratio=life.transformer_ratio,
        rollover=life.rollover,
        ended_by_reset=life.ended_by is Origin.RESET,
    )


def brought_from_proto(columns: pb.ReadingColumns) -> Brought:
    """Columns of a request. Raises InvalidInput for columns of different lengths."""
    count = len(columns.slots_unix_ms)
    needed: dict[str, Sequence[int]] = {"meter_indexes": columns.meter_indexes, "values": columns.values}
    optional: dict[str, Sequence[int]] = {
        "statuses": columns.statuses,
        "observed_at_unix_ms": columns.observed_at_unix_ms,
        "time_sources": columns.time_sources,
    }
    for name, given in needed.items():
        if len(given) != count:
            raise InvalidInput.of(f"readings.{name}", f"{len(given)} elements where there are {count} slots")
    for name, given in optional.items():
        if len(given) not in (0, count):
            raise InvalidInput.of(f"readings.{name}", f"{len(given)} elements where there are {count} slots")
    return Brought(
        column(columns.meter_indexes),
        column(columns.slots_unix_ms),
        column(columns.values),
        _or_zeros(columns.statuses, count),
        _or_zeros(columns.observed_at_unix_ms, count),
        _or_zeros(columns.time_sources, count),
    )


def _or_zeros(values: Sequence[int], count: int) -> Int64:
    return column(values) if len(values) else np.zeros(count, np.int64)


def readings_to_proto(readings: Readings, names: Mapping[int, str]) -> pb.ReadingColumns:
    """Readings as columns; `names` gives the meter's name for each register."""
    registers, places = np.unique(readings.register, return_inverse=True)
    meters = [names[key] for key in registers.tolist()]
    # Two lives of a meter have one name: it stands in the list once.
    unique = list(dict.fromkeys(meters))
    index = {name: number for number, name in enumerate(unique)}
    numbers = np.array([index[name] for name in meters], np.int64)
    return pb.ReadingColumns(
        meters=unique,
        meter_indexes=numbers[places].tolist() if len(readings) else [],
        slots_unix_ms=readings.slot_ms.tolist(),
        values=readings.value.tolist(),
        statuses=readings.status.tolist(),
        observed_at_unix_ms=readings.observed_ms.tolist(),
        time_sources=readings.time_source.tolist(),
        revisions=readings.revision.tolist(),
    )


def period_from_proto(
    request: pb.ListReadingsRequest
    | pb.ExportReadingsRequest
    | pb.EstimateReadingsRequest
    | pb.ValidateReadingsRequest,
) -> tuple[int, int]:
    """Start and end of a period, Unix ms. Raises InvalidInput for an empty one."""
    start = to_ms(timestamp_from_proto(request.start_time, "start_time"))
    end = to_ms(timestamp_from_proto(request.end_time, "end_time"))
    if end <= start:
        raise InvalidInput.of("end_time", "it does not lie after start_time")
    return start, end


def bounds_from_proto(request: pb.QueryConsumptionRequest) -> tuple[datetime, datetime]:
    """Start and end of a period. Raises InvalidInput."""
    return (
        timestamp_from_proto(request.start_time, "start_time"),
        timestamp_from_proto(request.end_time, "end_time"),
    )
