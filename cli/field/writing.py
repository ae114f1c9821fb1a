"""field write: points, raw registers or raw nodes, written and read back.

Nothing here asks a running installation: what is written bypasses owner, floors and audit. So every write warns, asks,
and refuses where somebody else is seen to run the device.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final, cast

import typer

from cli import parsing
from cli.errors import PARTIAL, REFUSED, UNREACHABLE
from cli.field import nodes
from cli.field.addressing import ON_OFF, numbers, profile_of, refuse_slash, with_unit
from cli.field.advice import Advice, recognise
from cli.field.asking import Answers
from cli.field.connection import PATIENCE_S, on_device
from cli.field.display import result_rows, shown_results
from cli.field.options import Controller, ProfileName, Security, Timeout, Unit, Url, Yes
from cli.field.reading import check_selection
from cli.field.registers import RegisterValue, number_for, parse_registers, writing_profile
from cli.field.telling import fail, fail_at
from cli.options import Json
from cli.output import note, print_json, print_rows
from domain.errors import InvalidInput
from fieldbus.device import Device
from fieldbus.ownership import owned_by_another, rule_to_watch
from fieldbus.profile import Profile
from fieldbus.values import PointAddress, WriteOutcome, WriteResult
from fieldbus.vocabulary import PointType
from fieldbus.watchdog import GuardedDevice

WARNING: Final = (
    "This writes to the device itself: it bypasses the owner, the floors and the audit of a running installation."
)
_UNKNOWN_OWNER: Final = (
    "Without a heartbeat in a profile it cannot be seen whether an installation runs this device: make sure that none "
    "does. A controller on the same line that has one is watched with --controller PROFILE@UNIT."
)
_NAME_A_PROFILE: Final = "If a profile of this device has one, name it with --profile, and it is watched."
_ASSIGNED_NODE: Final = re.compile(r"(?P<node>.*?(?:^|;)[sigb]=.+?)=(?P<value>[^=]*)\Z")

_HIGHEST_UNIT: Final = 255
_KEEP: Final = ("keep", "as before", "-1")

Assignments = Sequence[tuple[PointAddress, float]]
Allow = Callable[[Device, Profile], Awaitable[None]]


def write(
    url: Url,
    assignments: Annotated[
        list[str] | None,
        typer.Argument(metavar="POINT[INDEX]=VALUE...", help="level_command[3]=50%, contactor_command[0]=on"),
    ] = None,
    profile_name: ProfileName = "",
    unit: Unit = None,
    register: Annotated[
        list[str] | None,
        typer.Option("--register", help="A raw register: table:address[:type[:byte,word order]]=VALUE. Repeat it."),
    ] = None,
    node: Annotated[
        list[str] | None,
        typer.Option("--node", help="A raw OPC UA node: nsu=URI;s=NAME=VALUE, typed by the node. Repeat it."),
    ] = None,
    multiple: Annotated[
        bool, typer.Option("--multiple", help="Raw registers: functions 15 and 16 even for a single one.")
    ] = False,
    controller: Controller = "",
    yes: Yes = False,
    timeout: Timeout = PATIENCE_S,
    security: Security = None,
    as_json: Json = False,
) -> None:
    """Write points, raw registers or raw nodes, and read them back.

    With raw registers or nodes --profile only says by which heartbeat an owner of the device shows.

    Exit code 0: all taken, 3: a part, or acknowledged and not seen in effect, 4: no answer, 5: refused by the device,
    by its owner or by you.
    """
    is_raw = bool(register or node)
    # Beside raw registers or nodes the profile is only there to see who runs the device.
    check_selection(url, "" if is_raw else profile_name, register, node)
    if assignments and (is_raw or not profile_name):
        raise InvalidInput.of("assignment", f"{assignments[0]!r}: points are written with --profile alone")
    if not is_raw and not assignments:
        raise InvalidInput.of("assignment", "say what to write: POINT=VALUE or POINT[INDEX]=VALUE")
    address = with_unit(url, unit)
    known = profile_of(profile_name) if profile_name else None
    refuse_if_controlled(url, controller, timeout, security)
    if is_raw and known is not None:
        _refuse_if_owned_at(address, known, timeout, security)

    async def allow(device: Device, profile: Profile) -> None:
        if not is_raw or known is None:
            await refuse_if_owned(device, profile)
        if is_raw and known is None:
            note(_NAME_A_PROFILE)
        await agree(yes)

    if node:
        nodes.write_and_end(
            address, [assigned_node(text) for text in node], timeout, security, as_json, allow,
            partial(end_writing, field="node"),
        )  # fmt: skip
        return
    if register:
        profile, writes = register_writes(register, multiple=multiple)
    else:
        assert known is not None
        profile, writes = known, point_writes(known, assignments or [])
    results = _write(address, profile, writes, allow, timeout, security)
    print_json(result_rows(results)) if as_json else print_rows(shown_results(profile, results), False)
    end_writing(address, results, field="register" if register else "url")


def point_writes(profile: Profile, assignments: Sequence[str]) -> list[tuple[PointAddress, float]]:
    """Commands out of POINT=VALUE and POINT[INDEX]=VALUE. Raises InvalidInput."""
    writes: list[tuple[PointAddress, float]] = []
    for assignment in assignments:
        target, equals, value = assignment.partition("=")
        refuse_slash(target.strip())
        name, bracket, number = target.strip().partition("[")
        if not equals or (bracket and not number.endswith("]")):
            raise InvalidInput.of("assignment", f"{assignment!r} is no POINT=VALUE or POINT[INDEX]=VALUE")
        index = numbers(number[:-1], "index") if bracket else None
        amount = point_value(profile, name, value.strip())
        writes += [(PointAddress(name, each), amount) for each in index] if index else [(PointAddress(name), amount)]
    for address, _ in writes:
        profile.binding(address).check_index(address.index)
    return writes


def point_value(profile: Profile, point: str, text: str) -> float:
    """A value as typed: levels in percent, booleans and enumerations in words, else a number in the point's unit."""
    binding = profile.points.get(point)
    if binding is None or not profile.writable(point):
        writable = ", ".join(name for name in profile.points if profile.writable(name)) or "none"
        raise InvalidInput.of("point", f"{point!r} cannot be written with {profile.name}; there are {writable}")
    known = binding.point
    if known.unit == "permille":
        if known.minimum < 0 and text.lower() in _KEEP:
            if binding.minimum >= 0:
                raise InvalidInput.of("value", f"this device has no 'keep' for {point}: give a level, like 100%")
            return -1.0
        return float(parsing.level(text, "value"))
    if known.type is PointType.BOOLEAN:
        if text.lower() not in ON_OFF:
            raise InvalidInput.of("value", f"{text!r} is neither on nor off")
        return ON_OFF[text.lower()]
    labelled = {label: float(value) for value, label in known.labels}
    if text.lower() in labelled:
        return labelled[text.lower()]
    try:
        return float(text.replace(",", "."))
    except ValueError:
        wanted = f"none of {', '.join(labelled)}" if labelled else f"no number of {known.unit}".rstrip(" of")
        raise InvalidInput.of("value", f"{text!r} is {wanted}") from None


def register_writes(texts: Sequence[str], *, multiple: bool) -> tuple[Profile, list[tuple[PointAddress, float]]]:
    """A profile in memory and its commands out of table:address...=VALUE. Raises InvalidInput."""
    values: list[RegisterValue] = []
    writes: list[tuple[PointAddress, float]] = []
    for text in texts:
        place, equals, amount = text.partition("=")
        if not equals:
            raise InvalidInput.of("register", f"{text!r} says no value; write holding:40=17")
        for value in parse_registers(place):
            values.append(value)
            writes.append((PointAddress(value.name), number_for(value, amount.strip())))
    return writing_profile(values, multiple=multiple), writes


def assigned_node(text: str) -> tuple[str, str]:
    """Node and value out of nsu=URI;s=NAME=VALUE: the value follows the last equals sign. Raises InvalidInput."""
    match = _ASSIGNED_NODE.match(text.strip())
    if match is None:
        raise InvalidInput.of("node", f"{text!r} is no NODE=VALUE; write nsu=urn:lamps;s=Lamp.0.Level=50")
    return match["node"], match["value"].strip()


async def agree(yes: bool, answers: Answers | None = None) -> None:
    """Warn, and ask unless told not to. Ends with 5 without an agreement."""
    note(WARNING)
    if not yes and not await (answers or Answers()).agreed("Write?"):
        fail(Advice("NOT_AGREED", "nothing was written", "Answer y, or give --yes in a script.", True), field="yes")


async def refuse_if_owned(device: Device, profile: Profile) -> None:
    """Ends with 5 where somebody else keeps the device's heartbeat going."""
    if rule_to_watch(profile) is None:
        note(_UNKNOWN_OWNER)
        return
    note("looking whether somebody else runs this device ...")
    if reason := await owned_by_another(cast(GuardedDevice, device)):
        hint = (
            "Set it through the installation that owns it (lichtbuch level, lichtbuch lockout), or take it out there."
        )
        fail(Advice("OWNED", reason, hint, True), field="url")


async def permit(device: Device, profile: Profile, yes: bool, answers: Answers | None = None) -> None:
    """Everything that comes before a write: ends with 5 where it must not be."""
    await refuse_if_owned(device, profile)
    await agree(yes, answers)


def refuse_if_controlled(url: str, controller: str, timeout: float, security: Path | None) -> None:
    """Ends with 5 where somebody runs the `controller` on the same line, with 4 where it does not say so. Raises
    InvalidInput."""
    if not controller:
        return
    name, _, unit = controller.rpartition("@")
    if not name or not unit.isdecimal() or int(unit) > _HIGHEST_UNIT:
        raise InvalidInput.of("controller", f"{controller!r} is no PROFILE@UNIT, as cabinet-plc@1")
    profile, address = profile_of(name), with_unit(url, int(unit))
    rule = rule_to_watch(profile)
    if rule is None:
        raise InvalidInput.of("controller", f"{name} has no heartbeat by which an owner would show")

    async def answers(device: Device) -> bool:
        return bool((await device.read((PointAddress(rule.point),))).good.all())

    if not on_device(address, profile, answers, timeout_s=timeout, security=security):
        fail_at(address, f"unit {unit} did not answer for its heartbeat: who runs it cannot be told")
    _refuse_if_owned_at(address, profile, timeout, security)


def _refuse_if_owned_at(url: str, profile: Profile, timeout: float, security: Path | None) -> None:
    """The same for a write that knows nothing of the profile, over a connection of its own."""

    async def work(device: Device) -> None:
        await refuse_if_owned(device, profile)

    on_device(url, profile, work, timeout_s=timeout, security=security)


def _write(
    url: str, profile: Profile, writes: Assignments, allow: Allow, timeout: float, security: Path | None
) -> list[WriteResult]:
    async def work(device: Device) -> list[WriteResult]:
        await allow(device, profile)
        return await device.write(list(writes), verify=True)

    return on_device(url, profile, work, timeout_s=timeout, security=security)


def unseen(result: WriteResult) -> bool:
    """Whether the device acknowledged it, but holds something else or could not be read back. What cannot be read
    back at all gives no reason, and has to be taken as it is."""
    return result.outcome is WriteOutcome.ACCEPTED and bool(result.reason)


def exit_for_writes(results: Sequence[WriteResult]) -> int:
    """0 when everything was taken, 3 for a part or where it was not seen in effect, 5 when the device refused, 4 when
    it did not answer."""
    good = sum(result.succeeded for result in results)
    if good == len(results):
        return PARTIAL if any(map(unseen, results)) else 0
    if good:
        return PARTIAL
    return REFUSED if any(result.outcome is WriteOutcome.REFUSED for result in results) else UNREACHABLE


def end_writing(url: str, results: Sequence[WriteResult], *, field: str = "url") -> None:
    """Say what helps, and end with the exit code of the outcomes. `field` is to blame for what the device refuses."""
    code = exit_for_writes(results)
    failed = next((f"{result.address}: {result.reason}" for result in results if not result.succeeded), "")
    if code == UNREACHABLE:
        fail_at(url, failed)
    if any(map(unseen, results)):
        note("accepted: the device acknowledged it, but it was not seen in effect; read it again in a moment")
    elif any(result.outcome is WriteOutcome.ACCEPTED for result in results):
        note("accepted: the device acknowledged it; it cannot be read back")
    advice = recognise(failed) if failed else None
    if code == REFUSED:
        fail(
            advice or Advice("REFUSED", failed, "The value lies outside what the device or its profile allows.", True),
            field=field,
        )
    if advice is not None:
        note(advice.hint)
    raise typer.Exit(code)
