"""The method about what groups draw at which level, and what else hangs on their cabinets."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from sqlmodel import Session

from domain.errors import InvalidInput, LichtbuchError
from domain.names import ResourceName
from domain.plan import to_unix_ms
from fieldbus.profile_loader import load_profile
from lichtbuch.lighting.v1 import loads_pb2
from lichtbuch.type.v1.types_pb2 import Position
from servicekit.context import Tenant, current_tenant
from servicekit.convert import optional_timestamp_from_proto
from services.lighting.abilities import gateway_abilities
from services.lighting.api.calls import Calls, Context
from services.lighting.api.convert_reduction import foreign_loads_to_proto
from services.lighting.columns import NONE, Columns, Levels, build_columns
from services.lighting.energy import Drawn
from services.lighting.loads import GearKnown, GroupLoad, floors_over, group_load
from services.lighting.own_reduction import OwnWindows
from services.lighting.store.cabinet_loads import cabinet_rows
from services.lighting.store.drawn import drawn_at
from services.lighting.store.inventory import CABINETS
from services.lighting.store.own_reduction import own_windows
from services.lighting.store.tables import CabinetRow
from services.lighting.telling import MOST_FADE_S


class _Read(NamedTuple):
    """What is read of the database for an answer."""

    drawn: dict[str, Drawn]
    windows: dict[str, OwnWindows | None]
    cabinets: dict[str, CabinetRow]


class LoadCalls(Calls):
    """What luminaires would draw."""

    async def DescribeGroupLoads(
        self, request: loads_pb2.DescribeGroupLoadsRequest, context: Context
    ) -> loads_pb2.DescribeGroupLoadsResponse:
        """Parts of groups as control sees them, with their power over level, and their cabinets."""
        tenant, now_ms = current_tenant(), self.now_ms
        start = optional_timestamp_from_proto(request, "start_time")
        start_ms = now_ms if start is None else to_unix_ms(start)
        end = optional_timestamp_from_proto(request, "end_time")
        end_ms = start_ms + 1 if end is None else to_unix_ms(end)
        if end_ms <= start_ms:
            raise InvalidInput.of("end_time", "is not after start_time")
        await self.parts.memory.refresh()
        known_now = self.parts.memory.known
        inventory = known_now.inventory

        def read(session: Session) -> _Read:
            return _Read(
                drawn_at(session, tenant, now_ms),
                own_windows(session, tenant),
                cabinet_rows(session, tenant),
            )

        found = await self.database.read(read)
        columns = await asyncio.to_thread(build_columns, inventory)
        ids = sorted(group.id for group in inventory.groups if group.municipality_uid == tenant.uid)
        known = frozenset(ids)
        wanted = [_group_id(name, known, index) for index, name in enumerate(request.groups)] or ids
        floors = floors_over(columns, known_now.orders.waivers, start_ms, end_ms)
        gear = GearKnown(found.windows, _longest_ramps(columns))
        loads = await asyncio.to_thread(_loads, columns, tenant, wanted, found.drawn, floors, gear)
        return loads_pb2.DescribeGroupLoadsResponse(
            loads=[
                _load_to_proto(f"{tenant.name}/groups/{identifier}", load, columns, tenant)
                for identifier, load in zip(wanted, loads, strict=True)
            ],
            cabinets=_cabinets(columns, tenant, loads, found.cabinets),
        )


def _group_id(name: str, ids: Collection[str], index: int) -> str:
    identifier = ResourceName.parse(name, field=f"groups[{index}]", collection="groups").id
    if identifier not in ids:
        raise InvalidInput.of(f"groups[{index}]", f"{name} does not exist")
    return identifier


def _longest_ramps(columns: Columns) -> dict[int, int]:
    """By row of an endpoint: the longest ramp in seconds that gear behind it is told to take."""
    found = {}
    for row, endpoint in enumerate(columns.inventory.endpoints):
        if ramp_s := _longest_ramp_s(endpoint.profile):
            found[row] = ramp_s
    return found


@lru_cache(maxsize=256)
def _longest_ramp_s(profile: str) -> int:
    try:
        return round(MOST_FADE_S) if gateway_abilities(load_profile(profile)).can_fade else 0
    except LichtbuchError:
        return 0  # what nobody can talk to is told no ramp


def _loads(
    columns: Columns, tenant: Tenant, ids: list[str], drawn: Mapping[str, Drawn], floors: Levels, gear: GearKnown
) -> list[GroupLoad]:
    uids = {group.id: group.uid for group in columns.inventory.groups if group.municipality_uid == tenant.uid}
    return [group_load(columns, columns.rows_of_target(uids[identifier]), drawn, floors, gear) for identifier in ids]


def _cabinets(
    columns: Columns, tenant: Tenant, loads: Sequence[GroupLoad], known: Mapping[str, CabinetRow]
) -> list[loads_pb2.CabinetLoad]:
    """The cabinets of some groups, by name."""
    found = {}
    for cabinet in {part.cabinet for load in loads for part in load.parts} - {NONE}:
        record = columns.inventory.cabinets[cabinet]
        if (row := known.get(record.uid)) is None:
            continue
        found[record.id] = loads_pb2.CabinetLoad(
            cabinet=CABINETS.name(tenant.id, record.id),
            position=_position(row),
            foreign_loads=foreign_loads_to_proto(row),
            luminaire_count=int(columns.rows_of_target(record.uid).size),
        )
    return [found[identifier] for identifier in sorted(found)]


def _position(row: CabinetRow) -> Position | None:
    if row.latitude_deg is None or row.longitude_deg is None:
        return None
    return Position(latitude_deg=row.latitude_deg, longitude_deg=row.longitude_deg)


def _load_to_proto(name: str, load: GroupLoad, columns: Columns, tenant: Tenant) -> loads_pb2.GroupLoad:
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
                windows=[
                    loads_pb2.LoadWindow(
                        begin_time=each.window.begin_time,
                        end_time=each.window.end_time,
                        begin_offset_s=each.window.begin_offset_s,
                        end_offset_s=each.window.end_offset_s,
                        level_permille=each.window.level_permille,
                        power_w=each.power_w,
                    )
                    for each in part.windows
                ],
                longest_ramp_s=part.longest_ramp_s,
                stays_supplied=part.stays_supplied,
                cabinet=_cabinet_name(columns, tenant, part.cabinet),
            )
            for part in load.parts
        ],
        luminaire_count=load.luminaires,
        estimated_count=load.estimated,
        undimmed_count=load.undimmed,
        foreign_count=load.foreign,
        unknown_reduction_count=load.unknown_reduction,
    )


def _cabinet_name(columns: Columns, tenant: Tenant, cabinet: int) -> str:
    return "" if cabinet == NONE else CABINETS.name(tenant.id, columns.inventory.cabinets[cabinet].id)
