"""Equal values have equal bytes, and nothing else has them."""

import hashlib
import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.canonical import (
    canonical_bytes,
    canonical_hash,
    decimal_text,
    document,
    read_canonical,
    read_document,
    sha256_hex,
)
from domain.errors import InvalidInput

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INTS = st.integers(-(2**63), 2**63 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | INTS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)


def test_version_1_is_frozen():
    # This hash stands in ledgers. If this test fails a new version is needed, not a new hash.
    value = {
        "ü": [1, -2, 2**63 - 1, True, None],
        "a": 'line\n"quoted" \\ \u0007 €',
        "cost": Decimal("12.340"),
        "at": datetime(2026, 3, 29, 1, 0, 0, 123999, tzinfo=UTC),
        "night": date(2026, 3, 28),
        "empty": {},
    }
    assert (
        canonical_bytes(value)
        == (
            '{"a":"line\\n\\"quoted\\" \\\\ \\u0007 €","at":"2026-03-29T01:00:00.123Z","cost":"12.34","empty":{},'
            '"night":"2026-03-28","ü":[1,-2,9223372036854775807,true,null]}'
        ).encode()
    )
    assert canonical_hash(value) == "51864c2d7411db1e38cf7fb15f6fa62d78afce13631a344e6b99db53ea47cb23"


def test_the_order_of_keys_does_not_matter():
    assert canonical_bytes({"b": 1, "a": {"d": 2, "c": 3}}) == canonical_bytes({"a": {"c": 3, "d": 2}, "b": 1})


def test_tuples_and_lists_are_the_same_and_an_enum_is_its_value():
    class Unit(Enum):
        WH = "Wh"

    assert canonical_bytes((1, 2)) == canonical_bytes([1, 2])
    assert canonical_bytes({"unit": Unit.WH}) == b'{"unit":"Wh"}'


@pytest.mark.parametrize("value", [1.0, float("nan"), b"raw", {1, 2}, object(), timedelta(1), 1j])
def test_what_has_no_canonical_form_is_refused_with_its_path(value):
    with pytest.raises(InvalidInput) as error:
        canonical_bytes({"entries": [{"amount": 1}, {"amount": value}]})
    assert error.value.violations[0].field == "entries[1].amount"


@pytest.mark.parametrize(
    "value", [2**63, -(2**63) - 1, Decimal("NaN"), Decimal("Infinity"), datetime(2026, 1, 1), "\ud800", {1: 2}]
)
def test_values_that_others_could_read_differently_are_refused(value):
    with pytest.raises(InvalidInput):
        canonical_bytes({"value": value})


def test_a_value_that_contains_itself_is_refused():
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(InvalidInput, match="nested"):
        canonical_bytes(loop)


@given(JSON)
def test_what_was_written_is_read_back(value):
    data = canonical_bytes(value)
    assert read_canonical(data) == value == json.loads(data)
    assert sha256_hex(data) == hashlib.sha256(data).hexdigest()


@given(JSON, JSON)
def test_different_values_have_different_bytes(one, other):
    # JSON knows truth values apart from numbers, Python's == does not.
    assert (canonical_bytes(one) == canonical_bytes(other)) == (
        json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    )


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12))
def test_equal_decimal_numbers_have_equal_bytes(number):
    for written in (number, number.normalize(), number + Decimal("0.000000000"), Decimal(format(number, "f"))):
        assert decimal_text(written) == decimal_text(number)
    assert Decimal(decimal_text(number)) == number
    assert "e" not in decimal_text(number).lower()


@pytest.mark.parametrize(
    ("number", "text"),
    [("0.00", "0"), ("-0", "0"), ("1E+3", "1000"), ("1E-7", "0.0000001"), ("-12.50", "-12.5"), ("100", "100")],
)
def test_decimal_numbers_have_one_form(number, text):
    assert decimal_text(Decimal(number)) == text


def test_an_instant_is_the_same_in_every_zone():
    at = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert (
        canonical_bytes(at)
        == canonical_bytes(at.astimezone(timezone(timedelta(hours=2))))
        == b'"2026-07-01T12:00:00.000Z"'
    )


@pytest.mark.parametrize(
    "data",
    [
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":NaN}',
        b'{"a":"\\u00fc"}',
        b'{"a":1}\n',
        b"\xff",
        b"",
        b"[" * 100_000,
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_bytes_in_any_other_form_are_not_accepted(data):
    with pytest.raises(InvalidInput):
        read_canonical(data)


def test_a_document_says_how_to_read_it():
    data = document("lichtbuch.ledger.entry", 2, {"energy_wh": 1234})
    assert data == b'{"body":{"energy_wh":1234},"canonical":1,"kind":"lichtbuch.ledger.entry","schema":2}'
    assert read_document(data, "lichtbuch.ledger.entry") == (2, {"energy_wh": 1234})
    with pytest.raises(InvalidInput, match="kind"):
        read_document(data, "lichtbuch.lighting.plan")
    with pytest.raises(InvalidInput, match="version 2"):
        read_document(data.replace(b'"canonical":1', b'"canonical":2'), "lichtbuch.ledger.entry")
    with pytest.raises(InvalidInput, match="envelope"):
        read_document(b"{}", "lichtbuch.ledger.entry")
    with pytest.raises(InvalidInput, match="schema"):
        document("x", 0, {})


@given(st.binary(max_size=60))
def test_a_changed_byte_never_reads_as_the_same_value(noise):
    data = canonical_bytes({"amount": 17, "noise": noise.hex()})
    for i in range(len(data)):
        changed = data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :]
        try:
            assert read_canonical(changed) != read_canonical(data)
        except InvalidInput:
            continue
