"""How far a caller reaches whose role is bound to named cabinets (a fitter): what hangs on them, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session, col, select

from domain.errors import NotPermitted
from domain.names import ResourceName
from servicekit.context import Tenant, current_scope
from services.lighting.store.luminaires import in_cabinets
from services.lighting.store.names import uids_of
from services.lighting.store.tables import (
    CabinetRow,
    FeederRow,
    GatewayRow,
    LockoutRow,
    LuminaireRow,
    OverrideRow,
    OverrideTargetRow,
)


class Reach:
    """What the caller may reach in a municipality. `cabinets` None means everything."""

    def __init__(self, session: Session, tenant: Tenant) -> None:
        self._session, self._tenant = session, tenant
        scope = current_scope(tenant)
        self.cabinets: frozenset[str] | None = None
        if scope.names is not None:
            ids = [ResourceName.parse(n).id for n in scope.names if n.startswith(f"{tenant.name}/cabinets/")]
            self.cabinets = frozenset(uids_of(session, tenant, "cabinets", ids).values())

    @property
    def is_limited(self) -> bool:
        """True if only some cabinets may be reached."""
        return self.cabinets is not None

    def require(self, row: object, name: str) -> None:
        """Raises NotPermitted unless a cabinet, or what hangs on one, is within reach. Models are in everybody's."""
        if self.cabinets is None:
            return
        if isinstance(row, CabinetRow):
            reached = row.uid in self.cabinets
        elif isinstance(row, FeederRow | GatewayRow):
            reached = row.cabinet_uid in self.cabinets
        elif isinstance(row, LuminaireRow):
            reached = self._holds(LuminaireRow, in_cabinets(self.cabinets), [row.uid])
        else:
            reached = False
        if not reached:
            raise NotPermitted(f"{name} is outside of what the caller is bound to")

    def require_targets(self, targets: Sequence[tuple[str, str]]) -> None:
        """Raises NotPermitted that names the first target, (uid, name), that is not within reach."""
        if self.cabinets is None:
            return
        uids = [uid for uid, _ in targets]
        reached = set(self.cabinets)
        reached |= self._found(LuminaireRow, in_cabinets(self.cabinets), uids)
        reached |= self._found(FeederRow, col(FeederRow.cabinet_uid).in_(self.cabinets), uids)
        for uid, name in targets:
            if uid not in reached:
                raise NotPermitted(f"{name} is outside of what the caller is bound to")

    def conditions(self, table: type[Any]) -> Sequence[Any]:
        """Conditions that keep a list within reach."""
        if self.cabinets is None:
            return ()
        cabinets = list(self.cabinets)
        feeders = select(FeederRow.uid).where(col(FeederRow.cabinet_uid).in_(cabinets))
        lamps = select(LuminaireRow.uid).where(in_cabinets(cabinets))
        target = col(OverrideTargetRow.target_uid)
        overrides = select(OverrideTargetRow.override_uid).where(
            target.in_(cabinets) | target.in_(feeders) | target.in_(lamps)
        )
        conditions: dict[type[Any], Any] = {
            CabinetRow: col(CabinetRow.uid).in_(cabinets),
            FeederRow: col(FeederRow.cabinet_uid).in_(cabinets),
            GatewayRow: col(GatewayRow.cabinet_uid).in_(cabinets),
            LuminaireRow: in_cabinets(cabinets),
            LockoutRow: col(LockoutRow.feeder_uid).in_(feeders),
            OverrideRow: col(OverrideRow.uid).in_(overrides),
        }
        return (conditions[table],)

    def _holds(self, table: type[Any], condition: Any, uids: Sequence[str]) -> bool:
        return bool(self._found(table, condition, uids))

    def _found(self, table: type[Any], condition: Any, uids: Sequence[str]) -> set[str]:
        query = select(table.uid).where(table.uid.in_(list(uids))).where(condition)
        return set(self._session.exec(query).all())
