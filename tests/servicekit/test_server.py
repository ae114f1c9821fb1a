"""The server: health that tells the truth, a clean end, loops, streams, metrics."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from sqlmodel import select

from domain.errors import Exhausted, InvalidInput, Unavailable
from lichtbuch.lighting.v1 import inventory_pb2, lighting_pb2, lighting_pb2_grpc
from lichtbuch.metering.v1 import metering_pb2 as pb
from lichtbuch.metering.v1 import metering_pb2_grpc
from servicekit import server as module
from servicekit.client import connect
from servicekit.context import current_caller, current_tenants
from servicekit.database import Database
from servicekit.health import Health
from servicekit.server import EXIT_FAILED, Server
from servicekit.tenants import FixedTenants
from servicekit.tokens import StaticToken
from tests.support.issuer import Issuer
from tests.support.meter_service import MIGRATIONS, MeterRow, MeterServicer
from tests.support.running import access_from, authenticator_for, running_service, settings_for
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
HERE, THERE = "municipalities/bad-hersfeld", "municipalities/schwalmstadt"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
METERING = "lichtbuch.metering.v1.MeteringService"


async def health(target: str, service: str = "") -> int:
    async with grpc.aio.insecure_channel(target) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        return int(answer.status)


async def get(port: int, path: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.get(f"http://127.0.0.1:{port}{path}", **options)


async def test_a_service_that_is_well_serves_under_each_name(meters):
    target = meters.running.target
    assert [await health(target, name) for name in ("", METERING, "lichtbuch.audit.v1.AuditService")] == [SERVING] * 3
    answer = await get(meters.running.server.metrics_port, "/healthz")
    assert (answer.status_code, answer.json()) == (200, {"serving": True, "problems": {}})


async def test_when_the_database_goes_away_the_service_says_so_and_recovers(issuer, database_url, request, tmp_path):
    database = Database(database_url, "metering", pool_size=2)
    servicer = MeterServicer(database, None)  # type: ignore[abstract, arg-type]
    async with running_service(issuer, servicer.add_to, database=database, migrations=MIGRATIONS) as running:
        assert await health(running.target) == SERVING
        if database.dialect == "sqlite":
            (tmp_path / "test.db").rename(tmp_path / "moved.db")
        else:
            request.getfixturevalue("postgres_server").cut_off(database_url)
        await running.server.health.check_now()
        assert await health(running.target) == NOT_SERVING
        assert await health(running.target, METERING) == NOT_SERVING
        answer = await get(running.server.metrics_port, "/healthz")
        assert answer.status_code == 503
        assert "database" in answer.json()["problems"]
        if database.dialect == "sqlite":
            (tmp_path / "moved.db").rename(tmp_path / "test.db")
        else:
            request.getfixturevalue("postgres_server").bring_back(database_url)
        await running.server.health.check_now()
        assert await health(running.target) == SERVING


async def test_a_loop_that_falls_silent_makes_the_service_unhealthy(issuer, database):
    go_on = asyncio.Event()

    async def loop(beat) -> None:
        beat()
        await go_on.wait()
        while True:
            beat()
            await asyncio.sleep(0.005)

    async with running_service(issuer, lambda server: server.add_loop("field", loop, 0.05)) as running:
        async with asyncio.timeout(15):
            while running.server.health.serving:
                await running.server.health.check_now()
        assert "loop field" in running.server.health.problems
        go_on.set()
        async with asyncio.timeout(15):
            while not running.server.health.serving:
                await running.server.health.check_now()
                await asyncio.sleep(0.005)


async def test_a_loop_that_fails_is_started_again_as_the_service_itself(issuer):
    callers = []

    async def loop(beat) -> None:
        callers.append(current_caller().subject)
        beat()
        raise RuntimeError("a bus is on fire")

    async with running_service(issuer, lambda server: server.add_loop("field", loop, 60)):
        await eventually(lambda: len(callers) >= 2)
    assert set(callers) == {"service:metering"}


async def test_a_loop_that_swallows_its_end_is_told_again(issuer, monkeypatch, caplog):
    monkeypatch.setattr(module, "_ENDS_WITHIN_S", 0.02)
    begun = asyncio.Event()

    async def loop(beat) -> None:
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        await asyncio.sleep(3600)

    async with running_service(issuer, lambda server: server.add_loop("field", loop, 60)):
        await begun.wait()
    assert "loop field has not ended" in caplog.text


async def test_a_round_of_checks_that_fails_is_not_the_last_one(monkeypatch):
    class Shaky(Health):
        rounds = 0

        async def check_now(self) -> None:
            self.rounds += 1
            if self.rounds == 1:
                raise RuntimeError("a bus is on fire")
            await super().check_now()

    monkeypatch.setattr("servicekit.health.CHECK_EVERY_S", 0.001)
    health = Shaky()
    checking = asyncio.create_task(health.keep_checking())
    await eventually(lambda: health.serving, within_s=120)
    checking.cancel()


async def test_what_runs_once_does_not_fail_without_a_word(issuer, caplog):
    async def work() -> None:
        raise RuntimeError("a bus is on fire")

    async with running_service(issuer, lambda server: server.add_task("migration", work)):
        await eventually(lambda: "task migration failed" in caplog.text, within_s=120)


async def test_metrics_count_calls_by_code(meters):
    await meters.stub("viewer").ListMeters(pb.ListMetersRequest(parent=HERE))
    with pytest.raises(InvalidInput):
        await meters.stub("viewer").ListMeters(pb.ListMetersRequest())
    text = (await get(meters.running.server.metrics_port, "/metrics")).text
    for code in ("OK", "INVALID_ARGUMENT"):
        assert f'lichtbuch_grpc_requests_total{{code="{code}",method="ListMeters",service="{METERING}"}}' in text
    assert "lichtbuch_grpc_request_duration_seconds_bucket" in text
    assert 'lichtbuch_health_check_up{check="database"} 1.0' in text


async def test_the_status_server_answers_nothing_else(meters):
    port = meters.running.server.metrics_port
    assert (await get(port, "/")).status_code == 404
    async with httpx.AsyncClient(timeout=60) as client:
        assert (await client.post(f"http://127.0.0.1:{port}/metrics")).status_code == 405
        assert (await client.head(f"http://127.0.0.1:{port}/healthz")).status_code == 200
    openmetrics = await get(port, "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert openmetrics.text.endswith("# EOF\n")


async def test_a_hostile_request_to_the_status_server_is_dropped(meters):
    port = meters.running.server.metrics_port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /" + b"x" * 100_000)
    assert await reader.read() == b""
    writer.close()
    assert (await get(port, "/healthz")).status_code == 200


async def test_tools_may_ask_for_the_contract(meters):
    async with grpc.aio.insecure_channel(meters.running.target) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        async for answer in stub.ServerReflectionInfo(iter([request])):
            names = {service.name for service in answer.list_services_response.service}
            break
    assert {METERING, "grpc.health.v1.Health"} <= names


async def test_a_port_that_is_taken_is_an_exit_code(issuer):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = settings_for(listen=f"127.0.0.1:{taken.getsockname()[1]}", drain_s=0)
        server = Server(
            settings, authenticator=authenticator_for(issuer), access=access_from({}), tenants=FixedTenants([])
        )
        assert await server.run() == EXIT_FAILED


async def test_open_streams_have_an_end(issuer, database):
    servicer = MeterServicer(database, None)  # type: ignore[abstract, arg-type]
    async with running_service(issuer, servicer.add_to, settings=settings_for(max_streams=2)) as running:
        stub: Any = metering_pb2_grpc.MeteringServiceStub(running.channel("viewer"))
        request = pb.WatchReadingsRequest(parent=HERE)
        streams = [stub.WatchReadings(request) for _ in range(3)]
        for stream in streams[:2]:
            assert await anext(stream)
        with pytest.raises(Exhausted, match="2 streams"):
            await anext(streams[2])
        streams[0].cancel()
        await eventually(lambda: running.server._gate.open_streams == 1)
        assert await anext(stub.WatchReadings(request))


async def test_calls_at_once_have_an_end(issuer, database):
    servicer = MeterServicer(database, None)  # type: ignore[abstract, arg-type]
    servicer.pause.clear()
    async with running_service(issuer, servicer.add_to, settings=settings_for(max_calls=1)) as running:
        stub: Any = metering_pb2_grpc.MeteringServiceStub(running.channel("viewer"))
        instant = Timestamp(seconds=1)
        query = pb.QueryConsumptionRequest(
            parent=HERE, meters=[f"{HERE}/meters/m"], start_time=instant, end_time=instant, step=pb.STEP_TOTAL
        )
        first = asyncio.create_task(stub.QueryConsumption(query))
        await servicer.started.wait()
        with pytest.raises(Exhausted):
            await stub.QueryConsumption(query)
        servicer.pause.set()
        assert list((await first).meters) == [f"{HERE}/meters/m"]


async def test_draining_ends_streams_at_once_and_says_where_to_go(meters):
    stream: Any = meters.stub("viewer").WatchReadings(pb.WatchReadingsRequest(parent=HERE))
    await anext(stream)
    stopping = asyncio.create_task(meters.running.server.stop(5))
    with pytest.raises(Unavailable, match="stopping") as caught:
        await anext(stream)
    assert caught.value.retry_after_s == 1
    await stopping


class Process:
    """The meter service as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, let_go: Path) -> None:
        self.process, self.let_go = process, let_go
        self.target = f"127.0.0.1:{port}"


@pytest.fixture
async def process(issuer: Issuer, sqlite_url: str, tmp_path: Path) -> AsyncIterator[Process]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "proto" / "gen")])
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.servicekit.drained_service",
        issuer.url,
        sqlite_url,
        "127.0.0.1:0",
        str(tmp_path / "let-go"),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert started.stdout is not None
    async with asyncio.timeout(90):
        line = await started.stdout.readline()
    assert line.startswith(b"port "), (await started.communicate())[1].decode()
    yield Process(started, int(line.split()[1]), tmp_path / "let-go")
    if started.returncode is None:
        started.kill()
    await started.communicate()


async def test_on_sigterm_the_call_under_way_ends_well_and_new_ones_are_refused(process, issuer, sqlite_url):
    stub: Any = metering_pb2_grpc.MeteringServiceStub(
        connect(process.target, identity=StaticToken(issuer.token("planner")), deadline_s=60)
    )
    request = pb.CreateMeterRequest(parent=HERE, meter_id="m", meter=pb.Meter(medium=pb.MEDIUM_HEAT, unit=pb.UNIT_WH))
    call = asyncio.create_task(stub.CreateMeter(request))
    async with grpc.aio.insecure_channel(process.target) as channel:
        health_stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = health_stub.Watch(health_pb2.HealthCheckRequest())
        statuses = aiter(watch)
        while (await anext(statuses)).status != SERVING:
            continue
        await _in_flight(stub)
        process.process.send_signal(signal.SIGTERM)
        assert (await anext(statuses)).status == NOT_SERVING
        watch.cancel()
    assert not call.done()
    process.let_go.touch()
    created = await call
    assert created.name == f"{HERE}/meters/m"
    async with asyncio.timeout(60):
        _, errors = await process.process.communicate()
    assert process.process.returncode == 0, errors.decode()
    with pytest.raises(Unavailable):
        await stub.UpdateMeter(pb.UpdateMeterRequest(meter=pb.Meter(name=f"{HERE}/meters/m")))
    database = Database(sqlite_url, "metering", pool_size=1)
    assert len(await database.read(lambda session: session.exec(select(MeterRow)).all())) == 1
    await database.close()


async def _in_flight(stub: Any) -> None:
    """Waits until the service has begun to work: a later call of the same connection was answered."""
    await stub.ListMeters(pb.ListMetersRequest(parent=HERE))


class InventoryServicer(lighting_pb2_grpc.LightingServiceServicer):
    """Counts what an import brings: for streams of requests."""

    async def ImportLuminaires(self, requests: Any, context: Any) -> inventory_pb2.ImportReport:
        """Counts lines and names the tenant."""
        created = 0
        async for request in requests:
            created += len(request.columns.luminaire_ids)
        (tenant,) = current_tenants()
        assert tenant.id == "bad-hersfeld"
        return inventory_pb2.ImportReport(created=created)

    def add_to(self, server: Server) -> None:
        """Adds itself."""
        server.add_servicer(lighting_pb2_grpc.add_LightingServiceServicer_to_server, self)


@pytest.fixture
async def importing(issuer) -> AsyncIterator[Any]:
    servicer = InventoryServicer()  # type: ignore[abstract]  # one method is enough
    async with running_service(issuer, servicer.add_to) as running:
        yield lighting_pb2_grpc.LightingServiceStub(running.channel("planner"))


def lines(count: int) -> lighting_pb2.ImportLuminairesRequest:
    columns = inventory_pb2.LuminaireColumns(luminaire_ids=[f"L-{n}" for n in range(count)])
    return lighting_pb2.ImportLuminairesRequest(columns=columns)


def import_settings(parent: str) -> lighting_pb2.ImportLuminairesRequest:
    return lighting_pb2.ImportLuminairesRequest(settings=lighting_pb2.ImportSettings(parent=parent))


async def _stream(*requests: Any) -> AsyncIterator[Any]:
    for request in requests:
        yield request


async def test_a_stream_is_about_the_town_of_its_first_message(importing):
    report = await importing.ImportLuminaires(_stream(import_settings(HERE), lines(3), lines(4)))
    assert report.created == 7


async def test_a_stream_that_does_not_say_what_it_is_about_is_refused(importing):
    with pytest.raises(InvalidInput, match=r"settings\.parent"):
        await importing.ImportLuminaires(_stream(lines(3)))


async def test_a_stream_does_not_change_towns(importing):
    with pytest.raises(InvalidInput, match="not of the municipality"):
        await importing.ImportLuminaires(_stream(import_settings(HERE), lines(1), import_settings(THERE)))


async def test_every_message_of_a_stream_is_validated(importing):
    with pytest.raises(InvalidInput) as caught:
        await importing.ImportLuminaires(_stream(import_settings(HERE), lines(100_001)))
    assert caught.value.violations[0].field == "columns.luminaire_ids"
