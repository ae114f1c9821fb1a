"""Whose turn it is on a bus that many units share, so that a sick one costs its neighbours next to nothing.

Pure: time comes in as numbers; waiting for a turn is bus.py's business.

Healthy units take turns in a ring, commands before readings: light does not wait behind the polling of meters. A unit
is sick when it is silent, or far slower than the others (per byte, for a long block takes its time on any line). Sick
units pay for the time that healthy ones spent waiting for them: none of them reads again before that time is at most
`SHARE` of what has passed since. Who makes nobody wait pays nothing, so an idle bus is free for all, and nobody
healthy ever waits for two sick requests in a row. The debt is the bus's, not the unit's: ten dead units together cost
no more than one. Among them it is the one's turn whose last is longest ago, however often the others ask again.
Commands to sick units do not wait for the debt, only for one healthy request in between.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Final

SHARE: Final = 0.03  # of a bus's time that the healthy may lose to all its sick units together
SLOW_FACTOR: Final = 8.0  # times the typical time per byte
SLOW_FLOOR_S: Final = 0.01  # a request that takes less is no burden, whatever the others take
_NEVER: Final = float("inf")
_OVERHEAD_BYTES: Final = 40  # turnaround of a request, as if it were bytes
_SMOOTHING: Final = 0.25
_OUTLIER_FACTOR: Final = 24.0  # one lost frame does not make a unit sick, two do
_SILENCES: Final = 2
_COMMANDS_IN_A_ROW: Final = 8  # then a reading gets its turn: a stuck controller must not blind the rest
_FEW_UNITS: Final = 16
_REFRESH_EVERY: Final = 64  # requests between two looks at what is typical


class Ticket:
    """A request that waits for its turn."""

    __slots__ = ("asked_at", "granted", "is_command", "turn_by", "unit")

    def __init__(
        self, unit: int, is_command: bool, asked_at: float, turn_by: float, granted: asyncio.Future[None]
    ) -> None:
        """`turn_by`: when it is no longer worth waiting; infinite for a command."""
        self.unit = unit
        self.is_command = is_command
        self.asked_at = asked_at
        self.turn_by = turn_by
        self.granted = granted


class _Unit:
    """What is known of one unit."""

    __slots__ = ("answered", "pace", "silences", "turn")

    def __init__(self) -> None:
        self.turn = 0  # number of its last turn on the bus
        self.pace = 0.0  # smoothed seconds per byte; 0 before the first request
        self.silences = 0  # in a row
        self.answered = False


class _Lane:
    """Waiting requests of the healthy, or of the sick."""

    __slots__ = ("commands", "reads")

    def __init__(self) -> None:
        self.commands: deque[Ticket] = deque()
        self.reads: dict[int, deque[Ticket]] = {}  # by unit; the first has the next turn

    def __bool__(self) -> bool:
        return bool(self.commands or self.reads)

    def add(self, ticket: Ticket) -> None:
        if ticket.is_command:
            self.commands.append(ticket)
        else:
            self.reads.setdefault(ticket.unit, deque()).append(ticket)

    def remove(self, ticket: Ticket) -> bool:
        line = self.commands if ticket.is_command else self.reads.get(ticket.unit)
        if line is None or ticket not in line:
            return False
        line.remove(ticket)
        if not line and not ticket.is_command:
            del self.reads[ticket.unit]
        return True

    def next_read(self, unit: int | None = None) -> Ticket:
        """The next in the ring, or that of a unit."""
        if unit is None:
            unit = next(iter(self.reads))
        line = self.reads.pop(unit)
        ticket = line.popleft()
        if line:
            self.reads[unit] = line
        return ticket

    def move(self, unit: int, other: _Lane) -> None:
        """All that waits for a unit changes lanes."""
        if unit in self.reads:
            other.reads[unit] = self.reads.pop(unit)
        moving = [ticket for ticket in self.commands if ticket.unit == unit]
        if moving:
            self.commands = deque(ticket for ticket in self.commands if ticket.unit != unit)
            other.commands.extend(moving)


class BusTurns:
    """The order of requests on one bus."""

    def __init__(self, share: float = SHARE) -> None:
        self._share = share
        self._units: dict[int, _Unit] = {}
        self._typical = 0.0  # seconds per byte of the unit in the middle
        self._refresh_in = 0
        self._healthy = _Lane()
        self._sick_lane = _Lane()
        self._waiting_since = 0.0  # the healthy, if any
        self._last_was_sick = False
        self._commands_in_a_row = 0
        self._turn_number = 0
        self.sick: set[int] = set()
        self.sick_not_before = float("-inf")
        self.waiting = 0

    def ask(self, ticket: Ticket) -> None:
        """Join the queue."""
        self.waiting += 1
        if ticket.unit in self.sick:
            self._sick_lane.add(ticket)
            return
        if not self._healthy:
            self._waiting_since = ticket.asked_at
        self._healthy.add(ticket)

    def withdraw(self, ticket: Ticket) -> None:
        """Leave the queue."""
        if self._healthy.remove(ticket) or self._sick_lane.remove(ticket):
            self.waiting -= 1

    def next(self, now: float) -> Ticket | None:
        """Who may speak now; None when nobody waits or only sick units whose time has not come."""
        ticket = self._choose(now)
        if ticket is None:
            return None
        self.waiting -= 1
        self._last_was_sick = ticket.unit in self.sick
        self._commands_in_a_row = self._commands_in_a_row + 1 if ticket.is_command else 0
        if self._healthy:
            self._waiting_since = max(self._waiting_since, now)
        return ticket

    def ended(self, unit: int, began: float, now: float, size: int, silent: bool) -> None:
        """A request of `size` bytes, there and back, occupied the bus from `began` until `now`."""
        self._learn(unit, (now - began) / (size + _OVERHEAD_BYTES), size, silent)
        self._turn_number += 1
        self._units[unit].turn = self._turn_number
        if unit in self.sick and self._healthy:
            waited_s = now - max(began, self._waiting_since)
            self.sick_not_before = max(self.sick_not_before, now + waited_s / self._share)
        if self._healthy:
            self._waiting_since = now

    @property
    def sick_at(self) -> float:
        """When a sick unit that waits may read, whatever else happens; infinite where none waits."""
        return self.sick_not_before if self._sick_lane.reads else _NEVER

    def wake_at(self, now: float) -> float | None:
        """When to look again though no request ends before: a sick unit's time comes, or somebody's patience ends."""
        soonest = min((ticket.turn_by for ticket in self._readings()), default=_NEVER)
        if self.sick_at > now:
            soonest = min(soonest, self.sick_at)
        return None if soonest == _NEVER else soonest

    def impatient(self, now: float) -> list[Ticket]:
        """Readings that have waited too long; they leave the queue."""
        late = [ticket for ticket in self._readings() if ticket.turn_by <= now]
        for ticket in late:
            self.withdraw(ticket)
        return late

    def _readings(self) -> Iterator[Ticket]:
        for lane in (self._healthy, self._sick_lane):
            for line in lane.reads.values():
                yield from line

    # --- choosing ------------------------------------------------------------------------------------------------

    def _choose(self, now: float) -> Ticket | None:
        healthy, sick = self._healthy, self._sick_lane
        if healthy.commands and not (healthy.reads and self._commands_in_a_row >= _COMMANDS_IN_A_ROW):
            return healthy.commands.popleft()
        if not (self._last_was_sick and healthy.reads):
            if sick.commands:
                return sick.commands.popleft()
            if sick.reads and now >= self.sick_not_before:
                return sick.next_read(min(sick.reads, key=lambda unit: self._units[unit].turn))
        return healthy.next_read() if healthy.reads else None

    # --- who is sick ---------------------------------------------------------------------------------------------

    def _learn(self, number: int, pace: float, size: int, silent: bool) -> None:
        unit = self._units.get(number)
        if unit is None:
            unit = self._units[number] = _Unit()
            self._refresh_in = 0
        if self._typical:
            pace = min(pace, _OUTLIER_FACTOR * self._typical)
        if unit.pace:
            unit.pace += _SMOOTHING * (pace - unit.pace)
        else:
            unit.pace = pace
        if silent:
            unit.silences += 1
        else:
            unit.silences = 0
            unit.answered = True
        self._refresh_in -= 1
        if self._refresh_in < 0:
            self._refresh()
        is_silent = unit.silences >= _SILENCES or (silent and not unit.answered)
        is_slow = unit.pace > SLOW_FACTOR * self._typical and unit.pace * (size + _OVERHEAD_BYTES) > SLOW_FLOOR_S
        if is_silent or is_slow:
            if number not in self.sick:
                self.sick.add(number)
                self._healthy.move(number, self._sick_lane)
        elif number in self.sick:
            self.sick.discard(number)
            self._sick_lane.move(number, self._healthy)

    def _refresh(self) -> None:
        """What is typical: the pace of the unit in the middle, the faster of two."""
        paces = sorted(unit.pace for unit in self._units.values() if unit.answered)
        self._refresh_in = 0 if len(paces) < _FEW_UNITS else _REFRESH_EVERY
        if paces:
            self._typical = paces[(len(paces) - 1) // 2]
