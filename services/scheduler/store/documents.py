"""The form in which revisions keep what a profile or a calendar says: JSON of our own, independent of the contract.

Written once, read for ever: a field that is added later gets a default here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time
from typing import Any

from services.scheduler.calendar import Calendar, Rule
from services.scheduler.profile import Anchor, Profile, SwitchPoint


def profile_to_document(profile: Profile) -> dict[str, Any]:
    """A profile as JSON: levels in per mille, offsets and ramps in seconds, clock times as ISO text."""
    return {
        "points": [
            {
                "anchor": point.anchor.name,
                "level_permille": point.level_permille,
                "offset_s": point.offset_s,
                "clock_time": _time_text(point.clock_time),
                "ramp_s": point.ramp_s,
                "earliest": _time_text(point.earliest),
                "latest": _time_text(point.latest),
            }
            for point in profile.points
        ]
    }


def profile_from_document(document: Mapping[str, Any]) -> Profile:
    """A profile as it was stored."""
    return Profile(
        tuple(
            SwitchPoint(
                Anchor[point["anchor"]],
                point["level_permille"],
                point["offset_s"],
                _time(point["clock_time"]),
                point["ramp_s"],
                _time(point["earliest"]),
                _time(point["latest"]),
            )
            for point in document["points"]
        )
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
            }
            for rule in calendar.rules
        ],
        "default_profile": calendar.default_profile,
    }


def calendar_from_document(document: Mapping[str, Any]) -> Calendar:
    """A calendar as it was stored."""
    return Calendar(
        tuple(
            Rule(rule["profile"], _date(rule["first_night"]), _date(rule["last_night"]), frozenset(rule["weekdays"]))
            for rule in document["rules"]
        ),
        document["default_profile"],
    )


def _time_text(value: time | None) -> str | None:
    return None if value is None else value.isoformat()


def _time(text: str | None) -> time | None:
    return None if text is None else time.fromisoformat(text)


def _date(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)
