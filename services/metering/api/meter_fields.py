"""What a client sets of a meter: from the message, into the row, and how an update changes only what its mask names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from sqlmodel import Session

from domain.errors import InvalidInput, Violation
from domain.names import ResourceName
from lichtbuch.metering.v1 import metering_pb2 as pb
from services.metering.meter import DEFAULT_POINT, Kind
from services.metering.meter_rules import MeterFacts, check
from services.metering.store import meters as store
from services.metering.store.relations import Related, rows_by_uid
from services.metering.store.tables import MeterRow

SETTABLE: Final = (
    "display_name",
    "medium",
    "unit",
    "cabinet",
    "building",
    "endpoint",
    "point",
    "serial_number",
    "rollover",
    "transformer_ratio",
    "connected_load_w",
    "kind",
    "obis_code",
    "scale_exponent",
    "reading_cycle",
    "flow",
    "device",
    "main_meter",
    "loss_tolerance_permille",
    "purpose",
    "market_location",
    "metering_location",
    "metering_operator",
    "floor_area_m2",
    "max_flow_per_h",
    "gas_factors",
    "terms",
    "avoidable_price_micro_eur",
    "acquisition",
    "rests_on_weekends",
)
_COLUMNS: Final = {
    "cabinet": ("cabinet_id",),
    "endpoint": ("endpoint_uid", "endpoint_id"),
    "device": ("device_uid",),
    "main_meter": ("main_meter_uid",),
}
"""Columns of a field, where they have other names."""
_HOUSING: Final = ("endpoint", "serial_number", "transformer_ratio")
"""What a register has from its housing."""
DEFAULT_TOLERANCE: Final = 30


@dataclass(frozen=True, slots=True)
class MeterFields:
    """The columns that a client sets, in metering's own terms."""

    display_name: str
    medium: int
    unit: int
    cabinet_id: str
    building: str
    endpoint_uid: str
    endpoint_id: str
    point: str
    serial_number: str
    rollover: int
    transformer_ratio: int
    connected_load_w: int
    kind: int
    obis_code: str
    scale_exponent: int
    reading_cycle: int
    flow: int
    device_uid: str
    main_meter_uid: str
    loss_tolerance_permille: int
    purpose: int
    market_location: str
    metering_location: str
    metering_operator: str
    floor_area_m2: int
    max_flow_per_h: int
    gas_factors: str
    terms: str
    avoidable_price_micro_eur: int
    acquisition: int
    rests_on_weekends: bool

    def values(self) -> dict[str, Any]:
        """By column."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def put(self, row: MeterRow) -> None:
        """Sets them on a row."""
        for name, value in self.values().items():
            setattr(row, name, value)

    def checked(self, related: Related, counted_in: frozenset[int] = frozenset()) -> MeterFields:
        """The same with codes and ids as they are stored. Raises InvalidInput for what does not go together."""
        facts = MeterFacts(
            medium=self.medium,
            unit=self.unit,
            endpoint=self.endpoint_id,
            cabinet=self.cabinet_id,
            building=self.building,
            point=self.point,
            rollover=self.rollover,
            transformer_ratio=self.transformer_ratio,
            kind=self.kind,
            reading_cycle=self.reading_cycle,
            flow=self.flow,
            purpose=self.purpose,
            acquisition=self.acquisition,
            obis_code=self.obis_code,
            market_location=self.market_location,
            metering_location=self.metering_location,
            serial_number=self.serial_number,
            has_device=related.device is not None,
            gas_factors=[(str(day), int(value), int(state)) for day, value, state in json.loads(self.gas_factors)],
            terms=[(related.terms[uid].meter_id, sign) for uid, sign in json.loads(self.terms)],
            counted_in=counted_in,
        )
        normal = check(facts)
        return replace(
            self,
            obis_code=normal.obis_code,
            market_location=normal.market_location,
            metering_location=normal.metering_location,
        )


def fields_of(given: pb.Meter, endpoint: tuple[str, str] = ("", "")) -> MeterFields:
    """The columns of a message; `endpoint` is uid and id. Meters that it names are still to be found: `resolve`."""
    cabinet = (
        ResourceName.parse(given.cabinet, field="meter.cabinet", collection="cabinets").id if given.cabinet else ""
    )
    factors = [[one.valid_from, one.calorific_value_wh_per_m3, one.state_number_e4] for one in given.gas_factors]
    return MeterFields(
        display_name=given.display_name,
        medium=int(given.medium),
        unit=int(given.unit),
        cabinet_id=cabinet,
        building=given.building,
        endpoint_uid=endpoint[0],
        endpoint_id=endpoint[1],
        point=given.point or DEFAULT_POINT,
        serial_number=given.serial_number.strip(),
        rollover=given.rollover,
        transformer_ratio=given.transformer_ratio or 1,
        connected_load_w=given.connected_load_w,
        kind=int(given.kind) or int(Kind.COUNTER),
        obis_code=given.obis_code.strip(),
        scale_exponent=given.scale_exponent,
        reading_cycle=int(given.reading_cycle),
        flow=int(given.flow),
        device_uid="",
        main_meter_uid="",
        loss_tolerance_permille=given.loss_tolerance_permille or DEFAULT_TOLERANCE,
        purpose=int(given.purpose),
        market_location=given.market_location.strip(),
        metering_location=given.metering_location.strip(),
        metering_operator=given.metering_operator.strip(),
        floor_area_m2=given.floor_area_m2,
        max_flow_per_h=given.max_flow_per_h,
        gas_factors=json.dumps(factors),
        terms="[]",
        avoidable_price_micro_eur=given.avoidable_price_micro_eur,
        acquisition=int(given.acquisition),
        rests_on_weekends=given.rests_on_weekends,
    )


def resolve(session: Session, municipality_uid: str, given: pb.Meter, found: MeterFields) -> MeterFields:
    """The fields with the meters that the message names. Raises InvalidInput for one that does not exist."""
    named = [("meter.device", given.device), ("meter.main_meter", given.main_meter)]
    named += [(f"meter.terms[{number}].meter", term.meter) for number, term in enumerate(given.terms)]
    ids = {where: ResourceName.parse(name, field=where, collection="meters").id for where, name in named if name}
    if not ids:
        return found
    rows = store.rows_by_id(session, municipality_uid, list(dict.fromkeys(ids.values())))
    wrong = [Violation(where, f"there is no meter {one}") for where, one in ids.items() if one not in rows]
    if wrong:
        raise InvalidInput(violations=wrong)
    uids = {where: rows[one].uid for where, one in ids.items()}
    terms = [
        [uids[f"meter.terms[{number}].meter"], -1 if term.is_subtracted else 1]
        for number, term in enumerate(given.terms)
    ]
    return replace(
        found,
        device_uid=uids.get("meter.device", ""),
        main_meter_uid=uids.get("meter.main_meter", ""),
        terms=json.dumps(terms),
    )


def merged(row: MeterRow, given: MeterFields, paths: Sequence[str]) -> MeterFields:
    """The row's fields with those of the mask from what was given."""
    values = {one.name: getattr(row, one.name) for one in fields(given)}
    for path in paths:
        values.update({name: getattr(given, name) for name in _COLUMNS.get(path, (path,))})
    return replace(given, **values)


def related_of(session: Session, found: MeterFields) -> Related:
    """The meters that these fields name."""
    terms = [str(uid) for uid, _ in json.loads(found.terms)]
    rows = rows_by_uid(session, [found.device_uid, found.main_meter_uid, *terms])
    return Related(rows.get(found.device_uid), rows.get(found.main_meter_uid), {uid: rows[uid] for uid in terms})


def in_housing(given: pb.Meter, found: MeterFields, device: MeterRow | None, paths: Sequence[str]) -> MeterFields:
    """A register's fields with those of its housing. Raises InvalidInput where the message sets one of them otherwise.

    The housing's own values may be said again: whoever sends back what he was answered changes nothing.
    """
    if device is None:
        return found
    endpoint = ResourceName.parse(given.endpoint, field="meter.endpoint").id if given.endpoint else ""
    said = {
        "endpoint": not endpoint or endpoint == device.endpoint_id,
        "serial_number": given.serial_number.strip() in ("", device.serial_number),
        "transformer_ratio": given.transformer_ratio in (0, 1, device.transformer_ratio),
    }
    wrong = [
        Violation(f"meter.{name}", f"that of its housing {device.meter_id} counts: leave it empty")
        for name in _HOUSING
        if name in paths and not said[name]
    ]
    if wrong:
        raise InvalidInput(violations=wrong)
    return replace(
        found,
        endpoint_uid=device.endpoint_uid,
        endpoint_id=device.endpoint_id,
        transformer_ratio=device.transformer_ratio,
        serial_number="",
    )
