"""Street lines from nothing but lamps."""

from services.admin.lamps import Lamp
from services.admin.streets import MOST_LAMPS, street_edges

STEP_DEG = 0.0003  # about 33 m northwards


def row(street: str, *steps: float) -> list[Lamp]:
    return [Lamp(f"{street}-{step}", 50.0 + step * STEP_DEG, 9.0, street) for step in steps]


def pairs(lamps: list[Lamp]) -> set[frozenset[int]]:
    edges = street_edges(lamps)
    return {frozenset(edges[i : i + 2]) for i in range(0, len(edges), 2)}


def test_neighbours_of_a_street_are_joined_in_whatever_order_they_are_listed() -> None:
    assert pairs(row("Mondgasse", 2, 0, 1)) == {frozenset({1, 2}), frozenset({0, 2})}


def test_streets_are_not_joined_to_each_other() -> None:
    assert pairs(row("A", 0, 1) + row("B", 0.1, 1.1)) == {frozenset({0, 1}), frozenset({2, 3})}


def test_a_street_that_goes_on_far_away_is_two_lines() -> None:
    assert pairs(row("A", 0, 1, 50, 51)) == {frozenset({0, 1}), frozenset({2, 3})}


def test_lamps_without_street_or_position_are_left_alone() -> None:
    lamps = [*row("", 0, 1), Lamp("x", 0.0, 0.0, "A"), Lamp("y", 0.0, 0.0, "A")]
    assert street_edges(lamps) == []


def test_a_street_called_like_half_the_town_is_left_out() -> None:
    assert street_edges(row("unknown", *range(MOST_LAMPS + 1))) == []
