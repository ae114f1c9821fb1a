"""The command against metering over real gRPC, with a registry of one town beside it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

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
from tests.support.running import ADMIN, HERSFELD, TOWNS, running_service, settings_for
from tests.support.warm_command import run_warm


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
    """Runs `lichtbuch` as whom one likes."""

    def __init__(self, addresses: dict[str, str], issuer: Issuer, folder: Path, metering: Any) -> None:
        """`metering` is a stub as the administrator."""
        self.metering = metering
        self._environment = os.environ | {f"LICHTBUCH_{name.upper()}_ADDRESS": at for name, at in addresses.items()}
        self._environment["LICHTBUCH_CONFIG_DIR"] = str(folder)
        self._issuer = issuer

    def environment(self, subject: str) -> dict[str, str]:
        """What a process that runs the command as a person needs to have in its environment."""
        return self._environment | {"LICHTBUCH_TOKEN": self._issuer.token(subject)}

    async def run(self, *arguments: str, subject: str = ADMIN) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        done = await run_warm(*arguments, environment=self.environment(subject))
        return done.returncode, done.stdout, done.stderr

    async def json(self, *arguments: str) -> tuple[int, Any]:
        """Exit code and what it prints with --json."""
        code, out, error = await self.run(*arguments, "--json")
        assert out, error
        return code, json.loads(out)


@asynccontextmanager
async def metering_command(tmp_path: Path) -> AsyncIterator[Command]:
    """The command, a registry with one town, and metering at noon of the test's day."""
    issuer = Issuer()
    (tmp_path / "metering.db").write_bytes(_empty_database())
    database = Database(f"sqlite:///{tmp_path}/metering.db", "metering", pool_size=2)
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
            stub = metering_pb2_grpc.MeteringServiceStub(running.channel(ADMIN))
            yield Command({"registry": beside.target, "metering": running.target}, issuer, tmp_path, stub)
    await database.close()
    issuer.close()


def file_of(folder: Path, header: str, lines: list[str]) -> Path:
    """A CSV file with a header and lines."""
    file = folder / "some.csv"
    file.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return file


@cache
def _empty_database() -> bytes:
    """A file of metering's with nothing but the schema in it: copying it is quicker than migrating."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/metering.db", "metering", pool_size=1)
        database.migrate_now(migrations_of("metering"))
        database.close_now()
        return Path(folder, "metering.db").read_bytes()
