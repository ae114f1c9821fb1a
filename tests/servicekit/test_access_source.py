"""Where bindings come from: the registry, its answers kept for a while, and what holds while it is away."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.errors import Unavailable
from lichtbuch.registry.v1 import registry_pb2 as pb
from lichtbuch.registry.v1 import registry_pb2_grpc
from servicekit.access import Binding, Role
from servicekit.access_source import RegistryAccess, binding_from_proto, role_from_proto, role_to_proto
from servicekit.auth import Identity
from servicekit.client import connect
from servicekit.convert import timestamp_to_proto
from servicekit.server import Server
from servicekit.tokens import StaticToken
from tests.support.running import RunningService, running_service, settings_for

NAME = "municipalities/bad-hersfeld/roleBindings/r1"
PERSON = Identity("anna")


class RoleRegistry(registry_pb2_grpc.RegistryServiceServicer):
    """A registry of role bindings only."""

    def __init__(self) -> None:
        self.bindings = [pb.RoleBinding(name=NAME, subject="anna", role=pb.ROLE_OPERATOR)]
        self.asked = 0
        self.away = False

    async def GetAccess(self, request: Any, context: Any) -> pb.Access:
        """The bindings of a subject."""
        self.asked += 1
        if self.away:
            raise Unavailable("the registry's database is away")
        return pb.Access(subject=request.subject, bindings=[b for b in self.bindings if b.subject == request.subject])

    def add_to(self, server: Server) -> None:
        """Adds itself."""
        server.add_servicer(registry_pb2_grpc.add_RegistryServiceServicer_to_server, self)


class MovingTime:
    """Real time that stands, and is moved by hand."""

    def __init__(self) -> None:
        self.start, self.ahead = datetime.now(UTC), timedelta(0)

    def __call__(self) -> datetime:
        return self.start + self.ahead


@pytest.fixture
def roles() -> RoleRegistry:
    return RoleRegistry()  # type: ignore[abstract]  # one method is enough


@pytest.fixture
async def registry(issuer, roles) -> AsyncIterator[RunningService]:
    async with running_service(issuer, roles.add_to, settings=settings_for("registry")) as running:
        yield running


@pytest.fixture
def real() -> MovingTime:
    return MovingTime()


@pytest.fixture
def access(registry: RunningService, real: MovingTime) -> RegistryAccess:
    token = StaticToken(registry.issuer.token("service:lighting"))
    return RegistryAccess(connect(registry.target, identity=token, deadline_s=30), real)


async def test_a_person_has_the_bindings_of_the_registry(access):
    caller = await access.caller(PERSON, for_change=True)
    assert caller.bindings == (Binding(Role.OPERATOR, "bad-hersfeld"),)
    assert (await access.caller(Identity("nobody"), for_change=False)).bindings == ()


async def test_an_answer_is_kept_for_thirty_seconds(access, roles, real):
    for seconds, asked in ((0, 1), (29, 1), (31, 2)):
        real.ahead = timedelta(seconds=seconds)
        await access.caller(PERSON, for_change=True)
        assert roles.asked == asked


async def test_while_the_registry_is_away_reads_go_on_and_changes_do_not(access, roles, real):
    await access.caller(PERSON, for_change=False)
    roles.away = True
    real.ahead = timedelta(seconds=31)
    assert (await access.caller(PERSON, for_change=False)).bindings
    with pytest.raises(Unavailable):
        await access.caller(PERSON, for_change=True)
    real.ahead = timedelta(minutes=11)
    with pytest.raises(Unavailable):
        await access.caller(PERSON, for_change=False)


async def test_a_service_needs_no_registry(access, roles):
    roles.away = True
    caller = await access.caller(Identity("service:scheduler", "scheduler"), for_change=True)
    assert caller.may("lighting.plans.put", "bad-hersfeld")
    assert roles.asked == 0


async def test_a_binding_ends_by_itself_also_in_the_cache(access, roles, real):
    ends = real() + timedelta(seconds=10)
    roles.bindings[0].expires_at.CopyFrom(timestamp_to_proto(ends))
    assert (await access.caller(PERSON, for_change=True)).bindings
    real.ahead = timedelta(seconds=11)
    assert (await access.caller(PERSON, for_change=True)).bindings == ()


async def test_a_role_that_only_a_newer_registry_knows_grants_nothing(access, roles):
    roles.bindings[0].role = 99
    assert (await access.caller(PERSON, for_change=True)).bindings == ()


def test_roles_and_bindings_are_the_contracts():
    assert {role_from_proto(role_to_proto(role)) for role in Role} == set(Role)
    binding = binding_from_proto(
        pb.RoleBinding(name="municipalities/-/roleBindings/r", role=pb.ROLE_FITTER, scopes=["x"])
    )
    assert (binding.municipality, binding.role, binding.scopes) == ("-", Role.FITTER, ("x",))
