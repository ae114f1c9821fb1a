"""A plan: from which UTC instant on which level is due, for one group; its rules and its hash.

The scheduler compiles plans and lighting keeps them; both compare hashes, so the hash is computed here and nowhere
else. A plan may carry rules by which sensors change its level (plan_rule.py). Not here: how a plan is compiled
(scheduler), and what else decides a level (priority.py).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Final

from domain import instants
from domain.canonical import canonical_hash
from domain.errors import InvalidInput, Violation
from domain.level import FULL_PERMILLE, OFF_PERMILLE
from domain.plan_rule import MAX_RAMP_S, PlanRule, rule_to_document, rule_violations

MAX_INSTANTS: Final = 5_000
MAX_VALIDITY: Final = timedelta(days=400)
MAX_RULES: Final = 500

_MILLISECOND: Final = timedelta(milliseconds=1)

to_unix_ms = instants.unix_ms
from_unix_ms = instants.from_unix_ms


@dataclass(frozen=True)
class Plan:
    """What a group's plan says in [valid_from, valid_until): at each instant a level begins and holds until the next.

    All instants are Unix milliseconds (UTC), strictly rising, the first at `valid_from_ms`. levels_permille: 0..1000,
    one per instant. ramps_s: seconds that the change into the level takes, one per instant; empty means 0 everywhere.
    rules: what sensors may change, ascending by (from_ms, position), each within the validity.
    Outside its validity a plan says nothing: the default holds there. Raises InvalidInput with every violation; the
    fields are named as in lichtbuch.lighting.v1.Plan.
    """

    valid_from_ms: int
    valid_until_ms: int
    instants_ms: tuple[int, ...]
    levels_permille: tuple[int, ...]
    ramps_s: tuple[int, ...] = ()
    rules: tuple[PlanRule, ...] = ()

    def __post_init__(self) -> None:
        # Tuples of plain integers: equal plans are equal objects and have equal bytes.
        for name in ("instants_ms", "levels_permille", "ramps_s"):
            object.__setattr__(self, name, tuple(int(value) for value in getattr(self, name)))
        object.__setattr__(self, "rules", tuple(self.rules))
        if not self.ramps_s:
            object.__setattr__(self, "ramps_s", (0,) * len(self.instants_ms))
        violations = _violations(self)
        if violations:
            raise InvalidInput("", violations)

    @classmethod
    def of(
        cls,
        valid_from: datetime,
        valid_until: datetime,
        instants: Sequence[datetime],
        levels_permille: Sequence[int],
        ramps_s: Sequence[int] = (),
        rules: Sequence[PlanRule] = (),
    ) -> Plan:
        """A plan from aware datetimes; finer digits than milliseconds are cut off."""
        return cls(
            to_unix_ms(valid_from, "valid_from"),
            to_unix_ms(valid_until, "valid_until"),
            tuple(to_unix_ms(instant, "instants_unix_ms") for instant in instants),
            tuple(levels_permille),
            tuple(ramps_s),
            tuple(rules),
        )

    @property
    def valid_from(self) -> datetime:
        """First instant it speaks for, UTC."""
        return from_unix_ms(self.valid_from_ms)

    @property
    def valid_until(self) -> datetime:
        """The instant from which on it no longer speaks, UTC."""
        return from_unix_ms(self.valid_until_ms)

    @cached_property
    def hash(self) -> str:
        """SHA-256 in hex over the canonical bytes of validity, instants, levels, ramps, and rules if there are any."""
        return plan_hash(
            self.valid_from_ms, self.valid_until_ms, self.instants_ms, self.levels_permille, self.ramps_s, self.rules
        )

    def index_at(self, unix_ms: int) -> int | None:
        """Index of the level that holds at an instant; None outside the validity."""
        if not self.valid_from_ms <= unix_ms < self.valid_until_ms:
            return None
        return bisect_right(self.instants_ms, unix_ms) - 1

    def level_at(self, instant: datetime) -> int | None:
        """Level in per mille that holds at an instant, at its target while a ramp runs; None outside the validity."""
        index = self.index_at(to_unix_ms(instant))
        return None if index is None else self.levels_permille[index]

    def ramp_at(self, instant: datetime) -> int:
        """Ramp in seconds into the level that holds at an instant; 0 outside the validity."""
        index = self.index_at(to_unix_ms(instant))
        return 0 if index is None else self.ramps_s[index]

    def segments(self) -> list[tuple[int, int, int]]:
        """What holds when: (start_ms, end_ms, level_permille), gapless from valid_from to valid_until."""
        ends = (*self.instants_ms[1:], self.valid_until_ms)
        return list(zip(self.instants_ms, ends, self.levels_permille, strict=True))

    def rules_at(self, unix_ms: int) -> list[PlanRule]:
        """The rules whose window is open at an instant, in the order in which they apply."""
        reached = self.rules[: bisect_right(self.rules, unix_ms, key=_from_ms)]
        return sorted((rule for rule in reached if unix_ms < rule.until_ms), key=_position)

    def lowest_lit_permille(self) -> int | None:
        """The lowest level above 0 in it; None where it is always off."""
        return min((level for level in self.levels_permille if level > OFF_PERMILLE), default=None)


def plan_hash(
    valid_from_ms: int,
    valid_until_ms: int,
    instants_ms: Sequence[int],
    levels_permille: Sequence[int],
    ramps_s: Sequence[int] = (),
    rules: Sequence[PlanRule] = (),
) -> str:
    """SHA-256 in hex over the canonical bytes of a plan's content. Empty ramps count as zeros.

    Rules are part of it only where there are any, so that a plan without them has the hash it always had.
    Where the plan came from (profile, calendar) is not part of it: what the lamps do is.
    """
    ramps = [int(ramp) for ramp in ramps_s] or [0] * len(instants_ms)
    content: dict[str, object] = {
        "valid_from": int(valid_from_ms),
        "valid_until": int(valid_until_ms),
        "instants": [int(instant) for instant in instants_ms],
        "levels": [int(level) for level in levels_permille],
        "ramps": ramps,
    }
    if rules:
        content["rules"] = [rule_to_document(rule) for rule in rules]
    return canonical_hash(content)


def _from_ms(rule: PlanRule) -> int:
    return rule.from_ms


def _position(rule: PlanRule) -> tuple[int, int]:
    return rule.position, rule.from_ms


def _violations(plan: Plan) -> list[Violation]:
    found: list[Violation] = _rule_violations(plan)
    count = len(plan.instants_ms)
    if plan.valid_until_ms <= plan.valid_from_ms:
        found.append(Violation("valid_until", "is not after valid_from"))
    elif plan.valid_until_ms - plan.valid_from_ms > MAX_VALIDITY // _MILLISECOND:
        found.append(Violation("valid_until", f"is more than {MAX_VALIDITY.days} days after valid_from"))
    if not count:
        found.append(Violation("instants_unix_ms", "at least the level at valid_from is needed"))
        return found
    if count > MAX_INSTANTS:
        found.append(Violation("instants_unix_ms", f"{count} instants, at most {MAX_INSTANTS} are allowed"))
    if plan.instants_ms[0] != plan.valid_from_ms:
        found.append(Violation("instants_unix_ms[0]", "the first instant is not valid_from"))
    for index, (before, after) in enumerate(pairwise(plan.instants_ms), start=1):
        if after <= before:
            found.append(Violation(f"instants_unix_ms[{index}]", "is not after the one before"))
            break
    if plan.instants_ms[-1] >= plan.valid_until_ms:
        found.append(Violation(f"instants_unix_ms[{count - 1}]", "is not before valid_until"))
    if len(plan.levels_permille) != count:
        found.append(Violation("levels_permille", f"{len(plan.levels_permille)} levels for {count} instants"))
    if len(plan.ramps_s) != count:
        found.append(Violation("ramps_s", f"{len(plan.ramps_s)} ramps for {count} instants"))
    found.extend(_first_outside(plan.levels_permille, FULL_PERMILLE, "levels_permille", "per mille"))
    found.extend(_first_outside(plan.ramps_s, MAX_RAMP_S, "ramps_s", "seconds"))
    return found


def _rule_violations(plan: Plan) -> list[Violation]:
    found: list[Violation] = []
    if len(plan.rules) > MAX_RULES:
        found.append(Violation("rules", f"{len(plan.rules)} rules, at most {MAX_RULES} are allowed"))
    for index, rule in enumerate(plan.rules):
        prefix = f"rules[{index}]"
        if not plan.valid_from_ms <= rule.from_ms < rule.until_ms <= plan.valid_until_ms:
            found.append(Violation(prefix, "its window is empty, turned round, or outside the validity"))
        if index and _order(plan.rules[index - 1]) > _order(rule):
            found.append(Violation(f"{prefix}.from_unix_ms", "comes before the one before"))
        found.extend(rule_violations(rule, prefix))
    return found[:20]


def _order(rule: PlanRule) -> tuple[int, int]:
    return rule.from_ms, rule.position


def _first_outside(values: Sequence[int], largest: int, field: str, unit: str) -> list[Violation]:
    for index, value in enumerate(values):
        if not 0 <= value <= largest:
            return [Violation(f"{field}[{index}]", f"{value} is not between 0 and {largest} {unit}")]
    return []
