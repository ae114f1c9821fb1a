"""The form in which revisions keep what a profile or a calendar says: JSON of our own, independent of the contract.

Written once, read for ever: a field that is added later gets a default here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time
from typing import Any

from domain.plan_rule import SensorKind, SensorOperation
from services.scheduler.calendar import Calendar, Rule
from services.scheduler.days import DEFAULT_SUBDIVISION, DayKind, Period, SchoolHolidays
from services.scheduler.profile import Anchor, NightMoment, Profile, SensorRule, SwitchPoint


def profile_to_document(profile: Profile) -> dict[str, Any]:
    """A profile as JSON: levels in per mille, offsets and ramps in seconds, clock times as ISO text."""
    return {
        "points": [
            _moment_to_document(point.moment) | {"level_permille": point.level_permille, "ramp_s": point.ramp_s}
            for point in profile.points
        ],
        "rules": [
            {
                "kind": rule.kind.name,
                "operation": rule.operation.name,
                "value_permille": rule.value_permille,
                "on_milli": rule.on_milli,
                "off_milli": rule.off_milli,
                "hold_s": rule.hold_s,
                "ramp_s": rule.ramp_s,
                "sensor": rule.sensor,
                "begin": _moment_to_document(rule.begin),
                "end": _moment_to_document(rule.end),
            }
            for rule in profile.rules
        ],
    }


def profile_from_document(document: Mapping[str, Any]) -> Profile:
    """A profile as it was stored."""
    return Profile(
        tuple(_point(point) for point in document["points"]),
        tuple(_sensor_rule(rule) for rule in document.get("rules", ())),
    )


def _point(document: Mapping[str, Any]) -> SwitchPoint:
    moment = _moment(document)
    return SwitchPoint(
        moment.anchor,
        document["level_permille"],
        moment.offset_s,
        moment.clock_time,
        document["ramp_s"],
        moment.earliest,
        moment.latest,
        moment.elevation_deg,
        moment.rising,
    )


def _sensor_rule(document: Mapping[str, Any]) -> SensorRule:
    return SensorRule(
        SensorKind[document["kind"]],
        SensorOperation[document["operation"]],
        document["value_permille"],
        document["on_milli"],
        document["off_milli"],
        document["hold_s"],
        document["ramp_s"],
        document["sensor"],
        _moment(document["begin"]),
        _moment(document["end"]),
    )


def _moment_to_document(moment: NightMoment) -> dict[str, Any]:
    return {
        "anchor": moment.anchor.name,
        "offset_s": moment.offset_s,
        "clock_time": _time_text(moment.clock_time),
        "earliest": _time_text(moment.earliest),
        "latest": _time_text(moment.latest),
        "elevation_deg": moment.elevation_deg,
        "rising": moment.rising,
    }


def _moment(document: Mapping[str, Any]) -> NightMoment:
    return NightMoment(
        Anchor[document["anchor"]],
        document["offset_s"],
        _time(document["clock_time"]),
        _time(document["earliest"]),
        _time(document["latest"]),
        document.get("elevation_deg", 0.0),
        document.get("rising", False),
    )


def calendar_to_document(calendar: Calendar) -> dict[str, Any]:
    """A calendar as JSON: profiles by uid, nights as ISO dates."""
    return {
        "rules": [
            {
                "profile": rule.profile,
                "first_night": rule.first_night and rule.first_night.isoformat(),
                "last_night": rule.last_night and rule.last_night.isoformat(),
                "weekdays": sorted(rule.weekdays),
                "nights": [night.isoformat() for night in sorted(rule.nights)],
                "yearly": rule.yearly and [list(bound) for bound in rule.yearly],
                "days": rule.days.name,
                "subdivision": rule.subdivision,
                "hours": rule.hours and [bound.isoformat() for bound in rule.hours],
                "level_permille": rule.level_permille,
                "display_name": rule.display_name,
            }
            for rule in calendar.rules
        ],
        "default_profile": calendar.default_profile,
    }


def calendar_from_document(document: Mapping[str, Any]) -> Calendar:
    """A calendar as it was stored."""
    return Calendar(
        tuple(_rule(rule) for rule in document["rules"]),
        document["default_profile"],
    )


def _rule(document: Mapping[str, Any]) -> Rule:
    yearly, hours = document.get("yearly"), document.get("hours")
    return Rule(
        document["profile"],
        _date(document["first_night"]),
        _date(document["last_night"]),
        frozenset(document["weekdays"]),
        frozenset(map(date.fromisoformat, document.get("nights", ()))),
        yearly and ((yearly[0][0], yearly[0][1]), (yearly[1][0], yearly[1][1])),
        DayKind[document.get("days", DayKind.ANY.name)],
        document.get("subdivision", DEFAULT_SUBDIVISION),
        hours and (time.fromisoformat(hours[0]), time.fromisoformat(hours[1])),
        document.get("level_permille"),
        document.get("display_name", ""),
    )


def school_holidays_to_document(given: SchoolHolidays) -> dict[str, Any]:
    """School holidays as JSON: days as ISO dates."""
    return {
        "periods": [
            [period.first_day.isoformat(), period.last_day.isoformat(), period.display_name] for period in given.periods
        ],
        "covered_from": given.covered_from.isoformat(),
        "covered_until": given.covered_until.isoformat(),
        "source": given.source,
    }


def school_holidays_from_document(document: Mapping[str, Any]) -> SchoolHolidays:
    """School holidays as they were stored."""
    return SchoolHolidays(
        tuple(
            Period(date.fromisoformat(first), date.fromisoformat(last), name)
            for first, last, name in document["periods"]
        ),
        date.fromisoformat(document["covered_from"]),
        date.fromisoformat(document["covered_until"]),
        document["source"],
    )


def _time_text(value: time | None) -> str | None:
    return None if value is None else value.isoformat()


def _time(text: str | None) -> time | None:
    return None if text is None else time.fromisoformat(text)


def _date(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)
