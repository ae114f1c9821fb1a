"""What sensors make of a plan's level. A pure function of the plan, the instant, and what the sensors said.

A plan's rules (plan_rule.py) apply in their order, each on the result before. A sensor whose last value is too old has
no say: its rules are inactive, hold time or not, so that nothing goes on for hours because a radio died. For a twilight
switch the sun then stands in for the photocell, and only to make it lighter: on doubt light.

Not here: how values come in and where they are kept (lighting), and what else decides a level (priority.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from domain.plan import Plan
from domain.plan_rule import PlanRule, SensorKind

NEVER_MS: Final = -(2**62)


class Thresholds(NamedTuple):
    """Where a condition begins and ends, in thousandths of the kind's unit, as in PlanRule."""

    kind: SensorKind
    on_milli: int
    off_milli: int

    @classmethod
    def of(cls, rule: PlanRule) -> Thresholds:
        """The thresholds of a rule: rules that have them in common share what is known of their condition."""
        return cls(rule.kind, rule.on_milli, rule.off_milli)

    def begins(self, value_milli: int) -> bool:
        """Whether a value makes the condition hold."""
        return value_milli <= self.on_milli if self.kind is SensorKind.ILLUMINANCE else value_milli >= self.on_milli

    def ends(self, value_milli: int) -> bool:
        """Whether a value ends it."""
        return value_milli > self.off_milli if self.kind is SensorKind.ILLUMINANCE else value_milli < self.off_milli


class Condition(NamedTuple):
    """What a sensor's values have come to: the condition holds, or it ended at an instant (Unix ms; NEVER_MS: it never
    held as far as is known)."""

    holds: bool
    ended_ms: int = NEVER_MS

    def after(self, thresholds: Thresholds, value_milli: int, at_ms: int) -> Condition:
        """The condition after another value: hysteresis, so that a value between the thresholds changes nothing."""
        if self.holds:
            return Condition(False, at_ms) if thresholds.ends(value_milli) else self
        return Condition(True, self.ended_ms) if thresholds.begins(value_milli) else self


@dataclass(frozen=True, slots=True)
class SensorView:
    """What is known of a sensor: its kind, its last value (thousandths of the kind's unit), when it was measured (Unix
    ms), for how long it counts, and the conditions that were watched."""

    kind: SensorKind
    value_milli: int
    at_ms: int
    max_age_ms: int
    conditions: Mapping[Thresholds, Condition] = field(default_factory=dict)

    def is_fresh(self, now_ms: int) -> bool:
        """Whether the value counts at an instant. One from the future does not: some clock jumped."""
        return self.at_ms <= now_ms < self.at_ms + self.max_age_ms

    def condition(self, thresholds: Thresholds) -> Condition:
        """The condition at some thresholds; by the last value alone where nobody watched it before."""
        return self.conditions.get(thresholds) or Condition(thresholds.begins(self.value_milli))


class Activity(Enum):
    """Whether a rule does something."""

    INACTIVE = "inactive"
    ACTIVE = "active"
    BY_THE_SUN = "by the sun"
    """A twilight switch without a fresh value: active while the sun is down, and only to make it lighter."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What plan and sensors ask for. sensed: a sensor made the level another one than the plan's."""

    level_permille: int
    ramp_s: int
    sensed: bool = False


def says(sensor: SensorView, rule: PlanRule, now_ms: int) -> bool | None:
    """Whether a sensor makes a rule active at an instant, hold time included. None where it has no say: its value is
    too old, or it measures something else."""
    if sensor.kind is not rule.kind or not sensor.is_fresh(now_ms):
        return None
    condition = sensor.condition(Thresholds.of(rule))
    return condition.holds or now_ms < condition.ended_ms + rule.hold_s * 1000


def activity(rule: PlanRule, sensors: Iterable[SensorView], now_ms: int) -> Activity:
    """What a rule whose window is open does at an instant, by the sensors it listens to: one of them is enough."""
    heard = [said for sensor in sensors if (said := says(sensor, rule, now_ms)) is not None]
    if any(heard):
        return Activity.ACTIVE
    if rule.kind is SensorKind.ILLUMINANCE and not heard:
        return Activity.BY_THE_SUN
    return Activity.INACTIVE


def apply_rules(
    level_permille: int, ramp_s: int, rules: Sequence[tuple[PlanRule, Activity]], *, night: bool
) -> Planned:
    """What rules make of a plan's level, in their order. night: the sun is down.

    The ramp is the longest of the plan's and those of the rules whose window is open: it is the same into and out of
    what a rule does, and the gear's fade time is not written anew with every car.
    """
    level, sensed = level_permille, False
    for rule, state in rules:
        ramp_s = max(ramp_s, rule.ramp_s)
        if state is Activity.ACTIVE:
            made = rule.applied_to(level)
            sensed = sensed or made != level
            level = made
        elif state is Activity.BY_THE_SUN and night:
            level = max(level, rule.applied_to(level))
    return Planned(level, ramp_s, sensed and level != level_permille)


def planned_level(
    plan: Plan,
    now_ms: int,
    sensors: Mapping[str, SensorView],
    serving: Mapping[SensorKind, Sequence[str]],
    *,
    night: bool,
) -> Planned | None:
    """What plan and sensors ask of a group at an instant (Unix ms); None outside the plan's validity.

    sensors: what is known of the municipality's sensors, by id. serving: ids of those that serve the group, by kind: a
    rule that names no sensor listens to them.
    """
    index = plan.index_at(now_ms)
    if index is None:
        return None
    rules = []
    for rule in plan.rules_at(now_ms):
        ids = [rule.sensor] if rule.sensor else serving.get(rule.kind, ())
        rules.append((rule, activity(rule, [sensors[i] for i in ids if i in sensors], now_ms)))
    return apply_rules(plan.levels_permille[index], plan.ramps_s[index], rules, night=night)
