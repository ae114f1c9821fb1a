"""lichtbuch lamps, cabinets, groups: what a town's lighting is doing now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli.commands.commissioning import unprotected
from cli.commands.groups import rule_words
from cli.options import Json, Town
from cli.output import console, enum_word, local, percent, print_json, print_rows
from cli.parsing import instant
from cli.session import Session, all_pages, online
from domain.errors import InvalidInput
from lichtbuch.lighting.v1 import control_pb2, inventory_pb2, lighting_pb2
from lichtbuch.type.v1 import types_pb2

FAULTS = {
    1: "lamp failure",
    2: "gear failure",
    4: "does not follow",
    8: "day burner",
    16: "no communication",
    32: "power too high",
    64: "power too low",
    128: "cycling",
}


def fault_words(bits: int) -> list[str]:
    """Fault bits of lighting in words."""
    return [word for bit, word in FAULTS.items() if bits & bit]


def follows(written_permille: int, driven_permille: int) -> bool:
    """Whether a read-back level is the written one: gear with 254 logarithmic steps is up to half a step off."""
    return abs(driven_permille - written_permille) <= max(5, round(written_permille * 0.017))


def state_rows(states: control_pb2.LuminaireStateColumns, tz: Any) -> list[dict[str, Any]]:
    """Columns of live states as rows."""
    return [
        {
            "luminaire": name.rsplit("/", 1)[-1],
            "due_permille": states.due_permille[index],
            "due_to": enum_word(control_pb2.DueSource.Name(states.due_sources[index]), "DUE_SOURCE_"),
            "actual_permille": states.actual_permille[index],
            "written_permille": states.written_permille[index],
            "driven_permille": states.driven_permille[index],
            "quality": enum_word(types_pb2.Quality.Name(states.qualities[index]), "QUALITY_"),
            "powered": states.powered[index],
            "in_control": states.in_control[index],
            "faults": fault_words(states.faults[index]),
            "observed_at": local(states.observed_at_unix_ms[index], tz),
        }
        for index, name in enumerate(states.names)
    ]


def control_word(in_control: bool) -> str:
    """Whether Lichtbuch commands a lamp. Where not, what is due stands beside what is, and nothing is written."""
    return "" if in_control else "only observed"


def lamp_table(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of states as a person reads them, one for each lamp."""
    return [
        {
            "lamp": row["luminaire"],
            "due": percent(row["due_permille"]),
            "due to": row["due_to"],
            "actual": percent(row["actual_permille"]),
            "written": "" if row["written_permille"] == row["due_permille"] else percent(row["written_permille"]),
            "control": control_word(row["in_control"]),
            "quality": row["quality"],
            "powered": row["powered"],
            "faults": row["faults"],
        }
        for row in rows
    ]


def summary_table(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How many lamps are due and at which level, and whether they are commanded; what is most often first."""
    count = Counter(
        (percent(row["due_permille"]), row["due_to"], percent(row["actual_permille"]), control_word(row["in_control"]))
        for row in rows
    )
    return [
        {"due": due, "due to": source, "actual": actual, "control": control, "lamps": number}
        for (due, source, actual, control), number in count.most_common()
    ]


async def inventory_at(session: Session, at: str, group: str = "") -> list[dict[str, Any]]:
    """The lamps of the inventory as it stood at an instant, as rows. Raises InvalidInput."""
    then = instant(at, await session.zone(), datetime.now(UTC), "--at")
    request = lighting_pb2.ListLuminairesRequest(parent=await session.parent(), page_size=10_000)
    request.at.FromDatetime(then)
    if group:
        request.group = await session.name("groups", group)
    found: list[inventory_pb2.Luminaire] = await all_pages(session.lighting.ListLuminaires, request, "luminaires")
    return [
        {
            "lamp": _last(lamp.name),
            "pole": lamp.pole,
            "street": lamp.street,
            "model": _last(lamp.model),
            "power_w": lamp.installed_power_w or None,
            "group": _last(lamp.group),
            "class": lamp.lighting_class,
            "floor": percent(lamp.floor_permille) if lamp.floor_permille else "",
            "feeder": _last(lamp.feeder),
            "gateway": _last(lamp.gateway),
        }
        for lamp in found
    ]


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def lamps(
    group: Annotated[str, typer.Option("--group", help="Only lamps of this group.")] = "",
    wrong: Annotated[bool, typer.Option("--wrong", help="Only lamps with a fault or not at their due level.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Every lamp instead of a summary.")] = False,
    at: Annotated[
        str, typer.Option("--at", help="What the inventory held then: 2025-06-30 (as the day begins) or a local time.")
    ] = "",
    unsafe: Annotated[
        bool, typer.Option("--unprotected", help="Only lamps that may stay dark when supply or communication fails.")
    ] = False,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Show what every lamp does now, and what it ought to do; or what stood where on a past date."""
    if unsafe:
        if at or wrong or group:
            raise InvalidInput.of("--unprotected", "stands alone: leave --at, --wrong and --group out")
        print_rows(online(unprotected, municipality), as_json, empty="every lamp with a gateway is protected")
        return
    if at:
        if wrong:
            raise InvalidInput.of("--wrong", "what lamps did is not kept with the inventory; leave --at or --wrong out")
        print_rows(online(lambda session: inventory_at(session, at, group), municipality), as_json,
                   empty="there were no lamps")  # fmt: skip
        return

    async def ask(session: Session) -> tuple[list[dict[str, Any]], str]:
        request = lighting_pb2.QueryLuminaireStatesRequest(parent=await session.parent())
        if group:
            request.groups.append(await session.name("groups", group))
        answer = await session.lighting.QueryLuminaireStates(request)
        tz = await session.zone()
        then = answer.at.ToDatetime(tzinfo=tz) if answer.HasField("at") else None
        return state_rows(answer.states, tz), f"{then:%Y-%m-%d %H:%M:%S %Z}" if then else ""

    rows, passed = online(ask, municipality)
    if wrong:
        rows = [
            row
            for row in rows
            if row["faults"] or (row["powered"] and not follows(row["written_permille"], row["driven_permille"]))
        ]
    if as_json:
        print_json(rows)
        return
    if every or wrong:
        shown = lamp_table(rows)
        print_rows(shown, False, empty="every lamp is as it ought to be" if wrong else "there are no lamps")
        return
    print_rows(summary_table(rows), False, title=f"{len(rows)} lamps at {passed}", empty="there are no lamps")
    faulty = Counter(fault for row in rows for fault in row["faults"])
    console.print("faults: " + (", ".join(f"{fault} {number}" for fault, number in faulty.items()) or "none"))


def cabinets(municipality: Town = "", as_json: Json = False) -> None:
    """Show cabinets: switch, door, feeders."""

    async def ask(session: Session) -> list[dict[str, Any]]:
        request = lighting_pb2.ListCabinetStatesRequest(parent=await session.parent())
        answer = await session.lighting.ListCabinetStates(request)
        tz = await session.zone()
        return [
            {
                "cabinet": state.name.rsplit("/", 1)[-1],
                "switch": enum_word(control_pb2.SwitchPosition.Name(state.switch_position), "SWITCH_POSITION_"),
                "door_open": state.door_open,
                "energised": [
                    feeder.rsplit("/", 1)[-1] for feeder, on in zip(state.feeders, state.energised, strict=True) if on
                ],
                "dead": [
                    feeder.rsplit("/", 1)[-1]
                    for feeder, on in zip(state.feeders, state.energised, strict=True)
                    if not on
                ],
                "quality": enum_word(types_pb2.Quality.Name(state.quality), "QUALITY_"),
                "observed_at": state.observed_at.ToDatetime(tzinfo=tz) if state.HasField("observed_at") else None,
            }
            for state in answer.states
        ]

    print_rows(online(ask, municipality), as_json, empty="there are no cabinets with a controller")


def groups(municipality: Town = "", as_json: Json = False) -> None:
    """Show the groups of luminaires and their plans."""

    async def ask(session: Session) -> list[dict[str, Any]]:
        parent = await session.parent()
        found: list[inventory_pb2.Group] = await all_pages(
            session.lighting.ListGroups, lighting_pb2.ListGroupsRequest(parent=parent), "groups"
        )
        plans = await session.lighting.ListPlanHashes(lighting_pb2.ListPlanHashesRequest(parent=parent))
        hashes = dict(zip(plans.groups, plans.hashes, strict=True))
        return [
            {
                "group": item.name.rsplit("/", 1)[-1],
                "name": item.display_name,
                "luminaires": item.luminaire_count,
                "floor": percent(item.floor_permille),
                "floor_now": percent(item.holding_floor_permille),
                "rule": rule_words(item),
                "plan": hashes.get(item.name, "")[:12] or "none: default light",
            }
            for item in found
        ]

    print_rows(online(ask, municipality), as_json, empty="there are no groups")
