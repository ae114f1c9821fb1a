"""No legal way of asking has fewer requests, and none with as few reads fewer registers: against brute force.

Legal: what the product takes at a time, no wide gaps, no illegal addresses, no remembered cuts.
"""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from fieldbus.modbus.blocks import Memory, Span, gather
from fieldbus.profile import ModbusLimits, Table

HOLDING = Table.HOLDING


def is_legal(group: list[Span], limits: ModbusLimits, memory: Memory) -> bool:
    """Whether one request may ask for a group, straight from the definition."""
    if len(group) == 1:
        return True
    start, end = min(span.address for span in group), max(span.end for span in group)
    asked = {address for span in group for address in range(span.address, span.end)}
    unasked = [address for address in range(start, end) if address not in asked]
    gap = widest = 0
    for address in range(start, end):
        gap = 0 if address in asked else gap + 1
        widest = max(widest, gap)
    return (
        end - start <= limits.max_read_registers
        and widest <= limits.max_gap
        and not any(start < cut < end for cut in memory.cuts[HOLDING])
        and not any(low <= address <= high for _, low, high in limits.illegal for address in unasked)
    )


def effort(groups: list[list[Span]]) -> tuple[int, int]:
    """Requests and registers."""
    return len(groups), sum(max(span.end for span in group) - min(span.address for span in group) for group in groups)


def price(groups: list[list[Span]], overhead: float) -> float:
    """What a plan costs in registers, where a request costs as much as `overhead` of them."""
    requests, registers = effort(groups)
    return requests * overhead + registers


def all_ways(spans: list[Span], limits: ModbusLimits, memory: Memory) -> list[list[list[Span]]]:
    """Every legal way to cut the spans, which lie one behind the other, into requests."""
    found: list[list[list[Span]]] = []
    for cuts in product((False, True), repeat=len(spans) - 1):
        groups = [[spans[0]]]
        for span, cut in zip(spans[1:], cuts, strict=True):
            if cut:
                groups.append([span])
            else:
                groups[-1].append(span)
        if all(is_legal(group, limits, memory) for group in groups):
            found.append(groups)
    return found


@st.composite
def places(draw: st.DrawFn) -> list[Span]:
    """Up to nine places of one to four registers, one behind the other."""
    spans: list[Span] = []
    address = draw(st.integers(0, 5))
    for gap, length in draw(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4)), min_size=1, max_size=9)):
        address += gap
        spans.append(Span(HOLDING, address, length))
        address += length
    return spans


@st.composite
def limits_of(draw: st.DrawFn) -> ModbusLimits:
    illegal = draw(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 3)), max_size=2))
    return ModbusLimits(
        max_read_registers=draw(st.integers(4, 60)),
        max_gap=draw(st.integers(0, 12)),
        illegal=tuple((HOLDING, low, low + more) for low, more in illegal),
    )


@settings(max_examples=300, deadline=None)
@given(places(), limits_of(), st.sets(st.integers(0, 90), max_size=3))
def test_the_plan_is_legal_complete_and_the_best_there_is(
    spans: list[Span], limits: ModbusLimits, cuts: set[int]
) -> None:
    memory = Memory()
    memory.cuts[HOLDING] |= cuts
    groups = gather(spans, limits, memory)
    assert sorted(span for group in groups for span in group) == spans
    assert all(is_legal(group, limits, memory) for group in groups)
    assert effort(groups) == min(effort(way) for way in all_ways(spans, limits, memory))


@settings(max_examples=200, deadline=None)
@given(places(), limits_of(), st.randoms(use_true_random=False))
def test_places_within_others_cost_nothing(spans: list[Span], limits: ModbusLimits, random: object) -> None:
    """Bits of a word, a word of a long number: they ride along."""
    riders = {
        Span(HOLDING, span.address + offset, 1)
        for span in spans
        for offset in range(span.length)
        if random.random() < 0.3  # type: ignore[attr-defined]
    }
    together = gather(sorted(riders | set(spans)), limits, Memory())
    assert effort(together) == effort(gather(spans, limits, Memory()))
    assert {span for group in together for span in group} == riders | set(spans)


@settings(max_examples=200, deadline=None)
@given(places(), st.integers(20, 60), st.integers(1, 12))
def test_the_plan_costs_within_five_percent_of_the_cheapest(spans: list[Span], maximum: int, gap: int) -> None:
    """A request has a price, stated in registers; on a network it is hundreds and more, max_gap the part of it that a
    profile is sure of. Fewest requests may cost more than the cheapest plan by at most max_gap for each of them, so
    from a price of 20 * max_gap on it is within 5 % whatever the map."""
    limits = ModbusLimits(max_read_registers=maximum, max_gap=gap)
    groups = gather(spans, limits, Memory())
    for overhead in (20.0 * gap, 100.0 * gap):
        cheapest = min(price(way, overhead) for way in all_ways(spans, limits, Memory()))
        assert price(groups, overhead) <= 1.05 * cheapest


@settings(max_examples=200, deadline=None)
@given(places(), st.integers(1, 12))
def test_where_a_request_is_worth_just_max_gap_the_plan_is_the_cheapest(spans: list[Span], gap: int) -> None:
    """As long as the blocks are not too long for the product: a gap is bridged exactly when that pays."""
    limits = ModbusLimits(max_gap=gap)
    groups = gather(spans, limits, Memory())
    cheapest = min(price(way, gap) for way in all_ways(spans, ModbusLimits(max_gap=124), Memory()))
    assert price(groups, gap) <= cheapest


def test_thousands_of_places_are_planned_at_once() -> None:
    spans = [Span(HOLDING, 3 * number, 2) for number in range(20_000)]
    groups = gather(spans, ModbusLimits(max_gap=1), Memory())
    assert len(groups) == 477  # 42 places, of 3 registers less the last gap, in a request of 125


def test_bits_are_gathered_by_the_limit_for_bits() -> None:
    spans = [Span(Table.COIL, number, 1) for number in range(2500)] + [Span(HOLDING, 0, 1)]
    assert sorted(len(group) for group in gather(spans, ModbusLimits(), Memory())) == [1, 500, 2000]
