"""An entry has one form in bytes; what is not exactly that form is no entry."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.canonical import canonical_bytes
from domain.errors import InvalidInput
from services.ledger.entry import (
    EntryKind,
    PartyAmount,
    Posting,
    entry_bytes,
    read_entry,
    reversal_of,
    whole_milliseconds,
)
from services.ledger.merkle import leaf_hash
from services.ledger.terms import Method
from tests.services.ledger.helpers import POSTED_AT, entry_for, metered, night_of, terms

B = terms(Method.OPTION_B)
START, END = night_of(date(2026, 3, 1))
ENTRY = entry_for(B, 1, START, END, metered(B, START, END))

cents = st.integers(-(10**12), 10**12).map(lambda n: Decimal(n) / 100)
wh = st.integers(-(10**12), 10**12)


@given(actual=wh, saved=wh, eur=cents, text=st.text(max_size=50).filter(lambda t: t.isprintable()))
def test_an_entry_comes_back_from_its_bytes(actual: int, saved: int, eur: Decimal, text: str) -> None:
    entry = replace(
        ENTRY, actual_wh=actual, saved_wh=saved, saved_eur=eur, reason=text, shares=(PartyAmount(text, eur),)
    )
    assert read_entry(entry_bytes(entry)) == entry


def test_the_bytes_of_a_known_entry_stay_as_they_are() -> None:
    entry = replace(
        ENTRY,
        uid="c" * 32,
        evidence=("terms:" + "1" * 64,),
        actual_wh=1,
        baseline_wh=3,
        saved_wh=2,
        full_level_reference_wh=0,
        saved_eur=Decimal("0.10"),
        avoided_co2_g=1,
        uncertainty_wh=1,
        shares=(PartyAmount("Stadt Böhl", Decimal("0.10")),),
        computation="By hand.",
    )
    # Written out in full: a change of this test is a change of every hash, and needs a new schema version.
    assert entry_bytes(entry).decode() == (
        '{"body":{"actual_wh":1,"avoided_co2_g":1,"baseline_wh":3,"computation":"By hand.","coverage_permille":1000,'
        '"end":"2026-03-02T11:00:00.000Z","estimated_permille":0,"evidence":["terms:' + "1" * 64 + '"],'
        '"full_level_reference_wh":0,"kind":"saving","measure_uid":"'
        + "a" * 32
        + '","municipality_uid":"'
        + "0" * 31
        + '1","name":"municipalities/bad-hersfeld/measures/m1/entries/1","number":1,'
        '"posted_at":"2026-11-22T09:30:00.000Z","posted_by":"service:ledger","provisional":false,"reason":"",'
        '"reverses":"","reverses_uid":"","saved_eur":"0.10","saved_wh":2,'
        '"shares":[{"amount_eur":"0.10","party":"Stadt Böhl"}],"start":"2026-03-01T11:00:00.000Z",'
        '"uid":"' + "c" * 32 + '","uncertainty_wh":1},"canonical":1,"kind":"lichtbuch.ledger.entry","schema":1}'
    )


def test_the_leaf_says_nothing_about_its_place_or_its_fate() -> None:
    body = json.loads(entry_bytes(ENTRY))["body"]
    assert not {"leaf_index", "leaf_hash", "reversed_by"} & set(body)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"saved_wh": "2"}, "entry.saved_wh"),
        ({"saved_wh": True}, "entry.saved_wh"),
        ({"saved_eur": "0.1"}, "entry.saved_eur"),
        ({"saved_eur": "1e3"}, "entry.saved_eur"),
        ({"kind": "gift"}, "entry.kind"),
        ({"start": "2026-03-01 11:00"}, "entry.start"),
        ({"start": "2026-03-01T12:00:00.000+01:00"}, "entry.start"),
        ({"number": 0}, "entry.number"),
        ({"evidence": ["terms", 1]}, "entry.evidence"),
        ({"shares": [{"party": "x"}]}, "entry.shares[0].amount_eur"),
        ({"more": 1}, "entry.more"),
        ({"uid": None}, "entry.uid"),
    ],
)
def test_other_bytes_are_refused_with_the_field(changes: dict[str, object], field: str) -> None:
    document = json.loads(entry_bytes(ENTRY))
    document["body"].update(changes)
    with pytest.raises(InvalidInput) as caught:
        read_entry(canonical_bytes(document))
    assert caught.value.violations[0].field == field


def test_a_missing_field_another_version_and_loose_json_are_refused() -> None:
    document = json.loads(entry_bytes(ENTRY))
    del document["body"]["reason"]
    with pytest.raises(InvalidInput, match=r"entry\.reason: the field is missing"):
        read_entry(canonical_bytes(document))
    with pytest.raises(InvalidInput, match="version 2"):
        read_entry(entry_bytes(ENTRY).replace(b'"schema":1', b'"schema":2'))
    with pytest.raises(InvalidInput, match="canonical form"):
        read_entry(entry_bytes(ENTRY).replace(b":1,", b": 1,", 1))
    with pytest.raises(InvalidInput, match="not JSON"):
        read_entry(b"\xff")


def test_a_reversal_mirrors_every_figure_and_names_the_leaf() -> None:
    digest = leaf_hash(entry_bytes(ENTRY))
    posting = Posting("municipalities/bad-hersfeld/measures/m1/entries/2", "d" * 32, 2, "auditor", POSTED_AT)
    mirror = reversal_of(ENTRY, digest, posting, "wrong meter")
    assert mirror.kind is EntryKind.REVERSAL
    assert (mirror.actual_wh, mirror.baseline_wh, mirror.saved_wh) == (
        -ENTRY.actual_wh,
        -ENTRY.baseline_wh,
        -ENTRY.saved_wh,
    )
    assert mirror.saved_eur + ENTRY.saved_eur == 0
    assert sum(part.amount_eur for part in mirror.shares) == mirror.saved_eur
    assert (mirror.uncertainty_wh, mirror.start, mirror.end) == (ENTRY.uncertainty_wh, ENTRY.start, ENTRY.end)
    assert (mirror.reverses, mirror.reverses_uid, mirror.reason) == (ENTRY.name, ENTRY.uid, "wrong meter")
    assert mirror.evidence[-1] == f"entry:{digest.hex()}"
    assert read_entry(entry_bytes(mirror)) == mirror


def test_finer_digits_than_milliseconds_are_cut_before_they_are_posted() -> None:
    instant = datetime(2026, 3, 1, 11, 0, 0, 123_987, tzinfo=UTC)
    assert whole_milliseconds(instant) == instant - timedelta(microseconds=987)
