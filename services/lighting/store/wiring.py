"""How far commands reach luminaires by how a municipality is wired: by the gear, by the feeder's contactor, or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlmodel import Session, select

from servicekit.context import Tenant
from services.lighting.override import Reach
from services.lighting.records import FeederSupply, Reduction, SwitchingOwner, is_commanded
from services.lighting.store.tables import CabinetRow, FeederRow, LuminaireRow

REDUCED_BY: Final[Mapping[int, str]] = {
    Reduction.CONTROL_PHASE: "is reduced by a control phase",
    Reduction.HALF_NIGHT_CONDUCTOR: "is reduced by a half-night conductor",
    Reduction.STORED_PROFILE: "is reduced by a profile stored in the lamp",
    Reduction.NONE: "is never reduced",
}


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
