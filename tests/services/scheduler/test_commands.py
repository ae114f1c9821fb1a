"""The commands about profiles and calendars, as a planner types them, against a running scheduler and lighting."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.commands import calendars, profiles, removing
from cli.errors import REFUSED
from cli.main import app
from domain.errors import FailedPrecondition, InvalidInput
from tests.services.scheduler.conftest import Scheduler
from tests.services.scheduler.fake_lighting import MARKET, RING, FakeLighting
from tests.services.scheduler.making import HERSFELD_NAME

_LOGGED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[")
USUAL = """
[[points]]
anchor = "sunset"
level = 100
[[points]]
anchor = "clock"
time = "22:30"
level = 50
[[points]]
anchor = "sunrise"
level = 0
[[rules]]
kind = "traffic"
operation = "max"
value = 100
on = 60
sensor = "S-1"
"""
DARK = USUAL.replace("level = 50", "level = 0").partition("[[rules]]")[0]
CALENDAR = """
name = "Town centre"
default = "usual"
[[rules]]
nights = [2026-11-22]
from = "23:00"
until = "01:00"
level = 80
[[rules]]
days = "school holiday"
subdivision = "CH-ZH"
profile = "usual"
"""


class Town:
    """A session as commands use it, in the one municipality of the tests."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler.stub()

    async def parent(self) -> str:
        """The municipality."""
        return HERSFELD_NAME

    async def name(self, collection: str, given: str) -> str:
        """A whole name."""
        return given if "/" in given else f"{HERSFELD_NAME}/{collection}/{given}"


class Terminal:
    """Types commands. They run in a thread of their own, as `online` makes a loop of its own otherwise."""

    def __init__(self, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        loop, town = asyncio.get_running_loop(), Town(scheduler)
        self._folder = folder

        def online(ask: Any, _municipality: str) -> Any:
            return asyncio.run_coroutine_threadsafe(ask(town), loop).result(30)

        for module in (calendars, profiles, removing):
            monkeypatch.setattr(module, "online", online)

    def file(self, name: str, text: str) -> str:
        """A file with a text in it; its path."""
        path = self._folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    async def types(self, *words: str) -> Result:
        """What becomes of a command."""
        return await asyncio.to_thread(CliRunner().invoke, app, list(words))

    async def json(self, *words: str, exit_code: int = 0) -> Any:
        """What a command answers to a program."""
        result = await self.types(*words, "--json")
        assert result.exit_code == exit_code, result.exception
        # The scheduler runs in this process, too, and writes its log beside.
        lines = [line for line in result.stdout.splitlines() if not _LOGGED.match(line)]
        return json.loads("\n".join(lines))


@pytest.fixture
async def terminal(
    scheduler: Scheduler, town_lights: FakeLighting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Terminal:
    """A planner's terminal; the town has two groups and the profile "usual"."""
    town_lights.add_group(MARKET)
    town_lights.add_group(RING)
    terminal = Terminal(scheduler, monkeypatch, tmp_path)
    put = await terminal.json("profile", "put", terminal.file("usual.toml", USUAL))
    assert (put["points"], put["sensor_rules"]) == (3, 1)
    return terminal


async def test_a_calendar_is_put_shown_listed_and_assigned_to_groups(
    terminal: Terminal, town_lights: FakeLighting
) -> None:
    [put] = await terminal.json("calendar", "put", terminal.file("centre.toml", CALENDAR))
    assert put == {"calendar": "centre", "name": "Town centre", "revision": 1, "rules": 2, "default": "usual"}
    told = await terminal.types("calendar", "put", terminal.file("centre.toml", CALENDAR.replace("= 80", "= 70")))
    assert "warning: centre: rules[1]: the school holidays of CH-ZH are not known for 400" in " ".join(
        told.stderr.split()
    )
    shown = await terminal.json("calendar", "show", "centre")
    assert (shown["revision"], shown["rules"][0]["hours"], shown["rules"][0]["what"]) == (2, "23:00 to 01:00", "70 %")
    assert shown["rules"][1]["when"] == "school holiday (CH-ZH)"
    assert len(shown["warnings"]) == 1
    assert [row["calendar"] for row in await terminal.json("calendar", "list")] == ["centre"]
    rows = await terminal.json("calendar", "assign", "centre", "markt", "ring")
    assert [(row["group"], row["refusal"], len(row["warnings"])) for row in rows] == [("markt", "", 1), ("ring", "", 1)]
    assert 700 in town_lights.plans[MARKET].levels_permille
    assert {rule.sensor for rule in town_lights.plans[RING].rules} == {"S-1"}


async def test_a_refused_plan_ends_with_5(terminal: Terminal) -> None:
    await terminal.json("profile", "put", terminal.file("dark.toml", DARK))
    await terminal.json(
        "calendar", "put", terminal.file("centre.toml", CALENDAR.replace('default = "usual"', 'default = "dark"'))
    )
    [row] = await terminal.json("calendar", "assign", "centre", "markt", exit_code=REFUSED)
    assert "dark in the civil night" in row["refusal"]
    told = (await terminal.json("profile", "assign", "dark", "ring", exit_code=REFUSED))["warnings"]
    assert [warning.partition(" for up")[0] for warning in told] == ["ring: off"]


async def test_what_would_be_refused_next_july_is_told_by_every_command_that_brings_it_about_and_ends_with_0(
    terminal: Terminal, town_lights: FakeLighting
) -> None:
    """Nothing is refused now, and somebody may still ask the council."""
    await terminal.json("profile", "put", terminal.file("dark.toml", DARK))
    plain = 'default = "usual"\n'
    await terminal.json("calendar", "put", terminal.file("centre.toml", plain))
    await terminal.json("calendar", "assign", "centre", "markt")
    fair = terminal.file("centre.toml", plain + '[[rules]]\nnights = [2027-07-03]\nprofile = "dark"\n')
    refused = "within the civil night, in 1 night from 2027-07-03 on: lighting refuses such a plan"

    async def told(*words: str) -> str:
        result = await terminal.types(*words)
        assert result.exit_code == 0, result.exception
        return " ".join(result.stderr.split())

    put = await told("calendar", "put", fair)
    assert "warning: centre: markt: off for up to" in put
    assert refused in put
    assigned = await told("calendar", "assign", "centre", "markt", "ring")
    assert assigned.count(refused) == 2
    assert "warning: ring: off for" in assigned
    await told("calendar", "put", terminal.file("ring.toml", plain + fair_rules(fair)))
    followed = await told("profile", "assign", "usual", "ring")
    assert followed.count(refused) == 1
    assert (await terminal.json("profile", "assign", "usual", "ring"))["refusal"] == ""


def fair_rules(file: str) -> str:
    """The rules of a calendar's file."""
    return Path(file).read_text(encoding="utf-8").partition("\n")[2]


async def test_a_profile_that_lighting_would_refuse_is_told_when_it_is_put_and_ends_with_5(
    terminal: Terminal, town_lights: FakeLighting
) -> None:
    town_lights.groups[MARKET].floor_permille = 400
    await terminal.json("profile", "assign", "usual", "markt")
    before = town_lights.plans[MARKET].hash
    result = await terminal.types("profile", "put", terminal.file("usual.toml", DARK))
    told = " ".join(result.stderr.split())
    assert result.exit_code == REFUSED, result.exception
    assert "warning: markt: off for up to" in told
    assert "no new plan for markt: plan.levels_permille" in told
    [row] = await terminal.json("calendar", "list")
    assert (row["groups"], "dark in the civil night" in row["refusals"]["markt"]) == (["markt"], True)
    assert "no new plan for markt: plan" in (await terminal.types("calendar", "list")).stderr
    assert town_lights.plans[MARKET].hash == before
    found = await terminal.json("profile", "put", terminal.file("usual.toml", USUAL))
    assert (found["revision"], found["warnings"]) == (3, [])
    await terminal.json("profile", "put", terminal.file("dark.toml", DARK))
    every_night = CALENDAR.partition("[[rules]]")[0].replace('"usual"', '"dark"')
    result = await terminal.types("calendar", "put", terminal.file("markt.toml", every_night))
    assert result.exit_code == REFUSED, result.exception
    assert "no new plan for markt: plan.levels_permille" in " ".join(result.stderr.split())


async def test_school_holidays_are_imported_and_the_warning_ends(terminal: Terminal) -> None:
    await terminal.json("calendar", "put", terminal.file("centre.toml", CALENDAR))
    assert "none" in (await terminal.types("calendar", "holidays")).stdout
    holidays = terminal.file(
        "zurich.csv", "Herbst;2026-11-01;2026-11-25\nFrühling;2027-04-26;2027-05-08\nHerbst;2027-10-11;2027-10-23\n"
    )
    told = await terminal.json(
        "calendar", "import-holidays", holidays, "--subdivision", "CH-ZH", "--covers-until", "2028-01-31"
    )
    expected = {
        "school_holidays": "CH-ZH", "revision": 1, "periods": 3, "covered_from": "2026-11-01",
        "covered_until": "2028-01-31", "source": "zurich.csv",
    }  # fmt: skip
    assert told == expected
    assert await terminal.json("calendar", "holidays") == [expected]
    assert (await terminal.json("calendar", "show", "centre"))["warnings"] == []


async def test_wrong_files_never_reach_the_scheduler(terminal: Terminal) -> None:
    wrong = terminal.file("wrong.toml", CALENDAR.replace("CH-ZH", "XX-YY"))
    result = await terminal.types("calendar", "put", terminal.file("centre.toml", CALENDAR), wrong)
    assert isinstance(result.exception, InvalidInput)
    assert await terminal.json("calendar", "list") == []
    assert (await terminal.types("calendar", "put", wrong, wrong, "--id", "x")).exit_code == 2


async def test_a_profile_that_nobody_uses_any_more_is_removed(terminal: Terminal) -> None:
    await terminal.json("profile", "assign", "usual", "markt")
    kept = await terminal.types("remove", "profile:usual", "--reason", "no longer wanted")
    assert isinstance(kept.exception, FailedPrecondition)
    removed = await terminal.json(
        "remove", "assignment:markt", "calendar:markt", "profile:usual", "--reason", "no longer wanted"
    )
    assert [row["removed"] for row in removed] == ["assignment markt", "calendar markt", "profile usual"]
    assert await terminal.json("profile", "list") == []
