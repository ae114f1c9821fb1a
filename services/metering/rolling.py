"""Keeping roll-ups up to date: a loop that finds the meters whose days have become others, or more, and makes those.

One worker at a time does it (a lease). On the clock of the domain: a day is over when the town's day is. Deleting what
is older than it has to be kept, which rests on roll-ups, follows in the same loop (services/metering/retention.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from functools import partial
from time import monotonic
from typing import Final
from zoneinfo import ZoneInfo

from sqlmodel import Session

from domain.errors import LichtbuchError
from domain.night import zone
from servicekit.clock import Clock
from servicekit.context import Tenant
from servicekit.database import Database
from servicekit.lease import Lease
from servicekit.tenants import TenantDirectory
from services.metering.alone import is_away, tell
from services.metering.figures.rollups import basis_of, day_floor_ms
from services.metering.metrics import ROLLUPS_DUE, ROLLUPS_MADE
from services.metering.pace import rest
from services.metering.retention import Retention
from services.metering.store import meters as store
from services.metering.store import rollups
from services.metering.store.amounts import Metered
from services.metering.store.figures import metered
from services.metering.store.heads import latest_slots
from services.metering.store.rollup_build import EVERY_MEDIUM, may_be_kept, refresh
from services.metering.store.tables import MeterRow

_log = logging.getLogger(__name__)

LEASE: Final = "metering.rollups"
EVERY_S: Final = 900.0
"""Domain seconds between two looks."""
TOGETHER: Final = 20
"""Meters in one transaction: writers of readings wait for its end."""


class RollupKeeper:
    """Brings roll-ups up to date, for ever."""

    def __init__(
        self,
        database: Database,
        tenants: TenantDirectory,
        clock: Clock,
        lease: Lease,
        *,
        ready: Callable[[], bool] = lambda: True,
        retention: Retention | None = None,
        media: Collection[int] = EVERY_MEDIUM,
    ) -> None:
        """`ready` says whether the database has its schema yet; `retention` deletes what need not be kept longer. Of
        other media than `media` roll-ups are taken away."""
        self._database, self._tenants, self._clock, self._lease = database, tenants, clock, lease
        self._ready, self._retention, self._media = ready, retention, media

    async def keep(self, beat: Callable[[], None]) -> None:
        """The loop. Without the database, the registry or the lease it waits."""
        while True:
            began = monotonic()
            if self._lease.holds() and self._ready():
                try:
                    await self.bring_up_to_date(beat)
                    if self._retention is not None:
                        await self._retention.apply(beat)
                except LichtbuchError as error:
                    _log.warning("roll-ups cannot be brought up to date: %s", error)
            beat()
            await rest(self._clock, EVERY_S, monotonic() - began)

    async def bring_up_to_date(self, beat: Callable[[], None] = lambda: None) -> int:
        """One pass over all meters. Returns how many days were made."""
        made = 0
        waiting = 0
        for tenant in await self._tenants.all():
            tz = zone(tenant.time_zone)
            due = await self._database.read(partial(_due, tenant=tenant, tz=tz, media=self._media))
            waiting += len(due)
            ROLLUPS_DUE.set(waiting)
            for begin in range(0, len(due), TOGETHER):
                made += await self._refresh(due[begin : begin + TOGETHER], tz)
                beat()
        ROLLUPS_DUE.set(0)
        ROLLUPS_MADE.inc(made)
        return made

    async def _refresh(self, rows: list[MeterRow], tz: ZoneInfo) -> int:
        """Days that were made. A meter whose days cannot be made, whatever the reason, keeps no other waiting."""
        try:
            return await self._database.run(partial(refresh, rows=rows, tz=tz, media=self._media))
        except Exception as error:
            if is_away(error):
                raise
            if len(rows) > 1:
                return sum([await self._refresh([row], tz) for row in rows])
            tell(_log, error, "there are no roll-ups of meter %s", rows[0].meter_id)
            return 0


def _due(session: Session, tenant: Tenant, tz: ZoneInfo, media: Collection[int]) -> list[MeterRow]:
    """Meters of a town whose roll-ups are missing, no longer true, a day behind, or not to be kept any more."""
    rows = store.all_rows(session, [tenant.uid])
    states = rollups.states_of(session, [row.uid for row in rows])
    marked = rollups.marks_of(session, [state.key for state in states.values()])
    meters: list[Metered] = []
    due: list[MeterRow] = []
    for meter in metered(session, rows):
        state = states.get(meter.row.uid)
        if may_be_kept(meter, media):
            meters.append(meter)
        elif state is not None and (state.until_ms > state.sealed_ms or state.key in marked):
            due.append(meter.row)
    latest = latest_slots(session, [life.key for meter in meters for life in meter.lives])
    floors: dict[int, int] = {}
    for meter in meters:
        newest = max((latest.get(life.key, 0) for life in meter.lives), default=0)
        if not newest:
            continue
        if newest not in floors:
            floors[newest] = day_floor_ms(newest, tz)
        state = states.get(meter.row.uid)
        is_true = state is not None and state.basis == basis_of(meter.row, meter.lives)
        if not is_true or state is None or state.key in marked or state.until_ms < floors[newest]:
            due.append(meter.row)
    return due
