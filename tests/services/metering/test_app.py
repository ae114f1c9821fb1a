"""The whole service in one process: it starts without registry and database, says so, and goes on when they come."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY

from domain.errors import NotAuthenticated
from lichtbuch.metering.v1 import metering_pb2 as pb
from lichtbuch.metering.v1 import metering_pb2_grpc
from servicekit.client import connect
from servicekit.server import Server
from servicekit.wiring import make_server
from services.metering.acquisition.spool import Record, Spool
from services.metering.app import MIGRATIONS, assemble, build, limits_for
from services.metering.reading import Readings
from services.metering.settings import MeteringSettings
from tests.services.metering.making import NOON_MS
from tests.support.disk import full_disk
from tests.support.postgres import PostgresServer
from tests.support.waiting import eventually


def settings_of(tmp_path: Path, **values: object) -> MeteringSettings:
    given: dict[str, object] = {
        "listen": "127.0.0.1:0",
        "metrics_listen": "off",
        "data_dir": tmp_path,
        "registry_address": "127.0.0.1:1",
        "drain_s": 0.2,
        **values,
    }
    return MeteringSettings(**given)  # type: ignore[arg-type]


async def status(server: Server) -> int:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        return int(answer.status)


async def test_it_serves_on_sqlite_while_the_registry_is_away(tmp_path: Path) -> None:
    server = await build(settings_of(tmp_path))
    await server.start()
    try:
        assert await status(server) == health_pb2.HealthCheckResponse.SERVING
        async with connect(f"127.0.0.1:{server.port}") as channel:
            stub = metering_pb2_grpc.MeteringServiceStub(channel)
            with pytest.raises(NotAuthenticated):
                await stub.GetMeter(pb.GetMeterRequest(name="municipalities/a/meters/b"))
        assert {loop.name for loop in server._loops} >= {"polling", "recorder", "drain", "lease", "endpoints"}
        assert REGISTRY.get_sample_value("lichtbuch_metering_spool_records") == 0
    finally:
        await server.stop(0)
    assert list((tmp_path / "metering" / "spool").iterdir()) == []


async def test_it_starts_without_its_database_and_migrates_when_that_comes(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    url = postgres_server.create_database()
    postgres_server.cut_off(url)
    server = await build(settings_of(tmp_path, database_url=url))
    await server.start()
    try:
        assert await status(server) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert "database" in server.health.problems
        postgres_server.bring_back(url)
        await eventually(server.database_ready.is_set)
        await server.health.check_now()
        assert server.health.problems == {}
    finally:
        await server.stop(0)
        postgres_server.drop_database(url)


async def test_a_spool_that_is_nearly_full_is_told_by_health(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "metering" / "spool", 65_536)
    spool.open()
    spool.append(Record(Readings.of([1] * 1100, range(NOON_MS, NOON_MS + 1100), [0] * 1100), {1: "a" * 32}))
    spool.close()
    # Nobody drains it: polling alone would set it aside as the readings of a register that is not there.
    server = await build(settings_of(tmp_path, spool_max_bytes=65_536))
    await server.health.check_now()
    assert "spool" in server.health.problems
    await server.stop(0)


async def test_readings_that_neither_database_nor_disk_takes_are_told_by_health(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    server = await make_server(settings, migrations=MIGRATIONS, needs_database=False)
    assert server.registry_channel is not None
    polling = assemble(server, settings, server.registry_channel)
    assert polling is not None
    server.database_ready.clear()  # away since the start
    keeping = asyncio.create_task(polling.recorder.keep(lambda: None))
    polling.recorder.submit(Readings.of([1], [NOON_MS], [0]), {1: "a" * 32})
    with full_disk():
        await polling.recorder.settle()
        await server.health.check_now()
        assert "memory" in server.health.problems["spool"]
    await eventually(lambda: polling.recorder.problem is None)
    assert polling.spool.depth == 1
    await server.health.check_now()
    assert "spool" not in server.health.problems
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await server.stop(0)


async def test_who_takes_the_lease_next_finds_what_was_spooled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(tmp_path)
    server = await make_server(settings, migrations=MIGRATIONS, needs_database=False)
    assert server.registry_channel is not None
    polling = assemble(server, settings, server.registry_channel)
    assert polling is not None
    polling.spool.append(Record(Readings.of([1], [NOON_MS], [0]), {1: "a" * 32}))
    other = Spool(settings.resolved_spool_dir)
    found: list[int] = []
    release = polling.lease.release

    async def released() -> None:
        other.open()
        found.append(other.depth)
        await release()

    monkeypatch.setattr(polling.lease, "release", released)
    await server.stop(0)
    assert found == [1]


def test_in_a_time_lapse_no_device_may_take_longer_than_the_tolerance() -> None:
    class Fast:
        speed = 600.0

    limits = limits_for(Fast(), MeteringSettings())  # type: ignore[arg-type]
    assert limits.read_deadline_s == pytest.approx(1.0)
    assert limits.request_timeout_s <= 1.0


def test_settings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    for wrong in ({"poll_tolerance_s": 0}, {"spool_max_bytes": 10}, {"poll_tolerance_s": 900}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            settings_of(tmp_path, **wrong)
