"""EditReadings and EstimateReadings: what people put right, and what stands in for what nobody measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sqlmodel import Session

from domain.errors import InvalidInput
from domain.names import ResourceName
from domain.night import zone
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit import audit
from servicekit.context import Tenant, current_caller, current_tenant
from servicekit.idempotency import once
from services.metering.api.calls import Calls, Context, meter_name
from services.metering.api.convert import period_from_proto, readings_to_proto
from services.metering.edit import Edit, checked, revised
from services.metering.estimation import Method
from services.metering.life import RegisterLife
from services.metering.meter import Kind
from services.metering.metrics import READINGS_STORED
from services.metering.reading import Readings, Status, column
from services.metering.slot import EARLIEST_SLOT_MS, slot_text, to_ms
from services.metering.store import edits, estimates, lock
from services.metering.store import meters as store
from services.metering.store.checks import Subject, lifted
from services.metering.store.feed import ESTIMATE, Source
from services.metering.store.lives import lives_of, rules_of
from services.metering.store.partitions import months_of
from services.metering.store.tables import MeterRow

_MOST_IN_AUDIT = 100
_MOST_UNFILLED = 100


class EditCalls(Calls):
    """Edits and estimates."""

    async def EditReadings(self, request: pb.EditReadingsRequest, context: Context) -> pb.EditReadingsResponse:
        """New revisions with who and why, all of them or none."""
        tenant, name = current_tenant(), ResourceName.parse(request.name, collection="meters")
        now_ms = to_ms(self.clock.now())
        edit = _edit_from_proto(request)
        source = Source("edit", current_caller().subject, self.clock.now(), _reason(request.reason))
        slots = edit.slot_ms
        months = months_of(slots[(slots <= now_ms) & (slots >= EARLIEST_SLOT_MS)])

        def store_edit(session: Session) -> pb.EditReadingsResponse:
            lock.to_store_readings(session)
            row = store.get_row(session, tenant.uid, name.id, str(name))
            lives = lives_of(session, [row.uid])[row.uid]
            keys = checked(edit, Kind(row.kind), lives, now_ms)
            registers = np.unique(keys).tolist()
            new, old = revised(edit, keys, edits.current_at(session, registers, edit.slot_ms))
            batch_id = edits.put(session, new, source)
            if batch_id:
                self._lift_doubt(session, row, lives, new, source)
                before, after = _told(old), _told(new)
                audit.record(
                    session, "", str(name), row.uid, tenant.uid, before=before, after=after, reason=source.reason
                )
            there = edits.current_at(session, registers, edit.slot_ms)
            place = {slot: number for number, slot in enumerate(there.slot_ms.tolist())}
            asked = there.take(column([place[slot] for slot in edit.slot_ms.tolist()]))
            names = dict.fromkeys(registers, meter_name(tenant.id, row))
            return pb.EditReadingsResponse(readings=readings_to_proto(asked, names), stored=len(new))

        answer = await self.partitions.store(
            months,
            lambda session: once(
                session,
                request,
                pb.EditReadingsResponse,
                lambda: store_edit(session),
                municipality_uid=tenant.uid,
                real=self.clock.real(),
            ),
        )
        self._stored(answer.stored, edit.status)
        return answer

    async def EstimateReadings(
        self, request: pb.EstimateReadingsRequest, context: Context
    ) -> pb.EstimateReadingsResponse:
        """Fills the gaps of a meter in a period, as far as they have an end."""
        tenant, name = current_tenant(), ResourceName.parse(request.name, collection="meters")
        method = next((one for one in Method if int(one) == int(request.method)), None)
        if method is None:
            raise InvalidInput.of("method", f"{request.method} is not a method known here")
        reason = "" if request.dry_run else _reason(request.reason)
        now = self.clock.now()
        start_ms, end_ms = period_from_proto(request)
        span = max(start_ms, EARLIEST_SLOT_MS), min(end_ms, to_ms(now) + 1)
        source = Source(ESTIMATE, current_caller().subject, now, reason)

        def made(session: Session) -> tuple[MeterRow, estimates.Estimated, pb.EstimateReadingsResponse]:
            row = store.get_row(session, tenant.uid, name.id, str(name))
            lives = lives_of(session, [row.uid])[row.uid]
            found = estimates.made(session, row, lives, span, method, zone(tenant.time_zone), self.parameters)
            names = {life.key: meter_name(tenant.id, row) for life in lives}
            columns = readings_to_proto(found.readings, names)
            return row, found, pb.EstimateReadingsResponse(readings=columns, unfilled=found.unfilled[:_MOST_UNFILLED])

        def fill(session: Session) -> pb.EstimateReadingsResponse:
            lock.to_store_readings(session)
            row, found, answer = made(session)
            if edits.put(session, found.readings, source):
                _audit_estimate(session, tenant, row, str(name), found, method, reason)
            return answer

        _, planned, tried = await self.database.read(made)
        if request.dry_run:
            return tried
        answer = await self.partitions.store(
            months_of(planned.readings.slot_ms),
            lambda session: once(
                session,
                request,
                pb.EstimateReadingsResponse,
                lambda: fill(session),
                municipality_uid=tenant.uid,
                real=self.clock.real(),
            ),
        )
        self._stored(len(answer.readings.values), Status.ESTIMATED)
        return answer

    def _lift_doubt(
        self, session: Session, row: MeterRow, lives: Sequence[RegisterLife], new: Readings, source: Source
    ) -> None:
        """What was in doubt because of what has been edited is measured after all, as its next revision."""
        reason = f"no longer in doubt after an edit: {source.reason}"
        for life in lives:
            slots = new.slot_ms[new.register == life.key]
            subject = Subject(row, life, rules_of(row, life, self.parameters))
            good = lifted(session, subject, slots, self.parameters, to_ms(source.stored_at))
            edits.put(session, good, replace(source, source="revalidation", reason=reason))

    def _stored(self, count: int, status: Status) -> None:
        if count:
            READINGS_STORED.labels(status.name.lower()).inc(count)
            self.bell.ring()
            self.changed()


def _reason(given: str) -> str:
    reason = given.strip()
    if not reason:
        raise InvalidInput.of("reason", "say why: it is kept with the readings")
    return reason


def _edit_from_proto(request: pb.EditReadingsRequest) -> Edit:
    given = int(request.status) or int(Status.EDITED)
    status = next((one for one in Status if one == given), None)
    if status is None:
        raise InvalidInput.of("status", f"{given} is not a status known here")
    return Edit(column(request.slots_unix_ms), column(request.values), status, column(request.seen_revisions))


def _told(readings: Readings) -> dict[str, object]:
    """Readings as the audit trail tells them."""
    first = readings.take(slice(0, _MOST_IN_AUDIT))
    rows = zip(
        first.slot_ms.tolist(), first.value.tolist(), first.status.tolist(), first.revision.tolist(), strict=True
    )
    return {
        "readings": len(readings),
        "slots": {
            slot_text(slot): {"value": value, "status": Status(status).name.lower(), "revision": revision}
            for slot, value, status, revision in rows
        },
    }


def _audit_estimate(
    session: Session,
    tenant: Tenant,
    row: MeterRow,
    name: str,
    found: estimates.Estimated,
    method: Method,
    reason: str,
) -> None:
    slots = found.readings.slot_ms
    summary = {
        "method": method.name.lower(),
        "readings": len(slots),
        "first_slot": slot_text(int(slots.min())),
        "last_slot": slot_text(int(slots.max())),
    }
    audit.record(session, "", name, row.uid, tenant.uid, after=summary, reason=reason)
