"""Computing a posted entry again from its sources as they are today: equal, different, or no longer to be computed."""

from dataclasses import dataclass
from typing import Final

from sqlmodel import Session

from domain.canonical import sha256_hex
from domain.errors import FailedPrecondition, InvalidInput, NotFound
from domain.names import ResourceName
from servicekit.context import Tenant
from servicekit.database import Database
from services.ledger import evidence
from services.ledger.assess import Inputs, assess
from services.ledger.entry import Entry, EntryKind, Posting, reversal_of
from services.ledger.sources import Sources
from services.ledger.store.entries import StoredEntry, get_entry
from services.ledger.store.log import evidence_bytes
from services.ledger.terms import Terms, read_terms

_FIGURES: Final = (
    "actual_wh",
    "baseline_wh",
    "saved_wh",
    "full_level_reference_wh",
    "saved_eur",
    "avoided_co2_g",
    "uncertainty_wh",
    "coverage_permille",
    "estimated_permille",
)


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What came out, in words; both empty where it is equal."""

    differences: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


async def recompute(database: Database, sources: Sources, tenant: Tenant, name: ResourceName) -> Recomputed:
    """Computes an entry again. Raises NotFound for an unknown entry, Unavailable while a source is away."""
    stored, terms, missing = await database.read(lambda session: _load(session, tenant.uid, name))
    if stored.entry.kind is EntryKind.REVERSAL:
        return await _recompute_reversal(database, tenant, stored.entry)
    if missing or terms is None:
        return Recomputed(missing=missing)
    entry = stored.entry
    try:
        inputs = await sources.inputs(terms, tenant.name, entry.start, entry.end)
        now = assess(terms, entry.start, entry.end, inputs)
    except NotFound as error:
        return Recomputed(missing=(error.message,))
    except (InvalidInput, FailedPrecondition) as error:
        return Recomputed(missing=(f"the sources no longer answer for the period: {error}",))
    return Recomputed(_different(entry, now.figures, _FIGURES) + _evidence_differences(entry, inputs))


async def _recompute_reversal(database: Database, tenant: Tenant, entry: Entry) -> Recomputed:
    try:
        name = ResourceName.parse(entry.reverses)
        target = await database.read(lambda session: get_entry(session, tenant.uid, name))
    except NotFound as error:
        return Recomputed(missing=(error.message,))
    posting = Posting(entry.name, entry.uid, entry.number, entry.posted_by, entry.posted_at)
    mirror = reversal_of(target.entry, target.leaf_hash, posting, entry.reason)
    return Recomputed(_different(entry, mirror, (*_FIGURES, "evidence")))


def _load(
    session: Session, municipality_uid: str, name: ResourceName
) -> tuple[StoredEntry, Terms | None, tuple[str, ...]]:
    """The entry, its terms, and which of its evidence is gone or was changed."""
    stored = get_entry(session, municipality_uid, name)
    terms: Terms | None = None
    missing = []
    for reference in stored.entry.evidence:
        label, digest = evidence.parse_reference(reference)
        if label not in evidence.WITH_BLOB:
            continue
        data = evidence_bytes(session, municipality_uid, digest)
        if data is None or sha256_hex(data) != digest:
            missing.append(f"the evidence {reference} {'is gone' if data is None else 'was changed'}")
        elif label == evidence.TERMS:
            terms = read_terms(data)
    return stored, terms, tuple(missing)


def _different(entry: Entry, now: object, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        f"{name}: {getattr(entry, name)} stored, {getattr(now, name)} now"
        for name in names
        if getattr(entry, name) != getattr(now, name)
    )


def _evidence_differences(entry: Entry, inputs: Inputs) -> tuple[str, ...]:
    then = evidence.by_label(entry.evidence)
    now = evidence.by_label((*(blob.reference for blob in inputs.blobs()), *inputs.hashes()))
    return tuple(
        f"{label}: {then.get(label, 'none')} stored, {digest} now"
        for label, digest in now.items()
        if then.get(label) != digest
    )
