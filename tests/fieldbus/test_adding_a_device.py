"""The walk through docs/adding-a-device.md, walked: its meter reads its bytes, and the tool records them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fieldbus.client import Fieldbus
from fieldbus.profile import Profile
from fieldbus.profile_loader import PROFILES_DIRECTORY, profile_from_toml
from fieldbus.toml_source import TomlSource
from fieldbus.vocabulary import Scope
from tests.fieldbus.conftest import Serve, ServeRaw
from tests.fieldbus.recorded import Record, address, check
from tests.fieldbus.test_recorded_frames import replay, requests_of
from tools import record_frames

GUIDE = (Path(__file__).parents[2] / "docs" / "adding-a-device.md").read_text(encoding="utf-8")


class GuideRecord(Record):
    """The record in the guide, with the profile in the guide."""

    @property
    def profile(self) -> Profile:
        return meter()


def meter() -> Profile:
    found = re.search(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    assert found
    return profile_from_toml(TomlSource("acme-m3.toml", found[1]))


def recorded() -> dict[str, Any]:
    found = re.search(r"```toml record\n(.*?)```", GUIDE, re.DOTALL)
    assert found
    return tomllib.loads(found[1])


async def test_the_meter_of_the_guide_reads_the_bytes_of_the_guide(fieldbus: Fieldbus, serve_raw: ServeRaw) -> None:
    content = recorded()
    server = await replay(serve_raw, content["exchange"])
    batch = await fieldbus.open(f"{server.url}?unit=1", meter()).read([address(name) for name in content["values"]])
    assert [frame.hex(" ") for frame in server.requests] == requests_of(content["exchange"])
    check(batch, GuideRecord(Path("acme-m3.toml"), content))


async def test_the_tool_records_what_the_guide_shows(serve: Serve) -> None:
    block = [0] * 18
    block[0:2], block[16:18] = [0, 12345], [0x81CD, 0x0001]
    server = await serve({1: {"holding": {0x0100: block}}})
    made = await record_frames.record(f"{server.url}?unit=1", meter(), record_frames.all_points(meter()))
    content = recorded()
    assert tomllib.loads(made)["values"] == content["values"]
    assert requests_of(tomllib.loads(made)["exchange"]) == requests_of(content["exchange"])
    answers = [bytes.fromhex(entry["answer"]) for entry in tomllib.loads(made)["exchange"]]
    assert answers == [bytes.fromhex(entry["answer"]) for entry in content["exchange"]]


async def test_the_tool_records_gear_zero_where_nothing_is_named() -> None:
    gateway = profile_from_toml(TomlSource("acme-dali.toml", re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)[1]))
    points = record_frames.all_points(gateway)
    assert {point.index for point in points} == {0}
    assert {gateway.points[point.point].scope for point in points} == {Scope.GEAR}


def test_the_tool_explains_itself_to_who_calls_it_wrongly() -> None:
    with pytest.raises(SystemExit, match="frames"):
        record_frames.main(["opc.tcp://host:4840"])


def test_every_product_that_the_guide_points_to_is_shipped() -> None:
    table = GUIDE.split("which shipped profile does it")[1].split("\n## ")[0]
    columns = [line.split("|")[3] for line in table.splitlines() if line.startswith("| ")]
    named = {name for column in columns for name in re.findall(r"`([^`]+)`", column)}
    assert named
    assert sorted(name for name in named if not (PROFILES_DIRECTORY / f"{name}.toml").exists()) == []
