"""lichtbuch profile preview|put|list: dimming profiles from files."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import parsing
from cli.errors import REFUSED
from cli.options import Json, Town
from cli.output import console, enum_word, note, percent, print_facts, print_json, print_rows
from cli.session import Session, all_pages, online
from domain.errors import InvalidInput, NotFound, Violation
from domain.night import zone
from lichtbuch.scheduler.v1 import scheduler_pb2
from services.scheduler.planning import preview
from services.scheduler.profile import (
    NIGHTS_CHECKED,
    Anchor,
    Place,
    Profile,
    SwitchPoint,
    check_year,
    parse_clock,
    validate,
)

app = typer.Typer(help="Dimming profiles.", no_args_is_help=True)

KEYS = {"anchor", "offset_s", "time", "level", "level_permille", "ramp_s", "earliest", "latest"}


def read_profile(file: Path) -> tuple[str, Profile]:
    """Display name and profile of a TOML file; its form is in docs/profiles.md. Raises InvalidInput with all that is
    wrong in it."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput.of("file", f"{file}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput.of("file", f"{file}: {error}") from error
    entries = document.get("points")
    if not isinstance(entries, list):
        raise InvalidInput.of("points", f"{file} has no [[points]]")
    violations: list[Violation] = []
    points = tuple(_point(f"points[{index}]", entry, violations) for index, entry in enumerate(entries))
    wrong = {violation.field.partition(".")[0] for violation in violations}
    try:
        validate(points)
    except InvalidInput as error:
        # What stands in for a wrong entry is not to be blamed.
        violations += [more for more in error.violations if more.field.partition(".")[0] not in wrong]
    if violations:
        raise InvalidInput(f"{file} is no valid profile", violations)
    return str(document.get("name", file.stem)), Profile(points)


def _point(prefix: str, entry: Any, violations: list[Violation]) -> SwitchPoint:
    """One entry; what is wrong in it goes to `violations`, and something harmless stands in for it."""
    if not isinstance(entry, dict):
        violations.append(Violation(prefix, "is no table"))
        return SwitchPoint(anchor=Anchor.SUNSET, level_permille=0)
    for unknown in sorted(set(entry) - KEYS):
        violations.append(Violation(f"{prefix}.{unknown}", f"is unknown; there are {', '.join(sorted(KEYS))}"))
    name = str(entry.get("anchor", "")).upper().replace(" ", "_").replace("-", "_")
    if name not in Anchor.__members__:
        words = ", ".join(anchor.name.lower() for anchor in Anchor)
        violations.append(Violation(f"{prefix}.anchor", f"{entry.get('anchor')!r} is none of {words}"))
        name = Anchor.SUNSET.name

    def whole(field: str, value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        violations.append(Violation(f"{prefix}.{field}", f"{value!r} is no whole number"))
        return 0

    def clock(field: str) -> time | None:
        try:
            return parse_clock(str(entry.get(field, "")), f"{prefix}.{field}")
        except InvalidInput as error:
            violations.extend(error.violations)
            return None

    level = 0
    if ("level" in entry) == ("level_permille" in entry):
        violations.append(Violation(f"{prefix}.level", "give either level (percent) or level_permille"))
    elif "level_permille" in entry:
        level = whole("level_permille", entry["level_permille"])
    else:
        try:
            level = parsing.level(str(entry["level"]), f"{prefix}.level")
        except InvalidInput as error:
            violations.extend(error.violations)
    return SwitchPoint(
        anchor=Anchor[name],
        level_permille=level,
        offset_s=whole("offset_s", entry.get("offset_s", 0)),
        clock_time=clock("time"),
        ramp_s=whole("ramp_s", entry.get("ramp_s", 0)),
        earliest=clock("earliest"),
        latest=clock("latest"),
    )


@app.command("preview")
def preview_profile(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The profile, a TOML file (docs/profiles.md).")],
    latitude: Annotated[float, typer.Option("--latitude", help="Degrees; default Bad Hersfeld.")] = 50.868,
    longitude: Annotated[float, typer.Option("--longitude", help="Degrees; default Bad Hersfeld.")] = 9.707,
    time_zone: Annotated[str, typer.Option("--time-zone")] = "Europe/Berlin",
    start: Annotated[str, typer.Option("--from", help="First night; default tonight.")] = "",
    nights: Annotated[int, typer.Option("--nights", min=1, max=400)] = 1,
    as_json: Json = False,
) -> None:
    """Show what a profile does at a place, before anybody sees it on the street. Offline.

    Every night of a year is checked first; the first one on which it goes wrong is named.
    """
    name, profile = read_profile(file)
    place = Place(latitude, longitude, zone(time_zone))
    first = parsing.day(start, "from") if start else datetime.now(UTC).astimezone(place.tz).date()
    check_year(profile, place, first, NIGHTS_CHECKED)
    seen = preview(profile, place, first, nights)
    events = [
        {
            "local": datetime.fromtimestamp(instant / 1000, UTC).astimezone(place.tz).isoformat(timespec="seconds"),
            "utc": datetime.fromtimestamp(instant / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "level_permille": level,
            "ramp_s": ramp,
        }
        for instant, level, ramp in zip(
            seen.plan.instants_ms, seen.plan.levels_permille, seen.plan.ramps_s, strict=True
        )
    ]
    facts = {
        "profile": name,
        "first_night": first.isoformat(),
        "nights": nights,
        "lit_hours": round(seen.lit_seconds / 3600, 3),
        "full_light_equivalent_hours": round(seen.full_light_equivalent_seconds / 3600, 3),
    }
    if as_json:
        print_json(facts | {"events": events, "warnings": list(seen.warnings)})
        return
    print_rows(
        [
            {"local time": item["local"], "UTC": item["utc"], "level": percent(int(str(item["level_permille"])))}
            for item in events
        ],
        False,
        title=f"{name}: {nights} night(s) from {first}",
    )
    print_facts({"lit": f"{facts['lit_hours']} h", "as full light": f"{facts['full_light_equivalent_hours']} h"}, False)
    for warning in seen.warnings:
        note(f"warning: {warning}")


def profile_to_proto(display_name: str, profile: Profile) -> scheduler_pb2.Profile:
    """A profile as the contract has it."""

    def clock(value: Any) -> str:
        return f"{value:%H:%M}" if value else ""

    return scheduler_pb2.Profile(
        display_name=display_name,
        points=[
            scheduler_pb2.SwitchPoint(
                anchor=scheduler_pb2.Anchor.ValueType(point.anchor),
                offset_s=point.offset_s,
                clock_time=f"{point.clock_time:%H:%M:%S}" if point.clock_time else "",
                level_permille=point.level_permille,
                ramp_s=point.ramp_s,
                earliest=clock(point.earliest),
                latest=clock(point.latest),
            )
            for point in profile.points
        ],
    )


@app.command("put")
def put_profile(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The profile, a TOML file (docs/profiles.md).")],
    identity: Annotated[str, typer.Option("--id", help="Id of the profile; default the file's name.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Create a profile, or change it; every plan that uses it follows within a minute."""
    display_name, profile = read_profile(file)
    wanted = profile_to_proto(display_name, profile)
    chosen = identity or file.stem

    async def ask(session: Session) -> scheduler_pb2.Profile:
        wanted.name = await session.name("profiles", chosen)
        try:
            await session.scheduler.GetProfile(scheduler_pb2.GetProfileRequest(name=wanted.name))
        except NotFound:
            parent = await session.parent()
            return await session.scheduler.CreateProfile(
                scheduler_pb2.CreateProfileRequest(parent=parent, profile_id=chosen, profile=wanted)
            )
        return await session.scheduler.UpdateProfile(scheduler_pb2.UpdateProfileRequest(profile=wanted))

    stored = online(ask, municipality)
    print_facts({"profile": stored.name, "revision": stored.revision, "points": len(stored.points)}, as_json)


@app.command("list")
def list_profiles(municipality: Town = "", as_json: Json = False) -> None:
    """List the town's profiles."""

    async def ask(session: Session) -> list[scheduler_pb2.Profile]:
        request = scheduler_pb2.ListProfilesRequest(parent=await session.parent())
        return await all_pages(session.scheduler.ListProfiles, request, "profiles")

    def point(item: scheduler_pb2.SwitchPoint) -> str:
        anchor = enum_word(scheduler_pb2.Anchor.Name(item.anchor), "ANCHOR_")
        when = item.clock_time or (f"{anchor}{item.offset_s // 60:+d} min" if item.offset_s else anchor)
        return f"{when} {percent(item.level_permille)}"

    rows = [
        {
            "profile": item.name.rsplit("/", 1)[-1],
            "name": item.display_name,
            "revision": item.revision,
            "points": [point(each) for each in item.points],
        }
        for item in online(ask, municipality)
    ]
    if not rows and not as_json:
        console.print("there are no profiles")
        return
    print_rows(rows, as_json)


@app.command("assign")
def assign_profile(
    profile: Annotated[str, typer.Argument(metavar="PROFILE", help="Id of the profile.")],
    group: Annotated[str, typer.Argument(metavar="GROUP", help="Id of the group of luminaires.")],
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Let a group follow a profile every night, by a calendar that bears the group's name; the lamps follow at once.

    Calendars with rules of their own (weekdays, dates) are put by the scheduler's contract; this replaces the default.
    """

    async def ask(session: Session) -> dict[str, Any]:
        parent, stub = await session.parent(), session.scheduler
        wanted = scheduler_pb2.Calendar(
            name=f"{parent}/calendars/{group}",
            display_name=f"Every night: {group}",
            default_profile=await session.name("profiles", profile),
        )
        try:
            found = await stub.GetCalendar(scheduler_pb2.GetCalendarRequest(name=wanted.name))
            wanted.rules.extend(found.rules)
            wanted.display_name = found.display_name
            await stub.UpdateCalendar(scheduler_pb2.UpdateCalendarRequest(calendar=wanted))
        except NotFound:
            await stub.CreateCalendar(
                scheduler_pb2.CreateCalendarRequest(parent=parent, calendar_id=group, calendar=wanted)
            )
        assignment = scheduler_pb2.Assignment(
            name=f"{parent}/assignments/{group}", group=f"{parent}/groups/{group}", calendar=wanted.name
        )
        try:
            await stub.GetAssignment(scheduler_pb2.GetAssignmentRequest(name=assignment.name))
            await stub.UpdateAssignment(scheduler_pb2.UpdateAssignmentRequest(assignment=assignment))
        except NotFound:
            await stub.CreateAssignment(
                scheduler_pb2.CreateAssignmentRequest(parent=parent, assignment_id=group, assignment=assignment)
            )
        await stub.SynchronisePlans(scheduler_pb2.SynchronisePlansRequest(parent=parent))
        stored = await stub.GetAssignment(scheduler_pb2.GetAssignmentRequest(name=assignment.name))
        until = stored.planned_until.ToDatetime(tzinfo=UTC).isoformat() if stored.HasField("planned_until") else None
        return {"group": group, "calendar": group, "planned_until": until, "refusal": stored.refusal}

    facts = online(ask, municipality)
    print_facts(facts, as_json)
    if facts["refusal"]:
        raise typer.Exit(REFUSED)
