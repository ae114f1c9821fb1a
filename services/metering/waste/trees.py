"""Waste in trees of meters: it is raised at the deepest meter that shows it, and told, not raised, above. Pure.

A main meter counts what its sub-meters count, a sum what its terms do. Where their waste of the same rule is at least
half of its own, its own is theirs; where it is less, more is wasted than they show, and it is raised there too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.metering.slot import HOUR_MS
from services.metering.waste.watch import Rule, Waste

SHARED: Final = (
    Rule.NIGHT_BASE_LOAD_UP,
    Rule.WEEKEND_USE,
    Rule.WATER_NEVER_STOPS,
    Rule.HEATING_IN_WARM_WEATHER,
)
"""Rules over a use, which a meter shares with those behind it. Sums and stocks are of a meter alone."""
EXPLAINED_PERMILLE: Final = 500
"""Share of a meter's waste that the meters behind it have to show, for it to be theirs."""

Parts = Mapping[str, Sequence[str]]
"""Uids of the meters that a meter is made of, by its uid: its sub-meters, or the terms that are added to a sum."""


def deepest_first(uids: Iterable[str], parts: Parts) -> list[str]:
    """The meters in an order in which each comes after those that it is made of."""
    every = list(uids)
    done: dict[str, None] = {}
    for start in every:
        waiting = [start]
        entered: set[str] = set()
        while waiting:
            uid = waiting[-1]
            behind = [one for one in parts.get(uid, ()) if one not in done and one not in entered]
            if uid in entered or not behind:
                # Meters that measure behind each other in a circle, which no rule of the contract lets be, end here.
                done.setdefault(waiting.pop())
            else:
                waiting += behind
            entered.add(uid)
    known = set(every)
    return [uid for uid in done if uid in known]


@dataclass(frozen=True, slots=True)
class Shown:
    """Waste that stands at a meter, or at meters behind it: its rate in base units per hour, and their ids."""

    rate: int
    meters: tuple[str, ...]


@dataclass
class Tree:
    """What one morning has shown so far, the deepest meters first."""

    parts: Parts
    _shown: dict[tuple[str, Rule], Shown] = field(default_factory=dict)

    def behind(self, uid: str, rule: Rule) -> Shown:
        """The waste of a rule that the meters behind this one show together."""
        found = [self._shown[part, rule] for part in self.parts.get(uid, ()) if (part, rule) in self._shown]
        return Shown(sum(one.rate for one in found), tuple(meter for one in found for meter in one.meters))

    def where(self, uid: str, waste: Waste) -> tuple[str, ...]:
        """Ids of the meters behind this one whose waste it is; none where it is its own."""
        if waste.rule not in SHARED:
            return ()
        behind = self.behind(uid, waste.rule)
        explained = behind.rate * 1000 >= rate_of(waste) * EXPLAINED_PERMILLE
        return behind.meters if behind.meters and explained else ()

    def note(self, uid: str, meter_id: str, rule: Rule, rate: int | None) -> None:
        """Remembers what a meter shows of a rule; None where it shows nothing, and those behind it do."""
        own = Shown(rate, (meter_id,)) if rate is not None else self.behind(uid, rule)
        if own.meters:
            self._shown[uid, rule] = own


def rate_of(waste: Waste) -> int:
    """What is wasted in base units per hour, over the time of a finding."""
    return rate_over(waste.excess_amount, waste.start_ms, waste.end_ms)


def rate_over(excess: int, start_ms: int, end_ms: int) -> int:
    """The same of an amount between two instants."""
    return excess * HOUR_MS // max(1, end_ms - start_ms)
