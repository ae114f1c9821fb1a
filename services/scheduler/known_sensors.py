"""Whether the sensors that a profile's rules name are there and measure what the rules ask for. Pure.

A rule that names no sensor listens to whatever serves its group, which may be nothing. Asking lighting: lighting.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from domain.errors import InvalidInput, Violation
from domain.plan_rule import SensorKind
from services.scheduler.profile import Profile

Sensors = Mapping[str, SensorKind]
"""Kinds of the sensors of a municipality, by id."""


def names_sensors(profiles: Iterable[Profile]) -> bool:
    """Whether any rule of them names one."""
    return any(rule.sensor for profile in profiles for rule in profile.rules)


def sensor_violations(profile: Profile, sensors: Sensors) -> list[Violation]:
    """Every rule whose sensor is not there, or measures something else, under "rules[i].sensor"."""
    found = []
    for index, rule in enumerate(profile.rules):
        if not rule.sensor:
            continue
        kind = sensors.get(rule.sensor)
        if kind is None:
            found.append(Violation(f"rules[{index}].sensor", f"there is no sensor {rule.sensor}"))
        elif kind is not rule.kind:
            found.append(
                Violation(
                    f"rules[{index}].sensor",
                    f"{rule.sensor} measures {kind.name.lower()}, not {rule.kind.name.lower()}",
                )
            )
    return found


def check_sensors(profile: Profile, sensors: Sensors) -> None:
    """Raises InvalidInput for the rules whose sensor is not there, or measures something else."""
    if violations := sensor_violations(profile, sensors):
        raise InvalidInput("", violations)


def not_checked(reason: str) -> str:
    """What is told where lighting could not be asked."""
    return f"the sensors that its rules name could not be looked up: {reason}"
