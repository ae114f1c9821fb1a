"""Calling other services: retries where they are safe, tokens, deadlines, request ids."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from domain.errors import Exhausted, InvalidInput, LichtbuchError, NotAuthenticated, TimedOut, Unavailable
from lichtbuch.ledger.v1 import ledger_pb2
from lichtbuch.lighting.v1 import lighting_pb2
from lichtbuch.metering.v1 import metering_pb2 as pb
from lichtbuch.metering.v1 import metering_pb2_grpc
from lichtbuch.registry.v1 import registry_pb2
from lichtbuch.scheduler.v1 import scheduler_pb2
from servicekit.calls import set_deadline
from servicekit.client import back_off_s, connect
from servicekit.context import Caller, acting_as
from servicekit.grpc_errors import status_of
from servicekit.policy import methods_of
from servicekit.tokens import ClientCredentials, StaticToken
from tests.support.issuer import Issuer

SERVICES = [
    file.DESCRIPTOR.services_by_name[name].full_name
    for file, name in (
        (ledger_pb2, "LedgerService"), (lighting_pb2, "LightingService"), (pb, "MeteringService"),
        (registry_pb2, "RegistryService"), (scheduler_pb2, "SchedulerService"),
    )
]  # fmt: skip


class FlakyMeters(metering_pb2_grpc.MeteringServiceServicer):
    """Fails a number of times before it answers; notes what it was asked with. Without a gate: it is the far side."""

    def __init__(self) -> None:
        self.failures: list[LichtbuchError] = []
        self.asked: list[dict[str, Any]] = []
        self.remaining: list[float] = []
        self.ids: list[str] = []
        self.hang = asyncio.Event()
        self.hang.set()

    async def _answer(self, context: Any) -> pb.Meter:
        self.asked.append(dict(context.invocation_metadata()))
        self.remaining.append(context.time_remaining())
        await self.hang.wait()
        if self.failures:
            status = status_of(self.failures.pop(0), "r")
            code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
            await context.abort(code, status.message, (("grpc-status-details-bin", status.SerializeToString()),))
        return pb.Meter(name="m")

    async def GetMeter(self, request: Any, context: Any) -> pb.Meter:
        """Idempotent by contract."""
        return await self._answer(context)

    async def CreateMeter(self, request: Any, context: Any) -> pb.Meter:
        """Idempotent by its request id."""
        self.ids.append(request.request_id)
        return await self._answer(context)

    async def UpdateMeter(self, request: Any, context: Any) -> pb.Meter:
        """Not idempotent by contract."""
        return await self._answer(context)


@pytest.fixture
async def far(issuer: Issuer) -> AsyncIterator[tuple[FlakyMeters, str]]:
    servicer = FlakyMeters()  # type: ignore[abstract]  # two methods are enough
    server = grpc.aio.server()
    metering_pb2_grpc.add_MeteringServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer, f"127.0.0.1:{port}"
    await server.stop(0)


def stub(target: str, **options: Any) -> Any:
    return metering_pb2_grpc.MeteringServiceStub(connect(target, **options))


async def test_an_idempotent_call_is_tried_again(far):
    servicer, target = far
    servicer.failures = [Unavailable("away", 0.01), Unavailable("away")]
    assert (await stub(target).GetMeter(pb.GetMeterRequest())).name == "m"
    assert len(servicer.asked) == 3


async def test_a_call_that_is_not_idempotent_is_made_once(far):
    servicer, target = far
    servicer.failures = [Unavailable("away", 0.01)]
    with pytest.raises(Unavailable):
        await stub(target).UpdateMeter(pb.UpdateMeterRequest())
    assert len(servicer.asked) == 1


async def test_a_call_that_is_tried_again_says_by_an_id_that_it_is_the_same(far):
    servicer, target = far
    servicer.failures = [Unavailable("away", 0.01), Unavailable("away")]
    request = pb.CreateMeterRequest(parent="municipalities/m")
    await stub(target).CreateMeter(request)
    await stub(target).CreateMeter(request)
    first, second, third, other = servicer.ids
    assert first
    assert first == second == third
    assert other not in ("", first)  # the same again, but meant: no further try
    assert not request.request_id
    await stub(target).CreateMeter(pb.CreateMeterRequest(request_id="mine"))
    assert servicer.ids[4:] == ["mine"]


def test_what_is_tried_again_and_makes_something_has_a_request_id():
    made = [
        method
        for service in SERVICES
        for method in methods_of(service).values()
        if method.idempotent and method.name.startswith(("Create", "Post", "Reverse", "Record", "Report"))
    ]
    assert len(made) > 15
    assert [m.name for m in made if "request_id" not in m.request.fields_by_name] == ["ReportSensorValues"]


async def test_what_is_permanent_is_not_tried_again(far):
    servicer, target = far
    servicer.failures = [InvalidInput.of("name", "is odd")]
    with pytest.raises(InvalidInput) as caught:
        await stub(target).GetMeter(pb.GetMeterRequest())
    assert [(v.field, v.reason) for v in caught.value.violations] == [("name", "is odd")]
    assert len(servicer.asked) == 1


async def test_trying_again_has_an_end(far):
    servicer, target = far
    servicer.failures = [Unavailable("away", 0.0) for _ in range(20)]
    with pytest.raises(Unavailable):
        await stub(target).GetMeter(pb.GetMeterRequest())
    assert len(servicer.asked) == 4


async def test_a_full_server_is_left_alone_unless_it_says_when(far):
    servicer, target = far
    servicer.failures = [Exhausted("full")]
    with pytest.raises(Exhausted):
        await stub(target).GetMeter(pb.GetMeterRequest())
    servicer.failures = [Exhausted("full", 0.01)]
    assert await stub(target).GetMeter(pb.GetMeterRequest())


async def test_a_server_that_wants_a_pause_longer_than_the_deadline_gets_none(far):
    servicer, target = far
    servicer.failures = [Unavailable("later", 60)]
    with pytest.raises(Unavailable, match="later"):
        await stub(target).GetMeter(pb.GetMeterRequest(), timeout=30)
    assert len(servicer.asked) == 1


def test_pauses_grow_and_are_never_shorter_than_asked_for():
    assert all(0.05 <= back_off_s(1, None) <= 0.1 for _ in range(50))
    assert all(back_off_s(20, None) <= 5 for _ in range(50))
    assert all(back_off_s(1, 3.0) >= 3 for _ in range(50))


async def test_a_server_that_is_not_there_is_unavailable():
    with pytest.raises(Unavailable):
        await stub("127.0.0.1:1").UpdateMeter(pb.UpdateMeterRequest())


async def test_every_call_has_a_deadline(far):
    servicer, target = far
    await stub(target).GetMeter(pb.GetMeterRequest())
    await stub(target, deadline_s=100).GetMeter(pb.GetMeterRequest())
    # What is left is counted by the server's clock; a second is more than the two may differ. A busy machine leaves
    # less of it.
    assert 0 < servicer.remaining[0] < 11
    assert 20 < servicer.remaining[1] < 101
    servicer.hang.clear()
    with pytest.raises(TimedOut):
        await stub(target, deadline_s=0.05).GetMeter(pb.GetMeterRequest())


async def test_a_call_on_behalf_of_another_ends_with_it(far):
    servicer, target = far
    set_deadline(30)
    await stub(target, deadline_s=300).GetMeter(pb.GetMeterRequest())
    assert servicer.remaining[0] < 31
    set_deadline(-1)
    with pytest.raises(TimedOut):
        await stub(target).GetMeter(pb.GetMeterRequest())
    set_deadline(None)


async def test_the_request_id_goes_along(far):
    servicer, target = far
    with acting_as(Caller.of_service("ledger"), request_id="r-17"):
        await stub(target, identity=StaticToken("t0ken")).GetMeter(pb.GetMeterRequest())
    assert servicer.asked[0]["x-request-id"] == "r-17"
    assert servicer.asked[0]["authorization"] == "Bearer t0ken"


@pytest.fixture
def own_issuer():
    made = Issuer(secrets={"service-ledger": "s3cret"})
    yield made
    made.close()


class MovingTime:
    """Real time, moved by hand."""

    ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


async def test_a_service_fetches_its_token_once_and_anew_before_it_ends(own_issuer):
    real = MovingTime()
    source = ClientCredentials(own_issuer.url, "service-ledger", lambda: "s3cret", real=real)
    first = await source.token()
    assert await source.token() == first
    assert own_issuer.requests.count("/token") == 1
    real.ahead = timedelta(seconds=3000)
    await source.token()
    assert own_issuer.requests.count("/token") == 2


async def test_calls_at_the_same_moment_fetch_one_token(own_issuer):
    source = ClientCredentials(own_issuer.url, "service-ledger", lambda: "s3cret")
    assert len(set(await asyncio.gather(*(source.token() for _ in range(10))))) == 1
    assert own_issuer.requests.count("/token") == 1


async def test_while_the_issuer_is_away_the_old_token_goes_on_to_its_end(own_issuer):
    real = MovingTime()
    source = ClientCredentials(own_issuer.url, "service-ledger", lambda: "s3cret", real=real)
    first = await source.token()
    own_issuer.away = True
    real.ahead = timedelta(seconds=3000)
    assert await source.token() == first
    real.ahead = timedelta(seconds=3700)
    with pytest.raises(Unavailable):
        await source.token()


async def test_a_wrong_secret_is_told(own_issuer):
    source = ClientCredentials(own_issuer.url, "service-ledger", lambda: "wrong")
    with pytest.raises(NotAuthenticated, match="service-ledger"):
        await source.token()


async def test_a_token_that_a_server_refuses_is_renewed_once(far, own_issuer):
    servicer, target = far
    source = ClientCredentials(own_issuer.url, "service-ledger", lambda: "s3cret")
    servicer.failures = [NotAuthenticated("kid: the issuer has no such key")]
    await stub(target, identity=source).UpdateMeter(pb.UpdateMeterRequest())
    assert own_issuer.requests.count("/token") == 2
    servicer.failures = [NotAuthenticated("no"), NotAuthenticated("no")]
    with pytest.raises(NotAuthenticated):
        await stub(target, identity=source).UpdateMeter(pb.UpdateMeterRequest())
    servicer.failures = [NotAuthenticated("no")]
    with pytest.raises(NotAuthenticated):
        await stub(target, identity=StaticToken("theirs")).UpdateMeter(pb.UpdateMeterRequest())
