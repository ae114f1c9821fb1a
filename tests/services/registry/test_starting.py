"""The registry as a process of its own, and the first administrator of an empty one."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from sqlmodel import Session

from lichtbuch.registry.v1 import registry_pb2 as pb
from lichtbuch.registry.v1 import registry_pb2_grpc
from servicekit.client import connect
from servicekit.clock import SystemClock
from servicekit.database import Database
from servicekit.tokens import ClientCredentials, StaticToken, TokenSource
from services.registry.bootstrap import bind_first_administrator
from services.registry.issuer.users import DEMONSTRATION_USERS
from services.registry.roles import RoleBinding
from services.registry.store.bindings import list_bindings
from tests.services.registry.issuer.helpers import Running

REPOSITORY = Path(__file__).parents[3]
COMMAND = (sys.executable, "-m", "services.registry")


def environment(**changes: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("LICHTBUCH_")}
    return {**own, **changes}


@asynccontextmanager
async def process(**settings: str) -> AsyncIterator[tuple[Process, int]]:
    """A registry that listens; its port."""
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.registry",
        cwd=REPOSITORY,
        env=environment(**settings),
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        yield started, await asyncio.wait_for(_port(started), 90)
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def _port(started: Process) -> int:
    assert started.stdout is not None
    said: list[str] = []
    async for line in started.stdout:
        said.append(line.decode())
        _, found, rest = said[-1].partition("registry listens on port ")
        if found:
            return int(rest.split(",")[0])
    pytest.fail("".join(said))


async def person_token(issuer: Running, username: str) -> TokenSource:
    """What the command does for a demonstration user."""
    form = {
        "grant_type": "password",
        "client_id": "lichtbuch-cli",
        "username": username,
        "password": f"demo-{username}",
    }
    async with httpx.AsyncClient(timeout=60) as http:
        return StaticToken((await http.post(f"{issuer.url}/token", data=form)).json()["access_token"])


async def test_people_and_services_reach_a_registry_in_its_own_process(running_issuer: Running, tmp_path: Path) -> None:
    secret = running_issuer.service_clients["service-lighting"].secret
    settings = {
        "LICHTBUCH_LISTEN": "127.0.0.1:0",
        "LICHTBUCH_METRICS_LISTEN": "off",
        "LICHTBUCH_DATA_DIR": str(tmp_path),
        "LICHTBUCH_OIDC_ISSUER": running_issuer.url,
        "LICHTBUCH_BOOTSTRAP_ADMIN": DEMONSTRATION_USERS["admin"].subject,
    }
    lighting = ClientCredentials(running_issuer.url, "service-lighting", lambda: secret)
    async with process(**settings) as (started, port):
        for identity in (await person_token(running_issuer, "admin"), lighting):
            async with connect(f"127.0.0.1:{port}", identity=identity) as channel:
                registry = registry_pb2_grpc.RegistryServiceStub(channel)
                answer = await registry.ListMunicipalities(pb.ListMunicipalitiesRequest())
                assert not answer.municipalities
        started.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(started.wait(), 60) == 0


async def test_wrong_settings_are_told_line_by_line(tmp_path: Path) -> None:
    settings = environment(
        LICHTBUCH_DATA_DIR=str(tmp_path), LICHTBUCH_LISTEN="nowhere", LICHTBUCH_BOOTSTRAP_ADMIN="service:lighting"
    )
    started = await asyncio.create_subprocess_exec(*COMMAND, cwd=REPOSITORY, env=settings, stdout=PIPE, stderr=PIPE)
    _, errors = await asyncio.wait_for(started.communicate(), 90)
    assert started.returncode == 2
    lines = errors.decode().splitlines()
    assert [line.split("=")[0] for line in lines] == ["LICHTBUCH_LISTEN", "LICHTBUCH_BOOTSTRAP_ADMIN"]


async def holders(database: Database) -> list[str]:
    def everyone(session: Session) -> list[RoleBinding]:
        return list(list_bindings(session, [], of_every_one=True))

    return [binding.subject for binding in await database.read(everyone)]


async def test_only_the_first_start_binds_an_administrator(database: Database) -> None:
    await bind_first_administrator(database, SystemClock(), "")
    assert await holders(database) == []
    await bind_first_administrator(database, SystemClock(), "u-first")
    await bind_first_administrator(database, SystemClock(), "u-first")
    await bind_first_administrator(database, SystemClock(), "u-second")
    assert await holders(database) == ["u-first"]


async def test_replicas_that_start_together_bind_one_administrator(database: Database) -> None:
    await asyncio.gather(*(bind_first_administrator(database, SystemClock(), "u-first") for _ in range(4)))
    assert await holders(database) == ["u-first"]
