"""Between the scheduler's types and the contracts of scheduler and lighting. Nothing is decided here.

Calendars and holidays are in convert_calendar.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import time
from typing import Final

from domain.canonical import canonical_hash
from domain.errors import InvalidInput
from domain.names import ResourceName
from domain.plan import Plan
from domain.plan_rule import PlanRule, SensorKind, SensorOperation
from lichtbuch.lighting.v1 import control_pb2, inventory_pb2
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from lichtbuch.type.v1 import types_pb2
from servicekit.convert import etag_of, optional_timestamp_to_proto, timestamp_to_proto
from services.scheduler.profile import Anchor, NightMoment, Profile, SensorRule, SwitchPoint, parse_clock
from services.scheduler.records import Assignment, Group, StoredProfile
from services.scheduler.sensor_rule import FROM_SUNSET, UNTIL_SUNRISE

_ANCHORS: Final = frozenset(int(anchor) for anchor in Anchor)
_KINDS: Final = frozenset(int(kind) for kind in SensorKind)
_OPERATIONS: Final = frozenset(int(operation) for operation in SensorOperation)


def points_from_proto(points: Iterable[pb.SwitchPoint]) -> tuple[SwitchPoint, ...]:
    """Switch points. Raises InvalidInput with "points[i]...." for what is no clock time or no anchor."""
    found = []
    for index, point in enumerate(points):
        prefix = f"points[{index}]"
        if int(point.anchor) not in _ANCHORS:
            raise InvalidInput.of(f"{prefix}.anchor", f"{point.anchor} is not an anchor")
        found.append(
            SwitchPoint(
                anchor=Anchor(point.anchor),
                level_permille=point.level_permille,
                offset_s=point.offset_s,
                clock_time=parse_clock(point.clock_time, f"{prefix}.clock_time"),
                ramp_s=point.ramp_s,
                earliest=parse_clock(point.earliest, f"{prefix}.earliest"),
                latest=parse_clock(point.latest, f"{prefix}.latest"),
                elevation_deg=point.elevation_deg,
                rising=point.rising,
            )
        )
    return tuple(found)


def sensor_rules_from_proto(rules: Iterable[pb.SensorRule]) -> tuple[SensorRule, ...]:
    """Sensor rules. Raises InvalidInput with "rules[i]...." for what is no kind, operation, clock time or anchor."""
    found = []
    for index, rule in enumerate(rules):
        prefix = f"rules[{index}]"
        if int(rule.kind) not in _KINDS:
            raise InvalidInput.of(f"{prefix}.kind", f"{rule.kind} is not a kind of sensor")
        if int(rule.operation) not in _OPERATIONS:
            raise InvalidInput.of(f"{prefix}.operation", f"{rule.operation} is not an operation")
        sensor = (
            ResourceName.parse(rule.sensor, field=f"{prefix}.sensor", collection="sensors").id if rule.sensor else ""
        )
        found.append(
            SensorRule(
                kind=SensorKind(rule.kind),
                operation=SensorOperation(rule.operation),
                value_permille=rule.value_permille,
                on_milli=rule.on_milli,
                off_milli=rule.off_milli,
                hold_s=rule.hold_s,
                ramp_s=rule.ramp_s,
                sensor=sensor,
                begin=_moment_from_proto(rule.begin, f"{prefix}.begin") if rule.HasField("begin") else FROM_SUNSET,
                end=_moment_from_proto(rule.end, f"{prefix}.end") if rule.HasField("end") else UNTIL_SUNRISE,
            )
        )
    return tuple(found)


def profile_from_proto(profile: pb.Profile) -> Profile:
    """What a profile says; not validated. Raises InvalidInput with the field."""
    return Profile(points_from_proto(profile.points), sensor_rules_from_proto(profile.rules))


def _moment_from_proto(moment: pb.NightMoment, field: str) -> NightMoment:
    if int(moment.anchor) not in _ANCHORS:
        raise InvalidInput.of(f"{field}.anchor", f"{moment.anchor} is not an anchor")
    return NightMoment(
        anchor=Anchor(moment.anchor),
        offset_s=moment.offset_s,
        clock_time=parse_clock(moment.clock_time, f"{field}.clock_time"),
        earliest=parse_clock(moment.earliest, f"{field}.earliest"),
        latest=parse_clock(moment.latest, f"{field}.latest"),
        elevation_deg=moment.elevation_deg,
        rising=moment.rising,
    )


def point_to_proto(point: SwitchPoint) -> pb.SwitchPoint:
    """A switch point."""
    return pb.SwitchPoint(
        anchor=pb.Anchor.ValueType(point.anchor),
        offset_s=point.offset_s,
        clock_time=_clock_text(point.clock_time),
        level_permille=point.level_permille,
        ramp_s=point.ramp_s,
        earliest=_clock_text(point.earliest),
        latest=_clock_text(point.latest),
        elevation_deg=point.elevation_deg,
        rising=point.rising,
    )


def sensor_rule_to_proto(municipality_id: str, rule: SensorRule) -> pb.SensorRule:
    """A sensor rule."""
    return pb.SensorRule(
        kind=types_pb2.SensorKind.ValueType(rule.kind),
        operation=types_pb2.SensorOperation.ValueType(rule.operation),
        value_permille=rule.value_permille,
        on_milli=rule.on_milli,
        off_milli=rule.off_milli,
        hold_s=rule.hold_s,
        ramp_s=rule.ramp_s,
        sensor=str(ResourceName.of(municipality_id, "sensors", rule.sensor)) if rule.sensor else "",
        begin=_moment_to_proto(rule.begin),
        end=_moment_to_proto(rule.end),
    )


def _moment_to_proto(moment: NightMoment) -> pb.NightMoment:
    return pb.NightMoment(
        anchor=pb.Anchor.ValueType(moment.anchor),
        offset_s=moment.offset_s,
        clock_time=_clock_text(moment.clock_time),
        earliest=_clock_text(moment.earliest),
        latest=_clock_text(moment.latest),
        elevation_deg=moment.elevation_deg,
        rising=moment.rising,
    )


def _clock_text(clock: time | None) -> str:
    if clock is None:
        return ""
    return clock.isoformat("seconds" if clock.second else "minutes")


def profile_to_proto(municipality_id: str, stored: StoredProfile, warnings: Sequence[str] = ()) -> pb.Profile:
    """A profile. warnings: what could not be checked."""
    return pb.Profile(
        name=str(ResourceName.of(municipality_id, "profiles", stored.id)),
        uid=stored.uid,
        display_name=stored.display_name,
        points=[point_to_proto(point) for point in stored.profile.points],
        rules=[sensor_rule_to_proto(municipality_id, rule) for rule in stored.profile.rules],
        revision=stored.revision,
        etag=profile_etag(stored),
        warnings=warnings,
    )


def profile_etag(stored: StoredProfile) -> str:
    """Names the version of a profile."""
    return etag_of(stored.uid, stored.revision)


def assignment_to_proto(municipality_id: str, assignment: Assignment, warnings: Sequence[str] = ()) -> pb.Assignment:
    """An assignment. warnings: those of its calendar, where they are asked for."""
    return pb.Assignment(
        name=str(ResourceName.of(municipality_id, "assignments", assignment.id)),
        uid=assignment.uid,
        group=str(ResourceName.of(municipality_id, "groups", assignment.id)),
        calendar=str(ResourceName.of(municipality_id, "calendars", assignment.calendar_id)),
        planned_until=optional_timestamp_to_proto(assignment.planned_until),
        refusal=assignment.refusal,
        etag=assignment_etag(assignment),
        warnings=warnings,
    )


def assignment_etag(assignment: Assignment) -> str:
    """Names the version of an assignment. What becomes of its plan makes no new one."""
    return etag_of(assignment.uid, assignment.version)


def group_from_proto(group: inventory_pb2.Group) -> Group:
    """A group of lighting."""
    placed = group.HasField("position")
    return Group(
        name=group.name,
        uid=group.uid,
        latitude_deg=group.position.latitude_deg if placed else None,
        longitude_deg=group.position.longitude_deg if placed else None,
        limits=canonical_hash(
            [group.etag, group.floor_permille, group.luminaire_count, group.has_conflict_area],
        ),
    )


def plan_to_proto(group_name: str, plan: Plan, origin: str) -> control_pb2.Plan:
    """A plan as lighting takes it. origin: what it was compiled from, for display."""
    municipality = ResourceName.parse(group_name).municipality
    return control_pb2.Plan(
        name=f"{group_name}/plan",
        valid_from=timestamp_to_proto(plan.valid_from),
        valid_until=timestamp_to_proto(plan.valid_until),
        instants_unix_ms=plan.instants_ms,
        levels_permille=plan.levels_permille,
        ramps_s=plan.ramps_s,
        rules=[_plan_rule_to_proto(municipality, rule) for rule in plan.rules],
        hash=plan.hash,
        origin=origin,
    )


def _plan_rule_to_proto(municipality_id: str, rule: PlanRule) -> control_pb2.PlanRule:
    return control_pb2.PlanRule(
        from_unix_ms=rule.from_ms,
        until_unix_ms=rule.until_ms,
        kind=types_pb2.SensorKind.ValueType(rule.kind),
        operation=types_pb2.SensorOperation.ValueType(rule.operation),
        value_permille=rule.value_permille,
        on_milli=rule.on_milli,
        off_milli=rule.off_milli,
        hold_s=rule.hold_s,
        ramp_s=rule.ramp_s,
        sensor=str(ResourceName.of(municipality_id, "sensors", rule.sensor)) if rule.sensor else "",
        position=rule.position,
    )
