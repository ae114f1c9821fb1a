"""Between the contract's messages about sensors and lighting's rows."""

from __future__ import annotations

from typing import Any, Final

from sqlmodel import Session

from domain.errors import InvalidInput, LichtbuchError, OutOfLimits
from domain.plan import from_unix_ms
from domain.plan_rule import SensorKind
from domain.sensing import SensorView
from fieldbus.profile_loader import load_profile
from fieldbus.vocabulary import PointType, Scope, point_named
from lichtbuch.lighting.v1 import sensors_pb2 as pb
from servicekit.context import Tenant
from servicekit.convert import timestamp_to_proto
from services.lighting.api.convert import etag
from services.lighting.store.inventory import SENSORS
from services.lighting.store.names import ENDPOINTS, Names, endpoint_uid, uid_of
from services.lighting.store.tables import EndpointRow, SensorRow

POINT_OF: Final = {
    SensorKind.TRAFFIC: "traffic_flow",
    SensorKind.ILLUMINANCE: "illuminance",
    SensorKind.RAIN: "rain_intensity",
}
"""What is read of a sensor where nothing else is said; its unit is the kind's."""

USUAL_MAX_AGE_S: Final = 600
LEAST_MAX_AGE_S: Final = 10
MOST_GROUPS_SHOWN: Final = 100


def sensor_to_proto(row: SensorRow, tenant: Tenant, names: Names) -> pb.Sensor:
    """A sensor."""
    return pb.Sensor(
        name=SENSORS.name(tenant.id, row.id),
        uid=row.uid,
        display_name=row.display_name,
        kind=row.kind,  # type: ignore[arg-type]  # the numbers are the contract's
        groups=[name for uid in row.group_uids if (name := names.of("groups", uid))],
        endpoint=names.of(ENDPOINTS, row.endpoint_uid),
        point=row.point,
        max_age_s=row.max_age_s,
        etag=etag(row),
    )


def sensor_values(session: Session, tenant: Tenant, sensor: pb.Sensor, now_ms: int) -> dict[str, Any]:
    """Column values of a sensor. Raises InvalidInput that names the field."""
    try:
        kind = SensorKind(sensor.kind)
    except ValueError:
        raise InvalidInput.of("sensor.kind", f"{sensor.kind} is not a kind of sensor") from None
    if 0 < sensor.max_age_s < LEAST_MAX_AGE_S:
        raise OutOfLimits.of("sensor.max_age_s", f"{sensor.max_age_s} is less than {LEAST_MAX_AGE_S} s")
    groups = [uid_of(session, tenant, "groups", name, f"sensor.groups[{i}]") for i, name in enumerate(sensor.groups)]
    uid, point = _place(session, tenant, sensor, kind)
    return {
        "display_name": sensor.display_name,
        "kind": int(kind),
        "group_uids": list(dict.fromkeys(uid for uid in groups if uid)),
        "endpoint_uid": uid,
        "point": point,
        "max_age_s": sensor.max_age_s or USUAL_MAX_AGE_S,
    }


def state_to_proto(
    row: SensorRow, tenant: Tenant, view: SensorView | None, groups: list[str], now_ms: int
) -> pb.SensorState:
    """What a sensor said last. groups: names of those that do something because of it."""
    state = pb.SensorState(
        name=SENSORS.name(tenant.id, row.id),
        uid=row.uid,
        kind=row.kind,  # type: ignore[arg-type]  # the numbers are the contract's
        active_groups=groups[:MOST_GROUPS_SHOWN],
    )
    if view is not None:
        state.value = view.value_milli / 1000
        state.observed_at.CopyFrom(timestamp_to_proto(from_unix_ms(view.at_ms)))
        state.age_s = max(0, now_ms - view.at_ms) // 1000
        state.fresh = view.is_fresh(now_ms)
    return state


def _place(session: Session, tenant: Tenant, sensor: pb.Sensor, kind: SensorKind) -> tuple[str | None, str]:
    """Endpoint and point that it is read at; None and empty where its values are sent."""
    if not sensor.endpoint:
        if sensor.point:
            raise InvalidInput.of("sensor.point", "is for a sensor at an endpoint only")
        return None, ""
    uid = endpoint_uid(session, tenant, sensor.endpoint.rpartition("/")[2])
    if uid is None:
        raise InvalidInput.of("sensor.endpoint", f"{sensor.endpoint} is not an endpoint of lighting")
    name = sensor.point or POINT_OF[kind]
    usual = point_named(POINT_OF[kind])
    try:
        point = point_named(name)
    except InvalidInput as error:
        raise InvalidInput.of("sensor.point", error.violations[0].reason) from error
    if (point.unit, point.type, point.scope) != (usual.unit, PointType.NUMBER, Scope.DEVICE):
        raise InvalidInput.of("sensor.point", f"{name} is not measured in {usual.unit}, as {usual.name} is")
    _check_offer(session, uid, sensor.endpoint, name)
    return uid, name


def _check_offer(session: Session, uid: str, endpoint: str, point: str) -> None:
    row = session.get(EndpointRow, uid)
    if row is None:
        return
    try:
        profile = load_profile(row.profile)
    except LichtbuchError:
        return  # what is wrong with the profile is told where the endpoint is
    if not profile.readable(point):
        raise InvalidInput.of("sensor.point", f"{endpoint} has no point {point} by its profile {row.profile}")
