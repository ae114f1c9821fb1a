"""What plans and sensors ask of each group, for all groups of a town at an instant.

Each group is what domain.sensing says of its plan; here only the work is saved: who listens to whom is looked up once
per plan. Not here: what becomes of it for a luminaire (due.py), and where the sensors' values come from (sensors.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.plan import Plan
from domain.plan_rule import PlanRule
from domain.sensing import Activity, SensorView, Thresholds, activity, apply_rules, says
from services.lighting.columns import Columns, Flags, Levels
from services.lighting.records import GroupRecord, Inventory, Orders

NOTHING_PLANNED: Final = -1

Listened = tuple[str, ...]
"""Uids of the sensors that a rule listens to."""


@dataclass(frozen=True, eq=False)
class GroupsAsk:
    """What is asked of each group, by row; NOTHING_PLANNED where no plan speaks."""

    by_day: Levels
    by_night: Levels
    """As by_day, but where a twilight switch has no fresh value: then it is lighter while the sun is down."""
    sensed_by_day: Flags
    sensed_by_night: Flags
    """Whether a sensor made the level another one than the plan's."""
    ramp_s: NDArray[np.int16]
    active: dict[str, list[int]] = field(default_factory=dict)
    """By uid of a sensor: rows of the groups with a rule that is active because of it."""
    instants_ms: tuple[int, ...] = ()
    """When sensors alone change something of it: values grow too old, hold times end."""


class GroupPlans:
    """The plans of a town's groups, and which sensors each rule listens to."""

    def __init__(self, columns: Columns, orders: Orders) -> None:
        self._groups = len(columns.inventory.groups)
        self._plans: list[tuple[int, Plan, dict[PlanRule, Listened]]] = []
        for uid, plan in orders.plans.items():
            if (row := columns.group_of.get(uid)) is not None:
                listened = {
                    rule: listened_by(rule, columns.inventory.groups[row], columns.inventory) for rule in plan.rules
                }
                self._plans.append((row, plan, listened))

    def instants_ms(self) -> list[int]:
        """When plans alone change something, in no order."""
        found: list[int] = []
        for _, plan, _ in self._plans:
            found += (plan.valid_until_ms, *plan.instants_ms)
            for rule in plan.rules:
                found += (rule.from_ms, rule.until_ms)
        return found

    def ask(self, now_ms: int, sensors: Mapping[str, SensorView]) -> GroupsAsk:
        """What is asked at an instant. sensors: what is known of them, by uid."""
        day = np.full(self._groups, NOTHING_PLANNED, dtype=np.int16)
        ramp = np.zeros(self._groups, dtype=np.int16)
        sensed = np.zeros(self._groups, dtype=np.bool_)
        night, sensed_night = day.copy(), sensed.copy()
        active: dict[str, list[int]] = {}
        instants: list[int] = []
        for row, plan, listened in self._plans:
            index = plan.index_at(now_ms)
            if index is None:
                continue
            level, ramp_s = plan.levels_permille[index], plan.ramps_s[index]
            day[row] = night[row] = level
            ramp[row] = ramp_s
            if not plan.rules:
                continue
            rules = []
            for rule in plan.rules_at(now_ms):
                heard = [(uid, sensors[uid]) for uid in listened[rule] if uid in sensors]
                rules.append((rule, activity(rule, [view for _, view in heard], now_ms)))
                for uid, view in heard:
                    instants += _instants(rule, view)
                    if says(view, rule, now_ms):
                        active.setdefault(uid, []).append(row)
            made = apply_rules(level, ramp_s, rules, night=False)
            day[row], ramp[row], sensed[row] = made.level_permille, made.ramp_s, made.sensed
            if any(state is Activity.BY_THE_SUN for _, state in rules):
                made = apply_rules(level, ramp_s, rules, night=True)
            night[row], sensed_night[row] = made.level_permille, made.sensed
        return GroupsAsk(day, night, sensed, sensed_night, ramp, active, tuple(instants))


def listened_by(rule: PlanRule, group: GroupRecord, inventory: Inventory) -> Listened:
    """The sensors that a rule of a group's plan listens to: the one it names, else those of its kind that serve it."""
    if rule.sensor:
        return tuple(
            s.uid for s in inventory.sensors if s.id == rule.sensor and s.municipality_uid == group.municipality_uid
        )
    return tuple(s.uid for s in inventory.sensors if s.kind is rule.kind and s.serves(group))


def _instants(rule: PlanRule, view: SensorView) -> tuple[int, ...]:
    """When what a sensor says of a rule changes without another value."""
    ended_ms = view.condition(Thresholds.of(rule)).ended_ms
    return view.at_ms, view.at_ms + view.max_age_ms, ended_ms + rule.hold_s * 1000
