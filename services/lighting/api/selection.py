"""Which luminaires a caller asks for: those of municipalities within reach, narrowed down by filters. Filters of
several kinds must all hold; of one kind, one is enough. Not here: faults, which come and go with each pass (states.py,
watch.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from domain.errors import InvalidInput
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from servicekit.context import Tenant, current_scope
from services.lighting.columns import Columns, Flags
from services.lighting.grouping import street_key
from services.lighting.records import CabinetRecord, FeederRecord, GroupRecord

Filtered = pb.QueryLuminaireStatesRequest | pb.WatchLuminairesRequest


@dataclass(frozen=True, slots=True)
class Selection:
    """Names of luminaires, groups, cabinets and feeders, and streets; empty for all."""

    tenants: Sequence[Tenant]
    luminaires: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    cabinets: tuple[str, ...] = ()
    feeders: tuple[str, ...] = ()
    streets: tuple[str, ...] = ()

    @classmethod
    def of(cls, request: Filtered, tenants: Sequence[Tenant]) -> Selection:
        """What a request asks for."""
        return cls(
            tenants,
            tuple(request.luminaires),
            tuple(request.groups),
            tuple(request.cabinets),
            tuple(request.feeders),
            tuple(request.streets),
        )

    def rows(self, columns: Columns, *, strict: bool = True) -> Flags:
        """The luminaires of an inventory that are asked for.

        Raises InvalidInput with field and name for what is not there, unless not `strict`: it may go while somebody
        watches. A street is what luminaires say of themselves, so none is unknown.
        """
        inventory, selected = columns.inventory, self._within_reach(columns)
        if self.luminaires:
            named = _found("luminaires", self.luminaires, columns.row_of_name, strict)
            selected &= np.isin(np.arange(columns.count), named)
        if self.groups:
            known = self._names("groups", inventory.groups)
            selected &= np.isin(columns.group, _found("groups", self.groups, known, strict))
        if self.cabinets:
            known = self._names("cabinets", inventory.cabinets)
            selected &= np.isin(columns.cabinet, _found("cabinets", self.cabinets, known, strict))
        if self.feeders:
            known = self._names("feeders", inventory.feeders)
            selected &= np.isin(columns.feeder, _found("feeders", self.feeders, known, strict))
        if self.streets:
            selected &= np.isin(columns.streets, [street_key(street) for street in self.streets])
        return selected

    def _names(
        self, collection: str, records: Sequence[GroupRecord | CabinetRecord | FeederRecord]
    ) -> Mapping[str, int]:
        """Rows of what is in the municipalities asked for, by resource name."""
        towns = {tenant.uid: tenant.name for tenant in self.tenants}
        return {
            f"{towns[record.municipality_uid]}/{collection}/{record.id}": row
            for row, record in enumerate(records)
            if record.municipality_uid in towns
        }

    def _within_reach(self, columns: Columns) -> Flags:
        selected = np.zeros(columns.count, dtype=np.bool_)
        for tenant in self.tenants:
            town = columns.town_of.get(tenant.uid)
            if town is None:
                continue
            mine = columns.town == town
            scope = current_scope(tenant)
            if scope.is_limited:
                within = [
                    scope.covers(f"{tenant.name}/cabinets/{cabinet.id}")
                    if cabinet.municipality_uid == tenant.uid
                    else False
                    for cabinet in columns.inventory.cabinets
                ]
                mine &= np.append(np.array(within, dtype=np.bool_), False)[columns.cabinet]
            selected |= mine
        return selected


def _found(field: str, names: Sequence[str], rows: Mapping[str, int], strict: bool) -> list[int]:
    if strict:
        for index, name in enumerate(names):
            if name not in rows:
                raise InvalidInput.of(f"{field}[{index}]", f"{name} does not exist")
    return [rows[name] for name in names if name in rows]
