"""Waste in trees of meters: whose it is, and in which order meters are looked at."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.metering.slot import HOUR_MS
from services.metering.waste.trees import Tree, deepest_first, rate_of
from services.metering.waste.watch import Rule, Waste

LEAK = Rule.WATER_NEVER_STOPS


def leak(litres_per_hour: int, rule: Rule = LEAK) -> Waste:
    return Waste(rule, 0, 72 * HOUR_MS, litres_per_hour * 72, 1000, 0, litres_per_hour)


def test_each_meter_comes_after_those_that_it_is_made_of() -> None:
    parts = {"main": ["floor", "cellar"], "floor": ["kitchen"], "sum": ["main", "garden"]}
    order = deepest_first(["sum", "main", "floor", "kitchen", "cellar", "garden"], parts)
    assert sorted(order) == ["cellar", "floor", "garden", "kitchen", "main", "sum"]
    for whole, behind in parts.items():
        assert all(order.index(one) < order.index(whole) for one in behind)


@given(st.dictionaries(st.integers(0, 9).map(str), st.lists(st.integers(0, 9).map(str), max_size=4)))
def test_whatever_names_whatever_each_meter_comes_once(parts: dict[str, list[str]]) -> None:
    every = [str(number) for number in range(10)]
    assert sorted(deepest_first(every, parts)) == every


def test_waste_is_the_sub_meter_s_that_shows_half_of_it() -> None:
    tree = Tree({"main": ["a", "b"]})
    tree.note("a", "A", LEAK, 10)
    tree.note("b", "B", LEAK, None)
    assert tree.where("main", leak(20)) == ("A",)
    assert tree.where("main", leak(21)) == ()
    tree.note("b", "B", LEAK, 1)
    assert tree.where("main", leak(21)) == ("A", "B")
    assert tree.where("main", leak(20, Rule.WEEKEND_USE)) == ()
    assert tree.where("main", leak(20, Rule.SUM_CHECK)) == ()


def test_a_meter_that_shows_nothing_itself_hands_on_what_is_behind_it() -> None:
    tree = Tree({"main": ["floor"], "floor": ["kitchen"]})
    tree.note("kitchen", "K", LEAK, 30)
    tree.note("floor", "F", LEAK, None)
    assert tree.where("main", leak(30)) == ("K",)
    # What a meter shows itself holds what those behind it show.
    tree.note("floor", "F", LEAK, 80)
    assert tree.where("main", leak(150)) == ("F",)


def test_waste_of_another_length_is_compared_by_its_rate() -> None:
    assert rate_of(leak(30)) == 30
    assert rate_of(Waste(LEAK, 0, 0, 5, 1000, 0, 0)) == 5 * HOUR_MS
