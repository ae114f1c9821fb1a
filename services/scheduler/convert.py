"""Between the scheduler's types and the contracts of scheduler and lighting. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time
from typing import Final

from domain.canonical import canonical_hash
from domain.errors import InvalidInput
from domain.names import ResourceName
from domain.plan import Plan
from lichtbuch.lighting.v1 import control_pb2, inventory_pb2
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from servicekit.convert import (
    date_from_proto,
    date_to_proto,
    etag_of,
    optional_timestamp_to_proto,
    timestamp_to_proto,
)
from services.scheduler.calendar import Calendar, Rule
from services.scheduler.profile import Anchor, SwitchPoint, parse_clock
from services.scheduler.records import Assignment, Group, StoredCalendar, StoredProfile

_ANCHORS: Final = frozenset(int(anchor) for anchor in Anchor)


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
            )
        )
    return tuple(found)


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
    )


def _clock_text(clock: time | None) -> str:
    if clock is None:
        return ""
    return clock.isoformat("seconds" if clock.second else "minutes")


def profile_to_proto(municipality_id: str, stored: StoredProfile) -> pb.Profile:
    """A profile."""
    return pb.Profile(
        name=str(ResourceName.of(municipality_id, "profiles", stored.id)),
        uid=stored.uid,
        display_name=stored.display_name,
        points=[point_to_proto(point) for point in stored.profile.points],
        revision=stored.revision,
        etag=profile_etag(stored),
    )


def profile_etag(stored: StoredProfile) -> str:
    """Names the version of a profile."""
    return etag_of(stored.uid, stored.revision)


def rules_from_proto(rules: Sequence[pb.CalendarRule], uids: Mapping[str, str]) -> tuple[Rule, ...]:
    """Calendar rules; `uids` gives those of the municipality's profiles by id.

    Raises InvalidInput with "rules[i]...." for an unknown profile and for what is no date.
    """
    return tuple(
        Rule(
            profile=profile_uid(rule.profile, uids, f"rules[{index}].profile"),
            first_night=_optional_date(rule, "first_night", index),
            last_night=_optional_date(rule, "last_night", index),
            weekdays=frozenset(rule.weekdays),
        )
        for index, rule in enumerate(rules)
    )


def profile_uid(name: str, uids: Mapping[str, str], field: str) -> str:
    """The uid of a profile by its name. Raises InvalidInput where there is none."""
    identifier = ResourceName.parse(name, field=field, collection="profiles").id
    if identifier not in uids:
        raise InvalidInput.of(field, f"{name} does not exist")
    return uids[identifier]


def _optional_date(rule: pb.CalendarRule, field: str, index: int) -> date | None:
    return date_from_proto(getattr(rule, field), f"rules[{index}].{field}") if rule.HasField(field) else None  # type: ignore[arg-type]


def calendar_to_proto(municipality_id: str, stored: StoredCalendar) -> pb.Calendar:
    """A calendar."""

    def profile_name(uid: str) -> str:
        return str(ResourceName.of(municipality_id, "profiles", stored.profile_ids[uid]))

    calendar: Calendar = stored.calendar
    return pb.Calendar(
        name=str(ResourceName.of(municipality_id, "calendars", stored.id)),
        uid=stored.uid,
        display_name=stored.display_name,
        rules=[
            pb.CalendarRule(
                first_night=date_to_proto(rule.first_night) if rule.first_night else None,
                last_night=date_to_proto(rule.last_night) if rule.last_night else None,
                weekdays=sorted(rule.weekdays),
                profile=profile_name(rule.profile),
            )
            for rule in calendar.rules
        ],
        default_profile=profile_name(calendar.default_profile),
        revision=stored.revision,
        etag=calendar_etag(stored),
    )


def calendar_etag(stored: StoredCalendar) -> str:
    """Names the version of a calendar."""
    return etag_of(stored.uid, stored.revision)


def assignment_to_proto(municipality_id: str, assignment: Assignment) -> pb.Assignment:
    """An assignment."""
    return pb.Assignment(
        name=str(ResourceName.of(municipality_id, "assignments", assignment.id)),
        uid=assignment.uid,
        group=str(ResourceName.of(municipality_id, "groups", assignment.id)),
        calendar=str(ResourceName.of(municipality_id, "calendars", assignment.calendar_id)),
        planned_until=optional_timestamp_to_proto(assignment.planned_until),
        refusal=assignment.refusal,
        etag=assignment_etag(assignment),
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
    return control_pb2.Plan(
        name=f"{group_name}/plan",
        valid_from=timestamp_to_proto(plan.valid_from),
        valid_until=timestamp_to_proto(plan.valid_until),
        instants_unix_ms=plan.instants_ms,
        levels_permille=plan.levels_permille,
        ramps_s=plan.ramps_s,
        hash=plan.hash,
        origin=origin,
    )
