"""Sensors as the page shows them: what they are, what they said last, and which rules listen to them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lichtbuch.lighting.v1 import sensors_pb2
from lichtbuch.scheduler.v1 import scheduler_pb2
from lichtbuch.type.v1 import types_pb2
from services.admin.figures import id_of, instant

KINDS: Final = (
    types_pb2.SENSOR_KIND_TRAFFIC,
    types_pb2.SENSOR_KIND_ILLUMINANCE,
    types_pb2.SENSOR_KIND_RAIN,
)


@dataclass(frozen=True, slots=True)
class SensorNow:
    """A sensor with its last value, in the unit of its kind."""

    name: str
    display_name: str
    kind: int
    """A SensorKind of the contract."""
    groups: tuple[str, ...]
    """Groups that it serves; empty for all."""
    endpoint: str
    point: str
    max_age_s: int
    etag: str
    value: float | None = None
    """None where there never was one."""
    observed_at: datetime | None = None
    age_s: int = 0
    fresh: bool = False
    active_groups: tuple[str, ...] = ()

    @property
    def is_sent(self) -> bool:
        """Values are sent to it, by another system or a person; else it is read at its endpoint."""
        return not self.endpoint


def sensors_from_proto(
    sensors: Iterable[sensors_pb2.Sensor], states: Iterable[sensors_pb2.SensorState]
) -> tuple[SensorNow, ...]:
    """The sensors with their states; one without a state has never been heard of."""
    said = {state.name: state for state in states}
    return tuple(_sensor(sensor, said.get(sensor.name, sensors_pb2.SensorState())) for sensor in sensors)


def _sensor(sensor: sensors_pb2.Sensor, state: sensors_pb2.SensorState) -> SensorNow:
    heard = state.HasField("observed_at")
    return SensorNow(
        name=sensor.name,
        display_name=sensor.display_name or id_of(sensor.name),
        kind=int(sensor.kind),
        groups=tuple(sensor.groups),
        endpoint=sensor.endpoint,
        point=sensor.point,
        max_age_s=sensor.max_age_s,
        etag=sensor.etag,
        value=state.value if heard else None,
        observed_at=instant(state.observed_at) if heard else None,
        age_s=state.age_s if heard else 0,
        fresh=heard and state.fresh,
        active_groups=tuple(state.active_groups),
    )


@dataclass(frozen=True, slots=True)
class SensorUse:
    """Rules of a profile that listen to one sensor, or to any of a kind; and the groups that follow the profile."""

    profile: str
    kind: int
    sensor: str
    """Empty: the group's sensors of that kind."""
    groups: tuple[str, ...]
    rules: tuple[int, ...]
    """Numbers of the rules in the profile, from 1."""


def uses_of(
    profiles: Iterable[scheduler_pb2.Profile],
    calendars: Iterable[scheduler_pb2.Calendar],
    assignments: Iterable[scheduler_pb2.Assignment],
) -> tuple[SensorUse, ...]:
    """What profiles listen to. A group follows a profile if any rule of its calendar, or its default, names it."""
    held = {
        calendar.name: {calendar.default_profile, *(rule.profile for rule in calendar.rules if rule.profile)}
        for calendar in calendars
    }
    followers: dict[str, list[str]] = {}
    for assignment in assignments:
        for profile in held.get(assignment.calendar, ()):
            followers.setdefault(profile, []).append(assignment.group)
    found = []
    for each in profiles:
        numbers: dict[tuple[int, str], list[int]] = {}
        for number, rule in enumerate(each.rules, start=1):
            numbers.setdefault((int(rule.kind), rule.sensor), []).append(number)
        groups = tuple(sorted(followers.get(each.name, ())))
        found += [
            SensorUse(each.display_name or id_of(each.name), kind, sensor, groups, tuple(rules))
            for (kind, sensor), rules in numbers.items()
        ]
    return tuple(found)


def used_by(sensor: SensorNow, uses: Sequence[SensorUse]) -> tuple[SensorUse, ...]:
    """The rules that listen to a sensor: by its name, or by its kind where a group that it serves follows the profile.

    A rule that names the sensor listens though no group follows its profile yet.
    """
    found = []
    for use in uses:
        if use.sensor:
            if use.sensor == sensor.name:
                found.append(use)
        elif use.kind == sensor.kind and (not sensor.groups or set(sensor.groups) & set(use.groups)):
            found.append(use)
    return tuple(found)
