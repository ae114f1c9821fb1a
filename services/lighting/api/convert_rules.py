"""Rules of groups between the contract's messages and the documents that are stored."""

from __future__ import annotations

from math import isnan
from typing import Any

from sqlmodel import Session

from domain.errors import InvalidInput
from lichtbuch.lighting.v1 import inventory_pb2
from lichtbuch.type.v1.types_pb2 import Position
from servicekit.context import Tenant
from services.lighting.grouping import polygon_fault
from services.lighting.places import swapped
from services.lighting.store.names import Names, uid_of


def rule_to_proto(rule: dict[str, Any], names: Names) -> inventory_pb2.GroupRule:
    """A rule."""
    return inventory_pb2.GroupRule(
        rank=rule["rank"],
        streets=rule["streets"],
        lighting_classes=rule["lighting_classes"],
        models=[names.of("luminaireModels", uid) for uid in rule["model_uids"]],
        polygon=[Position(latitude_deg=latitude, longitude_deg=longitude) for latitude, longitude in rule["polygon"]],
        cabinets=[names.of("cabinets", uid) for uid in rule["cabinet_uids"]],
    )


def rule_from_proto(session: Session, tenant: Tenant, rule: inventory_pb2.GroupRule) -> dict[str, Any]:
    """The document of a rule. Raises InvalidInput that names condition and reason."""
    for index, street in enumerate(rule.streets):
        if not street.strip():
            raise InvalidInput.of(f"group.rule.streets[{index}]", "is empty")
    for index, lighting_class in enumerate(rule.lighting_classes):
        if not lighting_class:
            raise InvalidInput.of(f"group.rule.lighting_classes[{index}]", "is empty")
    polygon = [(point.latitude_deg, point.longitude_deg) for point in rule.polygon]
    for index, point in enumerate(polygon):
        if any(isnan(value) for value in point):
            raise InvalidInput.of(f"group.rule.polygon[{index}]", "is not a number")
        why = swapped(*point, tenant.latitude_deg, tenant.longitude_deg)
        if why:
            raise InvalidInput.of(f"group.rule.polygon[{index}]", why)
    fault = polygon_fault(polygon)
    if fault is not None:
        raise InvalidInput.of(f"group.rule.polygon[{fault[0]}]", fault[1])
    document = {
        "rank": rule.rank,
        "streets": list(rule.streets),
        "lighting_classes": list(rule.lighting_classes),
        "model_uids": _uids(session, tenant, "luminaireModels", rule.models, "group.rule.models"),
        "polygon": [list(point) for point in polygon],
        "cabinet_uids": _uids(session, tenant, "cabinets", rule.cabinets, "group.rule.cabinets"),
    }
    if not any(value for name, value in document.items() if name != "rank"):
        raise InvalidInput.of(
            "group.rule", "has no condition; leave the rule out, or say which luminaires belong to it"
        )
    return document


def _uids(session: Session, tenant: Tenant, collection: str, names: Any, field: str) -> list[str]:
    found = []
    for index, name in enumerate(names):
        uid = uid_of(session, tenant, collection, name, f"{field}[{index}]")
        if uid is None:
            raise InvalidInput.of(f"{field}[{index}]", "is empty")
        found.append(uid)
    return found
