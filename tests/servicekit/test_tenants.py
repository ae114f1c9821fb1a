"""The directory of municipalities: asked of the registry, and still there while the registry is not."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from domain.errors import NotFound, Unavailable
from lichtbuch.registry.v1 import registry_pb2 as pb
from lichtbuch.registry.v1 import registry_pb2_grpc
from lichtbuch.type.v1.types_pb2 import Position
from servicekit.calls import set_deadline
from servicekit.client import connect
from servicekit.clock import SteppedClock
from servicekit.database import Database
from servicekit.server import Server
from servicekit.tenants import RegistryTenants
from servicekit.tokens import StaticToken
from tests.servicekit.test_clock import START
from tests.support.meter_service import MIGRATIONS
from tests.support.running import RunningService, running_service, settings_for


class TownRegistry(registry_pb2_grpc.RegistryServiceServicer):
    """A registry of municipalities only."""

    def __init__(self) -> None:
        self.towns: dict[str, str] = {"bad-hersfeld": "u1"}

    async def ListMunicipalities(self, request: Any, context: Any) -> pb.ListMunicipalitiesResponse:
        """One town a page."""
        names = sorted(self.towns)
        index = int(request.page_token or "0")
        return pb.ListMunicipalitiesResponse(
            municipalities=[
                pb.Municipality(
                    name=f"municipalities/{name}",
                    uid=self.towns[name],
                    display_name=name.title(),
                    position=Position(latitude_deg=50.9, longitude_deg=9.7),
                )
                for name in names[index : index + 1]
            ],
            next_page_token=str(index + 1) if index + 1 < len(names) else "",
        )

    def add_to(self, server: Server) -> None:
        """Adds itself."""
        server.add_servicer(registry_pb2_grpc.add_RegistryServiceServicer_to_server, self)


@pytest.fixture
def towns() -> TownRegistry:
    return TownRegistry()  # type: ignore[abstract]  # one method is enough


@pytest.fixture
async def registry(issuer, towns: TownRegistry) -> AsyncIterator[RunningService]:
    async with running_service(issuer, towns.add_to, settings=settings_for("registry")) as running:
        yield running


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url, "metering", pool_size=2)
    await opened.migrate(MIGRATIONS)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(START, step_real=True)


def directory(registry: RunningService, store: Database | None, clock: SteppedClock) -> RegistryTenants:
    channel = connect(registry.target, identity=StaticToken(registry.issuer.token("service:metering")), deadline_s=30)
    return RegistryTenants(channel, store, clock)


async def test_a_town_is_known_with_zone_and_place(registry, store, clock):
    town = await directory(registry, store, clock).get("bad-hersfeld")
    assert (town.uid, town.name, town.time_zone) == ("u1", "municipalities/bad-hersfeld", "Europe/Berlin")
    assert (town.latitude_deg, town.longitude_deg) == (50.9, 9.7)


async def test_every_page_of_the_registry_is_read(registry, towns, store, clock):
    towns.towns |= {f"town-{n}": f"x{n}" for n in range(5)}
    assert len(await directory(registry, store, clock).all()) == 6


async def test_a_new_town_is_found_when_it_is_first_asked_for(registry, towns, store, clock):
    tenants = directory(registry, store, clock)
    await tenants.all()
    with pytest.raises(NotFound, match="municipalities/schwalmstadt"):
        await tenants.get("schwalmstadt")
    towns.towns["schwalmstadt"] = "u2"
    await clock.advance(timedelta(seconds=1))
    assert (await tenants.get("schwalmstadt")).uid == "u2"


async def test_while_the_registry_is_away_what_was_known_goes_on(registry, store, clock):
    await directory(registry, store, clock).all()
    await registry.server.stop(0)
    after_a_restart = directory(registry, store, clock)
    assert (await after_a_restart.get("bad-hersfeld")).uid == "u1"
    with pytest.raises(Unavailable, match="registry is away"):
        await after_a_restart.get("schwalmstadt")


async def test_a_caller_in_a_hurry_does_not_cut_the_question_short_for_others(registry, store, clock):
    tenants = directory(registry, store, clock)
    set_deadline(0)
    assert (await tenants.get("bad-hersfeld")).uid == "u1"
    set_deadline(None)


async def test_without_registry_and_memory_nobody_can_tell(registry, store, clock):
    await registry.server.stop(0)
    with pytest.raises(Unavailable):
        await directory(registry, store, clock).all()
    with pytest.raises(Unavailable):
        await directory(registry, None, clock).get("bad-hersfeld")
