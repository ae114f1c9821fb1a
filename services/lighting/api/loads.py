"""The method about what groups draw at which level."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from sqlmodel import Session, col, select

from domain.errors import InvalidInput
from domain.names import ResourceName
from domain.plan import to_unix_ms
from lichtbuch.lighting.v1 import loads_pb2
from lichtbuch.type.v1.types_pb2 import Position
from servicekit.context import Tenant, current_tenant
from servicekit.convert import optional_timestamp_from_proto
from services.lighting.api.calls import Calls, Context
from services.lighting.columns import Columns, Levels, build_columns
from services.lighting.energy import Drawn, drawn_by
from services.lighting.loads import GroupLoad, floors_over, group_load
from services.lighting.store.tables import LuminaireModelRow, LuminaireRow


class LoadCalls(Calls):
    """What luminaires would draw."""

    async def DescribeGroupLoads(
        self, request: loads_pb2.DescribeGroupLoadsRequest, context: Context
    ) -> loads_pb2.DescribeGroupLoadsResponse:
        """Parts of groups as control sees them, with their power over level."""
        tenant = current_tenant()
        start = optional_timestamp_from_proto(request, "start_time")
        start_ms = self.now_ms if start is None else to_unix_ms(start)
        end = optional_timestamp_from_proto(request, "end_time")
        end_ms = start_ms + 1 if end is None else to_unix_ms(end)
        if end_ms <= start_ms:
            raise InvalidInput.of("end_time", "is not after start_time")
        await self.parts.memory.refresh()
        known_now = self.parts.memory.known
        inventory = known_now.inventory
        drawn = await self.database.read(lambda session: _drawn(session, tenant))
        columns = await asyncio.to_thread(build_columns, inventory)
        ids = sorted(group.id for group in inventory.groups if group.municipality_uid == tenant.uid)
        known = frozenset(ids)
        wanted = [_group_id(name, known, index) for index, name in enumerate(request.groups)] or ids
        floors = floors_over(columns, known_now.orders.waivers, start_ms, end_ms)
        loads = await asyncio.to_thread(_loads, columns, tenant, wanted, drawn, floors)
        return loads_pb2.DescribeGroupLoadsResponse(
            loads=[
                _load_to_proto(f"{tenant.name}/groups/{identifier}", load)
                for identifier, load in zip(wanted, loads, strict=True)
            ]
        )


def _group_id(name: str, ids: Collection[str], index: int) -> str:
    identifier = ResourceName.parse(name, field=f"groups[{index}]", collection="groups").id
    if identifier not in ids:
        raise InvalidInput.of(f"groups[{index}]", f"{name} does not exist")
    return identifier


def _drawn(session: Session, tenant: Tenant) -> dict[str, Drawn]:
    """What each luminaire draws at which level, by uid; equal ones share one curve."""
    models = {model.uid: model for model in session.exec(select(LuminaireModelRow))}
    query = (
        select(LuminaireRow.uid, LuminaireRow.model_uid, LuminaireRow.installed_power_w)
        .where(LuminaireRow.municipality_uid == tenant.uid)
        .where(col(LuminaireRow.deleted_at_ms) == 0)
    )
    made: dict[tuple[str | None, float], Drawn] = {}
    found = {}
    for uid, model_uid, installed_power_w in session.exec(query):
        key = (model_uid, installed_power_w)
        if key not in made:
            model = models.get(model_uid or "")
            made[key] = drawn_by(
                rated_power_w=model.rated_power_w if model else 0.0,
                standby_power_w=model.standby_power_w if model else 0.0,
                curve=[(level, power) for level, power in model.curve] if model else [],
                installed_power_w=installed_power_w,
            )
        found[uid] = made[key]
    return found


def _loads(
    columns: Columns, tenant: Tenant, ids: list[str], drawn: dict[str, Drawn], floors: Levels
) -> list[GroupLoad]:
    uids = {group.id: group.uid for group in columns.inventory.groups if group.municipality_uid == tenant.uid}
    return [group_load(columns, columns.rows_of_target(uids[identifier]), drawn, floors) for identifier in ids]


def _load_to_proto(name: str, load: GroupLoad) -> loads_pb2.GroupLoad:
    return loads_pb2.GroupLoad(
        group=name,
        parts=[
            loads_pb2.GroupLoadPart(
                position=Position(latitude_deg=part.latitude_deg, longitude_deg=part.longitude_deg),
                floor_permille=part.floor_permille,
                dimmable=part.dimmable,
                luminaire_count=part.luminaires,
                levels_permille=part.levels_permille,
                powers_w=part.powers_w,
                standby_power_w=part.standby_power_w,
            )
            for part in load.parts
        ],
        luminaire_count=load.luminaires,
        estimated_count=load.estimated,
        undimmed_count=load.undimmed,
        foreign_count=load.foreign,
    )
