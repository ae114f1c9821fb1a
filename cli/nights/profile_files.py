"""Profiles as TOML files; their form is in docs/profiles.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from cli.nights.entries import Entry, list_of, read_toml, refuse
from domain.errors import InvalidInput, Violation
from domain.plan_rule import SensorKind, SensorOperation
from services.scheduler.moment import Anchor, NightMoment
from services.scheduler.profile import Profile, SensorRule, SwitchPoint, validate_profile
from services.scheduler.sensor_rule import FROM_SUNSET, UNTIL_SUNRISE

FILE_KEYS: Final = {"name", "points", "rules"}
MOMENT_KEYS: Final = {"anchor", "offset_s", "time", "earliest", "latest", "elevation_deg", "rising"}
KEYS: Final = MOMENT_KEYS | {"level", "level_permille", "ramp_s"}
RULE_KEYS: Final = {
    "kind", "operation", "value", "value_permille", "factor", "on", "off", "hold_s", "ramp_s", "sensor", "begin", "end",
}  # fmt: skip
# What German twilight switches usually do: on at 35 lx, off at 25 lx.
TWILIGHT_ON_MILLI: Final = 35_000
TWILIGHT_OFF_MILLI: Final = 25_000


def read_profile(file: Path) -> tuple[str, Profile]:
    """Display name and profile of a TOML file. Raises InvalidInput with all that is wrong in it."""
    document = read_toml(file)
    violations: list[Violation] = []
    head = Entry("file", document, FILE_KEYS, violations)
    points = tuple(
        _point(Entry(f"points[{index}]", entry, KEYS, violations))
        for index, entry in enumerate(list_of(document, "points", file, needed=True))
    )
    rules = tuple(
        _rule(Entry(f"rules[{index}]", entry, RULE_KEYS, violations))
        for index, entry in enumerate(list_of(document, "rules", file, needed=False))
    )
    name = head.text("name") or file.stem
    profile = Profile(points, rules)
    try:
        validate_profile(profile)
    except InvalidInput as error:
        refuse(file, "profile", violations, error.violations)
    refuse(file, "profile", violations)
    return name, profile


def _point(entry: Entry) -> SwitchPoint:
    moment = _moment(entry)
    return SwitchPoint(
        anchor=moment.anchor,
        level_permille=entry.level("level") or 0,
        offset_s=moment.offset_s,
        clock_time=moment.clock_time,
        ramp_s=entry.whole("ramp_s"),
        earliest=moment.earliest,
        latest=moment.latest,
        elevation_deg=moment.elevation_deg,
        rising=moment.rising,
    )


def _moment(entry: Entry) -> NightMoment:
    return NightMoment(
        anchor=entry.word("anchor", Anchor, Anchor.SUNSET),
        offset_s=entry.whole("offset_s"),
        clock_time=entry.clock("time"),
        earliest=entry.clock("earliest"),
        latest=entry.clock("latest"),
        elevation_deg=entry.number("elevation_deg"),
        rising=entry.flag("rising"),
    )


def _rule(entry: Entry) -> SensorRule:
    kind = entry.word("kind", SensorKind, SensorKind.TRAFFIC)
    operation = entry.word("operation", SensorOperation, SensorOperation.SET)
    if kind is SensorKind.ILLUMINANCE:
        on, off = entry.thousandths("on", TWILIGHT_ON_MILLI), entry.thousandths("off", TWILIGHT_OFF_MILLI)
    else:
        if "on" not in entry:
            entry.wrong("on", "is needed: from which value on the rule is active")
        on = entry.thousandths("on")
        off = entry.thousandths("off", on)
    return SensorRule(
        kind=kind,
        operation=operation,
        value_permille=_value(entry, operation),
        on_milli=on,
        off_milli=off,
        hold_s=entry.whole("hold_s"),
        ramp_s=entry.whole("ramp_s"),
        sensor=entry.text("sensor"),
        begin=_window(entry, "begin", FROM_SUNSET),
        end=_window(entry, "end", UNTIL_SUNRISE),
    )


def _value(entry: Entry, operation: SensorOperation) -> int:
    if operation is SensorOperation.MUL:
        if "factor" not in entry or "value" in entry or "value_permille" in entry:
            entry.wrong("factor", "is what the operation mul needs, and nothing else")
        return entry.thousandths("factor")
    if "factor" in entry:
        entry.wrong("factor", "belongs to the operation mul only")
    return entry.level("value") or 0


def _window(entry: Entry, key: str, default: NightMoment) -> NightMoment:
    if key not in entry:
        return default
    table: Any = entry.table[key]
    return _moment(Entry(f"{entry.prefix}.{key}", table, MOMENT_KEYS, entry.violations))
