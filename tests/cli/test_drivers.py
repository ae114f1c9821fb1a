"""lichtbuch lamp drivers, swap, confirm-swap and reject-swap, the real command over real gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lichtbuch.lighting.v1 import gears_pb2 as pb
from tests.cli.test_faults import Command
from tests.services.admin.conftest import issuer_url
from tests.services.admin.test_town import token_of
from tests.services.admin.town_services import TownServices, name, small_town

__all__ = ["issuer_url"]
LAMP = name("luminaires", "L-0001")


@pytest.fixture
async def command(issuer_url: str, tmp_path: Path) -> AsyncIterator[Command]:
    """The command, and a town with a driver that seems to have been swapped."""
    town = small_town()
    gear = pb.LuminaireGear(luminaire=LAMP, burning_s=18_003_600, gear_burning_s=3600)
    gear.lives.add(number=1, state=pb.GEAR_LIFE_STATE_FIRST, last_counter_s=18_000_000, burning_s=18_000_000)
    swapped = gear.lives.add(
        number=2, state=pb.GEAR_LIFE_STATE_DETECTED, last_counter_s=3600, burning_s=3600,
        evidence="burning hours 5000.0 h, then 0.2 h",
    )  # fmt: skip
    swapped.installed_at.FromJsonString("2026-11-10T20:00:00Z")
    town.gears[LAMP] = gear
    async with TownServices(town, issuer_url) as services:
        yield Command(services, await token_of(issuer_url, "operator"), tmp_path)


async def test_drivers_are_listed_confirmed_and_swapped_again(command: Command):
    found = await command.json("lamp", "drivers", "L-0001")
    assert (found[0]["burning_hours"], found[0]["driver_burning_hours"]) == (5001.0, 1.0)
    assert [driver["known"] for driver in found[0]["drivers"]] == ["first", "detected"]
    assert found[0]["drivers"][1]["since"].startswith("2026-11-10T21:00")
    answer = await command.json("lamp", "confirm-swap", "L-0001", "--reason", "order 12", "--serial", "4711")
    assert (answer[0]["drivers"][1]["known"], answer[0]["drivers"][1]["serial"]) == ("confirmed", "4711")
    answer = await command.json(
        "lamp", "swap", "L-0001", "--reason", "storm", "--serial", "4712", "--at", "2026-11-12 10:00", "--hours", "2"
    )
    assert [driver["reason"] for driver in answer[0]["drivers"]] == ["", "order 12", "storm"]
    assert answer[0]["drivers"][2]["by"]
    assert command.town.gears[LAMP].lives[2].first_counter_s == 7200
    assert command.town.gears[LAMP].lives[2].installed_at.ToJsonString() == "2026-11-12T09:00:00Z"
