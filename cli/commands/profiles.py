"""lichtbuch profile preview|put|list: dimming profiles from files."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from cli import parsing
from cli.commands.calendars import end_if_refused, let_follow, refused_plans
from cli.errors import FOUND_WRONG, REFUSED
from cli.nights.preview_offline import Lamps, factors_of, preview_offline
from cli.nights.preview_shown import shown
from cli.nights.profile_files import read_profile
from cli.options import Json, Town
from cli.output import console, enum_word, note_lines, percent, print_facts, print_rows
from cli.session import Session, all_pages, online
from domain.errors import NotFound
from domain.names import ResourceName
from domain.night import zone
from lichtbuch.scheduler.v1 import scheduler_pb2
from servicekit.convert import date_to_proto
from services.scheduler.convert import point_to_proto, sensor_rule_to_proto
from services.scheduler.convert_preview import MOST_GROUP_NIGHTS
from services.scheduler.profile import Place, Profile

app = typer.Typer(help="Dimming profiles.", no_args_is_help=True)


@app.command("preview")
def preview_profile(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The profile, a TOML file (docs/profiles.md).")],
    groups: Annotated[
        list[str] | None, typer.Option("--group", help="A group of the town, asked of its scheduler; may be repeated.")
    ] = None,
    latitude: Annotated[float, typer.Option("--latitude", help="Degrees; default Bad Hersfeld.")] = 50.868,
    longitude: Annotated[float, typer.Option("--longitude", help="Degrees; default Bad Hersfeld.")] = 9.707,
    time_zone: Annotated[str, typer.Option("--time-zone")] = "Europe/Berlin",
    start: Annotated[str, typer.Option("--from", help="First night; default tonight.")] = "",
    nights: Annotated[
        int | None, typer.Option("--nights", min=1, max=400, help="Default 365 where energy is asked for, else 1.")
    ] = None,
    watts: Annotated[float, typer.Option("--watts", help="Power of a lamp at full level, for energy offline.")] = 0.0,
    lamps: Annotated[int, typer.Option("--lamps", help="Number of lamps.")] = 1,
    curve: Annotated[
        str,
        typer.Option("--curve", help="Power over level in percent, 10:33,50:61; or typical-led, not-dimmable."),
    ] = "typical-led",
    floor: Annotated[
        str,
        typer.Option("--floor", help="Lowest level of the lighting class, percent; 0: the council lets it be dark."),
    ] = "",
    against: Annotated[
        Path | None, typer.Option("--against", metavar="FILE", help="The profile that holds now, to compare with.")
    ] = None,
    price: Annotated[str, typer.Option("--price", help="EUR per kWh; default 0.30.")] = "",
    co2: Annotated[int, typer.Option("--co2", help="g CO2 per kWh; default 363.", show_default=False)] = -1,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Show what a profile does, before anybody sees it on the street: when it switches, hours, energy, cost, CO2.

    Offline at a place, with lamps as the options say; with --group for groups of the town, each at its own place with
    its own lamps, compared with what they follow now. Every night of a year is checked first; the first one on which
    the profile goes wrong is named.
    """
    name, profile = read_profile(file)
    factors = factors_of(price, co2)
    count = nights or (365 if groups or watts else 1)
    if not groups:
        place = Place(latitude, longitude, zone(time_zone))
        first = _first_night(start, place.tz)
        now = read_profile(against)[1] if against else None
        load = Lamps(watts, lamps, curve, floor).load(place)
        shown(
            preview_offline(profile, now, place, first, count, load, factors),
            name,
            first.isoformat(),
            count,
            as_json=as_json,
        )
        return

    async def ask(session: Session) -> tuple[str, scheduler_pb2.PreviewProfileResponse]:
        parent = await session.parent()
        first = _first_night(start, await session.zone())
        request = scheduler_pb2.PreviewProfileRequest(
            parent=parent,
            profile=_to_proto(name, profile, ResourceName.parse(parent).id),
            first_night=date_to_proto(first),
            nights=count,
            groups=[await session.name("groups", group) for group in groups],
            price_eur_per_kwh=str(factors.price_eur_per_kwh),
            co2_g_per_kwh=factors.co2_g_per_kwh,
            omit_group_events=not as_json or len(groups) * count > MOST_GROUP_NIGHTS,
        )
        return first.isoformat(), await session.scheduler.PreviewProfile(request)

    first_night, seen = online(ask, municipality)
    shown(seen, name, first_night, count, as_json=as_json)
    if any(group.problem for group in seen.groups):
        raise typer.Exit(FOUND_WRONG)


def _first_night(start: str, tz: ZoneInfo) -> date:
    return parsing.day(start, "from") if start else datetime.now(UTC).astimezone(tz).date()


def _to_proto(display_name: str, profile: Profile, town: str) -> scheduler_pb2.Profile:
    return scheduler_pb2.Profile(
        display_name=display_name,
        points=[point_to_proto(point) for point in profile.points],
        rules=[sensor_rule_to_proto(town, rule) for rule in profile.rules],
    )


@app.command("put")
def put_profile(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The profile, a TOML file (docs/profiles.md).")],
    identity: Annotated[str, typer.Option("--id", help="Id of the profile; default the file's name.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Create a profile, or change it; every plan that uses it follows at once. Says which plans lighting refuses, and
    which it would within a year."""
    display_name, profile = read_profile(file)
    chosen = identity or file.stem

    async def ask(session: Session) -> tuple[scheduler_pb2.Profile, list[str]]:
        name = await session.name("profiles", chosen)
        wanted = _to_proto(display_name, profile, ResourceName.parse(name).municipality)
        wanted.name = name
        try:
            await session.scheduler.GetProfile(scheduler_pb2.GetProfileRequest(name=wanted.name))
        except NotFound:
            parent = await session.parent()
            created = await session.scheduler.CreateProfile(
                scheduler_pb2.CreateProfileRequest(parent=parent, profile_id=chosen, profile=wanted)
            )
            return created, []  # nobody follows it yet
        changed = await session.scheduler.UpdateProfile(scheduler_pb2.UpdateProfileRequest(profile=wanted))
        return changed, await refused_plans(session, name.partition("/profiles/")[0])

    stored, refused = online(ask, municipality)
    facts: dict[str, Any] = {"profile": stored.name, "revision": stored.revision, "points": len(stored.points)}
    facts |= {"sensor_rules": len(stored.rules)} | ({"warnings": list(stored.warnings)} if as_json else {})
    print_facts(facts, as_json)
    note_lines(f"warning: {warning}" for warning in stored.warnings)
    end_if_refused(refused)


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

    async def ask(session: Session) -> tuple[dict[str, Any], list[str]]:
        parent, stub = await session.parent(), session.scheduler
        told: list[str] = []
        wanted = scheduler_pb2.Calendar(
            name=f"{parent}/calendars/{group}",
            display_name=f"Every night: {group}",
            default_profile=await session.name("profiles", profile),
        )
        try:
            found = await stub.GetCalendar(scheduler_pb2.GetCalendarRequest(name=wanted.name))
            wanted.rules.extend(found.rules)
            wanted.display_name = found.display_name
            changed = await stub.UpdateCalendar(scheduler_pb2.UpdateCalendarRequest(calendar=wanted))
            told += changed.warnings
        except NotFound:
            await stub.CreateCalendar(
                scheduler_pb2.CreateCalendarRequest(parent=parent, calendar_id=group, calendar=wanted)
            )
        return await let_follow(session, parent, group, wanted.name), told

    facts, told = online(ask, municipality)
    # The calendar may be followed by other groups, too.
    warnings = list(dict.fromkeys([*told, *facts.pop("warnings")]))
    print_facts(facts | ({"warnings": warnings} if as_json else {}), as_json)
    note_lines(f"warning: {warning}" for warning in warnings)
    if facts["refusal"]:
        raise typer.Exit(REFUSED)
