"""lichtbuch profile preview|put|list: dimming profiles from files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import parsing
from cli.commands.calendars import let_follow
from cli.errors import REFUSED
from cli.nights.profile_files import read_profile
from cli.options import Json, Town
from cli.output import console, enum_word, note, note_lines, percent, print_facts, print_json, print_rows
from cli.session import Session, all_pages, online
from domain.errors import NotFound
from domain.names import ResourceName
from domain.night import zone
from lichtbuch.scheduler.v1 import scheduler_pb2
from services.scheduler.convert import point_to_proto, sensor_rule_to_proto
from services.scheduler.planning import preview
from services.scheduler.profile import NIGHTS_CHECKED, Place, check_year

app = typer.Typer(help="Dimming profiles.", no_args_is_help=True)


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


@app.command("put")
def put_profile(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The profile, a TOML file (docs/profiles.md).")],
    identity: Annotated[str, typer.Option("--id", help="Id of the profile; default the file's name.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Create a profile, or change it; every plan that uses it follows within a minute."""
    display_name, profile = read_profile(file)
    chosen = identity or file.stem

    async def ask(session: Session) -> scheduler_pb2.Profile:
        name = await session.name("profiles", chosen)
        town = ResourceName.parse(name).municipality
        wanted = scheduler_pb2.Profile(
            name=name,
            display_name=display_name,
            points=[point_to_proto(point) for point in profile.points],
            rules=[sensor_rule_to_proto(town, rule) for rule in profile.rules],
        )
        try:
            await session.scheduler.GetProfile(scheduler_pb2.GetProfileRequest(name=wanted.name))
        except NotFound:
            parent = await session.parent()
            return await session.scheduler.CreateProfile(
                scheduler_pb2.CreateProfileRequest(parent=parent, profile_id=chosen, profile=wanted)
            )
        return await session.scheduler.UpdateProfile(scheduler_pb2.UpdateProfileRequest(profile=wanted))

    stored = online(ask, municipality)
    facts = {"profile": stored.name, "revision": stored.revision, "points": len(stored.points)}
    print_facts(facts | {"sensor_rules": len(stored.rules)}, as_json)


@app.command("list")
def list_profiles(municipality: Town = "", as_json: Json = False) -> None:
    """List the town's profiles."""

    async def ask(session: Session) -> list[scheduler_pb2.Profile]:
        request = scheduler_pb2.ListProfilesRequest(parent=await session.parent())
        return await all_pages(session.scheduler.ListProfiles, request, "profiles")

    def point(item: scheduler_pb2.SwitchPoint) -> str:
        anchor = enum_word(scheduler_pb2.Anchor.Name(item.anchor), "ANCHOR_")
        if item.anchor == scheduler_pb2.ANCHOR_SUN_ELEVATION:
            anchor = f"sun {'rising' if item.rising else 'falling'} at {item.elevation_deg:g}° "
        when = item.clock_time or (f"{anchor}{item.offset_s // 60:+d} min" if item.offset_s else anchor)
        return f"{when} {percent(item.level_permille)}"

    rows = [
        {
            "profile": item.name.rsplit("/", 1)[-1],
            "name": item.display_name,
            "revision": item.revision,
            "points": [point(each) for each in item.points],
            "sensor rules": len(item.rules),
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

    A calendar with rules of its own (weekdays, holidays, events) keeps them, and its default is replaced; see also
    `lichtbuch calendar`.
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
        return await let_follow(session, parent, group, wanted.name)

    facts = online(ask, municipality)
    warnings = facts.pop("warnings")
    print_facts(facts | ({"warnings": warnings} if as_json else {}), as_json)
    note_lines(f"warning: {warning}" for warning in warnings)
    if facts["refusal"]:
        raise typer.Exit(REFUSED)
