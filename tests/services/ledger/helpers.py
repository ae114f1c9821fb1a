"""A small town's measures, and logs about them built from the pure modules alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.names import new_uid
from domain.night import local_day_bounds, night_bounds, unix_ms, zone
from services.ledger import evidence
from services.ledger.assess import Inputs, LevelInputs, MeteredInputs, assess
from services.ledger.bundle import EvidencePart, HeaderPart, LeafPart, Part, write_line
from services.ledger.checkpoint import Checkpoint, sign
from services.ledger.entry import Entry, EntryKind, PartyAmount, Posting, entry_bytes, reversal_of
from services.ledger.evidence import Blob
from services.ledger.levels import Levels
from services.ledger.merkle import Frontier, leaf_hash
from services.ledger.metered import Consumption, Readings
from services.ledger.terms import (
    Factors,
    Inventory,
    LightingTerms,
    MeterRef,
    Method,
    Share,
    StatedTerms,
    Terms,
    terms_bytes,
)

BERLIN = zone("Europe/Berlin")
TOWN = "municipalities/bad-hersfeld"
TOWN_UID = "0" * 31 + "1"
MEASURE_UID = "a" * 32
POSTED_AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
FACTORS = Factors(Decimal("0.2875"), "supply contract 2026", 363, "2024, UBA first estimate")
SHARES = (Share("Bad Hersfeld", 700), Share("Contractor", 300))
HASH = "ab" * 32


def night_of(day: date) -> tuple[datetime, datetime]:
    """The lighting night of a date."""
    return night_bounds(day, BERLIN)


def day_of(day: date) -> tuple[datetime, datetime]:
    """The local day of a date."""
    return local_day_bounds(day, BERLIN)


def inventory(
    *, count: int = 4, cabinets: int = 2, previous_mw: int = 83_000, rated_mw: int = 30_000, half_every: int = 3
) -> Inventory:
    """Luminaires around Bad Hersfeld, every third one half-night, spread over cabinets."""
    numbers = range(count)
    return Inventory(
        names=tuple(f"{TOWN}/luminaires/L-{n:04}" for n in numbers),
        uids=tuple(f"{n:032x}" for n in numbers),
        cabinet_indexes=tuple(n % cabinets for n in numbers),
        latitudes_e7=tuple(508_700_000 + 1_000 * n for n in numbers),
        longitudes_e7=tuple(97_100_000 + 1_000 * n for n in numbers),
        previous_mw=(previous_mw,) * count,
        rated_mw=(rated_mw,) * count,
        half_night=tuple(bool(half_every) and n % half_every == 0 for n in numbers),
    )


def lighting(**changes: Any) -> LightingTerms:
    """A lighting baseline over two cabinets."""
    given: dict[str, Any] = {
        "cabinets": (f"{TOWN}/cabinets/C-1", f"{TOWN}/cabinets/C-2"),
        "half_night_off": "22:30",
        "half_night_on": "",
        "uncertainty_permille": 50,
        "inventory": inventory(),
        **changes,
    }
    return LightingTerms(**given)


def stated(**changes: Any) -> StatedTerms:
    """A building's baseline: less at weekends, more in winter."""
    given: dict[str, Any] = {
        "weekday_wh": tuple(400_000 - 10_000 * min(m, 11 - m) for m in range(12)),
        "weekend_wh": tuple(200_000 - 5_000 * min(m, 11 - m) for m in range(12)),
        "uncertainty_permille": 100,
        "source": "load profile 2025",
        **changes,
    }
    return StatedTerms(**given)


def meters(*cabinets: str) -> tuple[MeterRef, ...]:
    """A meter per cabinet; with no cabinet given one of a building."""
    if not cabinets:
        return (MeterRef(f"{TOWN}/meters/M-hall", "b" * 32, ""),)
    return tuple(MeterRef(f"{TOWN}/meters/M-{n}", f"{n:032x}", cabinet) for n, cabinet in enumerate(cabinets, 1))


def terms(method: Method, **changes: Any) -> Terms:
    """The terms of a measure by a method."""
    baseline = stated() if method is Method.OPTION_C else lighting()
    counted: tuple[MeterRef, ...] = ()
    if method is Method.OPTION_C:
        counted = meters()
    elif method is Method.OPTION_B:
        counted = meters(*lighting().cabinets)
    given: dict[str, Any] = {
        "municipality_uid": TOWN_UID,
        "measure_uid": MEASURE_UID,
        "measure": f"{TOWN}/measures/m1",
        "display_name": "LED 2026",
        "method": method,
        "effective_from": datetime(2026, 1, 1, tzinfo=UTC),
        "time_zone": "Europe/Berlin",
        "factors": FACTORS,
        "shares": SHARES,
        "meters": counted,
        "baseline": baseline,
        **changes,
    }
    return Terms(**given)


def readings_of(counters: Sequence[Sequence[tuple[datetime, int]]], status: int = 1) -> Readings:
    """Readings of meters, each a list of instant and counter."""
    rows = [
        (meter, unix_ms(instant), value) for meter, series in enumerate(counters) for instant, value in sorted(series)
    ]
    count = len(rows)
    return Readings(
        meter_indexes=tuple(meter for meter, _, _ in rows),
        slots_unix_ms=tuple(slot for _, slot, _ in rows),
        values=tuple(value for _, _, value in rows),
        statuses=(status,) * count,
        observed_at_unix_ms=tuple(slot for _, slot, _ in rows),
        time_sources=(2,) * count,
        revisions=(0,) * count,
    )


def metered(terms: Terms, start: datetime, end: datetime, *amounts_wh: int) -> MeteredInputs:
    """Every meter read exactly at both ends, with its amount in between."""
    wanted = amounts_wh or (10_000,) * len(terms.meters)
    middle = start + (end - start) / 2
    middle -= timedelta(seconds=middle.timestamp() % 900)
    series = [[(start, 5_000), (middle, 5_000 + amount // 2), (end, 5_000 + amount)] for amount in wanted]
    consumption = Consumption(start, end, wanted, (0,) * len(wanted), (1000,) * len(wanted), (1,) * len(wanted), HASH)
    return MeteredInputs(consumption, readings_of(series))


def levels(terms: Terms, start: datetime, end: datetime, energy_mwh: int = 300_000) -> LevelInputs:
    """Every frozen luminaire with the same energy, its level known all the time."""
    assert isinstance(terms.baseline, LightingTerms)
    count = len(terms.baseline.inventory)
    period_s = round((end - start).total_seconds())
    return LevelInputs(
        Levels(
            start=start,
            end=end,
            indexes=tuple(range(count)),
            energies_mwh=(energy_mwh,) * count,
            lit_s=(40_000,) * count,
            known_s=(period_s,) * count,
            estimated=(False,) * count,
            evidence_hash=HASH,
        )
    )


def entry_for(terms: Terms, number: int, start: datetime, end: datetime, inputs: Inputs, /, **changes: Any) -> Entry:
    """A saving as the book posts it."""
    result = assess(terms, start, end, inputs)
    figures = result.figures
    terms_blob = Blob(evidence.TERMS, terms_bytes(terms))
    references = (terms_blob.reference, *(blob.reference for blob in inputs.blobs()), *inputs.hashes())
    entry = Entry(
        name=f"{terms.measure}/entries/{number}",
        uid=new_uid(),
        municipality_uid=terms.municipality_uid,
        measure_uid=terms.measure_uid,
        number=number,
        kind=EntryKind.SAVING,
        start=start,
        end=end,
        actual_wh=figures.actual_wh,
        baseline_wh=figures.baseline_wh,
        saved_wh=figures.saved_wh,
        full_level_reference_wh=figures.full_level_reference_wh,
        saved_eur=figures.saved_eur,
        avoided_co2_g=figures.avoided_co2_g,
        uncertainty_wh=figures.uncertainty_wh,
        coverage_permille=figures.coverage_permille,
        estimated_permille=figures.estimated_permille,
        provisional=terms.method is Method.OPTION_C,
        shares=tuple(PartyAmount(party, amount) for party, amount in figures.shares),
        evidence=references,
        computation=result.computation,
        posted_by="service:ledger",
        posted_at=POSTED_AT,
    )
    return replace(entry, **changes)


@dataclass
class PaperLog:
    """A log without a database: leaves, evidence, a checkpoint after each leaf. What a bundle is made of."""

    origin: str = TOWN_UID
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    leaves: list[bytes] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)

    @property
    def public_key(self) -> bytes:
        """The key that an auditor knows."""
        return self.key.public_key().public_bytes_raw()

    def post(self, terms: Terms, start: datetime, end: datetime, inputs: Inputs, /, **changes: Any) -> Entry:
        """Posts a saving."""
        for blob in (Blob(evidence.TERMS, terms_bytes(terms)), *inputs.blobs()):
            self.blobs[blob.hash] = blob.data
        number = sum(1 for entry in self.entries if entry.measure_uid == terms.measure_uid) + 1
        return self.append(entry_for(terms, number, start, end, inputs, **changes))

    def reverse(self, entry: Entry, /, **changes: Any) -> Entry:
        """Posts a reversal."""
        number = sum(1 for other in self.entries if other.measure_uid == entry.measure_uid) + 1
        name = entry.name.rsplit("/", 1)[0]
        posting = Posting(f"{name}/{number}", new_uid(), number, "auditor", POSTED_AT)
        mirror = reversal_of(entry, leaf_hash(entry_bytes(entry)), posting, "wrong meter")
        return self.append(replace(mirror, **changes))

    def append(self, entry: Entry) -> Entry:
        """Appends an entry and signs the head."""
        self.entries.append(entry)
        self.leaves.append(entry_bytes(entry))
        self.sign()
        return entry

    def sign(self) -> Checkpoint:
        """Signs the head as it is."""
        frontier = Frontier()
        for data in self.leaves:
            frontier.append(leaf_hash(data))
        checkpoint = sign(self.key, self.origin, len(self.leaves), frontier.root(), POSTED_AT)
        self.checkpoints.append(checkpoint)
        return checkpoint

    def lines(self) -> list[str]:
        """The bundle."""
        parts: list[Part] = [HeaderPart(TOWN)]
        parts += [EvidencePart(digest, data) for digest, data in self.blobs.items()]
        parts += [LeafPart(index, data, leaf_hash(data)) for index, data in enumerate(self.leaves)]
        return [write_line(part) for part in (*parts, *self.checkpoints)]


def town_log() -> PaperLog:
    """A log with a week of every method, one reversed and replaced entry in it: ten leaves."""
    log = PaperLog()
    by_method = {
        Method.OPTION_A: terms(Method.OPTION_A, measure_uid="1" * 32, measure=f"{TOWN}/measures/a"),
        Method.OPTION_B: terms(Method.OPTION_B, measure_uid="2" * 32, measure=f"{TOWN}/measures/b"),
        Method.OPTION_C: terms(Method.OPTION_C, measure_uid="3" * 32, measure=f"{TOWN}/measures/c"),
    }
    for day in range(1, 4):
        for method, frozen in by_method.items():
            start, end = (day_of if method is Method.OPTION_C else night_of)(date(2026, 3, day))
            inputs = levels(frozen, start, end) if method is Method.OPTION_A else metered(frozen, start, end)
            log.post(frozen, start, end, inputs)
    wrong = log.entries[1]
    log.reverse(wrong)
    frozen = by_method[Method.OPTION_B]
    log.post(frozen, wrong.start, wrong.end, metered(frozen, wrong.start, wrong.end, 900, 800))
    return log
