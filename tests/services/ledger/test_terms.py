"""Terms freeze all that savings are computed from; they read back as they were, and contradict themselves never."""

import json
from dataclasses import replace
from typing import Any

import pytest

from domain.canonical import canonical_bytes
from domain.errors import InvalidInput
from services.ledger.terms import Method, Share, Terms, read_terms, terms_bytes
from tests.services.ledger.helpers import inventory, lighting, meters, stated, terms


@pytest.mark.parametrize("method", list(Method))
def test_terms_come_back_from_their_bytes(method: Method) -> None:
    frozen = terms(method)
    assert read_terms(terms_bytes(frozen)) == frozen


@pytest.mark.parametrize(
    ("method", "changes", "reason"),
    [
        (Method.OPTION_A, {"meters": meters("C-1")}, "it has no meters"),
        (Method.OPTION_B, {"meters": ()}, "needs the meters"),
        (Method.OPTION_C, {"meters": ()}, "needs the meters"),
        (Method.OPTION_C, {"baseline": lighting()}, "does not go with a lighting baseline"),
        (Method.OPTION_B, {"baseline": stated()}, "does not go with a stated baseline"),
        (Method.OPTION_B, {"shares": (Share("Town", 999),)}, "add up to 999 per mille"),
        (Method.OPTION_B, {"shares": (Share("Town", 1200), Share("Other", -200))}, "not between 0 and 1000"),
    ],
)
def test_terms_that_do_not_fit_together_are_refused(method: Method, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        terms(method, **changes)


def test_a_stated_baseline_has_twelve_months_of_some_use() -> None:
    with pytest.raises(InvalidInput, match="11 numbers, 12 are needed"):
        stated(weekday_wh=(1,) * 11)
    with pytest.raises(InvalidInput, match="negative"):
        stated(weekend_wh=(-1,) * 12)
    with pytest.raises(InvalidInput, match="nothing at all"):
        stated(weekday_wh=(0,) * 12, weekend_wh=(0,) * 12)


def test_an_inventory_holds_what_can_be() -> None:
    with pytest.raises(InvalidInput, match="different lengths"):
        replace(inventory(), half_night=(True,))
    with pytest.raises(InvalidInput, match="latitudes_e7"):
        replace(inventory(count=1), latitudes_e7=(900_000_001,))
    with pytest.raises(InvalidInput, match="previous_mw"):
        replace(inventory(count=1), previous_mw=(-1,))


def changed(frozen: Terms, **changes: Any) -> bytes:
    document = json.loads(terms_bytes(frozen))
    document["body"].update(changes)
    return canonical_bytes(document)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "Z"},
        {"factors": {}},
        {"extra": 1},
        {"effective_from": "yesterday"},
        {"stated": {"weekday_wh": [1], "weekend_wh": [1], "uncertainty_permille": 1, "source": "x"}},
        {"rules": {"metering_permille": 6, "stipulated_permille": 50}},
    ],
)
def test_other_bytes_are_no_terms(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        read_terms(changed(terms(Method.OPTION_C), **changes))
