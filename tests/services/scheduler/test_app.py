"""The scheduler as a process would start it: on its settings, with nothing else there yet."""

from __future__ import annotations

from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from servicekit.client import connect
from servicekit.settings import load_settings
from services.scheduler.app import SchedulerSettings, build
from tests.support.postgres import PostgresServer
from tests.support.waiting import eventually

AWAY = "127.0.0.1:9"
"""Nobody listens there."""


def settings(monkeypatch: pytest.MonkeyPatch, folder: Path, **values: str) -> SchedulerSettings:
    given = {
        "LISTEN": "127.0.0.1:0",
        "METRICS_LISTEN": "off",
        "DATA_DIR": str(folder),
        "REGISTRY_ADDRESS": AWAY,
        "LIGHTING_ADDRESS": AWAY,
        "DRAIN_S": "0.2",
    }
    for name, value in (given | values).items():
        monkeypatch.setenv(f"LICHTBUCH_{name}", value)
    return load_settings(SchedulerSettings)


async def test_without_registry_and_lighting_it_is_well_and_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = await build(settings(monkeypatch, tmp_path))
    await server.start()
    try:
        async with connect(f"127.0.0.1:{server.port}") as channel:
            request = health_pb2.HealthCheckRequest(service="lichtbuch.scheduler.v1.SchedulerService")
            answer = await health_pb2_grpc.HealthStub(channel).Check(request)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert (tmp_path / "scheduler.db").exists()
    finally:
        await server.stop(0)


async def test_without_its_database_it_says_that_it_is_not_well_and_comes_back_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    url = postgres_server.create_database()
    postgres_server.cut_off(url)
    server = await build(settings(monkeypatch, tmp_path, DATABASE_URL=url))
    await server.start()
    try:
        assert not server.health.serving
        assert "database" in server.health.problems
        postgres_server.bring_back(url)
        await eventually(server.database_ready.is_set)
        await server.health.check_now()
        assert server.health.serving
    finally:
        await server.stop(0)
        postgres_server.drop_database(url)
