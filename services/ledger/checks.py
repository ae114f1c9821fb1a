"""What must be true of each entry and of all entries together, whoever looks. Pure.

Given to it are the entries in the order of the log and a way to their evidence. It recomputes what an entry says from
its evidence with the functions that posted it, so that an entry which was wrong when it was posted is found as well as
one that was changed later. Hashes of leaves, roots and signatures are verify.py's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from domain.canonical import sha256_hex
from domain.errors import InvalidInput
from services.ledger import evidence
from services.ledger.assess import Baseline, Inputs, LevelInputs, MeteredInputs, actual_of, baseline_of
from services.ledger.entry import Entry, EntryKind, PartyAmount, Posting, reversal_of
from services.ledger.levels import read_levels
from services.ledger.metered import contradictions, read_consumption, read_readings
from services.ledger.period import period_violations
from services.ledger.saving import Actual, figures
from services.ledger.terms import LightingTerms, Method, Terms, read_terms

EvidenceOf = Callable[[str], bytes | None]
"""The bytes that are kept under a hash; None if there are none."""

SUN_TOLERANCE_WH: Final = 2
"""Processors differ in the last digit of a sine: in rare nights a lamp's sunset falls on the other side of a second."""

NEEDED: Final = {
    Method.OPTION_A: {evidence.TERMS, evidence.LEVELS, evidence.LIGHTING},
    Method.OPTION_B: {evidence.TERMS, evidence.READINGS, evidence.CONSUMPTION, evidence.METERING},
    Method.OPTION_C: {evidence.TERMS, evidence.READINGS, evidence.CONSUMPTION, evidence.METERING},
}
"""What an entry rests on, by method."""

_FIGURES: Final = (
    "saved_wh",
    "saved_eur",
    "avoided_co2_g",
    "uncertainty_wh",
    "coverage_permille",
    "estimated_permille",
)


class Broken(Exception):
    """One thing that is wrong with an entry, so that the rest of it cannot be looked at."""


@dataclass(slots=True)
class _MeasureState:
    """What the log has said of a measure so far. counting: uid, name and period of the entries that count."""

    entries: int = 0
    counting: dict[str, tuple[str, datetime, datetime]] = field(default_factory=dict)


@dataclass(slots=True)
class EntryChecker:
    """Looks at entries in the order of the log. `origin` is the uid of the municipality whose log it is."""

    origin: str
    evidence_of: EvidenceOf
    _measures: dict[str, _MeasureState] = field(default_factory=dict)
    _seen: dict[str, tuple[Entry, bytes]] = field(default_factory=dict)
    _terms: dict[str, Terms] = field(default_factory=dict)

    def check(self, entry: Entry, leaf_hash: bytes) -> list[str]:
        """What is wrong with the next entry, in words."""
        problems = self._check_place(entry)
        try:
            references = _references(entry)
            terms = self._terms_of(references[evidence.TERMS])
            blobs = {
                label: self._blob(label, digest)
                for label, digest in references.items()
                if label in evidence.WITH_BLOB - {evidence.TERMS}
            }
            if entry.kind is EntryKind.REVERSAL:
                problems += self._check_reversal(entry)
            else:
                problems += self._check_saving(entry, terms, references, blobs)
        except Broken as broken:
            problems.append(str(broken))
        except InvalidInput as error:
            problems.append(f"its evidence cannot be read: {error}")
        self._seen[entry.uid] = (entry, leaf_hash)
        return problems

    def _check_place(self, entry: Entry) -> list[str]:
        problems = []
        state = self._measures.setdefault(entry.measure_uid, _MeasureState())
        state.entries += 1
        if entry.number != state.entries:
            problems.append(f"it has number {entry.number}, the measure's next is {state.entries}")
        if entry.municipality_uid != self.origin:
            problems.append(f"it belongs to municipality {entry.municipality_uid}, the log to {self.origin}")
        if entry.uid in self._seen:
            problems.append("its uid occurs twice")
        return problems

    def _check_reversal(self, entry: Entry) -> list[str]:
        state = self._measures[entry.measure_uid]
        target, target_hash = self._seen.get(entry.reverses_uid, (None, b""))
        if target is None:
            raise Broken(f"it reverses {entry.reverses or 'nothing'}, which is not before it in the log")
        if target.kind is not EntryKind.SAVING or target.measure_uid != entry.measure_uid:
            raise Broken(f"it reverses {target.name}, which is no saving of the same measure")
        if state.counting.pop(target.uid, None) is None:
            raise Broken(f"it reverses {target.name}, which was reversed before")
        posting = Posting(entry.name, entry.uid, entry.number, entry.posted_by, entry.posted_at)
        mirror = reversal_of(target, target_hash, posting, entry.reason)
        return [
            f"it does not mirror {target.name}: {name} is {getattr(entry, name)}, not {getattr(mirror, name)}"
            for name in Entry.__slots__
            if name != "computation" and getattr(entry, name) != getattr(mirror, name)
        ]

    def _check_saving(
        self, entry: Entry, terms: Terms, references: dict[str, str], blobs: dict[str, bytes]
    ) -> list[str]:
        problems = self._check_overlap(entry)
        if (terms.measure_uid, terms.municipality_uid) != (entry.measure_uid, entry.municipality_uid):
            raise Broken("its terms are of another measure")
        if set(references) != NEEDED[terms.method]:
            raise Broken(f"it does not rest on what option {terms.method.value} needs: {', '.join(sorted(references))}")
        violations = period_violations(terms, entry.start, entry.end)
        if violations:
            raise Broken(f"its period may not be: {violations[0]}")
        inputs = read_inputs(terms, blobs)
        problems += _check_foreign_hash(inputs, references)
        if isinstance(inputs, MeteredInputs):
            problems += contradictions(terms, inputs.consumption, inputs.readings)
        return problems + _check_figures(entry, terms, inputs)

    def _check_overlap(self, entry: Entry) -> list[str]:
        state = self._measures[entry.measure_uid]
        found = [
            f"its period overlaps that of {name}, which counts too"
            for name, start, end in state.counting.values()
            if entry.start < end and start < entry.end
        ]
        state.counting[entry.uid] = (entry.name, entry.start, entry.end)
        return found

    def _blob(self, label: str, digest: str) -> bytes:
        data = self.evidence_of(digest)
        if data is None:
            raise Broken(f"its evidence {label}:{digest} is missing")
        if sha256_hex(data) != digest:
            raise Broken(f"its evidence {label}:{digest} was changed: the bytes have the hash {sha256_hex(data)}")
        return data

    def _terms_of(self, digest: str) -> Terms:
        # The same terms stand behind years of entries: they are read once.
        if digest not in self._terms:
            self._terms[digest] = read_terms(self._blob(evidence.TERMS, digest))
        return self._terms[digest]


def read_inputs(terms: Terms, blobs: dict[str, bytes]) -> Inputs:
    """What was measured, from its evidence. Raises InvalidInput."""
    if terms.method is Method.OPTION_A:
        return LevelInputs(read_levels(blobs[evidence.LEVELS]))
    return MeteredInputs(read_consumption(blobs[evidence.CONSUMPTION]), read_readings(blobs[evidence.READINGS]))


def _references(entry: Entry) -> dict[str, str]:
    try:
        references = evidence.by_label(entry.evidence)
    except InvalidInput as error:
        raise Broken(f"its evidence is not readable: {error}") from error
    if evidence.TERMS not in references:
        raise Broken("it rests on no terms")
    return references


def _check_foreign_hash(inputs: Inputs, references: dict[str, str]) -> list[str]:
    label = evidence.METERING if isinstance(inputs, MeteredInputs) else evidence.LIGHTING
    if inputs.hashes() == [f"{label}:{references[label]}"]:
        return []
    return [f"its {label} hash is not the one in its evidence"]


def _check_figures(entry: Entry, terms: Terms, inputs: Inputs) -> list[str]:
    problems = []
    baseline = baseline_of(terms, entry.start, entry.end)
    tolerance = SUN_TOLERANCE_WH if isinstance(terms.baseline, LightingTerms) else 0
    actual = actual_of(terms, entry.start, entry.end, inputs, baseline)
    problems += _apart("baseline_wh", entry.baseline_wh, baseline.baseline_wh, tolerance)
    problems += _apart(
        "full_level_reference_wh", entry.full_level_reference_wh, baseline.full_level_reference_wh, tolerance
    )
    # What stands in for the unknown comes from the sun, too.
    problems += _apart("actual_wh", entry.actual_wh, actual.total_wh, tolerance if actual.filled_wh else 0)
    return problems + _check_arithmetic(entry, terms, baseline, actual)


def _check_arithmetic(entry: Entry, terms: Terms, baseline: Baseline, actual: Actual) -> list[str]:
    """The figures that follow from the entry's own baseline and actual energy, exactly."""
    posted = Actual(
        counted_wh=actual.counted_wh,
        estimated_wh=actual.estimated_wh,
        filled_wh=entry.actual_wh - actual.counted_wh if actual.filled_wh else 0,
        coverage_permille=actual.coverage_permille,
    )
    if abs(posted.total_wh - actual.total_wh) > SUN_TOLERANCE_WH:
        posted = actual
    right = figures(terms, entry.baseline_wh, baseline.full_level_reference_wh, posted)
    problems = []
    if entry.saved_wh != entry.baseline_wh - entry.actual_wh:
        problems.append(f"saved_wh is {entry.saved_wh}, baseline less actual is {entry.baseline_wh - entry.actual_wh}")
    problems += [
        f"{name} is {getattr(entry, name)}, it should be {getattr(right, name)}"
        for name in _FIGURES
        if getattr(entry, name) != getattr(right, name)
    ]
    if sum(part.amount_eur for part in entry.shares) != entry.saved_eur:
        problems.append("the shares do not add up to saved_eur")
    if entry.shares != tuple(PartyAmount(party, amount) for party, amount in right.shares):
        problems.append("the shares are not those of the terms")
    return problems


def _apart(name: str, posted: int, computed: int, tolerance: int) -> list[str]:
    if abs(posted - computed) <= tolerance:
        return []
    return [f"{name} is {posted}, its evidence gives {computed}"]
