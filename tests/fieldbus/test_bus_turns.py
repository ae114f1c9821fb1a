"""Turns on a shared bus, on a simulated clock: the healthy lose next to nothing to the sick, and nobody starves."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldbus.modbus.line.turns import SHARE, BusTurns, Ticket

_LOOP = asyncio.new_event_loop()
_SIZE = 30
_PATIENCE_S = 20.0


def _ticket(unit: int, is_command: bool, now: float) -> Ticket:
    return Ticket(unit, is_command, now, now + _PATIENCE_S, _LOOP.create_future())


@dataclass
class Unit:
    """Asks again `pause_s` after each answer; `silent` ones never answer."""

    service_s: float
    silent: bool = False
    pause_s: float = 0.0
    is_command: bool = False


class SimulatedBus:
    """One request at a time; what happened stands in `turns_taken` and `waited_for_sick_s`."""

    def __init__(self, units: dict[int, Unit]) -> None:
        self.units = units
        self.turns = BusTurns()
        self.now = 0.0
        self.served: Counter[int] = Counter()
        self.given_up: Counter[int] = Counter()
        self.taken: list[tuple[float, int, bool]] = []  # when, unit, whether a healthy one waited then
        self.busy_s: defaultdict[int, float] = defaultdict(float)
        self._events: list[tuple[float, int, str, int, float]] = []
        self._numbers = iter(range(1 << 40))
        self._waiting: dict[int, Ticket] = {}
        self._running: int | None = None
        for unit in units:
            self._at(0.0, "ask", unit)

    def run(self, until_s: float) -> None:
        while self._events and self._events[0][0] <= until_s:
            self.now, _, what, unit, began = heapq.heappop(self._events)
            if what == "ask":
                ticket = _ticket(unit, self.units[unit].is_command, self.now)
                self._waiting[unit] = ticket
                self.turns.ask(ticket)
            elif what == "end":
                self._running = None
                self.served[unit] += 1
                self.busy_s[unit] += self.now - began
                self.turns.ended(unit, began, self.now, _SIZE, self.units[unit].silent)
                self._at(self.now + self.units[unit].pause_s, "ask", unit)
            for late in self.turns.impatient(self.now):
                del self._waiting[late.unit]
                self.given_up[late.unit] += 1
                self._at(self.now + self.units[late.unit].pause_s, "ask", late.unit)
            self._pump()

    def _pump(self) -> None:
        if self._running is not None:
            return
        ticket = self.turns.next(self.now)
        if ticket is None:
            wake_at = self.turns.wake_at(self.now)
            if wake_at is not None:
                self._at(max(wake_at, self.now + 0.001), "wake", -1)
            return
        del self._waiting[ticket.unit]
        self._running = ticket.unit
        self.taken.append((self.now, ticket.unit, any(unit not in self.turns.sick for unit in self._waiting)))
        self._at(self.now + self.units[ticket.unit].service_s, "end", ticket.unit)

    def _at(self, when: float, what: str, unit: int) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), what, unit, self.now))


def _healthy(count: int, service_s: float = 0.01, pause_s: float = 0.0) -> dict[int, Unit]:
    return {unit: Unit(service_s, pause_s=pause_s) for unit in range(1, count + 1)}


def test_one_dead_and_one_slow_unit_among_200_cost_the_others_less_than_five_percent_of_their_cycle() -> None:
    alone = SimulatedBus(_healthy(198))
    alone.run(600)
    disturbed = SimulatedBus(_healthy(198) | {199: Unit(2.0, silent=True), 200: Unit(0.5)})
    disturbed.run(600)
    reference = sum(alone.served.values())
    assert sum(disturbed.served[unit] for unit in range(1, 199)) > 0.95 * reference
    counts = [disturbed.served[unit] for unit in range(1, 199)]
    assert max(counts) - min(counts) <= 1
    assert disturbed.served[199] >= 3
    assert disturbed.served[200] >= 3


def test_ten_dead_units_cost_no_more_than_one() -> None:
    bus = SimulatedBus(_healthy(50) | {unit: Unit(2.0, silent=True) for unit in range(100, 110)})
    bus.run(1_000)
    learning_s = 10 * 2.0
    assert sum(bus.busy_s[unit] for unit in range(100, 110)) < learning_s + 2.0 + SHARE * 1_000


def test_a_sick_unit_that_gave_up_and_asks_again_does_not_lose_its_turn_to_one_that_had_it_since() -> None:
    bus = SimulatedBus(_healthy(28) | {7: Unit(0.3, silent=True), 88: Unit(0.5)})
    bus.run(60)
    turns = bus.turns
    assert turns.sick == {7, 88}
    last = [unit for _, unit, _ in bus.taken if unit in turns.sick][-1]
    other = 7 + 88 - last
    for unit in (7, 88):
        turns.withdraw(bus._waiting[unit])
    now = max(bus.now, turns.sick_not_before)
    for unit in (last, other):  # whose turn it was last is the first to ask
        turns.ask(_ticket(unit, False, now))
    assert _next_sick(turns, now) == other


def _next_sick(turns: BusTurns, now: float) -> int:
    for _ in range(3):  # a healthy one may come in between
        ticket = turns.next(now)
        assert ticket is not None
        if ticket.unit in turns.sick:
            return ticket.unit
    raise AssertionError("no sick unit had its turn")


def test_a_sick_unit_may_use_a_bus_that_nobody_else_wants() -> None:
    slow = SimulatedBus({1: Unit(0.01, pause_s=60.0), 2: Unit(0.02, pause_s=60.0), 3: Unit(0.5)})
    slow.run(600)
    assert 3 in slow.turns.sick
    assert slow.busy_s[3] > 0.5 * 600


def test_bursts_of_the_healthy_wait_no_longer_than_the_share() -> None:
    """Half the time nobody healthy asks; the slow unit always does."""
    bus = SimulatedBus(_healthy(100, pause_s=1.0) | {200: Unit(0.4)})
    bus.run(300)
    reference = SimulatedBus(_healthy(100, pause_s=1.0))
    reference.run(300)
    served = sum(bus.served[unit] for unit in range(1, 101))
    assert served > 0.95 * sum(reference.served.values())


def test_a_unit_that_answers_again_is_healthy_at_once() -> None:
    bus = SimulatedBus(_healthy(20) | {99: Unit(1.0, silent=True)})
    bus.run(60)
    assert 99 in bus.turns.sick
    bus.units[99] = Unit(0.01)
    bus.run(240)
    assert 99 not in bus.turns.sick
    before = bus.served[99]
    bus.run(250)
    assert bus.served[99] - before > 30


def test_one_lost_frame_does_not_make_a_unit_sick() -> None:
    turns = BusTurns()
    at = 0.0
    for _ in range(10):
        for unit in (1, 2, 3):
            turns.ended(unit, at, at + 0.01, _SIZE, silent=False)
            at += 0.01
    turns.ended(2, at, at + 2.0, _SIZE, silent=True)
    assert not turns.sick
    turns.ended(2, at + 2, at + 4.0, _SIZE, silent=True)
    assert turns.sick == {2}


def test_a_long_block_is_no_sign_of_sickness() -> None:
    """At 9600 baud 125 registers take a quarter of a second, two registers 20 ms."""
    turns = BusTurns()
    at = 0.0
    for _ in range(10):
        for unit, service_s, size in ((1, 0.02, 17), (2, 0.02, 17), (3, 0.28, 263)):
            turns.ended(unit, at, at + service_s, size, silent=False)
            at += service_s
    assert not turns.sick


def test_commands_overtake_readings() -> None:
    turns = BusTurns()
    readings = [_ticket(unit, False, 0.0) for unit in range(1, 6)]
    for ticket in readings:
        turns.ask(ticket)
    command = _ticket(9, True, 1.0)
    turns.ask(command)
    assert [turns.next(1.0) for _ in range(6)] == [command, *readings]
    assert turns.next(1.0) is None


def test_a_flood_of_commands_leaves_every_ninth_turn_to_a_reading() -> None:
    bus = SimulatedBus({1: Unit(0.01, is_command=True), 2: Unit(0.01, is_command=True), 3: Unit(0.01)})
    bus.run(10)
    assert bus.served[3] == pytest.approx(1_000 / 9, abs=2)


def test_one_unit_that_asks_much_does_not_crowd_out_the_others() -> None:
    turns = BusTurns()
    for _ in range(5):
        turns.ask(_ticket(1, False, 0.0))
    turns.ask(_ticket(2, False, 0.0))
    order = [ticket.unit for ticket in iter(lambda: turns.next(0.0), None) if ticket is not None]
    assert order == [1, 2, 1, 1, 1, 1]


def test_who_withdraws_is_not_waited_for() -> None:
    turns = BusTurns()
    first, second = (_ticket(1, False, 0.0) for _ in range(2))
    turns.ask(first)
    turns.ask(second)
    turns.withdraw(first)
    turns.withdraw(first)
    assert turns.next(0.0) is second
    assert turns.next(0.0) is None
    assert turns.waiting == 0


@pytest.mark.parametrize("is_command", [False, True])
def test_the_healthy_never_wait_for_two_sick_requests_in_a_row(is_command: bool) -> None:
    sick = {unit: Unit(0.5, is_command=is_command) for unit in (100, 101, 102)}
    bus = SimulatedBus(_healthy(5) | sick)
    bus.run(60)  # until it is known who is sick
    bus.taken.clear()
    bus.run(120)
    for (_, unit, healthy_waited), (_, following, _) in zip(bus.taken, bus.taken[1:], strict=False):
        if unit >= 100 and healthy_waited:
            assert following < 100


units = st.builds(Unit, st.floats(0.02, 0.08), st.just(False), st.sampled_from([0.0, 0.0, 0.05, 1.0]))
sick_units = st.builds(Unit, st.floats(1.0, 2.0), st.booleans(), st.sampled_from([0.0, 0.5, 5.0]))


@settings(max_examples=25)
@given(st.lists(units, min_size=3, max_size=12), st.lists(sick_units, min_size=1, max_size=3))
def test_whatever_the_mix_the_sick_cost_their_share_and_are_served(healthy: list[Unit], sick: list[Unit]) -> None:
    numbers = dict(enumerate([*healthy, *sick], start=1))
    bus = SimulatedBus(numbers)
    horizon_s = 200.0
    bus.run(horizon_s)
    sick_numbers = range(len(healthy) + 1, len(numbers) + 1)
    # What a sick turn cost is bounded by its own length, and by nothing when nobody healthy was there to wait.
    contended_s = 0.0
    learning_s = 4 * sum(numbers[unit].service_s for unit in sick_numbers)
    for at, unit, healthy_waited in bus.taken:
        if unit in sick_numbers and healthy_waited:
            contended_s += min(numbers[unit].service_s, horizon_s - at)
    assert contended_s <= learning_s + SHARE * horizon_s + 2.0
    for unit in sick_numbers:
        assert bus.served[unit] >= 1
    for unit in range(1, len(healthy) + 1):
        assert bus.served[unit] >= 1
