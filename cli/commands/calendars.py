"""lichtbuch calendar put|show|list|assign|holidays|import-holidays: which profile holds on which nights."""

from __future__ import annotations

from datetime import UTC, date
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli import parsing
from cli.errors import REFUSED
from cli.nights.calendar_files import WEEKDAYS, read_calendar
from cli.nights.holiday_files import read_school_holidays
from cli.options import Json, Town
from cli.output import console, enum_word, note_lines, percent, print_facts, print_json, print_rows
from cli.session import Session, all_pages, online
from domain.errors import NotFound
from lichtbuch.scheduler.v1 import holidays_pb2, scheduler_pb2
from lichtbuch.type.v1.types_pb2 import Date
from servicekit.convert import date_to_proto
from services.scheduler.convert_calendar import rule_to_proto
from services.scheduler.days import DEFAULT_SUBDIVISION

app = typer.Typer(help="Calendars: which profile holds on which nights.", no_args_is_help=True)

_HOLIDAYS_HELP: Final = "CSV as OpenHolidays publishes it, or name;first;last."


@app.command("put")
def put_calendar(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Calendars, TOML files (docs/profiles.md).")],
    identity: Annotated[str, typer.Option("--id", help="Id of the calendar, of one file; default its name.")] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Create calendars, or change them; every plan that follows one is compiled anew at once. Says which plans lighting
    refuses, and which it would within a year."""
    if identity and len(files) > 1:
        raise typer.BadParameter("one id for several files", param_hint="--id")
    given = [(identity or file.stem, *read_calendar(file)) for file in files]

    async def ask(session: Session) -> tuple[list[scheduler_pb2.Calendar], list[str]]:
        parent, stub = await session.parent(), session.scheduler
        stored, changed = [], False
        for chosen, display_name, calendar in given:
            wanted = scheduler_pb2.Calendar(
                name=await session.name("calendars", chosen),
                display_name=display_name,
                rules=[
                    rule_to_proto(rule, f"{parent}/profiles/{rule.profile}" if rule.profile else "")
                    for rule in calendar.rules
                ],
                default_profile=f"{parent}/profiles/{calendar.default_profile}",
            )
            try:
                await stub.GetCalendar(scheduler_pb2.GetCalendarRequest(name=wanted.name))
            except NotFound:
                create = scheduler_pb2.CreateCalendarRequest(parent=parent, calendar_id=chosen, calendar=wanted)
                stored.append(await stub.CreateCalendar(create))
            else:
                stored.append(await stub.UpdateCalendar(scheduler_pb2.UpdateCalendarRequest(calendar=wanted)))
                changed = True
        return stored, await refused_plans(session, parent) if changed else []

    found, refused = online(ask, municipality)
    print_rows([_row(calendar) for calendar in found], as_json)
    _warn(found)
    end_if_refused(refused)


@app.command("list")
def list_calendars(municipality: Town = "", as_json: Json = False) -> None:
    """List the town's calendars, who follows each, and which groups get no new plan."""

    async def ask(session: Session) -> tuple[list[scheduler_pb2.Calendar], list[scheduler_pb2.Assignment]]:
        parent, stub = await session.parent(), session.scheduler
        calendars = await all_pages(stub.ListCalendars, scheduler_pb2.ListCalendarsRequest(parent=parent), "calendars")
        followers = await all_pages(
            stub.ListAssignments, scheduler_pb2.ListAssignmentsRequest(parent=parent), "assignments"
        )
        return calendars, followers

    found, followers = online(ask, municipality)
    if not found and not as_json:
        console.print("there are no calendars")
        return
    rows = []
    for calendar in found:
        mine = [each for each in followers if each.calendar == calendar.name]
        refusals = {_last(each.group): each.refusal for each in mine if each.refusal}
        rows.append(_row(calendar) | {"groups": [_last(each.group) for each in mine]} | {"refusals": refusals})
    print_rows(rows if as_json else [{k: v for k, v in row.items() if k != "refusals"} for row in rows], as_json)
    _warn(found)
    note_lines(f"no new plan for {_last(each.group)}: {each.refusal}" for each in followers if each.refusal)


@app.command("show")
def show_calendar(
    calendar: Annotated[str, typer.Argument(metavar="CALENDAR", help="Id of the calendar.")],
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Show a calendar's rules in their order; at every moment the first one that matches wins."""

    async def ask(session: Session) -> scheduler_pb2.Calendar:
        name = await session.name("calendars", calendar)
        return await session.scheduler.GetCalendar(scheduler_pb2.GetCalendarRequest(name=name))

    found = online(ask, municipality)
    rules = [_rule_row(rule) for rule in found.rules]
    default = {"when": "all other nights", "hours": "", "what": _last(found.default_profile), "name": ""}
    if as_json:
        print_json(_row(found) | {"rules": rules, "warnings": list(found.warnings)})
        return
    print_rows([*rules, default], False, title=f"{_last(found.name)}@{found.revision}: {found.display_name}")
    _warn([found])


@app.command("assign")
def assign_calendar(
    calendar: Annotated[str, typer.Argument(metavar="CALENDAR", help="Id of the calendar.")],
    groups: Annotated[list[str], typer.Argument(metavar="GROUP...", help="Ids of groups of luminaires.")],
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Let groups follow a calendar; the lamps follow at once. Says why where lighting refuses a plan, now or in a
    year."""

    async def ask(session: Session) -> list[dict[str, Any]]:
        parent, name = await session.parent(), await session.name("calendars", calendar)
        return [await let_follow(session, parent, group, name) for group in groups]

    rows = online(ask, municipality)
    warnings = {warning: None for row in rows for warning in row["warnings"]}
    print_rows(rows if as_json else [{k: v for k, v in row.items() if k != "warnings"} for row in rows], as_json)
    note_lines(f"warning: {warning}" for warning in warnings)
    if any(row["refusal"] for row in rows):
        raise typer.Exit(REFUSED)


async def refused_plans(session: Session, parent: str) -> list[str]:
    """Compares the town's plans with lighting's at once; answers which it refuses: the group, and why."""
    answer = await session.scheduler.SynchronisePlans(scheduler_pb2.SynchronisePlansRequest(parent=parent))
    return [line.removeprefix(f"{parent}/groups/") for line in answer.refused]


def end_if_refused(refused: list[str]) -> None:
    """Says which plans lighting refuses. Ends the command with REFUSED where there are any: what was put is stored, but
    these groups go on with the plan they have until it runs out, and with full light after it."""
    note_lines(f"no new plan for {line}" for line in refused)
    if refused:
        raise typer.Exit(REFUSED)


async def let_follow(session: Session, parent: str, group: str, calendar_name: str) -> dict[str, Any]:
    """Let a group follow a calendar (both of `parent`), and compare plans at once; answers what became of it, with the
    warnings of the year ahead, too."""
    stub = session.scheduler
    assignment = scheduler_pb2.Assignment(
        name=f"{parent}/assignments/{group}", group=f"{parent}/groups/{group}", calendar=calendar_name
    )
    try:
        await stub.GetAssignment(scheduler_pb2.GetAssignmentRequest(name=assignment.name))
        told = await stub.UpdateAssignment(scheduler_pb2.UpdateAssignmentRequest(assignment=assignment))
    except NotFound:
        told = await stub.CreateAssignment(
            scheduler_pb2.CreateAssignmentRequest(parent=parent, assignment_id=group, assignment=assignment)
        )
    await stub.SynchronisePlans(scheduler_pb2.SynchronisePlansRequest(parent=parent))
    stored = await stub.GetAssignment(scheduler_pb2.GetAssignmentRequest(name=assignment.name))
    until = stored.planned_until.ToDatetime(tzinfo=UTC).isoformat() if stored.HasField("planned_until") else None
    return {
        "group": group,
        "calendar": _last(calendar_name),
        "planned_until": until,
        "refusal": stored.refusal,
        "warnings": list(told.warnings),
    }


@app.command("import-holidays")
def import_holidays(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_HOLIDAYS_HELP)],
    subdivision: Annotated[
        str, typer.Option("--subdivision", help="Federal state, ISO 3166-2; default Hesse.")
    ] = DEFAULT_SUBDIVISION,
    source: Annotated[str, typer.Option("--source", help="Where they come from; default the file's name.")] = "",
    covers_until: Annotated[
        str, typer.Option("--covers-until", help="Last day that the file speaks for; default its last holiday.")
    ] = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Give the town the school holidays of a federal state, in place of those it had. Calendars follow at once."""
    periods = read_school_holidays(file, subdivision)
    until = parsing.day(covers_until, "covers-until") if covers_until else periods[-1].last_day
    wanted = holidays_pb2.SchoolHolidays(
        source=source or file.name,
        periods=[
            holidays_pb2.SchoolHolidayPeriod(
                display_name=period.display_name,
                first_day=date_to_proto(period.first_day),
                last_day=date_to_proto(period.last_day),
            )
            for period in periods
        ],
        covered_from=date_to_proto(periods[0].first_day),
        covered_until=date_to_proto(until),
    )

    async def ask(session: Session) -> holidays_pb2.SchoolHolidays:
        wanted.name = await session.name("schoolHolidays", subdivision)
        return await session.scheduler.PutSchoolHolidays(holidays_pb2.PutSchoolHolidaysRequest(school_holidays=wanted))

    print_facts(_holidays_row(online(ask, municipality)), as_json)


@app.command("holidays")
def list_holidays(municipality: Town = "", as_json: Json = False) -> None:
    """List the school holidays that the town was given, and the days they speak for."""

    async def ask(session: Session) -> list[holidays_pb2.SchoolHolidays]:
        request = holidays_pb2.ListSchoolHolidaysRequest(parent=await session.parent())
        return await all_pages(session.scheduler.ListSchoolHolidays, request, "school_holidays")

    found = online(ask, municipality)
    if not found and not as_json:
        console.print("the town was given none: those of the built-in library hold, as far as they reach")
        return
    print_rows([_holidays_row(item) for item in found], as_json)


def _holidays_row(item: holidays_pb2.SchoolHolidays) -> dict[str, Any]:
    return {
        "school_holidays": _last(item.name),
        "revision": item.revision,
        "periods": len(item.periods),
        "covered_from": _day(item.covered_from),
        "covered_until": _day(item.covered_until),
        "source": item.source,
    }


def _row(calendar: scheduler_pb2.Calendar) -> dict[str, Any]:
    return {
        "calendar": _last(calendar.name),
        "name": calendar.display_name,
        "revision": calendar.revision,
        "rules": len(calendar.rules),
        "default": _last(calendar.default_profile),
    }


def _rule_row(rule: scheduler_pb2.CalendarRule) -> dict[str, str]:
    when = []
    if rule.nights:
        when.append(", ".join(map(_day, rule.nights)))
    if rule.HasField("first_night"):
        when.append(f"from {_day(rule.first_night)}")
    if rule.HasField("last_night"):
        when.append(f"until {_day(rule.last_night)}")
    if rule.yearly_first_night:
        when.append(f"every year {rule.yearly_first_night} to {rule.yearly_last_night}")
    if rule.weekdays:
        when.append(", ".join(WEEKDAYS[day - 1] for day in rule.weekdays))
    if rule.days:
        when.append(f"{enum_word(scheduler_pb2.DayKind.Name(rule.days), 'DAY_KIND_')} ({rule.subdivision})")
    return {
        "when": "; ".join(when) or "every night",
        "hours": f"{rule.from_time} to {rule.until_time}" if rule.from_time else "",
        "what": percent(rule.level_permille) if rule.HasField("level_permille") else _last(rule.profile),
        "name": rule.display_name,
    }


def _warn(calendars: list[scheduler_pb2.Calendar]) -> None:
    note_lines(f"warning: {_last(item.name)}: {warning}" for item in calendars for warning in item.warnings)


def _day(day: Date) -> str:
    return date(day.year, day.month, day.day).isoformat()


def _last(name: str) -> str:
    return name.rpartition("/")[2]
