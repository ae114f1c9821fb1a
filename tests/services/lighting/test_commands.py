"""The commands about waivers, sensors and levels, as a person types them, against a running lighting service."""

import asyncio
import json
import re
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner, Result

from cli.commands import commissioning, history, lamp_levels, lamps, levels, removing, sensors, waivers
from cli.errors import explain
from cli.main import app
from domain.errors import FailedPrecondition, InvalidInput, NotPermitted
from lichtbuch.lighting.v1 import lighting_pb2 as pb
from tests.services.lighting.running import Lighting, T

_LOGGED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[")


class Town:
    """A session as commands use it, in the one municipality of the tests."""

    def __init__(self, light: Lighting, subject: str) -> None:
        self.lighting = light.as_(subject)

    async def parent(self) -> str:
        """The municipality."""
        return T

    async def zone(self) -> ZoneInfo:
        """Its time zone."""
        return ZoneInfo("Europe/Berlin")

    async def name(self, collection: str, given: str) -> str:
        """A whole name."""
        return given if "/" in given else f"{T}/{collection}/{given}"


class Terminal:
    """Types commands. They run in a thread of their own, as `online` makes a loop of its own otherwise."""

    def __init__(self, light: Lighting, monkeypatch: pytest.MonkeyPatch, subject: str = "planner") -> None:
        loop, town = asyncio.get_running_loop(), Town(light, subject)

        def online(ask: Any, _municipality: str) -> Any:
            return asyncio.run_coroutine_threadsafe(ask(town), loop).result(30)

        for module in (commissioning, history, lamp_levels, lamps, levels, removing, sensors, waivers):
            monkeypatch.setattr(module, "online", online)

    async def types(self, *words: str) -> Result:
        """What becomes of a command."""
        return await asyncio.to_thread(CliRunner().invoke, app, list(words))

    async def json(self, *words: str) -> Any:
        """What a command answers to a program."""
        result = await self.types(*words, "--json")
        assert result.exit_code == 0, result.exception
        # The service runs in this process, too, and writes its log beside.
        lines = [line for line in result.stdout.splitlines() if not _LOGGED.match(line)]
        return json.loads("\n".join(lines))


DECISION = ("--decision", "StVV 117", "--decided-on", "2026-10-01", "--reason", "off from 23:00", "--sign")


async def test_a_level_under_the_floor_is_refused_and_the_command_says_how_a_decision_is_entered(
    light: Lighting, monkeypatch: pytest.MonkeyPatch
):
    await light.street()
    terminal = Terminal(light, monkeypatch)
    asked = ("level", "set", "10", "all", "--from", "22:00", "--until", "2026-11-10T23:00", "--reason", "x")
    refused = await Terminal(light, monkeypatch, "operator").types(*asked)
    assert isinstance(refused.exception, InvalidInput)
    told = explain(refused.exception)
    assert f"100 is below the floor of 400 per mille of {T}/luminaires/L-1-0; that takes a council's waiver" in told
    assert "lichtbuch waiver create FLOOR TARGET..." in told
    terminal = Terminal(light, monkeypatch)
    made = await terminal.json("waiver", "create", "10", "all", *DECISION, "--review", "2027-11-01", "--id", "W-1")
    assert (made["waiver"], made["floor"], made["targets"]) == ("W-1", "10 %", ["bad-hersfeld"])
    taken = await Terminal(light, monkeypatch, "operator").json(*asked)
    assert taken["level"] == "10 %"


async def test_waivers_are_listed_and_released(light: Lighting, monkeypatch: pytest.MonkeyPatch):
    await light.street(lamps=1)
    terminal = Terminal(light, monkeypatch)
    assert "every floor is that of its class" in (await terminal.types("waiver", "list")).stdout
    await terminal.json("waiver", "create", "off", "group:default", *DECISION, "--review", "2028-01-01", "--id", "W-1")
    (row,) = await terminal.json("waiver", "list")
    assert (row["decided_on"], row["targets"], row["sign_at_pole"]) == ("2026-10-01", ["groups/default"], True)
    assert (await terminal.json("waiver", "release", "W-1", "--reason", "accident"))["released"]
    assert await terminal.json("waiver", "list") == []
    assert len(await terminal.json("waiver", "list", "--all")) == 1
    refused = await terminal.types("waiver", "create", "off", "all", *DECISION, "--review", "2040-01-01")
    assert isinstance(refused.exception, InvalidInput)
    assert "more than five years" in explain(refused.exception)


async def test_sensors_are_listed_with_their_last_value_and_its_age(light: Lighting, monkeypatch: pytest.MonkeyPatch):
    await light.street(lamps=1)
    terminal = Terminal(light, monkeypatch)
    assert "there are no sensors" in (await terminal.types("sensors")).stdout
    made = await terminal.json("sensor", "add", "BRIDGE", "--kind", "traffic", "--group", "default", "--max-age", "5m")
    assert (made["groups"], made["max_age_s"], made["endpoint"]) == (["default"], 300, "values are sent")
    await terminal.json("sensor", "add", "RAIN", "--kind", "rain")
    assert await terminal.json("sensor", "report", "BRIDGE", "140") == {"accepted": 1, "outdated": 0}
    await light.passes(1, 90)
    bridge, rain = await terminal.json("sensors")
    assert (bridge["value"], bridge["age_s"], bridge["state"]) == ("140 per hour", 90, "fresh")
    assert (rain["value"], rain["age_s"], rain["state"]) == (None, None, "never heard of")
    await light.passes(2)
    assert (await terminal.json("sensors"))[0]["state"] == "stale"
    assert "140 per hour" in (await terminal.types("sensors")).stdout
    await terminal.json("sensor", "remove", "RAIN")
    assert len(await terminal.json("sensors")) == 1
    wrong = await terminal.types("sensor", "add", "X", "--kind", "smell")
    assert "traffic, illuminance, rain" in str(wrong.exception)


def test_other_refusals_get_no_hint_about_waivers():
    error = levels.with_waiver_hint(InvalidInput.of("override.expire_time", "is over already"))
    assert not hasattr(error, "__notes__")


async def test_a_lamp_blinks_by_command_and_the_answer_says_where_it_is(
    light: Lighting, monkeypatch: pytest.MonkeyPatch
):
    await light.street()
    await light.known()
    terminal = Terminal(light, monkeypatch, "operator")
    told = await terminal.json("lamp", "identify", "L-1-1", "--seconds", "20", "--reason", "pole 7")
    assert (told["lamp"], told["gateway"], told["address"]) == ("L-1-1", "G-1", 1)
    assert told["between"] == "0 % and 100 %"  # it is noon
    result = await terminal.types("lamp", "identify", "L-1-1", "--seconds", "4")
    assert result.exit_code != 0


async def test_lamps_are_protected_by_command_and_those_that_are_not_are_listed(
    light: Lighting, monkeypatch: pytest.MonkeyPatch
):
    await light.street()
    await light.known()
    terminal = Terminal(light, monkeypatch)
    assert await terminal.json("lamp", "protect", "--gateway", "G-1", "--communication-loss", "70") == {"lamps": 4}
    rows = await terminal.json("lamps", "--unprotected")
    assert [row["lamp"] for row in rows] == [f"L-1-{n}" for n in range(4)]
    assert (rows[0]["state"], rows[0]["power_on"], rows[0]["communication_loss"]) == ("pending", "100 %", "70 %")
    refused = await terminal.types("lamp", "protect")
    assert isinstance(refused.exception, InvalidInput)
    refused = await terminal.types("lamps", "--unprotected", "--wrong")
    assert isinstance(refused.exception, InvalidInput)


async def test_history_tells_who_changed_what_and_why(light: Lighting, monkeypatch: pytest.MonkeyPatch):
    names = await light.street(lamps=2)
    terminal = Terminal(light, monkeypatch)
    await light.clock.advance(timedelta(seconds=2))
    await light.import_lines(luminaire_ids=["L-1-0"], poles=["17"], reason="list of May")
    await light.clock.advance(timedelta(seconds=2))
    await light.planner.DeleteLuminaire(pb.DeleteLuminaireRequest(name=names[0], reason="pole removed"))
    rows = await terminal.json("history", "L-1-0")
    assert [(row["what"], row["change"], row["by"], row["reason"]) for row in rows] == [
        ("lamp L-1-0", "deleted", "planner", "pole removed"), ("lamp L-1-0", "pole", "planner", "list of May"),
        ("lamp L-1-0", "created", "planner", ""),
    ]  # fmt: skip
    assert [row["what"] for row in await terminal.json("history", "cabinet:C-1")] == ["cabinet C-1"]
    short = await terminal.types("history", "--limit", "2")
    assert "there are more than 2 changes" in short.output
    wrong = await terminal.types("history", "house:7")
    assert isinstance(wrong.exception, InvalidInput)
    assert "is neither a lamp nor one of lamp:, group:" in str(wrong.exception)


async def test_what_is_gone_from_the_street_is_removed_with_a_reason_and_what_is_in_use_stays(
    light: Lighting, monkeypatch: pytest.MonkeyPatch
):
    await light.street(lamps=2)
    terminal = Terminal(light, monkeypatch)
    stays = await terminal.types("remove", "feeder:F-1", "--reason", "dug up")
    assert isinstance(stays.exception, FailedPrecondition)
    removed = await terminal.json("remove", "L-1-0", "lamp:L-1-1", "feeder:F-1", "--reason", "dug up")
    assert [row["removed"] for row in removed] == ["lamp L-1-0", "lamp L-1-1", "feeder F-1"]
    [last, *_] = await terminal.json("history", "L-1-1")
    assert (last["change"], last["reason"], last["by"]) == ("deleted", "dug up", "planner")
    wrong = await terminal.types("remove", "tree:T-1", "--reason", "x")
    assert isinstance(wrong.exception, InvalidInput)
    assert "is neither a lamp nor one of lamp:, group:, cabinet:" in str(wrong.exception)
    refused = await Terminal(light, monkeypatch, "operator").types("remove", "group:default", "--reason", "x")
    assert isinstance(refused.exception, NotPermitted)
