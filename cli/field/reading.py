"""field read: points of a profile, raw registers, raw nodes. What follows values is watching.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cli.field import nodes
from cli.field.addressing import chosen_points, is_opcua, is_open_ended, profile_of, with_unit
from cli.field.connection import PATIENCE_S, on_device
from cli.field.display import shown_rows, value_rows
from cli.field.options import Index, Nodes, Points, ProfileName, Registers, Security, Timeout, Unit, Url
from cli.field.registers import RegisterValue, parse_registers, read_registers, reading_profile, register_rows
from cli.field.telling import end_reading
from cli.options import Json
from cli.output import console, note, print_json, print_rows
from domain.errors import InvalidInput
from fieldbus.device import Device
from fieldbus.format.numbering import printed_number
from fieldbus.profile import Profile
from fieldbus.values import DeviceHealth, PointAddress, Quality, ValueBatch

_BLOCK: Final = 64


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
        if is_open_ended(profile) and not index and not any("[" in name for name in point or ()):
            _read_points(address, profile, None, point, timeout, security, as_json)
        else:
            _read_points(address, profile, chosen_points(profile, index, point), point, timeout, security, as_json)


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
    addresses: Sequence[PointAddress] | None,
    points: Sequence[str] | None,
    timeout: float,
    security: Path | None,
    as_json: bool,
) -> None:
    """With `addresses` None everything that there is, block by block."""

    async def ask(device: Device) -> tuple[ValueBatch, DeviceHealth]:
        if addresses is None:
            return await _read_as_many_as_there_are(device, profile, points), device.health()
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
    end_reading(
        url,
        good=int(batch.good.sum()),
        asked=len(batch),
        answered=answered(batch),
        health=health,
        profile=profile.name,
        unusable=[] if is_opcua(url) else _unusable(batch),
    )


async def _read_as_many_as_there_are(device: Device, profile: Profile, points: Sequence[str] | None) -> ValueBatch:
    """Numbers from 0 on, until a whole block of them has no value; those beyond the last that has one are left out."""
    batches: list[ValueBatch] = []
    first = 0
    while True:
        batch = await device.read(tuple(chosen_points(profile, f"{first}-{first + _BLOCK - 1}", points)))
        batches.append(batch)
        used = [address.index for address in batch.as_dict() if address.index is not None]
        first += _BLOCK
        if not used or not answered(batch):
            break
    everything = ValueBatch.concatenate(batches)
    last = max((address.index for address in everything.as_dict() if address.index is not None), default=None)
    if last is None:
        return batches[0]
    rows = [row for row, address in enumerate(everything.points) if address.index is None or address.index <= last]
    kept, known = [], set()
    for row in rows:  # points of the device come with every block
        if everything.points[row] not in known:
            known.add(everything.points[row])
            kept.append(row)
    return ValueBatch(
        [everything.points[row] for row in kept],
        everything.values[kept],
        everything.quality[kept],
        everything.observed_at[kept],
        everything.time_source[kept],
        {at: everything.texts[row] for at, row in enumerate(kept) if row in everything.texts},
    )


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
    unread = next((value for value, row in zip(values, rows, strict=True) if row["quality"] != "good"), None)
    if unread is not None and (printed := printed_number(unread.address)) is not None:
        meant, address = printed
        note(f"addresses count from 0: what a manual calls {unread.address} is {meant.value}:{address}")
    end_reading(url, good=good, asked=len(rows), answered=answered(batch), health=health, field="register")


def _unusable(batch: ValueBatch) -> list[str]:
    """What came and is no value."""
    return [str(address) for address, bad in zip(batch.points, batch.quality == Quality.BAD, strict=True) if bad]


def answered(batch: ValueBatch) -> bool:
    """Whether the device said anything at all."""
    return bool((batch.quality != Quality.MISSING).any())
