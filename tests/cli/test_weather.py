"""lichtbuch import weather and degree-days, the real command against metering over real gRPC."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from domain.errors import NotFound
from lichtbuch.metering.v1 import metering_pb2_grpc
from lichtbuch.registry.v1 import registry_pb2, registry_pb2_grpc
from servicekit.clock import SteppedClock
from servicekit.database import Database
from servicekit.migrate import migrations_of
from servicekit.tenants import FixedTenants
from services.metering.api import MeteringServicer
from services.metering.endpoints import EndpointReplica
from services.metering.watch import Bell
from tests.services.metering.making import NOW
from tests.services.metering.running import Registry
from tests.support.issuer import Issuer
from tests.support.running import ADMIN, HERSFELD, TOWNS, VIEWER, running_service, settings_for

DAYS = """STATIONS_ID;MESS_DATUM;QN_4; TMK;eor
        232;20260101;   10;   5.0;eor
        232;20260102;   10;-999.0;eor
        232;20260103;   10;  -1.5;eor
        232;20260104;   10;  16.0;eor
"""


class OneTown(Registry):
    """The registry with one municipality."""

    def municipality(self) -> registry_pb2.Municipality:
        return registry_pb2.Municipality(name=f"municipalities/{HERSFELD.id}", time_zone=HERSFELD.time_zone)

    async def ListMunicipalities(self, request: registry_pb2.ListMunicipalitiesRequest, context: Any) -> Any:
        return registry_pb2.ListMunicipalitiesResponse(municipalities=[self.municipality()])

    async def GetMunicipality(self, request: registry_pb2.GetMunicipalityRequest, context: Any) -> Any:
        if request.name != self.municipality().name:
            raise NotFound(request.name)
        return self.municipality()


class Command:
    """Runs `lichtbuch`."""

    def __init__(self, addresses: dict[str, str], issuer: Issuer, folder: Path) -> None:
        self._environment = os.environ | {f"LICHTBUCH_{name.upper()}_ADDRESS": at for name, at in addresses.items()}
        self._environment["LICHTBUCH_CONFIG_DIR"] = str(folder)
        self._issuer = issuer

    async def run(self, *arguments: str, subject: str = ADMIN) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli.main", *arguments,
            env=self._environment | {"LICHTBUCH_TOKEN": self._issuer.token(subject)},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, error = await asyncio.wait_for(process.communicate(), 120)
        assert process.returncode is not None
        return process.returncode, out.decode(), error.decode()

    async def json(self, *arguments: str) -> tuple[int, Any]:
        """Exit code and what it prints with --json."""
        code, out, error = await self.run(*arguments, "--json")
        assert out, error
        return code, json.loads(out)


@pytest.fixture
async def command(tmp_path: Path) -> AsyncIterator[Command]:
    """The command, a registry with one town, and metering at noon of the test's day."""
    issuer = Issuer()
    database = Database(f"sqlite:///{tmp_path}/metering.db", "metering", pool_size=2)
    await database.migrate(migrations_of("metering"))
    clock = SteppedClock(NOW)
    registry = OneTown()  # type: ignore[abstract]  # as far as the command asks
    add_registry = registry_pb2_grpc.add_RegistryServiceServicer_to_server
    async with running_service(
        issuer, lambda server: server.add_servicer(add_registry, registry), settings=settings_for("registry")
    ) as beside:
        replica = EndpointReplica(beside.channel(ADMIN), database, FixedTenants(TOWNS), clock)
        servicer = MeteringServicer(database, clock, replica, Bell())
        add_metering = metering_pb2_grpc.add_MeteringServiceServicer_to_server
        async with running_service(
            issuer, lambda server: server.add_servicer(add_metering, servicer), database=database, clock=clock
        ) as running:
            yield Command({"registry": beside.target, "metering": running.target}, issuer, tmp_path)
    await database.close()
    issuer.close()


def write(tmp_path: Path, text: str, name: str = "produkt_klima_tag.txt") -> str:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


async def test_a_station_is_taken_in_once_and_its_degree_days_are_told(command: Command, tmp_path: Path) -> None:
    file = write(tmp_path, DAYS)
    code, out, error = await command.run("import", "weather", file)
    assert code == 0, error
    assert "dwd-00232: 3 days out of 3 days; 3 stored, 0 there before" in out
    assert "1 lines have no temperature" in error
    code, again = await command.json("import", "weather", file)
    assert (code, again["stored"], again["unchanged"], again["station"]) == (0, 0, 3, "dwd-00232")
    period = ("--from", "2026-01-01", "--to", "2026-01-05")
    code, rows = await command.json("degree-days", "dwd-00232", *period)
    assert (code, rows) == (
        0,
        [
            {
                "from": "2026-01-01",
                "until": "2026-01-05",
                "degree_days_centi": 1500 + 2150,
                "mean_centidegrees": 650,
                "heating_days": 2,
                "known_days": 3,
                "days": 4,
            }
        ],
    )
    code, out, error = await command.run("degree-days", "dwd-00232", *period, "--base", "15", subject=VIEWER)
    assert code == 0
    assert "26.5" in out
    assert "not known add nothing" in error


async def test_refused_lines_are_told_and_nothing_is_stored_unless_it_is_wanted(
    command: Command, tmp_path: Path
) -> None:
    file = write(tmp_path, DAYS.replace("-1.5", "warm"))
    code, told = await command.json("import", "weather", file)
    assert (code, told["stored"], told["refusals"]) == (2, 0, ["line 4, TMK: is no number (warm)"])
    code, told = await command.json("import", "weather", file, "--skip-invalid", "--dry-run")
    assert (code, told["stored"], told["dry_run"]) == (3, 2, True)
    code, told = await command.json("import", "weather", file, "--skip-invalid")
    assert (code, told["stored"], told["refused"]) == (3, 2, 1)


async def test_what_the_service_refuses_is_told_by_its_day(command: Command, tmp_path: Path) -> None:
    file = write(tmp_path, "datum;temperatur\n27.03.2026;5\n28.03.2026;6\n", "town.csv")
    code, _, error = await command.run("import", "weather", file)
    assert code == 2
    assert "--station" in error
    code, told = await command.json("import", "weather", file, "--station", "roof")
    assert (code, told["stored"]) == (3, 1)
    assert len(told["refusals"]) == 1
    assert told["refusals"][0].startswith("2026-03-28: ")
    assert "not over" in told["refusals"][0]


async def test_an_unknown_station_names_those_that_there_are(command: Command, tmp_path: Path) -> None:
    await command.run("import", "weather", write(tmp_path, DAYS))
    code, _, error = await command.run("degree-days", "dwd-1", "--from", "2026-01-01", "--to", "2026-01-05")
    assert code == 0
    assert "there are dwd-00232" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("s", "--from", "2026-01-05", "--to", "2026-01-05"), "not after"),
        (("s", "--from", "yesterday"), "from"),
        (("s", "--step", "hour"), "day, month, year, total"),
        (("s", "--base", "warm"), "base"),
        (("s", "--limit", "0"), "limit"),
        (("s", "--base", "10"), "base_centidegrees"),
        (("meter:nobody",), "nobody"),
    ],
)
async def test_wrong_use_names_what_was_wrong(command: Command, arguments: tuple[str, ...], words: str) -> None:
    code, _, error = await command.run("degree-days", *arguments)
    assert code == 2
    assert words in error
