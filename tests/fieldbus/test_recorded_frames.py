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
from tests.fieldbus.recorded import (
    FRAMES,
    Record,
    address,
    check,
    check_requests,
    commands_in,
    differences,
    files,
    record,
    writes,
    wrong_length,
)
from tests.fieldbus.servers import Manual, RawServer, answer_frame, registers_pdu

MODBUS = files(Protocol.MODBUS)
COMMANDS = [(path, number) for path in MODBUS for number in range(commands_in(path))]


async def replay(serve_raw: ServeRaw, exchanges: list[dict[str, str]]) -> RawServer:
    """A server that answers these requests as recorded, and others with noughts: so all that are made can be seen."""
    answers = {bytes.fromhex(entry["request"]): bytes.fromhex(entry["answer"]) for entry in exchanges}

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answers.get(request) or noughts(request))

    return await serve_raw(behave)


def noughts(request: bytes) -> bytes:
    """A valid answer to any request: registers and bits of 0, and a command's own address and value or number."""
    match request[7]:
        case 1 | 2:
            length = (int.from_bytes(request[10:12], "big") + 7) // 8
            return answer_frame(request, bytes((request[7], length)) + bytes(length))
        case 3 | 4:
            return answer_frame(request, registers_pdu(request, 0))
    return answer_frame(request, request[7:12])


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
    check_requests(server.requests, exchanges)
    check(batch, recorded)


@pytest.mark.parametrize(("path", "number"), COMMANDS, ids=lambda item: getattr(item, "stem", item))
async def test_commands_become_these_bytes(fieldbus: Fieldbus, serve_raw: ServeRaw, path: Path, number: int) -> None:
    recorded = record(path)
    command: dict[str, Any] = recorded.commands[number]
    exchanges: list[dict[str, str]] = command["exchange"]
    server = await replay(serve_raw, exchanges)
    device = fieldbus.open(f"{server.url}?unit={recorded.content.get('unit', 1)}", recorded.content["profile"])
    results = await device.write(writes(command), verify=command.get("verify", False))
    check_requests(server.requests, exchanges)
    assert {result.outcome.name.lower() for result in results} == {command["outcome"]}, [str(one) for one in results]


def of(name: str) -> list[Record]:
    return [record(path) for path in FRAMES if path.stem.partition("+")[0] == name]


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_that_is_shipped_has_its_record(name: str) -> None:
    assert of(name), f"frames/{name}.toml is missing"


@pytest.mark.parametrize("name", profile_names())
def test_records_cover_what_the_product_can_do(name: str) -> None:
    """A value of each point that can be read, and a command of each that can be written: each has an address of its
    own to be wrong."""
    profile = load_profile(name)
    read = {address(text).point for recorded in of(name) for text in recorded.values}
    assert {point for point in profile.points if profile.readable(point)} <= read, "no value of these points"
    commands = [command for recorded in of(name) for command in recorded.commands]
    written = {address(text).point for command in commands for text in command["writes"]}
    assert {point for point in profile.points if profile.writable(point)} <= written, "no command of these points"


@pytest.mark.parametrize("path", FRAMES, ids=lambda path: path.stem)
def test_a_record_says_where_it_comes_from(path: Path) -> None:
    """`abb-b23.toml`, or `abb-b23+without-export.toml` for another one of the same product."""
    assert record(path).content["source"].strip()
    assert path.stem.partition("+")[0] == record(path).content["profile"]


@pytest.mark.parametrize("path", FRAMES, ids=lambda path: path.stem)
def test_texts_are_recorded_as_words(path: Path) -> None:
    recorded = record(path)
    for text, value in recorded.values.items():
        kind = recorded.profile.points[address(text).point].point.type
        assert (kind is PointType.TEXT) == (isinstance(value, str) and value != "bad") or value == "bad", text


class Changed(Record):
    """A shipped record with another content."""


def changed(name: str, **content: Any) -> Record:
    path = next(path for path in MODBUS if path.stem == name)
    return Changed(path, record(path).content | content)


async def test_a_wrong_value_is_shown_beside_the_right_one(fieldbus: Fieldbus, serve_raw: ServeRaw) -> None:
    name = "eastron-sdm630"
    exchanges = changed(name).content["exchange"]
    values = changed(name).values
    wrong = changed(name, values=values | {"voltage_l1": 400.5, "voltage_l2": "bad"})
    server = await replay(serve_raw, exchanges)
    batch = await fieldbus.open(f"{server.url}?unit={wrong.content.get('unit', 1)}", name).read(
        [address(text) for text in wrong.values]
    )
    first, second = differences(batch, wrong)
    assert (
        first == f"voltage_l1: {float(batch.values[list(wrong.values).index('voltage_l1')]):.12g} read, 400.5 expected"
    )
    assert second.startswith("voltage_l2: ")
    assert second.endswith("read, quality GOOD; 'bad' expected, quality BAD")


async def test_all_requests_of_a_first_run_are_shown_in_full(fieldbus: Fieldbus, serve_raw: ServeRaw) -> None:
    """With none of them in the file yet, noughts are answered, so that the next one is made."""
    several = next(record(path) for path in MODBUS if len(record(path).content["exchange"]) > 2)
    exchanges: list[dict[str, str]] = several.content["exchange"]
    server = await replay(serve_raw, [])
    device = fieldbus.open(f"{server.url}?unit={several.content.get('unit', 1)}", several.content["profile"])
    await device.read([address(text) for text in several.values])
    with pytest.raises(pytest.fail.Exception) as shown:
        check_requests(server.requests, [])
    for exchange in exchanges:
        assert f'request = "{bytes.fromhex(exchange["request"]).hex(" ")}"' in str(shown.value)


@pytest.mark.parametrize(
    ("request_frame", "answer", "reason"),
    [
        ("00 01 00 00 00 06 01 03 01 00 00 02", "00 01 00 00 00 07 01 03 04 00 00 00 01", ""),
        ("00 01 00 00 00 06 01 03 01 00 00 02", "00 01 00 00 00 03 01 83 02", ""),
        ("00 01 00 00 00 06 01 01 01 00 00 09", "00 01 00 00 00 05 01 01 02 00 00", ""),
        ("00 01 00 00 00 06 01 03 01 00 00 02", "00 01 00 00 00 07 01 03 04 00 00 00", "says that 7 bytes follow"),
        (
            "00 01 00 00 00 06 01 03 01 00 00 02",
            "00 01 00 00 00 05 01 03 02 00 00",
            "2 were asked for, which are 4 bytes",
        ),
        (
            "00 01 00 00 00 06 01 03 01 00 00",
            "00 01 00 00 00 05 01 03 02 00 00",
            "the request says that 6 bytes follow",
        ),
        ("00 01", "00 01", "no frame"),
        ("0x", "00 01", "hex"),
    ],
)
def test_a_frame_of_a_wrong_length_is_refused_when_it_is_loaded(request_frame: str, answer: str, reason: str) -> None:
    found = wrong_length(request_frame, answer)
    assert reason in found
    assert bool(reason) == bool(found)


def test_a_record_with_such_a_frame_says_which(tmp_path: Path) -> None:
    path = tmp_path / "meter.toml"
    path.write_text('[[exchange]]\nrequest = "00 01"\nanswer = "00 01"\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"meter\.toml: exchange 1: the request has 2 bytes"):
        record(path)
