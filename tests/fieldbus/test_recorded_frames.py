"""Every shipped Modbus profile against bytes: the requests it makes, and the values that given answers become.

A file in frames/ holds the exchanges in order (a fresh connection, so transaction ids count from 1) and the values
expected. They are compared byte by byte; docs/adding-a-device.md says how to make one.
"""

from __future__ import annotations

import asyncio
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fieldbus.client import Fieldbus
from fieldbus.profile import Protocol
from fieldbus.profile_loader import load_profile, profile_names
from fieldbus.values import PointAddress, Quality
from tests.fieldbus.conftest import ServeRaw

FRAMES = sorted((Path(__file__).parent / "frames").glob("*.toml"))


def load(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def address(text: str) -> PointAddress:
    name, _, index = text.partition("/")
    return PointAddress(name, int(index) if index else None)


@pytest.mark.parametrize("path", FRAMES, ids=lambda path: path.stem)
async def test_recorded_answers_become_these_values(fieldbus: Fieldbus, serve_raw: ServeRaw, path: Path) -> None:
    record = load(path)
    exchanges = [(bytes.fromhex(entry["request"]), bytes.fromhex(entry["answer"])) for entry in record["exchange"]]
    pending = list(exchanges)

    async def replay(request: bytes, writer: asyncio.StreamWriter) -> None:
        expected, answer = pending.pop(0)
        assert request == expected
        writer.write(answer)

    server = await serve_raw(replay)
    device = fieldbus.open(f"{server.url}?unit={record.get('unit', 1)}", record["profile"])
    values: dict[str, float | str] = record["values"]
    batch = await device.read([address(text) for text in values])
    assert [frame.hex(" ") for frame in server.requests] == [request.hex(" ") for request, _ in exchanges]
    for row, (text, expected) in enumerate(values.items()):
        if expected == "bad":
            assert batch.quality[row] == Quality.BAD, text
            assert math.isnan(batch.values[row]), text
        else:
            assert batch.quality[row] == Quality.GOOD, text
            assert batch.values[row] == pytest.approx(expected, rel=1e-6), text


def test_every_modbus_profile_that_is_shipped_has_recorded_frames() -> None:
    modbus = {name for name in profile_names() if load_profile(name).protocol is Protocol.MODBUS}
    assert modbus == {load(path)["profile"] for path in FRAMES}


@pytest.mark.parametrize("path", FRAMES, ids=lambda path: path.stem)
def test_recorded_frames_say_where_they_come_from(path: Path) -> None:
    assert load(path)["source"].strip()
