"""`lichtbuch lamp levels`: what a lamp did over a period, as a person types it, against a running lighting service."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from cli.commands.lamp_levels import past
from domain.errors import InvalidInput
from domain.night import zone
from tests.services.lighting.bench import NOON
from tests.services.lighting.running import FITTER, Lighting
from tests.services.lighting.test_api_states import LED_23, NIGHT
from tests.services.lighting.test_commands import Terminal

BERLIN = zone("Europe/Berlin")


def local(hours: float) -> str:
    """An instant in hours after noon, as it is typed."""
    return f"{(NOON + timedelta(hours=hours)).astimezone(BERLIN):%Y-%m-%dT%H:%M}"


async def test_the_levels_of_a_night_stand_in_local_time_and_utc_with_burning_hours_and_energy(
    light: Lighting, monkeypatch: pytest.MonkeyPatch
):
    await light.street(lamps=2)
    await light.put_plan(*NIGHT)
    await light.known()
    await light.to(20)
    terminal = Terminal(light, monkeypatch, "viewer")
    asked = ("lamp", "levels", "L-1-1", "--from", local(1), "--until", local(20))
    told = await terminal.json(*asked)
    assert (told["luminaire"], told["known_hours"], told["estimated"]) == ("L-1-1", 19.0, False)
    assert abs(told["burning_hours"] - 14.2) < 0.01
    assert told["energy_kwh"] == pytest.approx(((5 + 2.2) * LED_23[1000] + 7 * LED_23[500]) / 1000, rel=0.001)
    changes = [
        (
            round((datetime.fromisoformat(row["utc"]) - NOON).total_seconds() / 3600, 2),
            row["level_permille"],
            row["powered"],
            row["hours"],
        )
        for row in told["changes"]
    ]
    assert changes == [
        (1.0, 0, False, 4.0), (5.0, 1000, True, 5.0), (10.0, 500, True, 7.0), (17.0, 1000, True, 2.2),
        (19.2, 0, False, 0.8),
    ]  # fmt: skip
    first = told["changes"][0]
    assert datetime.fromisoformat(first["at"]) == datetime.fromisoformat(first["utc"])
    assert first["at"].endswith(("+01:00", "+02:00"))
    assert first["utc"].endswith("+00:00")
    shown = (await terminal.types(*asked)).stdout
    assert "100 %" in shown
    assert "50 %" in shown
    assert "burned 14.20 h, drew 0.2" in shown
    assert "nobody knows" not in shown


async def test_time_that_nobody_watched_is_not_known_and_neither_burning_nor_energy(
    light: Lighting, monkeypatch: pytest.MonkeyPatch
):
    await light.street(lamps=1)
    await light.known()
    await light.to(2)
    terminal = Terminal(light, monkeypatch, "viewer")
    told = await terminal.json("lamp", "levels", "L-1-0")  # since noon before the last night
    first = told["changes"][0]
    assert (first["known"], first["level_permille"]) == (False, -1)
    assert datetime.fromisoformat(first["utc"]) <= NOON - timedelta(hours=23)
    assert told["burning_hours"] == 0
    assert told["known_hours"] < 3
    shown = (await terminal.types("lamp", "levels", "L-1-0")).stdout
    assert "not known" in shown
    assert "nobody knows its level" in shown


async def test_who_may_see_no_energy_is_told_the_levels(light: Lighting, monkeypatch: pytest.MonkeyPatch):
    await light.street(lamps=1)
    await light.known()
    await light.to(2)
    told = await asyncio.wait_for(Terminal(light, monkeypatch, FITTER).types("lamp", "levels", "L-1-0"), 30)
    assert told.exit_code == 0
    assert "not known" in told.stdout
    assert "your role may not see them" in told.stderr


async def test_a_period_that_cannot_be_is_refused_with_its_option(light: Lighting, monkeypatch: pytest.MonkeyPatch):
    await light.street(lamps=1)
    await light.known()
    await light.to(2)
    terminal = Terminal(light, monkeypatch, "viewer")
    for options, told in (
        (("--from", local(1), "--until", local(0.5)), "--until"),
        (("--until", local(5)), "--until.*still to come"),
        (("--from", "yesterday"), "--from.*is no time"),
    ):
        refused = await terminal.types("lamp", "levels", "L-1-0", *options)
        assert isinstance(refused.exception, InvalidInput)
        with pytest.raises(InvalidInput, match=told):
            raise refused.exception
    unknown = await terminal.types("lamp", "levels", "L-9")
    assert isinstance(unknown.exception, InvalidInput)


def test_a_time_of_day_is_the_last_one():
    now = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
    assert past("18:00", BERLIN, now, "--from") == datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
    assert past("23:30", BERLIN, now, "--from") == datetime(2026, 11, 21, 22, 30, tzinfo=UTC)
