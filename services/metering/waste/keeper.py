"""The loop of the waste watch: once a local day it looks at every meter of every municipality.

One worker at a time does it (a lease). It looks in the morning, when the readings of the day before are in. The day it
looked at last is kept in a local file: a worker that is started again and again is not to look each time, and one that
does not find it (another replica) looks once more, which changes nothing. What it finds is raised once, extended while
it lasts, and ended by itself.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from datetime import date, datetime, time
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final
from zoneinfo import ZoneInfo

from sqlmodel import Session

from domain.errors import LichtbuchError
from domain.night import local_date, local_day_bounds, zone
from servicekit.clock import Clock
from servicekit.context import Tenant
from servicekit.database import Database
from servicekit.lease import Lease
from servicekit.tenants import TenantDirectory
from services.metering.alone import is_away, tell
from services.metering.meter import Kind, Unit
from services.metering.metrics import WASTE_CHANGES, WASTE_FINDINGS, WASTE_LOOKED
from services.metering.pace import rest
from services.metering.slot import to_ms
from services.metering.store import findings as store
from services.metering.store import meters
from services.metering.store.amounts import Metered
from services.metering.store.figures import metered
from services.metering.store.finding_changes import Made, end, past_of, settle
from services.metering.store.tables import MeterRow
from services.metering.store.waste import Look, Looking, in_tree, look_at, outdoor_means, parts_of
from services.metering.waste.parameters import WasteRules
from services.metering.waste.trees import Tree, deepest_first
from services.metering.waste.watch import Rule

_log = logging.getLogger(__name__)

LEASE: Final = "metering.waste"
_SCHEMA: Final = 1
EVERY_S: Final = 900.0
"""Domain seconds between two looks at the clock."""
MORNING: Final = time(5)
"""Local time from which on the day before is looked at."""


class WasteKeeper:
    """Looks at the meters, for ever."""

    def __init__(
        self,
        database: Database,
        tenants: TenantDirectory,
        clock: Clock,
        lease: Lease,
        *,
        ready: Callable[[], bool] = lambda: True,
        rules: WasteRules | None = None,
        memory: Path | None = None,
    ) -> None:
        """`ready` says whether the database has its schema yet; `rules` are the numbers of the rules; `memory` is the
        file that tells the next worker at this place which day was looked at."""
        self._database, self._tenants, self._clock, self._lease, self._ready = database, tenants, clock, lease, ready
        self._memory, self._rules = memory, rules or WasteRules()
        self._looked = _remembered(memory)

    async def keep(self, beat: Callable[[], None]) -> None:
        """The loop. Without the database, the registry or the lease it waits."""
        while True:
            began = monotonic()
            if self._lease.holds() and self._ready():
                try:
                    await self.look(beat)
                except LichtbuchError as error:
                    _log.warning("the waste watch cannot look: %s", error)
            beat()
            await rest(self._clock, EVERY_S, monotonic() - began)

    async def look(self, beat: Callable[[], None] = lambda: None) -> int:
        """Looks at every municipality whose morning has come since the last look. Returns how many findings became
        others. Raises Unavailable where the database or the registry is away: then the rest is looked at later."""
        changes = 0
        for tenant in await self._tenants.all():
            tz = zone(tenant.time_zone)
            local = self._clock.now().astimezone(tz)
            if local.time() < MORNING or self._looked.get(tenant.uid) == local.date():
                continue
            changes += await self._look_at(tenant, tz, beat)
            self._looked[tenant.uid] = local.date()
            self._remember()
            WASTE_LOOKED.set(self._clock.real().timestamp())
            counts = await self._database.read(store.counts)
            for rule in Rule:
                WASTE_FINDINGS.labels(rule.value).set(counts.get(rule.value, 0))
        return changes

    def _remember(self) -> None:
        """Keeps what was looked at. A disk that fails costs the next worker a look."""
        if self._memory is None:
            return
        looked = {uid: day.isoformat() for uid, day in self._looked.items()}
        try:
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            partial_file = self._memory.with_name(self._memory.name + ".tmp")
            partial_file.write_text(json.dumps({"schema": _SCHEMA, "looked": looked}), encoding="utf-8")
            os.replace(partial_file, self._memory)
        except OSError as error:
            _log.warning("what the waste watch looked at cannot be written: %s", error)

    async def _look_at(self, tenant: Tenant, tz: ZoneInfo, beat: Callable[[], None]) -> int:
        now = self._clock.now()
        end_ms = to_ms(local_day_bounds(local_date(now, tz), tz)[0])
        rows = await self._database.read(lambda session: meters.all_rows(session, [tenant.uid]))
        means = await self._database.read(
            lambda session: outdoor_means(session, tenant.uid, _outdoor(session, rows), end_ms, tz)
        )
        await self._database.run(lambda session: _end_of_gone(session, tenant, now))
        looking, tree = Looking(end_ms, tz, means, self._rules), Tree(parts_of(rows))
        by_uid, changes = {row.uid: row for row in rows}, 0
        for uid in deepest_first(by_uid, tree.parts):
            row = by_uid[uid]
            try:
                looks = await self._database.read(partial(_look, row=row, looking=looking, tree=tree))
                made: Made = []
                if looks:
                    made = await self._database.run(partial(settle, tenant=tenant, meter=row, looks=looks, now=now))
            except Exception as error:
                # One meter that cannot be worked out keeps nobody from looking at the others.
                if is_away(error):
                    raise
                tell(_log, error, "meter %s of %s cannot be looked at", row.meter_id, tenant.id)
                made = []
            for rule, change in made:
                WASTE_CHANGES.labels(rule.value, change.name.lower()).inc()
            changes += len(made)
            beat()
        return changes


def _remembered(memory: Path | None) -> dict[str, date]:
    """The local days that were looked at last, by municipality; none where nobody knows."""
    if memory is None:
        return {}
    try:
        document = json.loads(memory.read_text(encoding="utf-8"))
        if document["schema"] != _SCHEMA:
            return {}
        return {str(uid): date.fromisoformat(day) for uid, day in document["looked"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _log.warning("what the waste watch looked at cannot be read from %s, so it looks once more: %s", memory, error)
        return {}


def _look(session: Session, row: MeterRow, looking: Looking, tree: Tree) -> list[Look]:
    [meter] = metered(session, [row])
    looks = look_at(session, meter, looking, past_of(session, row.uid))
    return in_tree(looks, row, tree, store.standing(session, row.uid), looking.end_ms)


def _outdoor(session: Session, rows: list[MeterRow]) -> list[Metered]:
    sensors = [row for row in rows if row.kind == Kind.INSTANT and row.unit == Unit.CELSIUS]
    return metered(session, [row for row in sensors if not row.building and not row.cabinet_id])


def _end_of_gone(session: Session, tenant: Tenant, now: datetime) -> None:
    for row in store.of_gone(session, tenant.uid):
        end(session, tenant, row, now, "the meter was taken out of use")
