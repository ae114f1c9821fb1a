"""field read: points of a profile, raw registers, raw nodes. What follows values is watching.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cli.field import nodes
from cli.field.addressing import chosen_points, is_opcua, profile_of, with_unit
from cli.field.connection import PATIENCE_S, on_device
from cli.field.display import shown_rows, value_rows
from cli.field.options import Index, Nodes, Points, ProfileName, Registers, Security, Timeout, Unit, Url
from cli.field.registers import RegisterValue, parse_registers, read_registers, reading_profile, register_rows
from cli.field.telling import end_reading
from cli.options import Json
from cli.output import console, print_json, print_rows
from domain.errors import InvalidInput
from fieldbus.device import Device
from fieldbus.profile import Profile
from fieldbus.values import DeviceHealth, PointAddress, Quality, ValueBatch


def read(
    url: Url,
    profile_name: ProfileName = "",
    unit: Unit = None,
    index: Index = "",
    point: Points = None,
    register: Registers = None,
    node: Nodes = None,
    timeout: Timeout = PATIENCE_S,
    security: Security = None,
    as_json: Json = False,
) -> None:
    """Read all points of a device, or raw registers or nodes, with unit, quality and time.

    Exit code 0: all read, 3: a part, 4: nothing answered, 5: refused.
    """
    check_selection(url, profile_name, register, node)
    address = with_unit(url, unit)
    if register:
        _read_registers(
            address, [value for text in register for value in parse_registers(text)], timeout, security, as_json
        )
    elif node:
        nodes.read_and_end(address, node, timeout, security, as_json)
    else:
        profile = profile_of(profile_name)
        _read_points(address, profile, chosen_points(profile, index, point), timeout, security, as_json)


def check_selection(url: str, profile_name: str, registers: Sequence[str] | None, nodes: Sequence[str] | None) -> None:
    """Exactly one of profile, registers and nodes, and one that the URL's protocol knows. Raises InvalidInput."""
    if sum(map(bool, (profile_name, registers, nodes))) != 1:
        reason = "say what to read: --profile, or --register, or --node; `lichtbuch field profiles` lists the profiles"
        raise InvalidInput.of("profile", reason)
    if registers and is_opcua(url):
        raise InvalidInput.of("register", "OPC UA has nodes, not registers: use --node")
    if nodes and not is_opcua(url):
        raise InvalidInput.of("node", "Modbus has registers, not nodes: use --register")


def _read_points(
    url: str,
    profile: Profile,
    addresses: Sequence[PointAddress],
    timeout: float,
    security: Path | None,
    as_json: bool,
) -> None:
    async def ask(device: Device) -> tuple[ValueBatch, DeviceHealth]:
        return await device.read(tuple(addresses)), device.health()

    batch, health = on_device(url, profile, ask, timeout_s=timeout, security=security)
    rows = value_rows(profile, batch)
    if as_json:
        print_json(rows)
    elif not answered(batch):
        pass  # a table of blanks would hide the reason
    else:
        shown, lines = shown_rows(profile, rows)
        if shown:
            print_rows(shown, False, title=f"{profile.vendor} {profile.product} at {url}".strip())
        for line in lines:
            console.print(line)
    end_reading(url, good=int(batch.good.sum()), asked=len(batch), answered=answered(batch), health=health)


def _read_registers(
    url: str, values: Sequence[RegisterValue], timeout: float, security: Path | None, as_json: bool
) -> None:
    async def ask(device: Device) -> tuple[ValueBatch, DeviceHealth]:
        return await read_registers(device, values), device.health()

    batch, health = on_device(url, reading_profile(values), ask, timeout_s=timeout, security=security)
    rows = register_rows(values, batch)
    if as_json:
        print_json(rows)
    elif answered(batch):
        print_rows([{key: row[key] for key in ("register", "type", "raw", "value", "quality")} for row in rows], False)
    good = sum(row["quality"] == "good" for row in rows)
    end_reading(url, good=good, asked=len(rows), answered=answered(batch), health=health)


def answered(batch: ValueBatch) -> bool:
    """Whether the device said anything at all."""
    return bool((batch.quality != Quality.MISSING).any())
