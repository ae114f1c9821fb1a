"""Calendars as TOML files; their form is in docs/profiles.md. Profiles are named by their ids."""

from __future__ import annotations

import re
from datetime import date, time
from pathlib import Path
from typing import Final

from cli.nights.entries import Entry, list_of, read_toml, refuse
from domain.errors import InvalidInput, Violation
from domain.names import ID_PATTERN
from services.scheduler.calendar import Calendar, Hours, MonthDay, Rule, validate
from services.scheduler.convert_calendar import month_day
from services.scheduler.days import DEFAULT_SUBDIVISION, DayKind

FILE_KEYS: Final = {"name", "default", "rules"}
RULE_KEYS: Final = {
    "name", "profile", "level", "level_permille", "nights", "first_night", "last_night", "every_year", "weekdays",
    "days", "subdivision", "from", "until",
}  # fmt: skip
WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def read_calendar(file: Path) -> tuple[str, Calendar]:
    """Display name and calendar of a TOML file, profiles by id. Raises InvalidInput with all that is wrong in it."""
    document = read_toml(file)
    violations: list[Violation] = []
    head = Entry("file", document, FILE_KEYS, violations)
    default = _profile(head, "default")
    if not default:
        head.wrong("default", "is needed: the profile of nights that no rule takes")
    rules = tuple(
        _rule(Entry(f"rules[{index}]", entry, RULE_KEYS, violations))
        for index, entry in enumerate(list_of(document, "rules", file, needed=False))
    )
    name = head.text("name") or file.stem
    try:
        validate(rules)
    except InvalidInput as error:
        refuse(file, "calendar", violations, error.violations)
    refuse(file, "calendar", violations)
    return name, Calendar(rules, default)


def _rule(entry: Entry) -> Rule:
    return Rule(
        profile=_profile(entry, "profile"),
        first_night=entry.day("first_night"),
        last_night=entry.day("last_night"),
        weekdays=_weekdays(entry),
        nights=_nights(entry),
        yearly=_every_year(entry),
        days=entry.word("days", DayKind, DayKind.ANY) if "days" in entry else DayKind.ANY,
        subdivision=entry.text("subdivision") or DEFAULT_SUBDIVISION,
        hours=_hours(entry),
        level_permille=entry.level("level", needed=False),
        display_name=entry.text("name"),
    )


def _profile(entry: Entry, key: str) -> str:
    found = entry.text(key)
    if found and not re.fullmatch(ID_PATTERN, found):
        entry.wrong(key, f"{found!r} is no id of a profile")
    return found


def _weekdays(entry: Entry) -> frozenset[int]:
    found = set()
    for value in _list(entry, "weekdays"):
        if str(value).lower() in WEEKDAYS:
            found.add(WEEKDAYS.index(str(value).lower()) + 1)
        elif isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 7:
            found.add(value)
        else:
            entry.wrong("weekdays", f"{value!r} is no weekday; there are {', '.join(WEEKDAYS)}, or 1 to 7")
    return frozenset(found)


def _nights(entry: Entry) -> frozenset[date]:
    nights = (entry.as_day("nights", value) for value in _list(entry, "nights"))
    return frozenset(night for night in nights if night is not None)


def _every_year(entry: Entry) -> tuple[MonthDay, MonthDay] | None:
    bounds = _list(entry, "every_year")
    if not bounds:
        return None
    if len(bounds) != 2:
        entry.wrong("every_year", "is the first and the last night, for instance ['12-20', '01-06']")
        return None
    try:
        first, last = (month_day(str(bound), f"{entry.prefix}.every_year") for bound in bounds)
    except InvalidInput as error:
        entry.violations.extend(error.violations)
        return None
    return first, last


def _hours(entry: Entry) -> Hours | None:
    if "from" not in entry and "until" not in entry:
        return None
    bounds: list[time] = []
    for key in ("from", "until"):
        if key not in entry:
            entry.wrong(key, "from and until go together")
        elif (bound := entry.clock(key)) is not None:
            bounds.append(bound)
    return (bounds[0], bounds[1]) if len(bounds) == 2 else None


def _list(entry: Entry, key: str) -> list[object]:
    value = entry.table.get(key, [])
    if isinstance(value, list):
        return value
    entry.wrong(key, f"{value!r} is no list")
    return []
