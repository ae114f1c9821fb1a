"""Lighting knows its endpoints by itself once the registry has told it, and asks anew for one it does not know."""

from collections.abc import AsyncIterator

import grpc
import pytest

from domain.errors import InvalidInput
from lichtbuch.registry.v1 import registry_pb2 as pb
from lichtbuch.registry.v1 import registry_pb2_grpc
from servicekit.client import ServiceChannel, connect
from servicekit.clock import SystemClock
from servicekit.database import Database
from servicekit.tenants import FixedTenants
from services.lighting.endpoints import Endpoints
from tests.support.running import HERSFELD, TOWNS

T = HERSFELD.name


class Registry(registry_pb2_grpc.RegistryServiceServicer):
    """A registry that lists endpoints, in pages of one."""

    def __init__(self) -> None:
        self.endpoints: list[pb.Endpoint] = []
        self.away = False
        self.asked = 0

    async def ListEndpoints(self, request, context) -> pb.ListEndpointsResponse:
        self.asked += 1
        if self.away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        assert request.parent == "municipalities/-"
        assert request.owner == pb.ENDPOINT_OWNER_LIGHTING
        at = int(request.page_token or 0)
        token = str(at + 1) if at + 1 < len(self.endpoints) else ""
        return pb.ListEndpointsResponse(endpoints=self.endpoints[at : at + 1], next_page_token=token)


def endpoint(number: int, town: str = T) -> pb.Endpoint:
    return pb.Endpoint(
        name=f"{town}/endpoints/E-{number}", uid=f"{number:032x}", url=f"modbus+tcp://10.0.0.{number}",
        profile="cabinet-plc", owner=pb.ENDPOINT_OWNER_LIGHTING,
        state=pb.ENDPOINT_STATE_OBSERVED,
    )  # fmt: skip


@pytest.fixture
async def registry() -> AsyncIterator[tuple[Registry, ServiceChannel]]:
    """A registry on loopback and a channel to it."""
    servicer = Registry()  # type: ignore[abstract]  # one method is enough
    server = grpc.aio.server()
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = connect(f"127.0.0.1:{port}", deadline_s=30)
    yield servicer, channel
    await channel.close()
    await server.stop(0)


@pytest.fixture
async def replica(registry, one_database_url) -> AsyncIterator[Endpoints]:
    """Lighting's replica of the registry's endpoints."""
    opened = Database(one_database_url, "lighting", pool_size=2)
    yield Endpoints(registry[1], opened, FixedTenants(TOWNS), SystemClock())
    await opened.close()


async def test_all_pages_are_taken_and_what_is_of_no_known_town_waits(registry, replica):
    registry[0].endpoints = [endpoint(1), endpoint(2), endpoint(3, town="municipalities/nowhere")]
    assert await replica.refresh()
    assert await replica.uid_of(HERSFELD, f"{T}/endpoints/E-2", "f") == f"{2:032x}"


async def test_an_unknown_endpoint_is_asked_for_before_it_is_refused(registry, replica):
    registry[0].endpoints = [endpoint(1)]
    assert await replica.uid_of(HERSFELD, f"{T}/endpoints/E-1", "f") == f"{1:032x}"
    with pytest.raises(InvalidInput, match=r"gateway\.endpoint.*E-9 is not an endpoint of lighting"):
        await replica.uid_of(HERSFELD, f"{T}/endpoints/E-9", "gateway.endpoint")


async def test_while_the_registry_is_away_what_is_known_stays(registry, replica):
    registry[0].endpoints = [endpoint(1)]
    await replica.refresh()
    registry[0].away = True
    registry[0].endpoints = []
    assert not await replica.refresh()
    assert await replica.uid_of(HERSFELD, f"{T}/endpoints/E-1", "f") == f"{1:032x}"


async def test_without_a_registry_only_what_is_stored_is_known(one_database_url):
    opened = Database(one_database_url, "lighting", pool_size=2)
    alone = Endpoints(None, opened, FixedTenants(TOWNS), SystemClock())
    assert not await alone.refresh()
    with pytest.raises(InvalidInput):
        await alone.uid_of(HERSFELD, f"{T}/endpoints/E-1", "f")
    await opened.close()
