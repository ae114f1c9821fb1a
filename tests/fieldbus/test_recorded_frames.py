"""Every shipped Modbus profile against bytes: the requests it makes, and the values that given answers become.

A file in frames/ holds the exchanges in order (a fresh connection for the values and for each command, so transaction
ids count from 1), the values expected of them, and commands with the bytes that they become. All is compared byte by
byte; docs/adding-a-device.md says how to make one.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fieldbus.client import Fieldbus
from fieldbus.profile import Protocol
from fieldbus.profile_loader import load_profile, profile_names
from fieldbus.vocabulary import PointType
from tests.fieldbus.conftest import ServeRaw
from tests.fieldbus.recorded import FRAMES, Record, address, check, record, records, writes
from tests.fieldbus.servers import Manual, RawServer

MODBUS = records(Protocol.MODBUS)
COMMANDS = [(path, number) for path in MODBUS for number in range(len(record(path).commands))]


async def replay(serve_raw: ServeRaw, exchanges: list[dict[str, str]]) -> RawServer:
    """A server that expects these requests, in this order, and answers as recorded."""
    pending = [(bytes.fromhex(entry["request"]), bytes.fromhex(entry["answer"])) for entry in exchanges]

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        if pending and request == pending[0][0]:
            writer.write(pending.pop(0)[1])

    return await serve_raw(behave)


def requests_of(exchanges: list[dict[str, str]]) -> list[str]:
    return [bytes.fromhex(entry["request"]).hex(" ") for entry in exchanges]


@pytest.mark.parametrize("path", MODBUS, ids=lambda path: path.stem)
async def test_recorded_answers_become_these_values(
    fieldbus: Fieldbus, clock: Manual, serve_raw: ServeRaw, path: Path
) -> None:
    recorded = record(path)
    clock.instant = recorded.content.get("now", clock.instant)
    exchanges: list[dict[str, str]] = recorded.content["exchange"]
    server = await replay(serve_raw, exchanges)
    device = fieldbus.open(f"{server.url}?unit={recorded.content.get('unit', 1)}", recorded.content["profile"])
    batch = await device.read([address(text) for text in recorded.values])
    assert [frame.hex(" ") for frame in server.requests] == requests_of(exchanges)
    check(batch, recorded)


@pytest.mark.parametrize(("path", "number"), COMMANDS, ids=lambda item: getattr(item, "stem", item))
async def test_commands_become_these_bytes(fieldbus: Fieldbus, serve_raw: ServeRaw, path: Path, number: int) -> None:
    recorded = record(path)
    command: dict[str, Any] = recorded.commands[number]
    exchanges: list[dict[str, str]] = command["exchange"]
    server = await replay(serve_raw, exchanges)
    device = fieldbus.open(f"{server.url}?unit={recorded.content.get('unit', 1)}", recorded.content["profile"])
    results = await device.write(writes(command), verify=command.get("verify", False))
    assert [frame.hex(" ") for frame in server.requests] == requests_of(exchanges)
    assert {result.outcome.name.lower() for result in results} == {command["outcome"]}


def of(name: str) -> list[Record]:
    return [record(path) for path in FRAMES if record(path).content["profile"] == name]


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_that_is_shipped_has_its_record(name: str) -> None:
    assert of(name), f"frames/{name}.toml is missing"


@pytest.mark.parametrize("name", profile_names())
def test_records_cover_what_the_product_can_do(name: str) -> None:
    """One value of each type of point, and one command where it takes commands."""
    profile = load_profile(name)
    read = {profile.points[address(text).point].point.type for recorded in of(name) for text in recorded.values}
    offered = {entry.point.type for entry in profile.points.values() if entry.direction.readable}
    assert offered <= read, "no value of these types"
    commanded = any(entry.direction.writable for entry in profile.points.values())
    assert not commanded or any(recorded.commands for recorded in of(name)), "no command"


@pytest.mark.parametrize("path", FRAMES, ids=lambda path: path.stem)
def test_a_record_says_where_it_comes_from(path: Path) -> None:
    """`abb-b23.toml`, or `abb-b23+without-export.toml` for another one of the same product."""
    assert record(path).content["source"].strip()
    assert path.stem.partition("+")[0] == record(path).content["profile"]


def test_texts_are_recorded_as_words() -> None:
    for path in FRAMES:
        recorded = record(path)
        for text, value in recorded.values.items():
            kind = load_profile(recorded.content["profile"]).points[address(text).point].point.type
            assert (kind is PointType.TEXT) == (isinstance(value, str) and value != "bad") or value == "bad", text
