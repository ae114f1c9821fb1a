"""The offline verifier: a sound bundle passes, and whatever was changed in one is found and named."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.canonical import sha256_hex
from services.ledger.bundle import EvidencePart, HeaderPart, LeafPart, read_line, write_line
from services.ledger.checkpoint import Checkpoint, sign
from services.ledger.entry import Entry, entry_bytes
from services.ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash
from services.ledger.terms import Method, terms_bytes
from services.ledger.verify import VerificationReport, verify_bundle
from tests.services.ledger.helpers import PaperLog, day_of, levels, metered, night_of, terms, town_log

LOG = town_log()
LINES = LOG.lines()


def parts() -> list[Any]:
    return [read_line(line, first=number == 0) for number, line in enumerate(LINES)]


def judged(changed: list[Any]) -> VerificationReport:
    return verify_bundle([write_line(part) for part in changed], LOG.public_key)


def with_leaf(index: int, change: Callable[[LeafPart], LeafPart | None]) -> VerificationReport:
    """The bundle with one leaf changed, or left out."""
    changed = []
    for part in parts():
        if isinstance(part, LeafPart) and part.index == index:
            part = change(part)
        if part is not None:
            changed.append(part)
    return judged(changed)


def test_a_sound_bundle_passes() -> None:
    report = verify_bundle(LINES, LOG.public_key)
    assert report.problems == ()
    assert report.valid
    assert (report.leaves, report.checkpoints, report.newest_checkpoint_size) == (11, 11, 11)
    assert report.origin == LOG.origin
    assert report.root_hash == LOG.checkpoints[-1].root_hash
    assert report.evidence == len(LOG.blobs)
    # The order of evidence and checkpoints is no matter, empty lines are none, and bytes are as good as text.
    shuffled = [LINES[0], "\n", *reversed([line for line in LINES[1:] if '"type":"leaf"' not in line])]
    shuffled += [line for line in LINES if '"type":"leaf"' in line]
    assert verify_bundle([line.encode() for line in shuffled], LOG.public_key).valid


def test_a_sound_bundle_passes_without_a_known_key_and_shows_which_one_signed() -> None:
    report = verify_bundle(LINES)
    assert report.valid
    assert len(report.key_fingerprint) == 64


def test_one_changed_byte_of_a_leaf_is_found_and_named() -> None:
    report = with_leaf(4, lambda leaf: replace(leaf, data=leaf.data.replace(b'"saved_wh":', b'"saved_wh":9', 1)))
    assert not report.valid
    assert any(problem.startswith("leaf 4: its bytes were changed") for problem in report.problems)


def test_a_changed_leaf_with_a_matching_hash_is_found_by_the_checkpoints() -> None:
    def forge(leaf: LeafPart) -> LeafPart:
        data = leaf.data.replace(b"service:ledger", b"service:forger")
        return replace(leaf, data=data, hash=leaf_hash(data))

    report = with_leaf(4, forge)
    assert any("checkpoint of 5 leaves" in problem and "leaf 4 was changed" in problem for problem in report.problems)


def test_a_missing_leaf_is_named() -> None:
    assert "leaf 6 is missing" in with_leaf(6, lambda leaf: None).problems
    last = with_leaf(10, lambda leaf: None)
    assert any("leaf 10 is missing" in problem for problem in last.problems)


def test_exchanged_leaves_are_named() -> None:
    leaves = {part.index: part for part in parts() if isinstance(part, LeafPart)}

    def other(leaf: LeafPart) -> LeafPart:
        twin = leaves[{2: 5, 5: 2}[leaf.index]]
        return replace(leaf, data=twin.data, hash=twin.hash)

    changed = [other(p) if isinstance(p, LeafPart) and p.index in (2, 5) else p for p in parts()]
    assert any("leaf 2 was changed, exchanged" in problem for problem in judged(changed).problems)
    unordered = parts()
    places = [place for place, part in enumerate(unordered) if isinstance(part, LeafPart)]
    a, b = places[2], places[5]
    unordered[a], unordered[b] = unordered[b], unordered[a]
    assert any("missing" in problem for problem in judged(unordered).problems)


def test_a_leaf_put_in_between_is_named() -> None:
    changed: list[Any] = []
    for part in parts():
        if isinstance(part, LeafPart) and part.index >= 3:
            if part.index == 3:
                changed.append(part)
            part = replace(part, index=part.index + 1)
        changed.append(part)
    problems = judged(changed).problems
    assert any("leaf 4 was changed, exchanged or put in" in problem for problem in problems)
    assert any("leaf 11 is not covered by any checkpoint" in problem for problem in problems)


def test_changed_evidence_is_found_and_the_leaf_that_rests_on_it_named() -> None:
    target = next(p for p in parts() if isinstance(p, EvidencePart) and b"lichtbuch.ledger.readings" in p.data)
    changed = [replace(p, data=p.data[:-1] + b" ") if p == target else p for p in parts()]
    problems = judged(changed).problems
    assert any(problem.startswith(f"evidence {target.hash}: its bytes were changed") for problem in problems)
    assert any(problem.startswith("leaf ") and f"readings:{target.hash} was changed" in problem for problem in problems)


def test_missing_evidence_is_found_and_the_leaf_named() -> None:
    target = next(p for p in parts() if isinstance(p, EvidencePart) and b"lichtbuch.ledger.levels" in p.data)
    problems = judged([part for part in parts() if part != target]).problems
    assert [p for p in problems if p.startswith("leaf 0 ") and "is missing" in p]


@pytest.mark.parametrize("field", ["tree_size", "root_hash", "note", "signature", "public_key", "origin"])
def test_one_changed_field_of_a_checkpoint_is_found(field: str) -> None:
    changes: dict[str, Any] = {
        "tree_size": 6,
        "root_hash": bytes(32),
        "note": LOG.checkpoints[6].note.replace("7", "8", 1) if "7" in LOG.checkpoints[6].note else "x",
        "signature": bytes(64),
        "public_key": Ed25519PrivateKey.generate().public_key().public_bytes_raw(),
        "origin": "f" * 32,
    }
    target = LOG.checkpoints[6]
    changed = [replace(p, **{field: changes[field]}) if p == target else p for p in parts()]
    problems = judged(changed).problems
    assert any(problem.startswith(f"checkpoint of {6 if field == 'tree_size' else 7} leaves") for problem in problems)


def test_a_log_signed_by_somebody_else_is_not_taken() -> None:
    forged = replace(LOG, key=Ed25519PrivateKey.generate(), checkpoints=[])
    forged.sign()
    report = verify_bundle(forged.lines(), LOG.public_key)
    assert any("signed with a key that is not trusted" in problem for problem in report.problems)
    assert verify_bundle(forged.lines()).valid  # nobody can tell without knowing the key
    mixed = replace(forged, checkpoints=[*LOG.checkpoints, *forged.checkpoints])
    assert any("several keys" in problem for problem in verify_bundle(mixed.lines()).problems)


def test_leaves_cut_off_with_their_checkpoints_are_seen_by_who_kept_one() -> None:
    cut = replace(LOG, leaves=LOG.leaves[:8], checkpoints=LOG.checkpoints[:8])
    lines = [line for line in cut.lines() if '"type":"evidence"' not in line or line in LINES]
    assert verify_bundle(lines, LOG.public_key).valid
    report = verify_bundle(lines, LOG.public_key, witnessed=[LOG.checkpoints[-1]])
    assert any("kept from earlier" in p and "leaves 8 to 10 are missing" in p for p in report.problems)


def test_a_rewritten_past_is_seen_by_who_kept_a_checkpoint() -> None:
    rewritten = PaperLog(key=LOG.key)
    frozen = terms(Method.OPTION_C)
    rewritten.post(frozen, *day_of(date(2026, 3, 1)), metered(frozen, *day_of(date(2026, 3, 1))))
    assert verify_bundle(rewritten.lines(), LOG.public_key).valid
    report = verify_bundle(rewritten.lines(), LOG.public_key, witnessed=[LOG.checkpoints[0]])
    assert any("another root" in problem for problem in report.problems)


def test_a_log_without_any_checkpoint_proves_nothing() -> None:
    report = verify_bundle([line for line in LINES if '"type":"checkpoint"' not in line])
    assert any("nothing vouches" in problem for problem in report.problems)


def test_an_empty_log_is_sound() -> None:
    empty = PaperLog()
    empty.sign()
    report = verify_bundle(empty.lines(), empty.public_key)
    assert report.valid
    assert report.root_hash == EMPTY_ROOT


def posted(method: Method = Method.OPTION_B, **changes: Any) -> VerificationReport:
    """A log in which everything is hashed and signed as it should be, about an entry that is wrong."""
    log = PaperLog()
    frozen = terms(method)
    start, end = (day_of if method is Method.OPTION_C else night_of)(date(2026, 3, 1))
    inputs = levels(frozen, start, end) if method is Method.OPTION_A else metered(frozen, start, end)
    log.post(frozen, start, end, inputs, **changes)
    return verify_bundle(log.lines(), log.public_key)


@pytest.mark.parametrize("method", list(Method))
def test_a_right_entry_of_each_method_passes(method: Method) -> None:
    assert posted(method).problems == ()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"saved_wh": 1}, "saved_wh is 1, baseline less actual is"),
        ({"actual_wh": 19_000}, "actual_wh is 19000, its evidence gives 20000"),
        ({"baseline_wh": 9_999_999}, "baseline_wh is 9999999, its evidence gives"),
        ({"full_level_reference_wh": 5}, "full_level_reference_wh is 5, its evidence gives"),
        ({"saved_eur": Decimal("99.99")}, "saved_eur is 99.99, it should be"),
        ({"avoided_co2_g": 7}, "avoided_co2_g is 7, it should be"),
        ({"uncertainty_wh": 0}, "uncertainty_wh is 0, it should be"),
        ({"coverage_permille": 500}, "coverage_permille is 500, it should be 1000"),
        ({"estimated_permille": 1}, "estimated_permille is 1, it should be 0"),
        ({"shares": ()}, "the shares do not add up"),
        ({"number": 2}, "it has number 2, the measure's next is 1"),
        ({"municipality_uid": "e" * 32}, "it belongs to municipality"),
        ({"measure_uid": "e" * 32}, "its terms are of another measure"),
        ({"evidence": ()}, "it rests on no terms"),
        ({"evidence": ("terms:xyz",)}, "its evidence is not readable"),
        ({"start": night_of(date(2026, 3, 1))[0] + timedelta(hours=1)}, "no noon in Europe/Berlin"),
        ({"start": night_of(date(2025, 3, 1))[0]}, "the measure takes effect at"),
        ({"end": night_of(date(2026, 3, 2))[1]}, "belongs to another period"),
        ({"end": night_of(date(2026, 3, 1))[0]}, "ends before it begins"),
    ],
)
def test_an_entry_that_was_wrong_from_the_start_is_found(changes: dict[str, Any], told: str) -> None:
    problems = posted(**changes).problems
    assert any(problem.startswith("leaf 0 (") and told in problem for problem in problems), problems


def test_an_entry_must_rest_on_what_its_method_needs() -> None:
    log = PaperLog()
    frozen = terms(Method.OPTION_B)
    start, end = night_of(date(2026, 3, 1))
    entry = log.post(frozen, start, end, metered(frozen, start, end))
    assert isinstance(entry, Entry)
    for left_out in ("readings", "consumption", "metering"):
        thinner = tuple(ref for ref in entry.evidence if not ref.startswith(left_out))
        report = posted(evidence=thinner)
        assert any("does not rest on what option B needs" in problem for problem in report.problems)
    swapped = tuple(("metering:" + "0" * 64) if ref.startswith("metering") else ref for ref in entry.evidence)
    log = PaperLog()
    log.post(frozen, start, end, metered(frozen, start, end), evidence=swapped)
    assert any("its metering hash is not the one" in p for p in verify_bundle(log.lines()).problems)


def test_consumption_that_its_readings_contradict_is_found() -> None:
    log = PaperLog()
    frozen = terms(Method.OPTION_B)
    start, end = night_of(date(2026, 3, 1))
    right = metered(frozen, start, end, 900, 800)
    wrong = replace(right, consumption=replace(right.consumption, amounts_wh=(90, 80)))
    log.post(frozen, start, end, wrong)
    assert any("the counter went from 5000 to 5900 Wh" in p for p in verify_bundle(log.lines()).problems)


def test_overlapping_entries_are_found_and_replaced_ones_are_not() -> None:
    log = PaperLog()
    frozen = terms(Method.OPTION_B)
    start, end = night_of(date(2026, 3, 1))
    first = log.post(frozen, start, end, metered(frozen, start, end))
    log.reverse(first)
    log.post(frozen, start, end, metered(frozen, start, end, 1, 2))
    assert verify_bundle(log.lines()).valid
    two_nights = (start, night_of(date(2026, 3, 2))[1])
    log.post(frozen, *two_nights, metered(frozen, *two_nights))
    problems = verify_bundle(log.lines()).problems
    assert any(problem.startswith("leaf 3 (") and "overlaps that of" in problem for problem in problems)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"saved_wh": 5}, "saved_wh is 5, not"),
        ({"saved_eur": Decimal("1.00")}, "saved_eur is 1.00, not"),
        ({"evidence": ("terms:" + "0" * 64,)}, "is missing"),
        ({"reverses_uid": "0" * 32}, "which is not before it in the log"),
    ],
)
def test_a_reversal_that_does_not_mirror_its_entry_is_found(changes: dict[str, Any], told: str) -> None:
    log = PaperLog()
    frozen = terms(Method.OPTION_B)
    start, end = night_of(date(2026, 3, 1))
    log.reverse(log.post(frozen, start, end, metered(frozen, start, end)), **changes)
    problems = verify_bundle(log.lines()).problems
    assert any(problem.startswith("leaf 1 (") and told in problem for problem in problems), problems


def test_nothing_is_reversed_twice_and_no_reversal_at_all() -> None:
    log = PaperLog()
    frozen = terms(Method.OPTION_B)
    start, end = night_of(date(2026, 3, 1))
    first = log.post(frozen, start, end, metered(frozen, start, end))
    reversal = log.reverse(first)
    log.reverse(first)
    log.reverse(reversal)
    problems = verify_bundle(log.lines()).problems
    assert any(problem.startswith("leaf 2 (") and "was reversed before" in problem for problem in problems)
    assert any(problem.startswith("leaf 3 (") and "two of 'entry'" in problem for problem in problems)


def test_leaves_that_are_no_entries_are_told() -> None:
    log = PaperLog()
    log.leaves.append(b'{"hello":"world"}')
    log.sign()
    assert any("leaf 0: it is no entry" in problem for problem in verify_bundle(log.lines()).problems)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("not json\n", "not JSON"),
        ("[]\n", "not an object with a type"),
        ('{"type":"leaf","index":0}\n', "the field is missing"),
        ('{"type":"leaf","index":-1,"data":"","hash":"' + "0" * 64 + '"}\n', "at least 0"),
        ('{"type":"gift"}\n', "'gift' is not known"),
        ('{"type":"header","format":"lichtbuch-ledger-bundle/1","municipality":"x"}\n', "the header has to be"),
        ('{"type":"evidence","hash":"zz","data":""}\n', "64 hexadecimal digits"),
        ('{"type":"evidence","hash":"' + "0" * 64 + '","data":"\\ud800"}\n', "half a character"),
        (b"\xff\xfe\n", "not JSON in UTF-8"),
    ],
)
def test_lines_that_are_no_part_of_a_bundle_are_told_by_their_number(line: str | bytes, told: str) -> None:
    problems = verify_bundle([LINES[0], line, *LINES[1:]]).problems
    assert any(problem.startswith("line 2:") and told in problem for problem in problems)


def test_a_bundle_begins_with_its_header_and_is_not_empty() -> None:
    assert "the bundle is empty" in verify_bundle([]).problems
    assert any("header" in problem for problem in verify_bundle(LINES[1:]).problems)
    other = json.dumps({"type": "header", "format": "lichtbuch-ledger-bundle/2", "municipality": "x"})
    assert any("'lichtbuch-ledger-bundle/2' is not" in problem for problem in verify_bundle([other]).problems)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_flipped_bit_of_a_leaf_or_its_evidence_goes_unnoticed(data: st.DataObject) -> None:
    changed = parts()
    places = [place for place, part in enumerate(changed) if isinstance(part, LeafPart | EvidencePart)]
    place = data.draw(st.sampled_from(places))
    part = changed[place]
    at = data.draw(st.integers(0, len(part.data) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    flipped = part.data[:at] + bytes([part.data[at] ^ bit]) + part.data[at + 1 :]
    changed[place] = replace(part, data=flipped)
    report = judged(changed)
    assert not report.valid
    if isinstance(part, LeafPart):
        assert any(problem.startswith(f"leaf {part.index}:") for problem in report.problems)
    else:
        named = [problem for problem in report.problems if problem.startswith("leaf ") and part.hash in problem]
        assert named


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_changed_line_makes_the_verifier_fall_over(data: st.DataObject) -> None:
    lines = [line.encode() for line in LINES]
    number = data.draw(st.integers(0, len(lines) - 1))
    line = bytearray(lines[number])
    for _ in range(data.draw(st.integers(1, 4))):
        line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.integers(0, 255))
    lines[number] = bytes(line)
    verify_bundle(lines, LOG.public_key)


def test_evidence_made_to_break_the_verifier_does_not() -> None:
    frozen = terms(Method.OPTION_B)
    start, end = night_of(date(2026, 3, 1))
    for old, new in (
        (b'"0.2875"', b'"1e999999"'),
        (b'"Europe/Berlin"', b'"../../etc/passwd"'),
        (b"[83000,83000,83000,83000]", b"[9223372036854775807,1,1,1]"),
        (b"2026-01-01T00", b"0001-01-01T00"),
    ):
        log = PaperLog()
        entry = log.post(frozen, start, end, metered(frozen, start, end))
        data = terms_bytes(frozen).replace(old, new)
        assert data != terms_bytes(frozen)
        digest = sha256_hex(data)
        references = tuple(f"terms:{digest}" if ref.startswith("terms:") else ref for ref in entry.evidence)
        forged = PaperLog(key=log.key, blobs={**log.blobs, digest: data})
        forged.append(replace(entry, evidence=references, start=start if b"0001" not in new else start.replace(year=1)))
        assert not verify_bundle(forged.lines()).valid


def test_bytes_that_are_no_text_survive_the_bundle() -> None:
    part = EvidencePart("0" * 64, b"\xff\x00")
    assert read_line(write_line(part)) == part
    assert read_line(write_line(HeaderPart("municipalities/x")), first=True) == HeaderPart("municipalities/x")


def test_a_checkpoint_survives_the_bundle() -> None:
    frontier = Frontier()
    frontier.append(leaf_hash(entry_bytes(LOG.entries[0])))
    made = sign(LOG.key, LOG.origin, 1, frontier.root(), LOG.entries[0].posted_at)
    assert isinstance(made, Checkpoint)
    assert read_line(write_line(made)) == made
