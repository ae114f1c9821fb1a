"""A rule of a plan: while a sensor says so, the level of the plan is another one. Its limits and its plain form.

Pure. What the sensors say and since when is lighting's; how a profile's rules become a plan's is the scheduler's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from domain.errors import Violation
from domain.level import FULL_PERMILLE, OFF_PERMILLE

MAX_RAMP_S: Final = 3_600
MAX_RULE_POSITION: Final = 49
MAX_HOLD_S: Final = 43_200
MAX_FACTOR_PERMILLE: Final = 10_000
MAX_THRESHOLD_MILLI: Final = 1_000_000_000


class SensorKind(IntEnum):
    """What a sensor measures; numbers as in lichtbuch.type.v1.SensorKind."""

    TRAFFIC = 1
    """Vehicles or persons per hour."""
    ILLUMINANCE = 2
    """lx."""
    RAIN = 3
    """mm per hour."""


class SensorOperation(IntEnum):
    """What a rule does to a level, as dynamic programs of TALQ do; numbers as in lichtbuch.type.v1.SensorOperation."""

    SET = 1
    MAX = 2
    MIN = 3
    ADD = 4
    SUB = 5
    MUL = 6


@dataclass(frozen=True, slots=True)
class PlanRule:
    """While its condition holds within [from_ms, until_ms) a sensor changes the plan's level.

    Thresholds are thousandths of the kind's unit. TRAFFIC and RAIN: active from a value >= on_milli until a value
    < off_milli (off <= on). ILLUMINANCE: active from a value <= on_milli until a value > off_milli (off >= on); the
    scheduler compiles one rule for each half of the night, so direction needs no state here. It stays active hold_s
    after its condition ended, but never beyond until_ms. sensor: id of a sensor of the municipality (the last part of
    its name); empty means every sensor of that kind that serves the group, one of them being enough.
    position: place among the profile's rules; rules that hold at once apply in this order (`Plan.rules_at`).
    Limits are checked by Plan (plan.py).
    """

    from_ms: int
    until_ms: int
    kind: SensorKind
    operation: SensorOperation
    value_permille: int
    on_milli: int
    off_milli: int
    hold_s: int = 0
    ramp_s: int = 0
    sensor: str = ""
    position: int = 0

    def begins(self, value_milli: int) -> bool:
        """Whether a value (thousandths of the kind's unit) makes an inactive rule active."""
        if self.kind is SensorKind.ILLUMINANCE:
            return value_milli <= self.on_milli
        return value_milli >= self.on_milli

    def ends(self, value_milli: int) -> bool:
        """Whether a value ends the condition of an active rule; its hold time begins then."""
        if self.kind is SensorKind.ILLUMINANCE:
            return value_milli > self.off_milli
        return value_milli < self.off_milli

    def applied_to(self, level_permille: int) -> int:
        """The level in per mille, 0..1000, that an active rule makes of one."""
        return operate(self.operation, level_permille, self.value_permille)


def operate(operation: SensorOperation, level_permille: int, value_permille: int) -> int:
    """The result of an operation, cut to 0..1000 per mille. MUL rounds half up: (level * value + 500) // 1000."""
    match operation:
        case SensorOperation.SET:
            found = value_permille
        case SensorOperation.MAX:
            found = max(level_permille, value_permille)
        case SensorOperation.MIN:
            found = min(level_permille, value_permille)
        case SensorOperation.ADD:
            found = level_permille + value_permille
        case SensorOperation.SUB:
            found = level_permille - value_permille
        case SensorOperation.MUL:
            found = (level_permille * value_permille + 500) // FULL_PERMILLE
    return min(max(found, OFF_PERMILLE), FULL_PERMILLE)


def rule_to_document(rule: PlanRule) -> dict[str, int | str]:
    """A rule as plain values, for hashes and for what is stored."""
    return {
        "from": rule.from_ms,
        "until": rule.until_ms,
        "kind": int(rule.kind),
        "operation": int(rule.operation),
        "value": rule.value_permille,
        "on": rule.on_milli,
        "off": rule.off_milli,
        "hold": rule.hold_s,
        "ramp": rule.ramp_s,
        "sensor": rule.sensor,
        "position": rule.position,
    }


def rule_from_document(document: Mapping[str, Any]) -> PlanRule:
    """The rule of a document."""
    return PlanRule(
        from_ms=document["from"],
        until_ms=document["until"],
        kind=SensorKind(document["kind"]),
        operation=SensorOperation(document["operation"]),
        value_permille=document["value"],
        on_milli=document["on"],
        off_milli=document["off"],
        hold_s=document["hold"],
        ramp_s=document["ramp"],
        sensor=document["sensor"],
        position=document["position"],
    )


def threshold_problem(kind: SensorKind, on_milli: int, off_milli: int) -> str | None:
    """Why two thresholds do not go together; None where they do."""
    if kind is SensorKind.ILLUMINANCE:
        return "is below the threshold at which it begins" if off_milli < on_milli else None
    return "is above the threshold at which it begins" if off_milli > on_milli else None


def largest_value(operation: SensorOperation) -> int:
    """The largest value in per mille that an operation takes."""
    return MAX_FACTOR_PERMILLE if operation is SensorOperation.MUL else FULL_PERMILLE


def rule_violations(rule: PlanRule, prefix: str) -> list[Violation]:
    """What is wrong with a rule apart from its window, each under `prefix`."""
    limits = (
        ("value_permille", rule.value_permille, largest_value(rule.operation)),
        ("on_milli", rule.on_milli, MAX_THRESHOLD_MILLI),
        ("off_milli", rule.off_milli, MAX_THRESHOLD_MILLI),
        ("hold_s", rule.hold_s, MAX_HOLD_S),
        ("ramp_s", rule.ramp_s, MAX_RAMP_S),
        ("position", rule.position, MAX_RULE_POSITION),
    )
    found = [
        Violation(f"{prefix}.{name}", f"{value} is not between 0 and {largest}")
        for name, value, largest in limits
        if not 0 <= value <= largest
    ]
    if (reason := threshold_problem(rule.kind, rule.on_milli, rule.off_milli)) is not None:
        found.append(Violation(f"{prefix}.off_milli", reason))
    return found
