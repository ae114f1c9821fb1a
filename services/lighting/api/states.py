"""Methods about what lamps do: live states, the stream of changes, cabinets, history, energy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import numpy as np
from sqlmodel import Session

from domain.canonical import sha256_hex
from domain.errors import InvalidInput
from domain.names import ResourceName
from domain.plan import from_unix_ms, to_unix_ms
from lichtbuch.lighting.v1 import control_pb2 as ctl
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from servicekit.context import current_scope, current_tenant, current_tenants, scope_aware
from servicekit.convert import timestamp_from_proto, timestamp_to_proto
from services.lighting import watch
from services.lighting.api.calls import Calls, Context
from services.lighting.api.reach import Reach
from services.lighting.api.selection import Selection
from services.lighting.columns import Columns, Flags, Rows
from services.lighting.energy import UNKNOWN_LEVEL, energies, evidence_hash
from services.lighting.metrics import WATCHERS
from services.lighting.state import Power, Quality, TownState
from services.lighting.store.drawn import lamps_of_period
from services.lighting.store.history import changes_of, watched_until
from services.lighting.store.inventory import LUMINAIRES, get
from services.lighting.store.names import uid_of
from services.lighting.written_level import shown_lights

STREAM_PAUSE_S: Final = 0.2
"""Real seconds between two rounds of a stream: changes within are one."""

_PASS_PATIENCE_S: Final = 3.0


class StateCalls(Calls):
    """Live states, history and energy."""

    @scope_aware
    async def QueryLuminaireStates(
        self, request: pb.QueryLuminaireStatesRequest, context: Context
    ) -> pb.QueryLuminaireStatesResponse:
        """States as of the last pass."""
        state = self.parts.state
        selected = Selection.of(request, current_tenants()).rows(state.columns)
        if request.faulty_only:
            selected &= state.lamps.faults != 0
        return pb.QueryLuminaireStatesResponse(
            states=states_to_proto(state, _by_name(state.columns, np.flatnonzero(selected))),
            at=timestamp_to_proto(from_unix_ms(state.at_ms)),
        )

    @scope_aware
    async def WatchLuminaires(
        self, request: pb.WatchLuminairesRequest, context: Context
    ) -> AsyncIterator[pb.WatchLuminairesResponse]:
        """All states once, then what changes."""
        state, selection = self.parts.state, Selection.of(request, current_tenants())
        selection.rows(state.columns)  # an unknown group is refused before anything is sent

        def select(columns: Columns) -> Flags:
            return selection.rows(columns, strict=False)

        WATCHERS.inc()
        try:
            news = watch.watch(
                state,
                select,
                request.resume_token,
                asked=_asked(request),
                faulty_only=request.faulty_only,
                pause=lambda: asyncio.sleep(STREAM_PAUSE_S),
            )
            async for part in news:
                yield pb.WatchLuminairesResponse(
                    states=states_to_proto(state, part.rows, published=True),
                    resume_token=part.token,
                    snapshot=part.snapshot,
                    at=timestamp_to_proto(from_unix_ms(state.at_ms)),
                )
        finally:
            WATCHERS.dec()

    @scope_aware
    async def ListCabinetStates(
        self, request: pb.ListCabinetStatesRequest, context: Context
    ) -> pb.ListCabinetStatesResponse:
        """Switch, door and feeders of cabinets, by name."""
        state, tenants = self.parts.state, {tenant.uid: tenant for tenant in current_tenants()}
        columns = state.columns
        answer = []
        for row, cabinet in enumerate(columns.inventory.cabinets):
            tenant = tenants.get(cabinet.municipality_uid)
            if tenant is None:
                continue
            name = f"{tenant.name}/cabinets/{cabinet.id}"
            if not current_scope(tenant).covers(name):
                continue
            live, feeders = state.cabinets[cabinet.uid], columns.feeders_by_cabinet[row].tolist()
            answer.append(
                ctl.CabinetState(
                    name=name,
                    switch_position=int(live.switch),  # type: ignore[arg-type]  # the numbers are the contract's
                    door_open=live.door_open,
                    feeders=[f"{tenant.name}/feeders/{columns.inventory.feeders[f].id}" for f in feeders],
                    energised=[bool(state.feeder_power[f] == Power.ON) for f in feeders],
                    quality=int(live.quality),  # type: ignore[arg-type]
                    observed_at=timestamp_to_proto(from_unix_ms(live.observed_at_ms)) if live.observed_at_ms else None,
                )
            )
        return pb.ListCabinetStatesResponse(states=sorted(answer, key=lambda s: s.name))

    @scope_aware
    async def QueryLevelHistory(
        self, request: pb.QueryLevelHistoryRequest, context: Context
    ) -> pb.QueryLevelHistoryResponse:
        """Level changes of a luminaire, the first one with what held at the start."""
        tenant = current_tenant()
        start_ms, end_ms = _period(request)
        await self._settle_history(0)

        def find(session: Session) -> pb.QueryLevelHistoryResponse:
            row = get(session, LUMINAIRES, tenant, ResourceName.parse(request.name, collection="luminaires").id)
            Reach(session, tenant).require(row, request.name)
            changes = changes_of(session, [row.uid], start_ms, end_ms)
            at, level, powered = changes.at_ms.tolist(), changes.level.tolist(), changes.powered.tolist()
            if not at or at[0] > start_ms:
                at, level, powered = [start_ms, *at], [UNKNOWN_LEVEL, *level], [False, *powered]
            at[0] = start_ms
            return pb.QueryLevelHistoryResponse(instants_unix_ms=at, levels_permille=level, powered=powered)

        return await self.database.read(find)

    async def ComputeEnergy(self, request: pb.ComputeEnergyRequest, context: Context) -> pb.ComputeEnergyResponse:
        """Energy from level history and curves of then; what nobody watched counts neither as energy nor as known."""
        tenant = current_tenant()
        start_ms, end_ms = _period(request)
        if end_ms > self.now_ms:
            raise InvalidInput.of("end_time", f"is after now, which is {self.clock.now():%Y-%m-%d %H:%M:%S} UTC")
        watched_ms = await self._settle_history(end_ms)

        def compute(session: Session) -> pb.ComputeEnergyResponse:
            cabinets = [
                uid_of(session, tenant, "cabinets", name, f"cabinets[{i}]") or ""
                for i, name in enumerate(request.cabinets)
            ]
            only = [
                uid_of(session, tenant, "luminaires", name, f"luminaires[{i}]") or ""
                for i, name in enumerate(request.luminaires)
            ]
            lamps = lamps_of_period(session, tenant, cabinets, start_ms, end_ms, only)
            uids, drawn = [lamp.uid for lamp in lamps], [lamp.drawn for lamp in lamps]
            until_ms = max(start_ms, min(end_ms, max(watched_ms, watched_until(session) or 0)))
            changes = changes_of(session, uids, start_ms, end_ms)
            result = energies(changes, drawn, start_ms, until_ms)
            return pb.ComputeEnergyResponse(
                energies=ctl.LuminaireEnergyColumns(
                    names=[LUMINAIRES.name(tenant.id, lamp.id) for lamp in lamps],
                    uids=uids,
                    energies_mwh=result.energy_mwh.tolist(),
                    lit_seconds=result.lit_s.tolist(),
                    known_seconds=result.known_s.tolist(),
                    estimated=[lamp.estimated for lamp in lamps],
                ),
                evidence_hash=evidence_hash(uids, drawn, changes, start_ms, until_ms),
            )

        return await self.database.read(compute)

    async def _settle_history(self, until_ms: int) -> int:
        """Has what was recorded until an instant stored; answers until when this process has watched, 0 for not at all.

        Just before now is worth waiting for: the next pass. Raises Unavailable while the database is away.
        """
        historian, control = self.parts.historian, self.parts.control
        if historian is None:
            return 0
        give_up = asyncio.get_running_loop().time() + _PASS_PATIENCE_S
        while control.holds_field and control.settled_until_ms < until_ms:
            if asyncio.get_running_loop().time() >= give_up:
                break
            await asyncio.sleep(0.02)
        # Asked before: a pass that ends while this is handed over has changes of its own, which are not.
        watched_ms = control.settled_until_ms
        historian.collect()
        await historian.drain()
        return watched_ms


def states_to_proto(state: TownState, rows: Rows, *, published: bool = False) -> ctl.LuminaireStateColumns:
    """Columns of some luminaires as they are now, or `published`: as of the last pass: what differs from it later is
    a change that watchers are told of."""
    lamps, names = state.published if published else state.lamps, state.columns.names
    observed_at_ms = state.lamps.observed_at_ms[rows]
    never = observed_at_ms == 0
    return ctl.LuminaireStateColumns(
        names=[names[row] for row in rows.tolist()],
        due_permille=lamps.due[rows].tolist(),
        due_sources=lamps.source[rows].tolist(),
        actual_permille=shown_lights(lamps.actual[rows], lamps.due[rows], state.columns.output[rows]).tolist(),
        qualities=np.where(never, Quality.MISSING, lamps.quality[rows]).tolist(),
        observed_at_unix_ms=observed_at_ms.tolist(),
        powered=(lamps.powered[rows] == Power.ON).tolist(),
        faults=lamps.faults[rows].tolist(),
        in_control=lamps.in_control[rows].tolist(),
        written_permille=lamps.written[rows].tolist(),
        driven_permille=lamps.actual[rows].tolist(),
    )


def _asked(request: pb.WatchLuminairesRequest) -> str:
    """What is watched, in short: other filters, another text."""
    asked = pb.WatchLuminairesRequest()
    asked.CopyFrom(request)
    asked.resume_token = ""
    return sha256_hex(asked.SerializeToString(deterministic=True))[:16]


def _by_name(columns: Columns, rows: Rows) -> Rows:
    return np.array(sorted(rows.tolist(), key=lambda row: columns.names[row]), dtype=np.intp)


def _period(request: pb.QueryLevelHistoryRequest | pb.ComputeEnergyRequest) -> tuple[int, int]:
    start_ms = to_unix_ms(timestamp_from_proto(request.start_time, "start_time"))
    end_ms = to_unix_ms(timestamp_from_proto(request.end_time, "end_time"))
    if end_ms <= start_ms:
        raise InvalidInput.of("end_time", "is not after start_time")
    return start_ms, end_ms
