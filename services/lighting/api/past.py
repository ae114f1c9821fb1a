"""The inventory as it stood at an instant: found, listed, filtered and kept within the caller's reach as of then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from sqlmodel import Session

from domain.errors import InvalidInput, NotPermitted
from domain.level import FULL_PERMILLE
from domain.names import ResourceName
from servicekit.context import Tenant, current_scope
from services.lighting.store.holding_floors import largest_holding, waived_targets
from services.lighting.store.inventory import CABINETS, After, Kind
from services.lighting.store.luminaires import GroupSummary
from services.lighting.store.tables import CabinetRow, FeederRow, GatewayRow, LuminaireModelRow, LuminaireRow, Named
from services.lighting.store.versions import each_row_at, row_at, rows_at

Row = TypeVar("Row", bound=Named)


class Past:
    """What stood at an instant (Unix ms of the domain). What was looked up is kept: it cannot change."""

    def __init__(self, session: Session, at_ms: int) -> None:
        self._session, self.at_ms = session, at_ms
        self._feeders: dict[str, dict[str, str]] = {}
        self._gateways: dict[str, dict[str, str]] = {}
        self._reach: dict[str, frozenset[str] | None] = {}

    def get(self, kind: Kind[Row], tenant: Tenant, identifier: str) -> Row:
        """A resource as it stood. Raises NotFound where it was not there."""
        name = kind.name(tenant.id, identifier)
        return row_at(self._session, kind.table, tenant, identifier, name, self.at_ms)

    def uid_of(self, kind: Kind[Any], tenant: Tenant, name: str, field: str) -> str:
        """Uid behind a name as of then; empty for none. Raises InvalidInput that blames the field."""
        if not name:
            return ""
        identifier = ResourceName.parse(name, field=field, collection=kind.collection).id
        found = rows_at(self._session, kind.table, tenant.uid, self.at_ms, ids=[identifier])
        if not found:
            raise InvalidInput.of(field, f"{name} did not exist then")
        return str(found[0].uid)

    def rows(
        self,
        kind: Kind[Row],
        tenants: Sequence[Tenant],
        after: After,
        limit: int,
        filters: Callable[[Past, Tenant], Callable[[Row], bool]],
    ) -> list[tuple[Tenant, Row]]:
        """Resources by municipality and id, as store.inventory.list_rows tells those of now."""
        found: list[tuple[Tenant, Row]] = []
        for tenant in sorted(tenants, key=lambda t: t.id):
            if after is not None and tenant.id < str(after[0]):
                continue
            keep = filters(self, tenant)
            begin = str(after[1]) if after is not None and tenant.id == after[0] else ""
            if limit <= len(found):
                break
            for row in each_row_at(self._session, kind.table, tenant.uid, self.at_ms, begin):
                if keep(row) and self.reaches(tenant, row):
                    found.append((tenant, row))
                    if len(found) >= limit:
                        break
        return found

    def require(self, tenant: Tenant, row: Named, name: str) -> None:
        """Raises NotPermitted unless the row was within the caller's reach as it stood."""
        if not self.reaches(tenant, row):
            raise NotPermitted(f"{name} is outside of what the caller is bound to")

    def reaches(self, tenant: Tenant, row: Named) -> bool:
        """Whether the row hung on a cabinet that the caller is bound to. Models are in everybody's reach."""
        cabinets = self._cabinets_reached(tenant)
        if cabinets is None or isinstance(row, LuminaireModelRow):
            return True
        if isinstance(row, CabinetRow):
            return row.uid in cabinets
        if isinstance(row, FeederRow | GatewayRow):
            return row.cabinet_uid in cabinets
        return isinstance(row, LuminaireRow) and self.cabinet_of(tenant, row) in cabinets

    def cabinet_of(self, tenant: Tenant, lamp: LuminaireRow) -> str:
        """Uid of a luminaire's cabinet as of then: by way of the feeder, of the gateway where it had none; or empty."""
        if lamp.feeder_uid:
            return self.cabinets_by_feeder([tenant]).get(lamp.feeder_uid, "")
        if tenant.uid not in self._gateways:
            self._gateways[tenant.uid] = {row.uid: row.cabinet_uid for row in self._rows(GatewayRow, tenant)}
        return self._gateways[tenant.uid].get(lamp.gateway_uid or "", "")

    def cabinets_by_feeder(self, tenants: Iterable[Tenant]) -> dict[str, str]:
        """Uid of the cabinet of every feeder as of then, by the feeder's uid."""
        found: dict[str, str] = {}
        for tenant in {tenant.uid: tenant for tenant in tenants}.values():
            if tenant.uid not in self._feeders:
                self._feeders[tenant.uid] = {row.uid: row.cabinet_uid for row in self._rows(FeederRow, tenant)}
            found.update(self._feeders[tenant.uid])
        return found

    def summaries(self, tenants: Iterable[Tenant]) -> dict[str, GroupSummary]:
        """What the groups' members of then amount to, by uid; groups without members are left out."""
        members: dict[str, list[LuminaireRow]] = {}
        for tenant in {tenant.uid: tenant for tenant in tenants}.values():
            for lamp in self._rows(LuminaireRow, tenant):
                members.setdefault(lamp.group_uid, []).append(lamp)
        return {uid: summary_of(lamps) for uid, lamps in members.items()}

    def holding_floors(self, tenants: Iterable[Tenant]) -> dict[str, int]:
        """The largest floor that held among the members of each group, waivers included, by the group's uid."""
        found: dict[str, int] = {}
        for tenant in {tenant.uid: tenant for tenant in tenants}.values():
            waived = waived_targets(self._session, tenant.uid, self.at_ms)
            if waived:
                cabinets = {row.uid: row.cabinet_uid for row in self._rows(GatewayRow, tenant)}
                cabinets |= self.cabinets_by_feeder([tenant])
                found |= largest_holding(self._rows(LuminaireRow, tenant), waived, cabinets)
        return found

    def _rows(self, table: type[Row], tenant: Tenant) -> Iterable[Row]:
        return rows_at(self._session, table, tenant.uid, self.at_ms)

    def _cabinets_reached(self, tenant: Tenant) -> frozenset[str] | None:
        if tenant.uid not in self._reach:
            scope = current_scope(tenant)
            if scope.names is None:
                self._reach[tenant.uid] = None
            else:
                prefix = CABINETS.name(tenant.id, "")
                ids = [name.removeprefix(prefix) for name in scope.names if name.startswith(prefix)]
                rows = rows_at(self._session, CabinetRow, tenant.uid, self.at_ms, ids=ids) if ids else []
                self._reach[tenant.uid] = frozenset(row.uid for row in rows)
        return self._reach[tenant.uid]


def summary_of(lamps: Sequence[LuminaireRow]) -> GroupSummary:
    """Count, middle, largest floor and conflict areas of luminaires, as group_summaries tells those of now."""
    latitudes = [lamp.latitude_deg for lamp in lamps if lamp.latitude_deg is not None]
    longitudes = [lamp.longitude_deg for lamp in lamps if lamp.longitude_deg is not None]
    return GroupSummary(
        len(lamps),
        sum(latitudes) / len(latitudes) if latitudes else None,
        sum(longitudes) / len(longitudes) if longitudes else None,
        max(0 if lamp.conflict_area else lamp.floor_permille or FULL_PERMILLE for lamp in lamps),
        any(lamp.conflict_area for lamp in lamps),
    )
