"""What a request says an override or a waiver is for: luminaires, groups, feeders, cabinets, or the municipality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlmodel import Session

from domain.errors import InvalidInput
from domain.names import MUNICIPALITIES, ResourceName
from servicekit.context import Tenant
from services.lighting.store.names import uids_of

_TARGETS: Final = ("luminaires", "groups", "feeders", "cabinets")


def targets_from_names(session: Session, tenant: Tenant, names: Sequence[str], field: str) -> list[tuple[str, str]]:
    """(uid, name) of each target, in the order given. Raises InvalidInput that names what does not exist."""
    parsed = [ResourceName.parse(name, field=f"{field}[{i}]") for i, name in enumerate(names)]
    uids: dict[str, str] = {tenant.name: tenant.uid}
    for collection in _TARGETS:
        ids = [name.id for name in parsed if name.collection == collection]
        found = uids_of(session, tenant, collection, ids)
        uids.update((f"{tenant.name}/{collection}/{identifier}", uid) for identifier, uid in found.items())
    for index, name in enumerate(parsed):
        if name.collection not in (*_TARGETS, MUNICIPALITIES):
            words = "luminaires, groups, feeders, cabinets or the municipality"
            raise InvalidInput.of(f"{field}[{index}]", f"{name} is none of {words}")
        if str(name) not in uids:
            raise InvalidInput.of(f"{field}[{index}]", f"{name} does not exist")
    return [(uids[name], name) for name in dict.fromkeys(str(name) for name in parsed)]
