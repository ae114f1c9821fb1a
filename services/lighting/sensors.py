"""What is known of a town's sensors, in memory: last values, and the conditions that plans' rules wait for.

Values come in from the field (sensor_field.py), from other systems (api/sensors.py) and from other replicas by the
database (sensor_keeper.py). What they amount to is domain.sensing; who listens to them is planned.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from domain.plan_rule import MAX_THRESHOLD_MILLI
from domain.sensing import NEVER_MS, Condition, SensorView, Thresholds
from services.lighting.planned import listened_by
from services.lighting.records import Known

LARGEST_VALUE: Final = MAX_THRESHOLD_MILLI // 1000
"""In the kind's unit: what is beyond it is a fault of the sensor."""


@dataclass(frozen=True, slots=True)
class SensorValue:
    """A value of a sensor in thousandths of its kind's unit, and when it was measured (Unix ms of domain time)."""

    sensor_uid: str
    value_milli: int
    at_ms: int


def milli_of(value: float) -> int:
    """A value in thousandths of its unit. Expects a finite one."""
    return round(value * 1000)


class SensorBoard:
    """The board that values are written on. `views` is another object whenever anything on it changed."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[], None]] = []
        self._views: dict[str, SensorView] = {}
        self._early: dict[str, SensorValue] = {}
        self._watched: dict[str, frozenset[Thresholds]] = {}
        self._remembered: dict[str, dict[Thresholds, Condition]] = {}
        self._known: Known | None = None

    @property
    def views(self) -> Mapping[str, SensorView]:
        """What is known, by uid of the sensor. Not changed once it was handed out."""
        return self._views

    def on_news(self, listener: Callable[[], None]) -> None:
        """Adds what is called when a condition began or ended, so that another level may be due."""
        self._listeners.append(listener)

    def watch(self, known: Known) -> None:
        """Takes which sensors there are, and which conditions the plans' rules wait for."""
        if known is self._known:
            return
        before, self._known = self._known, known
        if before is not None and before.inventory is known.inventory and before.orders.plans == known.orders.plans:
            return
        watched: dict[str, set[Thresholds]] = {sensor.uid: set() for sensor in known.inventory.sensors}
        groups = {group.uid: group for group in known.inventory.groups}
        for group_uid, plan in known.orders.plans.items():
            for rule in plan.rules if group_uid in groups else ():
                for uid in listened_by(rule, groups[group_uid], known.inventory):
                    watched[uid].add(Thresholds.of(rule))
        self._watched = {uid: frozenset(thresholds) for uid, thresholds in watched.items()}
        views = {}
        for sensor in known.inventory.sensors:
            view = self._views.get(sensor.uid)
            if view is not None and view.kind is sensor.kind:
                conditions = {t: self._condition(sensor.uid, view, t) for t in self._watched[sensor.uid]}
                views[sensor.uid] = replace(view, max_age_ms=sensor.max_age_s * 1000, conditions=conditions)
        self._views = views
        early = [value for uid, value in self._early.items() if uid in watched]
        if early:
            self.take(early, max(value.at_ms for value in early))

    def take(self, values: Iterable[SensorValue], now_ms: int) -> list[SensorValue]:
        """Takes values. Returns those that are news: not older than what is known of their sensor.

        A value from the future counts as one of now; what is known from the future (a clock jumped) gives way.
        """
        sensors = {sensor.uid: sensor for sensor in self._known.inventory.sensors} if self._known is not None else {}
        views, news, turned = dict(self._views), [], False
        for value in values:
            uid, at_ms = value.sensor_uid, min(value.at_ms, now_ms)
            sensor = sensors.get(uid)
            if sensor is None:
                self._early[uid] = value  # the inventory that has it is still on its way
                continue
            self._early.pop(uid, None)
            before = views.get(uid)
            if before is not None and at_ms < before.at_ms <= now_ms:
                continue
            if before is not None and (at_ms, value.value_milli) == (before.at_ms, before.value_milli):
                continue
            conditions = {}
            for thresholds in self._watched.get(uid, ()):
                known = self._condition(uid, before, thresholds)
                conditions[thresholds] = known.after(thresholds, value.value_milli, at_ms)
                turned |= conditions[thresholds].holds != known.holds
            views[uid] = SensorView(sensor.kind, value.value_milli, at_ms, sensor.max_age_s * 1000, conditions)
            news.append(SensorValue(uid, value.value_milli, at_ms))
            turned |= before is None or not before.is_fresh(now_ms)
        if news:
            self._views = views
        if turned:
            for listener in self._listeners:
                listener()
        return news

    def remember(self, conditions: Mapping[str, Mapping[Thresholds, Condition]]) -> None:
        """Takes the conditions of an earlier run, by uid of the sensor: what lay between two thresholds."""
        self._remembered = {uid: dict(known) for uid, known in conditions.items()}

    def counts(self, now_ms: int) -> dict[str, int]:
        """How many sensors are fresh, stale, or never said anything."""
        total = len(self._known.inventory.sensors) if self._known is not None else 0
        fresh = sum(view.is_fresh(now_ms) for view in self._views.values())
        return {"fresh": fresh, "stale": len(self._views) - fresh, "never": total - len(self._views)}

    def _condition(self, uid: str, view: SensorView | None, thresholds: Thresholds) -> Condition:
        """What is known of a condition before another value: watched, remembered, or judged by the value alone."""
        if view is not None and thresholds in view.conditions:
            return view.conditions[thresholds]
        remembered = self._remembered.get(uid, {}).get(thresholds)
        if remembered is not None:
            return remembered
        return view.condition(thresholds) if view is not None else Condition(False, NEVER_MS)
