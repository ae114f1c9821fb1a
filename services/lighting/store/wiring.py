"""How far commands reach luminaires by how a municipality is wired: by the gear, by the feeder's contactor, or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlmodel import Session, col, select

from domain.errors import InvalidInput
from servicekit.context import Tenant
from services.lighting.override import Reach
from services.lighting.records import FeederSupply, Reduction, SwitchingOwner, is_commanded
from services.lighting.store.tables import CabinetRow, FeederRow, LuminaireRow, Named

REDUCED_BY: Final[Mapping[int, str]] = {
    Reduction.CONTROL_PHASE: "is reduced by a control phase",
    Reduction.HALF_NIGHT_CONDUCTOR: "is reduced by a half-night conductor",
    Reduction.STORED_PROFILE: "is reduced by a profile stored in the lamp",
    Reduction.NONE: "is never reduced",
}


def check_contactors(session: Session, tenant: Tenant, row: Named, noun: str) -> None:
    """Raises InvalidInput where a contactor would belong to two feeders: who locks one of them out relies on it that
    nobody switches it for the other. Call it with the new values in the row, before they are stored."""
    if isinstance(row, FeederRow):
        cabinet = session.get(CabinetRow, row.cabinet_uid)
        mine = [row] if row.supply == FeederSupply.SWITCHED else []
        field = f"{noun}.channel"
    elif isinstance(row, CabinetRow):
        cabinet = row
        mine = _switched(session, tenant, FeederRow.cabinet_uid == row.uid)
        field = f"{noun}.controller"
    else:
        return
    if cabinet is None or cabinet.controller_uid is None or not mine:
        return
    cabinets = select(CabinetRow.uid).where(CabinetRow.controller_uid == cabinet.controller_uid)
    others = _switched(
        session, tenant, col(FeederRow.cabinet_uid).in_(cabinets) | (FeederRow.cabinet_uid == cabinet.uid)
    )
    known = {feeder.uid for feeder in mine}
    for feeder in mine:
        for other in others:
            if other.uid not in known and other.channel == feeder.channel:
                raise InvalidInput.of(
                    field, f"contactor {feeder.channel} of this controller belongs to feeder {other.id} already"
                )


def _switched(session: Session, tenant: Tenant, condition: Any) -> list[FeederRow]:
    query = (
        select(FeederRow)
        .where(FeederRow.municipality_uid == tenant.uid)
        .where(FeederRow.deleted_at_ms == 0)
        .where(FeederRow.supply == int(FeederSupply.SWITCHED))
        .where(condition)
    )
    with session.no_autoflush:
        return list(session.exec(query))


class Wiring:
    """The feeders of a municipality, read once."""

    def __init__(self, session: Session, tenant: Tenant) -> None:
        query = (
            select(FeederRow.uid, FeederRow.reduction, FeederRow.supply, CabinetRow.switching_owner)
            .where(FeederRow.municipality_uid == tenant.uid)
            .where(CabinetRow.uid == FeederRow.cabinet_uid)
        )
        self._feeders = {
            uid: (reduction, supply == FeederSupply.SWITCHED and owner == SwitchingOwner.LICHTBUCH)
            for uid, reduction, supply, owner in session.exec(query)
        }

    def of(self, lamp: LuminaireRow) -> tuple[Reach, str]:
        """How far commands reach a luminaire, and why none dims it, where none does."""
        reduction, is_ours = self._feeders.get(lamp.feeder_uid or "", (0, False))
        commanded = is_commanded(lamp.reduction, reduction)
        if commanded and lamp.gateway_uid is not None:
            return Reach.DIMMED, ""
        why = "has no gateway" if commanded else REDUCED_BY[lamp.reduction or reduction]
        return (Reach.SWITCHED if is_ours else Reach.NONE), why
