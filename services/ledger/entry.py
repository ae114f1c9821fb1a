"""An entry of the book and its one way to bytes. Pure. The leaf of the log is `leaf_hash(entry_bytes(entry))`.

Schema 1. Energies are integer Wh, money is text with two decimals, instants have milliseconds. Not in the bytes: the
place in the log, the leaf hash, and whether a later entry reverses this one, since bytes never change. A resource's
name is an alias that may change hands; what counts are the uids beside it.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from domain.canonical import document, read_document
from domain.errors import InvalidInput
from services.ledger.fields import Fields
from services.ledger.split import money_text

ENTRY_KIND: Final = "lichtbuch.ledger.entry"
ENTRY_SCHEMA: Final = 1


class EntryKind(Enum):
    """What an entry is."""

    SAVING = "saving"
    REVERSAL = "reversal"


@dataclass(frozen=True, slots=True)
class PartyAmount:
    """A party's part of the money saved, in EUR."""

    party: str
    amount_eur: Decimal


@dataclass(frozen=True, slots=True)
class Entry:
    """A posted saving, or the reversal of one. The period is [start, end) in domain time, `posted_at` real time.

    evidence: "label:hash" each, see evidence.py. number counts the entries of a measure from 1.
    """

    name: str
    uid: str
    municipality_uid: str
    measure_uid: str
    number: int
    kind: EntryKind
    start: datetime
    end: datetime
    actual_wh: int
    baseline_wh: int
    saved_wh: int
    full_level_reference_wh: int
    saved_eur: Decimal
    avoided_co2_g: int
    uncertainty_wh: int
    coverage_permille: int
    estimated_permille: int
    provisional: bool
    shares: tuple[PartyAmount, ...]
    evidence: tuple[str, ...]
    computation: str
    posted_by: str
    posted_at: datetime
    reason: str = ""
    reverses: str = ""
    reverses_uid: str = ""


def entry_bytes(entry: Entry) -> bytes:
    """The canonical bytes of an entry: the data of its leaf."""
    body: dict[str, Any] = {name: getattr(entry, name) for name in Entry.__slots__}
    body["saved_eur"] = money_text(entry.saved_eur)
    body["shares"] = [{"party": part.party, "amount_eur": money_text(part.amount_eur)} for part in entry.shares]
    return document(ENTRY_KIND, ENTRY_SCHEMA, body)


def read_entry(data: bytes) -> Entry:
    """An entry from its bytes. Raises InvalidInput for anything but bytes that `entry_bytes` writes."""
    schema, body = read_document(data, ENTRY_KIND)
    if schema != ENTRY_SCHEMA:
        raise InvalidInput.of("entry.schema", f"version {schema} is not known here")
    fields = Fields(body, "entry")
    try:
        kind = EntryKind(fields.text("kind"))
    except ValueError:
        raise InvalidInput.of("entry.kind", "the kind is not known") from None
    shares = []
    for part in fields.inners("shares"):
        shares.append(PartyAmount(part.text("party"), _money(part, "amount_eur")))
        part.done()
    entry = Entry(
        name=fields.text("name"),
        uid=fields.text("uid"),
        municipality_uid=fields.text("municipality_uid"),
        measure_uid=fields.text("measure_uid"),
        number=fields.integer("number", 1),
        kind=kind,
        start=fields.instant("start"),
        end=fields.instant("end"),
        actual_wh=fields.integer("actual_wh"),
        baseline_wh=fields.integer("baseline_wh"),
        saved_wh=fields.integer("saved_wh"),
        full_level_reference_wh=fields.integer("full_level_reference_wh"),
        saved_eur=_money(fields, "saved_eur"),
        avoided_co2_g=fields.integer("avoided_co2_g"),
        uncertainty_wh=fields.integer("uncertainty_wh", 0),
        coverage_permille=fields.integer("coverage_permille", 0),
        estimated_permille=fields.integer("estimated_permille", 0),
        provisional=fields.flag("provisional"),
        shares=tuple(shares),
        evidence=fields.texts("evidence"),
        computation=fields.text("computation"),
        posted_by=fields.text("posted_by"),
        posted_at=fields.instant("posted_at"),
        reason=fields.text("reason"),
        reverses=fields.text("reverses"),
        reverses_uid=fields.text("reverses_uid"),
    )
    fields.done()
    return entry


@dataclass(frozen=True, slots=True)
class Posting:
    """Who posts an entry, where and when: what is no figure of it."""

    name: str
    uid: str
    number: int
    posted_by: str
    posted_at: datetime


def reversal_of(entry: Entry, leaf_hash: bytes, posting: Posting, reason: str) -> Entry:
    """The entry that takes another one back: the same figures with the sign turned, over the same period.

    Uncertainty, coverage and estimated share are magnitudes and stay. Its evidence names the leaf that it reverses.
    """
    return replace(
        entry,
        name=posting.name,
        uid=posting.uid,
        number=posting.number,
        kind=EntryKind.REVERSAL,
        actual_wh=-entry.actual_wh,
        baseline_wh=-entry.baseline_wh,
        saved_wh=-entry.saved_wh,
        full_level_reference_wh=-entry.full_level_reference_wh,
        saved_eur=-entry.saved_eur,
        avoided_co2_g=-entry.avoided_co2_g,
        shares=tuple(PartyAmount(part.party, -part.amount_eur) for part in entry.shares),
        evidence=(*entry.evidence, f"entry:{leaf_hash.hex()}"),
        computation=f"Reverses {entry.name}: its figures with the sign turned.",
        posted_by=posting.posted_by,
        posted_at=posting.posted_at,
        reason=reason,
        reverses=entry.name,
        reverses_uid=entry.uid,
    )


def whole_milliseconds(instant: datetime) -> datetime:
    """The instant in UTC as the book can hold it: finer digits are cut off."""
    utc = instant.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


def _money(fields: Fields, key: str) -> Decimal:
    amount, text = fields.decimal(key), fields.text(key)
    if money_text(amount) != text:
        raise InvalidInput.of(f"entry.{key}", f"{text!r} is not an amount with two decimals")
    return amount
