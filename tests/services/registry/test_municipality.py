"""What a municipality and a union need."""

import math
from datetime import UTC, datetime

import pytest

from domain.errors import InvalidInput
from services.registry.municipality import (
    Municipality,
    Position,
    check_display_name,
    check_members,
    check_time_zone,
)

HERSFELD = Municipality(
    "u1",
    "bad-hersfeld",
    "Bad Hersfeld",
    "Europe/Berlin",
    Position(50.868, 9.707),
    datetime(2026, 1, 1, tzinfo=UTC),
)


def test_the_time_zone_is_berlin_unless_said_otherwise() -> None:
    assert check_time_zone("") == "Europe/Berlin"
    assert check_time_zone("Atlantic/Canary") == "Atlantic/Canary"


@pytest.mark.parametrize(
    "text", ["Berlin", "Europe/Bärlin", "../etc/passwd", "/etc/localtime", "CEST", "europe/berlin"]
)
def test_a_time_zone_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="not an IANA time zone"):
        check_time_zone(text)


@pytest.mark.parametrize(("latitude", "longitude"), [(91, 0), (0, -181), (math.nan, 0), (0, math.inf)])
def test_a_place_off_the_globe_is_refused(latitude: float, longitude: float) -> None:
    with pytest.raises(InvalidInput):
        Position(latitude, longitude)


@pytest.mark.parametrize("text", ["", "  ", "ß" * 101])
def test_a_name_is_needed_and_has_a_limit(text: str) -> None:
    with pytest.raises(InvalidInput):
        check_display_name(text)


def test_only_what_is_given_changes() -> None:
    changed = HERSFELD.changed(display_name=" Bad Hersfeld (Kernstadt) ")
    assert changed.display_name == "Bad Hersfeld (Kernstadt)"
    assert changed.position == HERSFELD.position
    assert changed.uid == HERSFELD.uid


def test_a_synthetic_town_never_becomes_a_real_one() -> None:
    synthetic = HERSFELD.changed(synthetic=True)
    assert synthetic.synthetic
    assert synthetic.changed(display_name="Other").synthetic
    with pytest.raises(InvalidInput):
        synthetic.changed(synthetic=False)


def test_a_union_has_each_member_once() -> None:
    assert check_members(["felsberg", "borken"]) == ("borken", "felsberg")
    with pytest.raises(InvalidInput) as caught:
        check_members(["borken", "felsberg", "borken"])
    assert caught.value.violations[0].field == "municipalities[2]"
    with pytest.raises(InvalidInput):
        check_members([])
