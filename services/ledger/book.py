"""Keeping the book: creating measures, posting and reversing entries. Reading and proving it is in auditing.py.

What takes a network is asked first; then one transaction, under the lock of the municipality's log, looks again whether
the entry may be, and appends leaf, evidence, checkpoint and audit record together or not at all.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from google.protobuf.message import Message
from sqlmodel import Session

from domain.errors import Conflict, FailedPrecondition, InvalidInput
from domain.names import ResourceName, new_uid
from domain.night import instant_from_unix_ms
from lichtbuch.ledger.v1 import ledger_pb2 as pb
from servicekit import audit
from servicekit.clock import Clock
from servicekit.context import Tenant, current_caller
from servicekit.database import Database
from servicekit.idempotency import once
from services.ledger import evidence
from services.ledger.assess import Assessment, Inputs, MeteredInputs, assess
from services.ledger.convert import definition_of, entry_to_proto, measure_to_proto
from services.ledger.entry import Entry, EntryKind, PartyAmount, Posting, reversal_of, whole_milliseconds
from services.ledger.evidence import Blob
from services.ledger.freezing import freeze
from services.ledger.heads import Heads
from services.ledger.metered import Readings
from services.ledger.metrics import ENTRIES
from services.ledger.period import period_violations
from services.ledger.sources import Sources
from services.ledger.store.entries import StoredEntry, get_entry, next_number, overlapping
from services.ledger.store.log import append, lock_log
from services.ledger.store.measures import StoredMeasure, add_measure, get_measure, terms_of
from services.ledger.terms import Method, Terms, terms_bytes

PATIENCE: Final = timedelta(hours=24)
"""So long after its end (domain time) a period waits for readings that are not there yet."""

Answer = TypeVar("Answer", bound=Message)


class NotYet(FailedPrecondition):
    """The period cannot be posted yet, because readings are still to come."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """All that an entry says of energy, before it has a place in the log."""

    inputs: Inputs
    assessment: Assessment


class _Unseen(Exception):
    """The request id was not seen before."""


class Book:
    """The book of every municipality."""

    def __init__(self, database: Database, clock: Clock, sources: Sources, heads: Heads) -> None:
        self.database, self.clock, self.sources, self.heads = database, clock, sources, heads

    async def create_measure(self, request: pb.CreateMeasureRequest, tenant: Tenant) -> pb.Measure:
        """Creates a measure and freezes its terms. Raises InvalidInput, FailedPrecondition, AlreadyExists."""
        known = await self._answered_before(request, pb.Measure, tenant)
        if known is not None:
            return known
        uid = new_uid()
        name = ResourceName.of(tenant.id, "measures", request.measure_id or uid)
        try:
            terms = await freeze(request.measure, name=str(name), uid=uid, tenant=tenant, sources=self.sources)
        except InvalidInput as error:
            raise error.under("measure") from error
        blob = Blob(evidence.TERMS, terms_bytes(terms))
        definition = definition_of(request.measure, terms, blob.hash)
        measure = StoredMeasure(
            uid=uid,
            municipality_uid=tenant.uid,
            measure_id=name.id,
            terms_hash=blob.hash,
            definition=definition.SerializeToString(deterministic=True),
            post_automatically=request.measure.post_automatically,
            created_at=whole_milliseconds(self.clock.now()),
        )
        answer = measure_to_proto(measure, tenant)

        def store(session: Session) -> pb.Measure:
            def create() -> pb.Measure:
                add_measure(session, measure, blob, answer.name)
                audit.record(session, "ledger.measures.create", answer.name, uid, tenant.uid, after=answer)
                return answer

            return self._once(session, request, pb.Measure, create, tenant)

        return await self.database.run(store)

    async def post(
        self, name: ResourceName, start: datetime, end: datetime, tenant: Tenant, request: pb.PostEntryRequest
    ) -> pb.Entry:
        """Posts the entry of a period, or answers the one that is there.

        Raises InvalidInput for a period that may not be, FailedPrecondition for one that overlaps another entry or has
        not ended, NotYet while readings are still to come.
        """
        known = await self._answered_before(request, pb.Entry, tenant)
        if known is not None:
            return known
        measure, terms, there = await self.database.read(lambda session: _look(session, tenant, name, start, end))
        prepared = await self._prepare(terms, start, end, tenant) if there is None else None
        posted_at = whole_milliseconds(self.clock.real())

        def append_it(session: Session) -> tuple[pb.Entry, bool]:
            size = lock_log(session, tenant.uid)

            def post() -> pb.Entry:
                again = _find(session, measure, name, start, end)
                if again is not None:
                    return entry_to_proto(again)
                if prepared is None:
                    raise Conflict("the entry of this period was reversed in this very moment: post again")
                number = next_number(session, measure.uid)
                posting = Posting(f"{name}/entries/{number}", new_uid(), number, current_caller().subject, posted_at)
                entry = _entry(terms, measure, posting, (start, end), prepared)
                return self._append(session, entry, prepared.inputs.blobs(), "ledger.entries.create")

            answer = self._once(session, request, pb.Entry, post, tenant)
            return answer, answer.leaf_index == size

        return await self._booked(append_it, tenant)

    async def reverse(self, name: ResourceName, tenant: Tenant, request: pb.ReverseEntryRequest) -> pb.Entry:
        """Appends the reversal of an entry. Raises NotFound, FailedPrecondition if there is nothing to reverse."""
        posted_at = whole_milliseconds(self.clock.real())

        def append_it(session: Session) -> tuple[pb.Entry, bool]:
            size = lock_log(session, tenant.uid)

            def reverse() -> pb.Entry:
                target = get_entry(session, tenant.uid, name)
                _check_reversible(target)
                number = next_number(session, target.entry.measure_uid)
                measure_name = ResourceName.parse(name.parent)
                posting = Posting(
                    f"{measure_name}/entries/{number}", new_uid(), number, current_caller().subject, posted_at
                )
                entry = reversal_of(target.entry, target.leaf_hash, posting, request.reason)
                return self._append(session, entry, [], "ledger.entries.reverse", request.reason)

            answer = self._once(session, request, pb.Entry, reverse, tenant)
            return answer, answer.leaf_index == size

        return await self._booked(append_it, tenant)

    async def _booked(self, work: Callable[[Session], tuple[pb.Entry, bool]], tenant: Tenant) -> pb.Entry:
        """Runs the transaction of an append; what it appended is counted and its checkpoint written."""
        answer, is_new = await self.database.run(work)
        if is_new:
            kind = EntryKind.REVERSAL if answer.kind == pb.ENTRY_KIND_REVERSAL else EntryKind.SAVING
            ENTRIES.labels(kind.value).inc()
        await self.heads.write(tenant.uid)
        return answer

    async def _prepare(self, terms: Terms, start: datetime, end: datetime, tenant: Tenant) -> _Prepared:
        """Asks the sources and computes, before any lock is taken."""
        self._check_period(terms, start, end)
        inputs = await self.sources.inputs(terms, tenant.name, start, end)
        self._check_complete(terms, inputs, end)
        return _Prepared(inputs, await asyncio.to_thread(_assess, terms, start, end, inputs))

    def _append(self, session: Session, entry: Entry, blobs: list[Blob], action: str, reason: str = "") -> pb.Entry:
        leaf = append(session, entry, blobs)
        self.heads.sign_newest(session, entry.municipality_uid)
        answer = entry_to_proto(StoredEntry(entry, leaf.index, leaf.hash, ""))
        audit.record(session, action, entry.name, entry.uid, entry.municipality_uid, after=answer, reason=reason)
        return answer

    def _check_period(self, terms: Terms, start: datetime, end: datetime) -> None:
        violations = period_violations(terms, start, end)
        if violations:
            raise InvalidInput(violations=violations)
        now = self.clock.now()
        if end > now:
            raise FailedPrecondition.of(
                "end_time", f"the period has not ended: it is {now.isoformat(timespec='seconds')}"
            )

    def _check_complete(self, terms: Terms, inputs: Inputs, end: datetime) -> None:
        """A meter that was not read yet is waited for, not for ever."""
        if not isinstance(inputs, MeteredInputs) or self.clock.now() >= end + PATIENCE:
            return
        late = late_meters(terms, inputs.readings, end)
        if late:
            until = (end + PATIENCE).isoformat(timespec="minutes")
            raise NotYet.of(
                "end_time",
                f"{len(late)} of {len(terms.meters)} meters have no reading at the end of the period yet, "
                f"{late[0]} among them; from {until} on it is posted without",
            )

    def _once(
        self, session: Session, request: Message, kind: type[Answer], make: Callable[[], Answer], tenant: Tenant
    ) -> Answer:
        return once(session, request, kind, make, municipality_uid=tenant.uid, real=self.clock.real())

    async def _answered_before(self, request: Message, kind: type[Answer], tenant: Tenant) -> Answer | None:
        """The first answer to a request id, before others are asked for what may have changed since."""
        if not getattr(request, "request_id", ""):
            return None

        def unseen() -> Answer:
            raise _Unseen

        try:
            return await self.database.run(lambda session: self._once(session, request, kind, unseen, tenant))
        except _Unseen:
            return None


def late_meters(terms: Terms, readings: Readings, end: datetime) -> list[str]:
    """Meters without a usable reading at or after the end of a period."""
    return [
        meter.name
        for meter, usable in zip(terms.meters, readings.usable(len(terms.meters)), strict=True)
        if not usable or instant_from_unix_ms(usable[-1][0]) < end
    ]


def _look(
    session: Session, tenant: Tenant, name: ResourceName, start: datetime, end: datetime
) -> tuple[StoredMeasure, Terms, StoredEntry | None]:
    measure = get_measure(session, tenant.uid, name)
    return measure, terms_of(session, measure), _find(session, measure, name, start, end)


def _find(
    session: Session, measure: StoredMeasure, name: ResourceName, start: datetime, end: datetime
) -> StoredEntry | None:
    """The counting entry of the period. Raises FailedPrecondition that names an entry which overlaps it."""
    # One question for both: between two of them somebody else may post this very period.
    others = overlapping(session, measure.uid, start, end)
    for there in others:
        if (there.entry.start, there.entry.end) == (start, end):
            return there
    if others:
        other = others[0].entry
        raise FailedPrecondition.of(
            "start_time",
            f"the period overlaps that of {other.name} ({other.start.isoformat()} to {other.end.isoformat()})",
        )
    return None


def _assess(terms: Terms, start: datetime, end: datetime, inputs: Inputs) -> Assessment:
    try:
        return assess(terms, start, end, inputs)
    except InvalidInput as error:
        raise FailedPrecondition(f"the period cannot be posted: {error}", error.violations) from error


def _entry(
    terms: Terms,
    measure: StoredMeasure,
    posting: Posting,
    period: tuple[datetime, datetime],
    prepared: _Prepared,
) -> Entry:
    inputs, figures = prepared.inputs, prepared.assessment.figures
    references = [f"{evidence.TERMS}:{measure.terms_hash}", *(blob.reference for blob in inputs.blobs())]
    return Entry(
        name=posting.name,
        uid=posting.uid,
        municipality_uid=measure.municipality_uid,
        measure_uid=measure.uid,
        number=posting.number,
        kind=EntryKind.SAVING,
        start=period[0],
        end=period[1],
        actual_wh=figures.actual_wh,
        baseline_wh=figures.baseline_wh,
        saved_wh=figures.saved_wh,
        full_level_reference_wh=figures.full_level_reference_wh,
        saved_eur=figures.saved_eur,
        avoided_co2_g=figures.avoided_co2_g,
        uncertainty_wh=figures.uncertainty_wh,
        coverage_permille=figures.coverage_permille,
        estimated_permille=figures.estimated_permille,
        # Days of a building are not corrected for the weather: the heating year may still be.
        provisional=terms.method is Method.OPTION_C,
        shares=tuple(PartyAmount(party, amount) for party, amount in figures.shares),
        evidence=tuple(references + inputs.hashes()),
        computation=prepared.assessment.computation,
        posted_by=posting.posted_by,
        posted_at=posting.posted_at,
    )


def _check_reversible(target: StoredEntry) -> None:
    if target.entry.kind is EntryKind.REVERSAL:
        raise FailedPrecondition.of("name", f"{target.entry.name} is a reversal itself: post the period anew instead")
    if target.reversed_by:
        raise FailedPrecondition.of("name", f"{target.entry.name} is reversed already, by {target.reversed_by}")
