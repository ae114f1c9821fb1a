"""How long readings are kept, per medium: what is older is deleted once its roll-ups are there, and these are sealed.

By default everything is kept for ever. Local days and months stay in any case, and so do readings of sensors, stocks
and meters that are read less often than daily: they have no roll-ups. The reading that the oldest kept day begins with
stays too. Every deletion is in the audit trail; months of PostgreSQL in which nothing is left are dropped as a whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from sqlmodel import Session

from domain.night import zone
from servicekit import audit
from servicekit.clock import Clock
from servicekit.context import Caller, Tenant, acting_as
from servicekit.database import Database
from servicekit.tenants import TenantDirectory
from services.metering.alone import is_away, tell
from services.metering.figures.rollups import months_back
from services.metering.meter import Medium
from services.metering.metrics import READINGS_DELETED
from services.metering.slot import slot_text
from services.metering.store import meters as store
from services.metering.store.partitions import drop_empty
from services.metering.store.rollup_build import delete_older
from services.metering.store.tables import MeterRow

_log = logging.getLogger(__name__)

ACTION: Final = "metering.readings.retire"


class Retention:
    """Deletes what is older than it has to be kept. months: by medium; media that are not named are kept for ever."""

    def __init__(
        self, database: Database, tenants: TenantDirectory, clock: Clock, months: Mapping[Medium, int]
    ) -> None:
        self._database, self._tenants, self._clock, self._months = database, tenants, clock, dict(months)
        self._done: dict[tuple[str, Medium], int] = {}
        # Whoever deleted last may have ended before the months that were left empty were dropped.
        self._may_be_empty = True

    async def apply(self, beat: Callable[[], None] = lambda: None) -> int:
        """Deletes where a further month has become too old. Returns how many readings went."""
        deleted, oldest = 0, 0
        for tenant in await self._tenants.all() if self._months else ():
            for medium, months in self._months.items():
                cutoff_ms = months_back(self._clock.now(), months, zone(tenant.time_zone))
                oldest = max(oldest, cutoff_ms)
                if self._done.get((tenant.uid, medium), 0) >= cutoff_ms:
                    continue
                deleted += await self._of_medium(tenant, medium, cutoff_ms, beat)
        if self._may_be_empty and oldest:
            # Until it has succeeded: it gives way to whoever holds the table for longer than it waits.
            dropped = await self._database.run(lambda session: drop_empty(session, oldest))
            self._may_be_empty = False
            for name in dropped:
                _log.info("%s has no reading left and is dropped", name)
        return deleted

    async def _of_medium(self, tenant: Tenant, medium: Medium, cutoff_ms: int, beat: Callable[[], None]) -> int:
        rows = await self._database.read(lambda session: store.all_rows(session, [tenant.uid]))
        deleted, complete = 0, True
        for row in rows:
            if row.medium != medium:
                continue
            try:
                with acting_as(Caller.of_service("metering"), action=ACTION):
                    count = await self._database.run(partial(_delete, tenant=tenant, row=row, cutoff_ms=cutoff_ms))
            except Exception as error:
                # Whatever is wrong with one meter, that of the others goes when its time has come.
                if is_away(error):
                    raise
                tell(_log, error, "old readings of meter %s of %s cannot be deleted", row.meter_id, tenant.id)
                count = None
            complete = complete and count is not None
            if count:
                deleted += count
                # At once: the database may be away before the others have had their turn.
                self._may_be_empty = True
                READINGS_DELETED.inc(count)
            beat()
        if complete:
            self._done[tenant.uid, medium] = cutoff_ms
        return deleted


def _delete(session: Session, tenant: Tenant, row: MeterRow, cutoff_ms: int) -> int | None:
    """Readings of one meter that went; None where its roll-ups are not up to date yet."""
    gone = delete_older(session, row, zone(tenant.time_zone), cutoff_ms)
    if gone is not None and gone.count:
        audit.record(
            session,
            ACTION,
            f"{tenant.name}/meters/{row.meter_id}",
            row.uid,
            tenant.uid,
            after={"readings": gone.count, "before": slot_text(gone.before_ms)},
            reason=f"{Medium(row.medium).name.lower()} is kept since {slot_text(cutoff_ms)}; days and months stay",
        )
    return None if gone is None else gone.count
