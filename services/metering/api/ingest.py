"""IngestReadings: readings that somebody brings, in columns, each stored once or refused by index and reason."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import numpy as np
from sqlmodel import Session

from domain.names import ResourceName
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit import audit
from servicekit.context import Tenant, current_caller, current_tenant
from services.metering.api.calls import Calls, Context, meter_name
from services.metering.api.convert import brought_from_proto
from services.metering.api.validation import findings_to_proto
from services.metering.batch import Brought, Owner, Sorted, sort_out
from services.metering.metrics import READINGS_REFUSED, READINGS_STORED
from services.metering.reading import Refusals, Status
from services.metering.slot import EARLIEST_SLOT_MS, to_ms
from services.metering.store import lock
from services.metering.store import meters as store
from services.metering.store.checks import Subject, check_brought
from services.metering.store.feed import Source
from services.metering.store.ingest import Outcome, Written, write
from services.metering.store.lives import lives_of, rules_of
from services.metering.store.neighbours import all_lives, judge_among_stored
from services.metering.store.partitions import months_of
from services.metering.validation.parameters import Parameters

_MOST_FINDINGS: Final = 1_000
_EDIT: Final = "metering.readings.edit"
_PUT_RIGHT: Final = (Status.EDITED, Status.SUBSTITUTED)


class IngestCalls(Calls):
    """Readings from outside."""

    async def IngestReadings(self, request: pb.IngestReadingsRequest, context: Context) -> pb.IngestReadingsResponse:
        """Stores what is new, says what is refused. All that is stored of one request is stored together."""
        tenant, now_ms = current_tenant(), to_ms(self.clock.now())
        # A million readings take a while to convert, and others are waiting for the loop.
        brought = await asyncio.to_thread(brought_from_proto, request.readings)
        # What a person has put right gives way to nothing that is measured: who brings such needs the right to edit.
        if bool(np.isin(brought.status, _PUT_RIGHT).any()):
            current_caller().require(_EDIT, tenant.id)
        slots = brought.slot_ms
        months = months_of(slots[(slots <= now_ms) & (slots >= EARLIEST_SLOT_MS)]) if not request.dry_run else set()
        source = self.source(request.source)

        def ingest(session: Session) -> tuple[pb.IngestReadingsResponse, Sorted, Written]:
            given = _Given(tenant, list(request.readings.meters), brought, source, now_ms)
            return _ingest(session, given, self.parameters, request.dry_run)

        answer, taken, written = await self.partitions.store(months, ingest)
        if written.batch_id:
            self.bell.ring()
        if not request.dry_run:
            _count(answer, taken, written)
        return answer


@dataclass(frozen=True, slots=True)
class _Given:
    """What somebody brings: readings of meters by name, at a time."""

    tenant: Tenant
    names: list[str]
    brought: Brought
    source: Source
    now_ms: int


def _ingest(
    session: Session, given: _Given, parameters: Parameters, dry_run: bool
) -> tuple[pb.IngestReadingsResponse, Sorted, Written]:
    tenant, names, now_ms, source = given.tenant, given.names, given.now_ms, given.source
    if not dry_run:
        lock.to_store_readings(session)
    ids = [ResourceName.parse(name, field="readings.meters", collection="meters").id for name in names]
    rows = store.rows_by_id(session, tenant.uid, list(dict.fromkeys(ids)))
    lives = lives_of(session, [row.uid for row in rows.values()])
    owners = [Owner(rows[one].kind, lives[rows[one].uid]) if one in rows else None for one in ids]
    taken, refusals = sort_out(given.brought, owners, now_ms)
    by_key = all_lives(list(lives.values()))
    meters = {row.uid: row for row in rows.values()}
    rules = {key: rules_of(meters[life.meter_uid], life, parameters) for key, life in by_key.items()}
    judged = judge_among_stored(session, taken.readings, by_key, rules)
    subjects = {key: Subject(meters[life.meter_uid], life, rules[key]) for key, life in by_key.items()}
    taken.readings.status, found = check_brought(session, taken.readings, judged, subjects, parameters, now_ms)
    written = write(session, taken.readings, source, dry_run=dry_run)
    refusals.add(taken.row[written.outcome == Outcome.CONFLICT], "another value is stored for this meter and slot")
    refusals.add(
        taken.row[written.outcome == Outcome.PROTECTED],
        "another value was put there by a person, which stands until a person changes it",
    )
    answer = _answer(taken, written, refusals)
    meter_names = {key: meter_name(tenant.id, subject.row) for key, subject in subjects.items()}
    answer.findings.extend(findings_to_proto(meter_names, found, _MOST_FINDINGS))
    if written.batch_id:
        summary = {"source": source.source, "stored": answer.stored, "refused": answer.refused, "meters": names[:20]}
        audit.record(session, "", f"{tenant.name}/meters", str(written.batch_id), tenant.uid, after=summary)
    return answer, taken, written


def _answer(taken: Sorted, written: Written, refusals: Refusals) -> pb.IngestReadingsResponse:
    return pb.IngestReadingsResponse(
        stored=written.count(Outcome.STORED),
        unchanged=written.count(Outcome.UNCHANGED) + taken.unchanged,
        refused=refusals.count,
        refusals=refusals.sentences(),
    )


def _count(answer: pb.IngestReadingsResponse, taken: Sorted, written: Written) -> None:
    stored = taken.readings.status[written.outcome == Outcome.STORED]
    for status in Status:
        if count := int((stored == status).sum()):
            READINGS_STORED.labels(status.name.lower()).inc(count)
    if answer.refused:
        READINGS_REFUSED.labels("ingest").inc(answer.refused)
