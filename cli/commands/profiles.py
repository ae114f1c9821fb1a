"""lichtbuch profile preview|put|list: dimming profiles from files."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import parsing
from cli.errors import REFUSED
from cli.options import Json, Town
from cli.output import console, enum_word, note, percent, print_facts, print_json, print_rows
from cli.session import Session, all_pages, online
from domain.errors import InvalidInput, NotFound
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
    """Display name and profile of a TOML file; its form is in docs/profiles.md. Raises InvalidInput."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput.of("file", f"{file}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput.of("file", f"{file}: {error}") from error
    points = document.get("points")
    if not isinstance(points, list):
        raise InvalidInput.of("points", f"{file} has no [[points]]")
    profile = Profile(tuple(_point(index, point) for index, point in enumerate(points)))
    validate(profile.points)
    return str(document.get("name", file.stem)), profile


def _point(index: int, point: Any) -> SwitchPoint:
    prefix = f"points[{index}]"
    if not isinstance(point, dict):
        raise InvalidInput.of(prefix, "is no table")
    if unknown := sorted(set(point) - KEYS):
        raise InvalidInput.of(f"{prefix}.{unknown[0]}", f"is unknown; there are {', '.join(sorted(KEYS))}")
    name = str(point.get("anchor", "")).upper().replace(" ", "_").replace("-", "_")
    if name not in Anchor.__members__:
        words = ", ".join(anchor.name.lower() for anchor in Anchor)
        raise InvalidInput.of(f"{prefix}.anchor", f"{point.get('anchor')!r} is none of {words}")
    if ("level" in point) == ("level_permille" in point):
        raise InvalidInput.of(f"{prefix}.level", "give either level (percent) or level_permille")
    level = point.get("level_permille")
    if level is None:
        level = parsing.level(str(point["level"]), f"{prefix}.level")
    for field, value in (
        ("level_permille", level),
        ("offset_s", point.get("offset_s", 0)),
        ("ramp_s", point.get("ramp_s", 0)),
    ):
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidInput.of(f"{prefix}.{field}", f"{value!r} is no whole number")
    return SwitchPoint(
        anchor=Anchor[name],
        level_permille=level,
        offset_s=point.get("offset_s", 0),
        clock_time=parse_clock(str(point.get("time", "")), f"{prefix}.time"),
        ramp_s=point.get("ramp_s", 0),
        earliest=parse_clock(str(point.get("earliest", "")), f"{prefix}.earliest"),
        latest=parse_clock(str(point.get("latest", "")), f"{prefix}.latest"),
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
