"""Which rule takes a luminaire, and which polygons are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.lighting.grouping import Grouping, Rule, Traits, is_inside, polygon_fault

SQUARE = ((50.0, 9.0), (50.0, 10.0), (51.0, 10.0), (51.0, 9.0))
L_SHAPE = ((0.0, 0.0), (0.0, 2.0), (1.0, 2.0), (1.0, 1.0), (2.0, 1.0), (2.0, 0.0))


def test_every_condition_that_is_given_must_hold():
    rule = Rule("g", "g", streets=frozenset({"am markt"}), lighting_classes=frozenset({"P4", "P5"}))
    assert rule.matches(Traits(street="  Am   MARKT ", lighting_class="P5"))
    assert not rule.matches(Traits(street="Am Markt", lighting_class="M4"))
    assert not rule.matches(Traits(street="Am Anger", lighting_class="P4"))
    assert not Rule("g", "g", model_uids=frozenset({"m"})).matches(Traits())
    assert Rule("g", "g", cabinet_uids=frozenset({"c"})).matches(Traits(cabinet_uid="c"))


def test_the_lowest_rank_counts_then_the_id_then_the_default():
    street = frozenset({"am markt"})
    rules = [Rule("3", "z", 1, street), Rule("1", "b", 0, street), Rule("2", "a", 0, street)]
    for order in (rules, rules[::-1]):
        assert Grouping(order, "d").group_of(Traits(street="Am Markt")) == "2"
    assert Grouping(rules, "d").group_of(Traits(street="Weinstraße")) == "d"


@given(latitude=st.floats(49, 52), longitude=st.floats(8, 11))
def test_inside_of_a_square_is_between_its_edges(latitude: float, longitude: float):
    if latitude in (50.0, 51.0) or longitude in (9.0, 10.0):
        return
    assert is_inside(latitude, longitude, SQUARE) == (50 < latitude < 51 and 9 < longitude < 10)
    assert is_inside(latitude, longitude, SQUARE[::-1]) == is_inside(latitude, longitude, SQUARE)


def test_a_hollow_is_outside_and_what_has_no_position_too():
    assert is_inside(0.5, 1.5, L_SHAPE)
    assert not is_inside(1.5, 1.5, L_SHAPE)
    assert not is_inside(None, None, L_SHAPE)


@pytest.mark.parametrize("polygon", [SQUARE, L_SHAPE, (), ((0.0, 0.0), (0.0, 1.0), (0.0, 2.0), (1.0, 1.0))])
def test_areas_are_taken(polygon: tuple[tuple[float, float], ...]):
    assert polygon_fault(polygon) is None


@pytest.mark.parametrize(
    ("polygon", "corner", "reason"),
    [
        (SQUARE[:2], 1, "2 corners are no area"),
        ((SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3]), 2, "crosses that of corner 0"),
        ((*SQUARE, SQUARE[0]), 4, "same corner"),
        ((*SQUARE[:2], SQUARE[1], *SQUARE[2:]), 1, "same corner"),
        (((0.0, 0.0), (0.0, 2.0), (0.0, 1.0), (1.0, 1.0)), 1, "runs back over"),
        (((0.0, 0.0), (0.0, 2.0), (1.0, 2.0), (0.0, 1.0), (1.0, 0.0)), 2, "crosses that of corner 0"),
    ],
)
def test_what_is_no_area_is_refused_by_corner(polygon: tuple[tuple[float, float], ...], corner: int, reason: str):
    fault = polygon_fault(polygon)
    assert fault is not None
    assert fault[0] == corner
    assert reason in fault[1]
