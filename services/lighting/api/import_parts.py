"""What an import brings beside luminaires: models, cabinets, feeders, gateways, groups, sensors, created or changed
before its lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlmodel import Session

from domain.errors import FailedPrecondition, InvalidInput
from domain.names import ResourceName, new_uid
from lichtbuch.lighting.v1 import inventory_pb2 as inv
from servicekit import audit
from servicekit.context import Tenant
from servicekit.convert import apply_mask, mask_paths
from servicekit.interceptors.rules import validate
from services.lighting.api.inventory import CABINET, FEEDER, GATEWAY, GROUP, MODEL, Resource
from services.lighting.api.sensors import SENSOR
from services.lighting.inventory import Refusal
from services.lighting.store import inventory as store
from services.lighting.store.grouping import regroup
from services.lighting.store.luminaires import default_group
from services.lighting.store.revisions import INVENTORY, wait_for_others
from services.lighting.store.tables import CabinetRow, FeederRow
from services.lighting.store.wiring import check_contactors

MOST_PARTS: Final = 20_000
_ORDER: Final[tuple[tuple[str, Resource[Any, Any]], ...]] = (
    ("luminaire_model", MODEL), ("cabinet", CABINET), ("feeder", FEEDER), ("gateway", GATEWAY), ("group", GROUP),
    ("sensor", SENSOR),
)  # fmt: skip
"""What others refer to comes first."""
_ENDPOINTS: Final = {"cabinet": "controller", "gateway": "endpoint", "sensor": "endpoint"}
"""Where a part names a field endpoint."""


@dataclass
class PartsStored:
    """What became of them."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refusals: list[Refusal] = field(default_factory=list)


def endpoints_of(parts: Sequence[inv.ImportedPart]) -> dict[str, str]:
    """Names of the field endpoints that the parts name, each with a field where it stands."""
    found = {}
    for part in parts:
        kind = str(part.WhichOneof("part"))
        if kind in _ENDPOINTS and (name := getattr(getattr(part, kind), _ENDPOINTS[kind])):
            found[name] = f"{kind}.{_ENDPOINTS[kind]}"
    return found


def store_parts(
    session: Session, tenant: Tenant, parts: Sequence[inv.ImportedPart], now_ms: int, reason: str
) -> PartsStored:
    """Stores the parts in the caller's transaction. What cannot be is refused, field by field, and the rest goes on."""
    found = PartsStored()
    wait_for_others(session, INVENTORY)
    moves = False
    for kind, resource in _ORDER:
        for part in parts:
            if part.WhichOneof("part") != kind:
                continue
            try:
                changed = _store(session, tenant, resource, getattr(part, kind), part, now_ms, reason)
            except (InvalidInput, FailedPrecondition) as error:
                name = getattr(part, kind).name
                found.refusals += [Refusal(part.source_line, v.field, v.reason, name[-100:]) for v in error.violations]
                continue
            found.created += changed == "created"
            found.updated += changed == "updated"
            found.unchanged += changed == ""
            moves |= bool(changed) and kind in ("feeder", "gateway", "group")
    if moves:
        regroup(session, tenant, default_group(session, tenant, now_ms).uid, now_ms)
    return found


def _store(
    session: Session,
    tenant: Tenant,
    resource: Resource[Any, Any],
    given: Any,
    part: inv.ImportedPart,
    now_ms: int,
    reason: str,
) -> str:
    """ "created", "updated", or "" where nothing changed. Raises InvalidInput, FailedPrecondition."""
    noun = resource.kind.noun.replace(" ", "_")
    name = ResourceName.parse(given.name, field=f"{noun}.name", collection=resource.kind.collection)
    if name.municipality != tenant.id:
        raise InvalidInput.of(f"{noun}.name", f"{name} is not of the municipality that the request is about")
    paths = mask_paths(part.fields, resource.settable, field="fields")
    row = store.find(session, resource.kind, tenant.uid, name.id, lock=True)
    before = resource.show(session, [(tenant, row)], now_ms)[0] if row is not None else None
    wanted = resource.message()
    if before is not None:
        wanted.CopyFrom(before)
    wanted.name = given.name
    apply_mask(wanted, given, paths)
    _require_valid(wanted, noun)
    values = resource.values(session, tenant, wanted, now_ms)
    if row is None:
        row = resource.kind.table(
            uid=new_uid(), municipality_uid=tenant.uid, id=name.id, created_at_ms=now_ms, **values
        )
        check_contactors(session, tenant, row, noun)
        store.add(session, resource.kind, tenant, row, reason)
    else:
        store.check_wiring(session, row, values)
        if isinstance(row, FeederRow | CabinetRow):
            check_contactors(session, tenant, type(row)(**{**row.model_dump(), **values}), noun)
        if not store.change(session, row, values, now_ms, reason):
            return ""
    after = resource.show(session, [(tenant, row)], now_ms)[0]
    audit.record(session, "", str(after.name), row.uid, tenant.uid, before=before, after=after, reason=reason)
    return "updated" if before is not None else "created"


def _require_valid(wanted: Any, noun: str) -> None:
    """Raises InvalidInput where the fields that were told leave out what is needed."""
    try:
        validate(wanted)
    except InvalidInput as error:
        raise InvalidInput("", [type(v)(f"{noun}.{v.field}", v.reason) for v in error.violations]) from error
