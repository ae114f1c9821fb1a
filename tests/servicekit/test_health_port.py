"""What probes are told: over TLS or at a port of their own, whether a service lives and whether it is ready."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from domain.errors import Unavailable
from lichtbuch.metering.v1 import metering_pb2 as pb
from lichtbuch.metering.v1 import metering_pb2_grpc
from servicekit.loops import LONGEST_PAUSE_S, Loop
from servicekit.server import Server
from tests.support.certificates import Authority
from tests.support.meter_service import MIGRATIONS, MeterServicer
from tests.support.running import RunningService, running_service, settings_for

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
METERING = "lichtbuch.metering.v1.MeteringService"
WELL = {"": SERVING, "ready": SERVING, "live": SERVING}
WAITING = {"": NOT_SERVING, "ready": NOT_SERVING, "live": SERVING}
HANGING = {"": NOT_SERVING, "ready": NOT_SERVING, "live": NOT_SERVING}


async def told_over(channel: grpc.aio.Channel) -> dict[str, int]:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    names = ("", "ready", "live")
    answers = [await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10) for name in names]
    return {name: answer.status for name, answer in zip(names, answers, strict=True)}


async def told(server: Server) -> dict[str, int]:
    """What the health port says to each of the names that probes ask for."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.health_port}") as channel:
        return await told_over(channel)


@asynccontextmanager
async def serving(issuer, fill: Any = lambda server: None, **given: Any) -> AsyncIterator[RunningService]:
    given.setdefault("settings", settings_for(health_listen="127.0.0.1:0"))
    async with running_service(issuer, fill, **given) as running:
        yield running


def silent_loop(max_silence_s: float = 5.0) -> Loop:
    """A loop whose last sign of life is longer ago than it may be."""

    async def body(beat: object) -> None:
        await asyncio.Event().wait()

    long_ago = time.monotonic() - max_silence_s - LONGEST_PAUSE_S - 1
    return Loop("field", body, max_silence_s, last_beat=long_ago, last_start=long_ago)


async def test_behind_mutual_tls_health_is_told_in_plain_text_at_its_own_port_and_nothing_else_is(
    issuer, database, tmp_path
):
    authority = Authority(tmp_path)
    pair = authority.issue("metering")
    settings = settings_for(
        tls_certificate=pair.certificate,
        tls_key=pair.key,
        tls_client_ca=authority.file,
        health_listen="127.0.0.1:0",
    )
    servicer = MeterServicer(database, None)  # type: ignore[abstract, arg-type]
    async with serving(issuer, servicer.add_to, database=database, settings=settings) as running:
        assert await told(running.server) == WELL
        async with grpc.aio.insecure_channel(f"127.0.0.1:{running.server.health_port}") as channel:
            metering = metering_pb2_grpc.MeteringServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
                await metering.ListMeters(pb.ListMetersRequest(parent="municipalities/bad-hersfeld"))
            reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
            with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
                async for _ in reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest()])):
                    pass
        # The service's own port speaks to nobody without a certificate, not even about health ...
        async with grpc.aio.insecure_channel(running.target) as channel:
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await told_over(channel)
        # ... and with one tells the same.
        client = authority.issue("ledger")
        credentials = grpc.ssl_channel_credentials(
            authority.file.read_bytes(), client.key.read_bytes(), client.certificate.read_bytes()
        )
        async with grpc.aio.secure_channel(running.target, credentials) as channel:
            assert await told_over(channel) == WELL


async def test_without_the_setting_there_is_no_such_port(issuer):
    async with running_service(issuer, lambda server: None) as running:
        assert running.server.health_port == 0


async def test_an_unknown_name_is_not_called_well(issuer):
    async with (
        serving(issuer) as running,
        grpc.aio.insecure_channel(f"127.0.0.1:{running.server.health_port}") as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.aio.AioRpcError, match="NOT_FOUND"):
            await stub.Check(health_pb2.HealthCheckRequest(service="lichtbuch.ledger.v1.LedgerService"))


async def test_a_service_whose_database_is_away_is_not_ready_but_alive(issuer, database, tmp_path):
    async with serving(issuer, database=database, migrations=MIGRATIONS) as running:
        assert await told(running.server) == WELL
        (tmp_path / "test.db").rename(tmp_path / "moved.db")
        await running.server.health.check_now()
        assert await told(running.server) == WAITING
        (tmp_path / "moved.db").rename(tmp_path / "test.db")
        await running.server.health.check_now()
        assert await told(running.server) == WELL


async def test_until_the_first_checks_have_passed_a_service_is_alive_but_not_ready(issuer, monkeypatch):
    monkeypatch.setattr("servicekit.health.CHECK_TIMEOUT_S", 60.0)  # it answers when the test has asked, however late
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow_check() -> None:
        asked.set()
        await answer.wait()

    server: list[Server] = []

    def fill(made: Server) -> None:
        server.append(made)
        made.add_check("field", slow_check)

    async def start_and_ask() -> None:
        async with serving(issuer, fill) as running:
            assert await told(running.server) == WELL

    starting = asyncio.create_task(start_and_ask())
    await asyncio.wait_for(asked.wait(), 60)
    assert await told(server[0]) == WAITING
    answer.set()
    await starting


async def test_a_loop_that_hangs_while_all_else_is_well_calls_for_a_restart(issuer, database):
    async with serving(issuer, database=database) as running:
        running.server.health.add_loop(loop := silent_loop())
        await running.server.health.check_now()
        assert await told(running.server) == HANGING
        assert "loop field" in running.server.health.problems
        loop.beat()
        await running.server.health.check_now()
        assert await told(running.server) == WELL


async def test_a_loop_that_is_silent_for_want_of_something_is_not_to_blame(issuer):
    away = True

    async def database() -> None:
        if away:
            raise Unavailable("the database does not answer", 1.0)

    async with serving(issuer, lambda server: server.add_check("database", database)) as running:
        running.server.health.add_loop(silent_loop())
        await running.server.health.check_now()
        assert await told(running.server) == WAITING
        # Back again, it has its time to come to itself.
        away = False
        await running.server.health.check_now()
        assert await told(running.server) == WAITING


async def test_a_loop_that_fails_again_and_again_is_not_ready_but_alive(issuer):
    """A restart of the process would do no more than the loop's own."""
    starts = 0
    several = asyncio.Event()

    async def body(beat: object) -> None:
        nonlocal starts
        starts += 1
        if starts >= 2:
            several.set()
        raise Unavailable("the registry does not answer", 1.0)

    async with serving(issuer, lambda server: server.add_loop("endpoints", body, 0.01)) as running:
        await asyncio.wait_for(several.wait(), 15)
        await running.server.health.check_now()
        assert await told(running.server) == WAITING


async def test_a_service_that_drains_is_no_longer_ready_but_alive(issuer):
    async with serving(issuer) as running:
        await running.server.health.drain()
        assert await told(running.server) == WAITING
