"""lichtbuch level set|release|list and lichtbuch lockout set|release|list: what people ask of lamps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli import parsing
from cli.options import Json, Reason, Town
from cli.output import enum_word, percent, print_facts, print_rows
from cli.session import Session, all_pages, online
from domain.errors import InvalidInput
from lichtbuch.lighting.v1 import control_pb2, lighting_pb2
from servicekit.convert import timestamp_to_proto

level = typer.Typer(help="Override levels for a time; the override ends by itself.", no_args_is_help=True)
lockout = typer.Typer(help="Lock feeders out while people work on them.", no_args_is_help=True)

PRIORITIES = {
    "operator": control_pb2.OVERRIDE_PRIORITY_OPERATOR,
    "maintenance": control_pb2.OVERRIDE_PRIORITY_MAINTENANCE,
    "emergency": control_pb2.OVERRIDE_PRIORITY_EMERGENCY,
}


async def domain_now(session: Session) -> datetime:
    """The town's own time: lighting's, which may be a time-lapse."""
    request = lighting_pb2.QueryLuminaireStatesRequest(parent=await session.parent(), groups=[])
    answer = await session.lighting.QueryLuminaireStates(request)
    return answer.at.ToDatetime(tzinfo=UTC)


async def target_name(session: Session, given: str) -> str:
    """A target from what a person types: all, group:ID, feeder:ID, cabinet:ID, a luminaire's id, or a whole name."""
    kinds = {
        "group": "groups",
        "feeder": "feeders",
        "cabinet": "cabinets",
        "lamp": "luminaires",
        "luminaire": "luminaires",
    }
    if given == "all":
        return await session.parent()
    kind, colon, identity = given.partition(":")
    if colon and kind in kinds:
        return await session.name(kinds[kind], identity)
    return await session.name("luminaires", given)


def override_row(item: control_pb2.Override, tz: Any) -> dict[str, Any]:
    """An override as a row."""
    return {
        "override": item.name.rsplit("/", 1)[-1],
        "targets": [target.split("/", 2)[-1] for target in item.targets],
        "level": percent(item.level_permille),
        "priority": enum_word(control_pb2.OverridePriority.Name(item.priority), "OVERRIDE_PRIORITY_"),
        "start": item.start_time.ToDatetime(tzinfo=UTC).astimezone(tz),
        "until": item.expire_time.ToDatetime(tzinfo=UTC).astimezone(tz),
        "released": item.released_at.ToDatetime(tzinfo=UTC).astimezone(tz) if item.HasField("released_at") else None,
        "reason": item.reason,
        "author": item.author,
    }


def with_waiver_hint(error: InvalidInput) -> InvalidInput:
    """The error, with what to type where a council's waiver would help."""
    if any("waiver" in violation.reason for violation in error.violations):
        error.add_note(
            "a decision of the council is entered with: lichtbuch waiver create FLOOR TARGET... "
            "--decision REFERENCE --decided-on DAY --review DAY --reason WHY"
        )
    return error


@level.command("set")
def set_level(
    value: Annotated[str, typer.Argument(metavar="LEVEL", help="Percent of full light: 50, 12.5%, on, off.")],
    targets: Annotated[
        list[str],
        typer.Argument(metavar="TARGET...", help="A luminaire's id, group:ID, feeder:ID, cabinet:ID, or all."),
    ],
    reason: Reason,
    lasting: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 1d. In the town's own time.")] = "",
    until: Annotated[str, typer.Option("--until", help="Until when: 23:30, 2026-11-22T23:30.")] = "",
    start: Annotated[str, typer.Option("--from", help="From when; default now.")] = "",
    priority: Annotated[str, typer.Option(help="operator, maintenance or emergency.")] = "operator",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Override the level of lamps until a time; then what is next in the order of safety holds again."""
    if bool(lasting) == bool(until):
        raise InvalidInput.of("until", "give either --for or --until: an override has to end")
    if priority not in PRIORITIES:
        raise InvalidInput.of("priority", f"{priority!r} is none of {', '.join(PRIORITIES)}")

    async def ask(session: Session) -> dict[str, Any]:
        tz, now = await session.zone(), await domain_now(session)
        begins = parsing.instant(start, tz, now, "from") if start else now
        ends = begins + parsing.duration(lasting, "for") if lasting else parsing.instant(until, tz, now, "until")
        wanted = control_pb2.Override(
            targets=[await target_name(session, target) for target in targets],
            level_permille=parsing.level(value),
            priority=PRIORITIES[priority],
            expire_time=timestamp_to_proto(ends),
            reason=reason,
        )
        if start:
            wanted.start_time.CopyFrom(timestamp_to_proto(begins))
        request = lighting_pb2.CreateOverrideRequest(parent=await session.parent(), override=wanted)
        try:
            return override_row(await session.lighting.CreateOverride(request), tz)
        except InvalidInput as error:
            raise with_waiver_hint(error) from None

    print_facts(online(ask, municipality), as_json)


@level.command("release")
def release_level(
    override: Annotated[str, typer.Argument(metavar="OVERRIDE", help="Id of the override.")],
    reason: Reason = "",
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """End an override before its time."""

    async def ask(session: Session) -> dict[str, Any]:
        name = await session.name("overrides", override)
        released = await session.lighting.ReleaseOverride(lighting_pb2.ReleaseOverrideRequest(name=name, reason=reason))
        return override_row(released, await session.zone())

    print_facts(online(ask, municipality), as_json)


@level.command("list")
def list_levels(
    every: Annotated[bool, typer.Option("--all", help="Ended and released ones too.")] = False,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """List overrides that hold now or will."""

    async def ask(session: Session) -> list[dict[str, Any]]:
        request = lighting_pb2.ListOverridesRequest(parent=await session.parent(), active_only=not every)
        tz = await session.zone()
        return [
            override_row(item, tz) for item in await all_pages(session.lighting.ListOverrides, request, "overrides")
        ]

    print_rows(online(ask, municipality), as_json, empty="no override holds")


def lockout_row(item: control_pb2.Lockout, tz: Any) -> dict[str, Any]:
    """A lock-out as a row."""
    return {
        "lockout": item.name.rsplit("/", 1)[-1],
        "feeder": item.feeder.rsplit("/", 1)[-1],
        "owner": item.owner,
        "since": item.created_at.ToDatetime(tzinfo=UTC).astimezone(tz),
        "released": item.released_at.ToDatetime(tzinfo=UTC).astimezone(tz) if item.HasField("released_at") else None,
        "reason": item.reason,
    }


@lockout.command("set")
def set_lockout(
    feeder: Annotated[str, typer.Argument(metavar="FEEDER", help="Id of the feeder.")],
    reason: Reason,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Lock a feeder out: nothing is written to it until it is released. It replaces no physical isolation."""

    async def ask(session: Session) -> dict[str, Any]:
        wanted = control_pb2.Lockout(feeder=await session.name("feeders", feeder), reason=reason)
        request = lighting_pb2.CreateLockoutRequest(parent=await session.parent(), lockout=wanted)
        return lockout_row(await session.lighting.CreateLockout(request), await session.zone())

    print_facts(online(ask, municipality), as_json)


@lockout.command("release")
def release_lockout(
    identity: Annotated[str, typer.Argument(metavar="LOCKOUT", help="Id of the lock-out.")],
    reason: Reason,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Release a lock-out. Only its owner or an admin may."""

    async def ask(session: Session) -> dict[str, Any]:
        name = await session.name("lockouts", identity)
        released = await session.lighting.ReleaseLockout(lighting_pb2.ReleaseLockoutRequest(name=name, reason=reason))
        return lockout_row(released, await session.zone())

    print_facts(online(ask, municipality), as_json)


@lockout.command("list")
def list_lockouts(
    every: Annotated[bool, typer.Option("--all", help="Released ones too.")] = False,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """List feeders that are locked out."""

    async def ask(session: Session) -> list[dict[str, Any]]:
        request = lighting_pb2.ListLockoutsRequest(parent=await session.parent(), active_only=not every)
        tz = await session.zone()
        return [lockout_row(item, tz) for item in await all_pages(session.lighting.ListLockouts, request, "lockouts")]

    print_rows(online(ask, municipality), as_json, empty="no feeder is locked out")
