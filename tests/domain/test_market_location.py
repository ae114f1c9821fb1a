"""Ids of market and metering locations: what is taken, in which form, and what is refused and why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.market_location import (
    Issuer,
    MeteringLocation,
    check_digit,
    issuer_of,
    market_location_id,
    metering_location,
    metering_location_id,
)

EXAMPLE = "41373559241"
"""The worked example of the BDEW paper."""
METERING = "DE00056266802AO6G56M11SN51G21M24S"

FIRST_TEN = st.from_regex(r"[1-9][0-9]{9}", fullmatch=True)


@pytest.mark.parametrize("known", [EXAMPLE, "51238696781", "56789012345", "52935155442"])
def test_published_ids_hold(known: str) -> None:
    assert market_location_id(known) == known


@given(FIRST_TEN)
def test_the_check_digit_completes_ten_digits(ten: str) -> None:
    whole = ten + str(check_digit(ten))
    assert market_location_id(whole) == whole
    # The rule as the paper tells it, step by step.
    odd = sum(int(digit) for place, digit in enumerate(ten, 1) if place % 2 == 1)
    even = 2 * sum(int(digit) for place, digit in enumerate(ten, 1) if place % 2 == 0)
    assert (odd + even + check_digit(ten)) % 10 == 0


@given(FIRST_TEN, st.integers(0, 4), st.integers(1, 9))
def test_a_wrong_digit_at_an_odd_place_is_always_found(ten: str, pair: int, by: int) -> None:
    # At even places a digit wrong by 5 goes unseen: it counts twice. That is the rule's weakness, not ours.
    whole = list(ten + str(check_digit(ten)))
    whole[2 * pair] = str((int(whole[2 * pair]) + by) % 10)
    with pytest.raises(InvalidInput, match=r"check digit|begins with 0"):
        market_location_id("".join(whole))


@given(FIRST_TEN, st.integers(0, 8))
def test_two_digits_in_each_others_place_are_found(ten: str, place: int) -> None:
    whole = list(ten + str(check_digit(ten)))
    whole[place], whole[place + 1] = whole[place + 1], whole[place]
    if whole[place] == whole[place + 1]:
        return
    with pytest.raises(InvalidInput, match=r"check digit|begins with 0"):
        market_location_id("".join(whole))


@pytest.mark.parametrize("written", ["4137 3559 241", " 41373559241\n", "413-7355-9241", "413.735.592.41"])
def test_separators_do_not_matter(written: str) -> None:
    assert market_location_id(written) == EXAMPLE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is needed"),
        ("4137355924", "has 10 digits"),
        ("413735592410", "has 12 digits"),
        ("41373559242", "check digit of 41373559242 is 2, and 1"),
        ("01373559241", "begins with 0"),
        ("4137355924I", "holds 'I'"),
        ("\u0664\u0661373559241", "digits only"),
        (METERING, "metering location"),
        ("9" * 100_000, "has 100000 digits"),
    ],
)
def test_a_wrong_market_location_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as caught:
        market_location_id(text, field="meter.market_location")
    assert caught.value.violations[0].field == "meter.market_location"
    assert len(str(caught.value)) < 300


def test_the_first_digit_tells_who_gave_it_out() -> None:
    assert issuer_of(EXAMPLE) is Issuer.BDEW
    assert issuer_of("3000000000" + str(check_digit("3000000000"))) is Issuer.DVGW


def test_a_check_digit_needs_ten_digits() -> None:
    with pytest.raises(InvalidInput, match="10 digits"):
        check_digit("123")


@pytest.mark.parametrize(
    "written",
    [
        METERING,
        METERING.lower(),
        "DE 000562 66802 AO6G56M11SN51G21M24S",
        "DE.000562.66802.AO6G.56M11SN51G21M24S",
        "de-000562-66802-ao6g56m11sn51g21m24s",
    ],
)
def test_a_metering_location_has_one_form_and_its_parts(written: str) -> None:
    assert metering_location_id(written) == METERING
    assert metering_location(written) == MeteringLocation("000562", "66802", "AO6G56M11SN51G21M24S")


@given(
    st.from_regex(r"DE[0-9]{11}[A-Z0-9]{20}", fullmatch=True),
    st.lists(st.sampled_from([" ", ".", "-", "\t", "\u00a0"])),
)
def test_any_well_formed_metering_location_comes_back(whole: str, separators: list[str]) -> None:
    assert metering_location_id("".join(separators) + whole.lower() + "".join(separators)) == whole


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is needed"),
        (EXAMPLE, "market location"),
        (METERING[:-1], "has 32 characters"),
        (METERING + "0", "has 34 characters"),
        ("AT" + METERING[2:], "begins with AT"),
        ("DEO00562" + METERING[8:], "characters 3 to 8"),
        (METERING[:8] + "6680O" + METERING[13:], "characters 9 to 13"),
        (METERING[:-1] + "Ä", "holds 'Ä'"),
        (METERING[:-1] + "_", "holds '_'"),
    ],
)
def test_a_wrong_metering_location_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as caught:
        metering_location(text, field="meter.metering_location")
    assert caught.value.violations[0].field == "meter.metering_location"


@given(st.text(max_size=50))
def test_any_text_is_an_id_or_refused_by_its_field(text: str) -> None:
    for reader in (market_location_id, metering_location_id):
        blamed: list[str] = []
        try:
            taken = reader(text, "meter.id")
        except InvalidInput as error:
            blamed = [violation.field for violation in error.violations]
        assert blamed == ["meter.id"] or reader(taken) == taken
