"""lichtbuch faults and lichtbuch fault, the real command against a small town's services over real gRPC."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lichtbuch.lighting.v1 import faults_pb2
from tests.services.admin.conftest import issuer_url
from tests.services.admin.test_faults_page import stands, three
from tests.services.admin.test_town import token_of
from tests.services.admin.town_services import SERVICES, Town, TownServices, fault_on, small_town
from tests.support.warm_command import run_warm

__all__ = ["issuer_url"]


class Command:
    """Runs `lichtbuch` as an operator of the town."""

    def __init__(self, services: TownServices, token: str, folder: Path) -> None:
        addresses = {f"LICHTBUCH_{name.upper()}_ADDRESS": services.address(name) for name in SERVICES}
        self.town, self._environment = services.town, os.environ | addresses
        self._environment |= {"LICHTBUCH_TOKEN": token, "LICHTBUCH_CONFIG_DIR": str(folder)}

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        done = await run_warm(*arguments, environment=self._environment)
        return done.returncode, done.stdout, done.stderr

    async def json(self, *arguments: str) -> Any:
        """What it prints with --json."""
        code, out, error = await self.run(*arguments, "--json")
        assert code == 0, error
        return json.loads(out)


@pytest.fixture
async def command(issuer_url: str, tmp_path: Path) -> AsyncIterator[Command]:
    """The command, and a town with three faults."""
    town: Town = small_town()
    stands(town, *three())
    async with TownServices(town, issuer_url) as services:
        yield Command(services, await token_of(issuer_url, "operator"), tmp_path)


async def test_the_list_of_work_stands_street_by_street(command: Command):
    code, out, error = await command.run("faults")
    assert code == 0, error
    assert out.index("Mondgasse: 2") < out.index("lamp failure") < out.index("Sternweg: 1")
    assert "41.2 W instead of 22.8 W" in out
    rows = await command.json("faults", "--open")
    assert [(row["street"], row["pole"], row["kind"]) for row in rows] == [
        ("Mondgasse", "700", "lamp failure"),
        ("Mondgasse", "702", "power too high"),
        ("Sternweg", "", "communication loss"),
    ]


async def test_a_fault_is_acknowledged_by_the_end_of_its_id(command: Command):
    row = await command.json("fault", "acknowledge", "l-0001", "--note", "ladder on Tuesday")
    assert (row["note"], row["subject"]) == ("ladder on Tuesday", "luminaires/L-0001")
    for given, words in (("l-9", "too short"), ("l-9999", "not found"), ("-000", "does not exist")):
        code, _, error = await command.run("fault", "acknowledge", "--", given)
        assert code != 0, words
        assert "fault" in error


async def test_a_report_by_hand_is_made_and_cleared(command: Command):
    made = await command.json("fault", "report", "L-0004", "--text", "flickers")
    assert (made["kind"], made["by_hand"], made["seen"]) == ("reported", True, "flickers")
    cleared = await command.json("fault", "clear", made["fault"], "--note", "new clamp")
    assert cleared["cleared"] is not None
    assert command.town.calls[-1].startswith("ClearFault")


async def test_the_list_goes_into_a_file_that_no_spreadsheet_obeys(command: Command, tmp_path: Path):
    evil = '=HYPERLINK("http://x","y")'
    stands(command.town, fault_on("luminaires/L-0005", faults_pb2.FAULT_KIND_REPORTED, by_hand=True, text=evil))
    file = tmp_path / "work.csv"
    code, out, _ = await command.run("faults", "--csv", str(file))
    assert (code, out) == (0, "")
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["street"] for row in rows] == ["Mondgasse", "Mondgasse", "Sternweg", ""]
    assert rows[-1]["seen"] == f"'{evil}"
    assert rows[0]["raised"] == "2026-11-22T07:30:00+01:00"


async def test_wrong_use_names_what_was_wrong(command: Command, tmp_path: Path):
    code, _, error = await command.run("faults", "--kind", "broken")
    assert code != 0
    assert "lamp-failure" in error
    code, _, error = await command.run("faults", "--csv", str(tmp_path / "missing" / "work.csv"))
    assert code != 0
    assert "csv" in error
