"""Between the contract's messages and lighting's rows. Nothing of the contract goes further in than this package."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from math import isnan
from typing import Any

from sqlmodel import Session

from domain.errors import InvalidInput
from domain.plan import from_unix_ms
from domain.priority import Priority
from lichtbuch.lighting.v1 import control_pb2, inventory_pb2
from lichtbuch.type.v1.types_pb2 import Position
from servicekit.context import Tenant
from servicekit.convert import date_from_proto, date_to_proto, etag_of, timestamp_to_proto
from services.lighting.api.convert_reduction import (
    foreign_loads_to_proto,
    foreign_loads_value,
    reduction_values,
    stored_profile_to_proto,
    stored_profile_value,
)
from services.lighting.api.convert_rules import rule_from_proto, rule_to_proto
from services.lighting.energy import drawn_by
from services.lighting.inventory import DEFAULT_GROUP, MIN_POWER_W, TOO_LITTLE
from services.lighting.places import swapped
from services.lighting.records import SwitchingOwner
from services.lighting.store.grouping import placed
from services.lighting.store.inventory import CABINETS, FEEDERS, GATEWAYS, GROUPS, LUMINAIRES, MODELS
from services.lighting.store.luminaires import GroupSummary, default_group
from services.lighting.store.names import ENDPOINTS, Names, endpoint_uid, uid_of
from services.lighting.store.tables import (
    CabinetRow,
    FeederRow,
    GatewayRow,
    GroupRow,
    LockoutRow,
    LuminaireModelRow,
    LuminaireRow,
    Named,
    OverrideRow,
    OverrideTargetRow,
)

Values = dict[str, Any]

_PRIORITIES = {
    control_pb2.OVERRIDE_PRIORITY_EMERGENCY: Priority.EMERGENCY,
    control_pb2.OVERRIDE_PRIORITY_MAINTENANCE: Priority.MAINTENANCE,
    control_pb2.OVERRIDE_PRIORITY_OPERATOR: Priority.OPERATOR,
    control_pb2.OVERRIDE_PRIORITY_UNSPECIFIED: Priority.OPERATOR,
}


def etag(row: Named) -> str:
    """Version of a row."""
    return etag_of(row.uid, row.version)


# --- cabinets, feeders, gateways ------------------------------------------------------------------------------------


def cabinet_to_proto(row: CabinetRow, tenant: Tenant, names: Names) -> inventory_pb2.Cabinet:
    """A cabinet."""
    return inventory_pb2.Cabinet(
        name=CABINETS.name(tenant.id, row.id),
        uid=row.uid,
        display_name=row.display_name,
        street=row.street,
        position=_position_to_proto(row.latitude_deg, row.longitude_deg),
        controller=names.of(ENDPOINTS, row.controller_uid),
        switching_owner=row.switching_owner,  # type: ignore[arg-type]  # the numbers are the contract's
        foreign_loads=foreign_loads_to_proto(row),
        inrush_step_ms=row.inrush_step_ms,
        etag=etag(row),
    )


def cabinet_values(session: Session, tenant: Tenant, cabinet: inventory_pb2.Cabinet, now_ms: int) -> Values:
    """Column values of a cabinet; who switches is Lichtbuch where there is a controller, unless it is said."""
    controller = _endpoint(session, tenant, cabinet.controller, "cabinet.controller")
    owner = cabinet.switching_owner or (SwitchingOwner.LICHTBUCH if controller else SwitchingOwner.ASTRO_CLOCK)
    if owner == SwitchingOwner.LICHTBUCH and controller is None:
        raise InvalidInput.of("cabinet.switching_owner", "Lichtbuch cannot switch a cabinet that has no controller")
    return {
        "display_name": cabinet.display_name,
        "street": cabinet.street,
        **_position_values(cabinet, "cabinet.position", tenant),
        "controller_uid": controller,
        "switching_owner": int(owner),
        "foreign_loads": foreign_loads_value(cabinet),
        "inrush_step_ms": cabinet.inrush_step_ms if cabinet.HasField("inrush_step_ms") else None,
    }


def feeder_to_proto(row: FeederRow, tenant: Tenant, names: Names) -> inventory_pb2.Feeder:
    """A feeder."""
    return inventory_pb2.Feeder(
        name=FEEDERS.name(tenant.id, row.id),
        uid=row.uid,
        cabinet=names.of("cabinets", row.cabinet_uid),
        channel=row.channel,
        phase=row.phase,
        supply=row.supply,  # type: ignore[arg-type]  # the numbers are the contract's
        reduction=row.reduction,  # type: ignore[arg-type]
        reduced_from=row.reduced_from,
        reduced_until=row.reduced_until,
        reduced_power_permille=row.reduced_power_permille,
        inrush_step_ms=row.inrush_step_ms,
        etag=etag(row),
    )


def feeder_values(session: Session, tenant: Tenant, feeder: inventory_pb2.Feeder, now_ms: int) -> Values:
    """Column values of a feeder."""
    return {
        "cabinet_uid": uid_of(session, tenant, "cabinets", feeder.cabinet, "feeder.cabinet"),
        "channel": feeder.channel,
        "phase": feeder.phase,
        "supply": int(feeder.supply),
        "reduction": int(feeder.reduction),
        **reduction_values(feeder),
        "inrush_step_ms": feeder.inrush_step_ms if feeder.HasField("inrush_step_ms") else None,
    }


def gateway_to_proto(row: GatewayRow, tenant: Tenant, names: Names) -> inventory_pb2.Gateway:
    """A gateway."""
    return inventory_pb2.Gateway(
        name=GATEWAYS.name(tenant.id, row.id),
        uid=row.uid,
        cabinet=names.of("cabinets", row.cabinet_uid),
        endpoint=names.of(ENDPOINTS, row.endpoint_uid),
        gear_groups=[inventory_pb2.GearGroup(number=n, addresses=addresses) for n, addresses in row.gear_groups],
        etag=etag(row),
    )


def gateway_values(session: Session, tenant: Tenant, gateway: inventory_pb2.Gateway, now_ms: int) -> Values:
    """Column values of a gateway."""
    groups = [(group.number, sorted(group.addresses)) for group in gateway.gear_groups]
    for place, (number, addresses) in enumerate(groups):
        field = f"gateway.gear_groups[{place}]"
        if any(number == other for other, _ in groups[:place]):
            raise InvalidInput.of(f"{field}.number", f"{number} is there twice")
        if len(set(addresses)) < len(addresses):
            raise InvalidInput.of(f"{field}.addresses", "one is there twice")
    return {
        "cabinet_uid": uid_of(session, tenant, "cabinets", gateway.cabinet, "gateway.cabinet"),
        "endpoint_uid": _endpoint(session, tenant, gateway.endpoint, "gateway.endpoint"),
        "gear_groups": [list(group) for group in sorted(groups)],
    }


# --- models, groups, luminaires -------------------------------------------------------------------------------------


def model_to_proto(row: LuminaireModelRow, tenant: Tenant, names: Names) -> inventory_pb2.LuminaireModel:
    """A luminaire model."""
    return inventory_pb2.LuminaireModel(
        name=MODELS.name(tenant.id, row.id),
        uid=row.uid,
        display_name=row.display_name,
        rated_power_w=row.rated_power_w,
        standby_power_w=row.standby_power_w,
        luminous_flux_lm=row.luminous_flux_lm,
        colour_temperature_k=row.colour_temperature_k,
        curve=[inventory_pb2.CurvePoint(level_permille=level, power_permille=power) for level, power in row.curve],
        clo=[inventory_pb2.CloPoint(burning_hours=hours, output_permille=output) for hours, output in row.clo],
        stored_profile=stored_profile_to_proto(row),
        clo_by=row.clo_by,  # type: ignore[arg-type]  # the numbers are the contract's
        least_level_permille=row.least_level_permille,
        etag=etag(row),
    )


def model_values(session: Session, tenant: Tenant, model: inventory_pb2.LuminaireModel, now_ms: int) -> Values:
    """Column values of a model. Raises InvalidInput for a curve that cannot be."""
    curve = [(point.level_permille, point.power_permille) for point in model.curve]
    try:
        drawn_by(
            rated_power_w=model.rated_power_w, standby_power_w=model.standby_power_w, curve=curve, installed_power_w=0.0
        )
    except InvalidInput as error:
        raise InvalidInput.of("luminaire_model.curve", error.violations[0].reason) from error
    return {
        "display_name": model.display_name,
        "rated_power_w": model.rated_power_w,
        "standby_power_w": model.standby_power_w,
        "luminous_flux_lm": model.luminous_flux_lm,
        "colour_temperature_k": model.colour_temperature_k,
        "curve": [list(point) for point in curve],
        "clo": _clo(model),
        "stored_profile": stored_profile_value(model),
        "clo_by": _clo_by(model),
        "least_level_permille": model.least_level_permille,
    }


def _clo(model: inventory_pb2.LuminaireModel) -> list[list[int]]:
    """Hours ascend, output does not fall: who drives harder as a light source ages never drives less again."""
    points = [[point.burning_hours, point.output_permille] for point in model.clo]
    for index, (before, after) in enumerate(pairwise(points), start=1):
        if after[0] <= before[0]:
            raise InvalidInput.of(
                f"luminaire_model.clo[{index}].burning_hours", f"{after[0]} h do not come after {before[0]} h"
            )
        if after[1] < before[1]:
            raise InvalidInput.of(
                f"luminaire_model.clo[{index}].output_permille", f"falls from {before[1]} to {after[1]} per mille"
            )
    return points


def _clo_by(model: inventory_pb2.LuminaireModel) -> int:
    """Lichtbuch keeps light constant by a curve only."""
    if model.clo_by == inventory_pb2.CLO_BY_LICHTBUCH and not model.clo:
        raise InvalidInput.of("luminaire_model.clo_by", "Lichtbuch needs a curve (clo) to keep light constant by")
    return int(model.clo_by)


def group_to_proto(
    row: GroupRow, tenant: Tenant, summary: GroupSummary, holding_floor_permille: int, names: Names
) -> inventory_pb2.Group:
    """A group with what its members amount to, and the largest floor that holds among them."""
    return inventory_pb2.Group(
        name=GROUPS.name(tenant.id, row.id),
        uid=row.uid,
        display_name=row.display_name,
        luminaire_count=summary.count,
        position=_position_to_proto(summary.latitude_deg, summary.longitude_deg),
        floor_permille=summary.floor_permille,
        has_conflict_area=summary.has_conflict_area,
        holding_floor_permille=holding_floor_permille,
        etag=etag(row),
        rule=rule_to_proto(row.rule, names) if row.rule is not None else None,
    )


def group_values(session: Session, tenant: Tenant, group: inventory_pb2.Group, now_ms: int) -> Values:
    """Column values of a group."""
    rule = rule_from_proto(session, tenant, group.rule) if group.HasField("rule") else None
    if rule is not None and group.name.endswith(f"/groups/{DEFAULT_GROUP}"):
        raise InvalidInput.of("group.rule", f'the group "{DEFAULT_GROUP}" takes what no rule takes; it has none itself')
    return {"display_name": group.display_name, "rule": rule}


def luminaire_to_proto(row: LuminaireRow, tenant: Tenant, names: Names, cabinet_uid: str) -> inventory_pb2.Luminaire:
    """A luminaire; `cabinet_uid` by way of its feeder, empty for none."""
    previous = None
    if row.previous_known:
        previous = inventory_pb2.PreviousOperation(
            lamp_power_w=row.previous_lamp_power_w,
            ballast_power_w=row.previous_ballast_power_w,
            half_night=row.previous_half_night,
        )
    return inventory_pb2.Luminaire(
        name=LUMINAIRES.name(tenant.id, row.id),
        uid=row.uid,
        pole=row.pole,
        street=row.street,
        position=_position_to_proto(row.latitude_deg, row.longitude_deg),
        model=names.of("luminaireModels", row.model_uid),
        feeder=names.of("feeders", row.feeder_uid),
        gateway=names.of("gateways", row.gateway_uid),
        gateway_address=row.gateway_address if row.gateway_uid else 0,
        group=names.of("groups", row.group_uid),
        lighting_class=row.lighting_class,
        floor_permille=row.floor_permille,
        conflict_area=row.conflict_area,
        installed_on=date_to_proto(date.fromisoformat(row.installed_on)) if row.installed_on else None,
        installed_power_w=row.installed_power_w,
        previous=previous,
        lamp_technology=row.lamp_technology,
        etag=etag(row),
        cabinet=names.of("cabinets", cabinet_uid),
        group_by_rule=not row.group_given,
        reduction=row.reduction,  # type: ignore[arg-type]  # the numbers are the contract's
        virtual_output_permille=row.virtual_output_permille,
        initial_burning_hours=row.initial_burning_hours,
    )


def luminaire_values(session: Session, tenant: Tenant, lamp: inventory_pb2.Luminaire, now_ms: int) -> Values:
    """Column values of a luminaire; without a group it is where the rules of groups want it, or in "default"."""
    installed = date_from_proto(lamp.installed_on, "luminaire.installed_on") if lamp.HasField("installed_on") else None
    group = uid_of(session, tenant, "groups", lamp.group, "luminaire.group")
    default = default_group(session, tenant, now_ms).uid
    gateway = uid_of(session, tenant, "gateways", lamp.gateway, "luminaire.gateway")
    for field, power_w in (
        ("installed_power_w", lamp.installed_power_w),
        ("previous.lamp_power_w", lamp.previous.lamp_power_w),
    ):
        if 0 < power_w < MIN_POWER_W:
            raise InvalidInput.of(f"luminaire.{field}", f"{power_w:g} {TOO_LITTLE}")
    values = {
        "pole": lamp.pole,
        "street": lamp.street,
        **_position_values(lamp, "luminaire.position", tenant),
        "model_uid": uid_of(session, tenant, "luminaireModels", lamp.model, "luminaire.model"),
        "feeder_uid": uid_of(session, tenant, "feeders", lamp.feeder, "luminaire.feeder"),
        "gateway_uid": gateway,
        "gateway_address": lamp.gateway_address if gateway else 0,
        "group_given": group is not None,
        "lighting_class": lamp.lighting_class,
        "floor_permille": lamp.floor_permille,
        "conflict_area": lamp.conflict_area,
        "installed_on": installed.isoformat() if installed else "",
        "installed_power_w": lamp.installed_power_w,
        "previous_known": lamp.HasField("previous"),
        "previous_lamp_power_w": lamp.previous.lamp_power_w,
        "previous_ballast_power_w": lamp.previous.ballast_power_w,
        "previous_half_night": lamp.previous.half_night,
        "lamp_technology": lamp.lamp_technology,
        "reduction": int(lamp.reduction),
        "virtual_output_permille": lamp.virtual_output_permille,
        "initial_burning_hours": lamp.initial_burning_hours,
    }
    return {**values, "group_uid": group or placed(session, tenant, default, values)}


# --- orders ---------------------------------------------------------------------------------------------------------


def priority_from_proto(priority: int) -> Priority:
    """A priority; the operator's where none is stated. Raises InvalidInput."""
    try:
        return _PRIORITIES[priority]  # type: ignore[index]  # an open enum may hold any number
    except KeyError:
        raise InvalidInput.of("override.priority", f"{priority} is not a priority") from None


def override_to_proto(row: OverrideRow, tenant: Tenant, targets: list[OverrideTargetRow]) -> control_pb2.Override:
    """An override."""
    priority = next(number for number, known in _PRIORITIES.items() if known == row.priority)
    return control_pb2.Override(
        name=f"{tenant.name}/overrides/{row.id}",
        uid=row.uid,
        targets=[target.target_name for target in targets],
        level_permille=row.level_permille,
        priority=priority,
        start_time=timestamp_to_proto(from_unix_ms(row.start_ms)),
        expire_time=timestamp_to_proto(from_unix_ms(row.expire_ms)),
        reason=row.reason,
        author=row.author,
        issued_at=timestamp_to_proto(from_unix_ms(row.issued_at_ms)),
        released_at=timestamp_to_proto(from_unix_ms(row.released_at_ms)) if row.released_at_ms else None,
    )


def lockout_to_proto(row: LockoutRow, tenant: Tenant, names: Names) -> control_pb2.Lockout:
    """A lock-out."""
    return control_pb2.Lockout(
        name=f"{tenant.name}/lockouts/{row.id}",
        uid=row.uid,
        feeder=names.of("feeders", row.feeder_uid),
        reason=row.reason,
        owner=row.owner,
        created_at=timestamp_to_proto(from_unix_ms(row.created_at_ms)),
        released_at=timestamp_to_proto(from_unix_ms(row.released_at_ms)) if row.released_at_ms else None,
    )


# --- small things ---------------------------------------------------------------------------------------------------


def _position_to_proto(latitude_deg: float | None, longitude_deg: float | None) -> Position | None:
    if latitude_deg is None or longitude_deg is None:
        return None
    return Position(latitude_deg=latitude_deg, longitude_deg=longitude_deg)


def _position_values(message: inventory_pb2.Cabinet | inventory_pb2.Luminaire, field: str, tenant: Tenant) -> Values:
    if not message.HasField("position"):
        return {"latitude_deg": None, "longitude_deg": None}
    position = message.position
    if isnan(position.latitude_deg) or isnan(position.longitude_deg):
        raise InvalidInput.of(field, "is not a number; leave the position out where it is unknown")
    why = swapped(position.latitude_deg, position.longitude_deg, tenant.latitude_deg, tenant.longitude_deg)
    if why:
        raise InvalidInput.of(field, why)
    return {"latitude_deg": position.latitude_deg, "longitude_deg": position.longitude_deg}


def _endpoint(session: Session, tenant: Tenant, name: str, field: str) -> str | None:
    if not name:
        return None
    uid = endpoint_uid(session, tenant, name.rpartition("/")[2])
    if uid is None:
        raise InvalidInput.of(field, f"{name} is not an endpoint of lighting")
    return uid
