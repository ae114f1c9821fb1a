"""The walk through docs/adding-a-device.md, walked: its meter reads its bytes, and the tool records them."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fieldbus.client import Fieldbus
from fieldbus.format.toml_source import TomlSource
from fieldbus.profile import Profile
from fieldbus.profile_loader import PROFILES_DIRECTORY, profile_from_toml
from fieldbus.vocabulary import Scope
from tests.fieldbus.conftest import Serve, ServeRaw
from tests.fieldbus.recorded import Record, address, check, check_requests, wrong_length
from tests.fieldbus.servers import answer_frame
from tests.fieldbus.test_recorded_frames import replay
from tests.fieldbus.test_shipped_meters import EMPTY, check_empty_bus, check_steps
from tests.support.ports import free_port
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
    check_requests(server.requests, content["exchange"])
    check(batch, GuideRecord(Path("acme-m3.toml"), content))


def test_the_frames_of_the_guide_are_as_long_as_they_say() -> None:
    assert [wrong_length(entry["request"], entry["answer"]) for entry in recorded()["exchange"]] == [""]


@EMPTY
async def test_the_meter_of_the_guide_passes_what_every_shipped_meter_must(
    fieldbus: Fieldbus, serve_raw: ServeRaw, word: int
) -> None:
    check_steps(meter())
    await check_empty_bus(fieldbus, serve_raw, meter(), word)


async def test_a_pattern_that_is_left_out_is_named(fieldbus: Fieldbus, serve_raw: ServeRaw) -> None:
    careless = GUIDE.replace("0xFFFFFFFF", "0x7FFFFFFF")
    found = re.search(r"```toml\n(.*?)```", careless, re.DOTALL)
    assert found
    profile = profile_from_toml(TomlSource("acme-m3.toml", found[1]))
    with pytest.raises(pytest.fail.Exception, match=r"(?s)add these to not_available:.*import: 0xFFFFFFFF, read as"):
        await check_empty_bus(fieldbus, serve_raw, profile, 0xFFFF)


async def test_the_tool_records_what_the_guide_shows(serve: Serve) -> None:
    block = [0] * 18
    block[0:2], block[16:18] = [0, 12345], [0x81CD, 0x0001]
    server = await serve({1: {"holding": {0x0100: block}}})
    made = await record_frames.record(f"{server.url}?unit=1", meter(), record_frames.all_points(meter()))
    content = recorded()
    assert tomllib.loads(made)["values"] == content["values"]
    check_requests([bytes.fromhex(entry["request"]) for entry in tomllib.loads(made)["exchange"]], content["exchange"])
    answers = [bytes.fromhex(entry["answer"]) for entry in tomllib.loads(made)["exchange"]]
    assert answers == [bytes.fromhex(entry["answer"]) for entry in content["exchange"]]


async def test_the_tool_records_gear_zero_where_nothing_is_named() -> None:
    gateway = profile_from_toml(TomlSource("acme-dali.toml", re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)[1]))
    points = record_frames.all_points(gateway)
    assert {point.index for point in points} == {0}
    assert {gateway.points[point.point].scope for point in points} == {Scope.GEAR}


async def run_tool(tmp_path: Path, url: str, *points: str) -> tuple[int | None, str, str]:
    """Exit code, output and errors of the tool, run on the guide's meter as its readers do."""
    found = re.search(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    assert found
    (tmp_path / "acme-m3.toml").write_text(found[1], encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(record_frames.__file__)),
        url,
        str(tmp_path / "acme-m3.toml"),
        *points,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(record_frames.__file__).parents[1])},
    )
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def test_the_tool_ends_quietly_when_all_went_well(serve: Serve, tmp_path: Path) -> None:
    server = await serve({1: {"holding": {0x0100: [0] * 18}}})
    code, output, errors = await run_tool(tmp_path, f"{server.url}?unit=1")
    assert (code, errors) == (0, "")
    assert tomllib.loads(output)["values"]["power_active_total"] == 0


async def test_the_tool_writes_nothing_where_nobody_listens(tmp_path: Path) -> None:
    code, output, errors = await run_tool(tmp_path, f"modbus+tcp://127.0.0.1:{free_port()}?unit=1")
    assert (code, output) == (1, "")
    assert "cannot be reached" in errors
    assert "Traceback" not in errors


async def test_the_tool_writes_nothing_for_a_unit_that_is_silent(serve_raw: ServeRaw, tmp_path: Path) -> None:
    async def silent(request: bytes, writer: asyncio.StreamWriter) -> None:
        """Not a byte."""

    server = await serve_raw(silent)
    code, output, errors = await run_tool(tmp_path, f"{server.url}?unit=1")
    assert (code, output) == (1, "")
    assert "unit=" in errors
    assert "Traceback" not in errors


async def test_the_tool_writes_nothing_when_some_answers_are_missing(serve_raw: ServeRaw, tmp_path: Path) -> None:
    async def halting(request: bytes, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) > 1:
            writer.write(answer_frame(request, bytes((request[7] | 0x80, 4))))

    server = await serve_raw(halting)
    code, output, errors = await run_tool(tmp_path, f"{server.url}?unit=1")
    assert (code, output) == (1, "")
    assert "Traceback" not in errors


async def test_the_tool_says_when_a_point_is_wrong(tmp_path: Path) -> None:
    for point in ("level_command/x", "voltage_l9"):
        code, output, errors = await run_tool(tmp_path, f"modbus+tcp://127.0.0.1:{free_port()}?unit=1", point)
        assert (code, output) == (1, "")
        assert "Traceback" not in errors
        assert point.partition("/")[0] in errors


def test_the_tool_explains_itself_to_who_calls_it_wrongly() -> None:
    with pytest.raises(SystemExit, match="frames"):
        record_frames.main(["opc.tcp://host:4840"])


def test_every_product_that_the_guide_points_to_is_shipped() -> None:
    table = GUIDE.split("which shipped profile does it")[1].split("\n## ")[0]
    columns = [line.split("|")[3] for line in table.splitlines() if line.startswith("| ")]
    named = {name for column in columns for name in re.findall(r"`([^`]+)`", column)}
    assert named
    assert sorted(name for name in named if not (PROFILES_DIRECTORY / f"{name}.toml").exists()) == []
