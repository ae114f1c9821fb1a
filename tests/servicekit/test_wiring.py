"""From settings to a running service, as a service's app.py does it."""

import asyncio
import json
import logging
from pathlib import Path

import pytest
import structlog

from domain.errors import Corrupted, FailedPrecondition, NotAuthenticated, Unavailable
from lichtbuch.metering.v1 import metering_pb2 as pb
from lichtbuch.metering.v1 import metering_pb2_grpc
from servicekit import logs, migrate, wiring
from servicekit.client import connect
from servicekit.context import Caller, acting_as, current_caller, current_request_id, current_tenant
from servicekit.tokens import ClientCredentials, NoToken, StaticToken
from servicekit.wiring import make_server, service_identity
from tests.servicekit.test_access_source import RoleRegistry
from tests.servicekit.test_tenants import TownRegistry
from tests.support.issuer import Issuer
from tests.support.meter_service import MIGRATIONS, MeterServicer
from tests.support.running import running_service, settings_for
from tests.support.waiting import eventually

HERE = "municipalities/bad-hersfeld"


class Registry(TownRegistry, RoleRegistry):
    """A registry of towns and roles."""

    def __init__(self) -> None:
        TownRegistry.__init__(self)
        RoleRegistry.__init__(self)


@pytest.fixture
def own_issuer():
    made = Issuer(secrets={"service-metering": "s3cret"})
    yield made
    made.close()


async def test_a_service_made_from_settings_asks_the_registry_with_its_own_token(own_issuer, sqlite_url):
    registry = Registry()  # type: ignore[abstract]  # two methods are enough
    async with running_service(own_issuer, registry.add_to, settings=settings_for("registry")) as far:
        settings = settings_for(
            database_url=sqlite_url,
            registry_address=far.target,
            oidc_issuer=own_issuer.url,
            service_client_secret="s3cret",
        )
        server = await make_server(settings, migrations=MIGRATIONS)
        MeterServicer(server.database, server.clock).add_to(server)  # type: ignore[abstract, arg-type]
        await server.start()
        assert server.health.serving, server.health.problems
        person = StaticToken(own_issuer.token("anna"))
        stub = metering_pb2_grpc.MeteringServiceStub(connect(f"127.0.0.1:{server.port}", identity=person))
        answer = await stub.ListMeters(pb.ListMetersRequest(parent=HERE))
        assert list(answer.meters) == []
        await server.stop(0)


async def test_a_service_that_needs_no_database_starts_without_it_and_takes_it_when_it_comes(
    own_issuer, postgres_database_url, postgres_server
):
    postgres_server.cut_off(postgres_database_url)
    settings = settings_for(
        database_url=postgres_database_url, registry_address="127.0.0.1:1", oidc_issuer=own_issuer.url
    )
    server = await make_server(settings, migrations=MIGRATIONS, needs_database=False)
    await server.start()
    assert not server.health.serving
    assert not server.database_ready.is_set()
    postgres_server.bring_back(postgres_database_url)
    await eventually(server.database_ready.is_set)
    await eventually(lambda: server.health.serving)
    await server.stop(0)


async def test_the_services_identity_is_a_secret_or_a_certificate(tmp_path):
    assert isinstance(service_identity(settings_for()), NoToken)
    assert isinstance(service_identity(settings_for(service_client_secret="x")), ClientCredentials)
    file = tmp_path / "secret"
    source = service_identity(settings_for(service_client_secret_file=file))
    assert isinstance(source, ClientCredentials)
    with pytest.raises(Unavailable):
        await source.token()
    with pytest.raises(Unavailable, match="cannot be read"):
        source._secret()
    file.write_text("s3cret\n")
    assert source._secret() == "s3cret"


def test_migrations_run_as_a_job(sqlite_url, monkeypatch, capsys):
    assert migrate.main([]) == 2
    assert migrate.main(["nothing"]) == 2
    assert "there is no service 'nothing'" in capsys.readouterr().err
    monkeypatch.setenv("LICHTBUCH_DATABASE_URL", sqlite_url)
    assert migrate.main(["registry"]) == 0
    assert migrate.main(["registry"]) == 0
    assert "the schema is up to date" in capsys.readouterr().out
    monkeypatch.setenv("LICHTBUCH_DATABASE_URL", "postgresql://127.0.0.1:1/nothing")
    assert migrate.main(["registry"]) == 1
    assert "cannot be reached" in capsys.readouterr().err


def test_logs_are_json_with_the_request_id_and_no_secret(capsys):
    try:
        logs.configure_logs(settings_for(), "metering")
        with logs.bound_contextvars(request_id="r1"):
            logs.get_logger("x").info("asked", access_token="eyJ", meter="m1")
            logging.getLogger("y").warning("plain %s", "words")
        first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers.clear()
    assert first["service"] == "metering"
    assert (first["event"], first["request_id"], first["meter"]) == ("asked", "r1", "m1")
    assert first["access_token"] == "***"
    assert (second["event"], second["level"], second["request_id"]) == ("plain words", "warning", "r1")


def test_outside_of_a_call_nobody_calls():
    with pytest.raises(NotAuthenticated):
        current_caller()
    with pytest.raises(FailedPrecondition):
        current_tenant()
    with acting_as(Caller.of_service("ledger"), request_id="r9"):
        assert current_caller().service == "ledger"
        assert current_request_id() == "r9"


class Ailing:
    """A database that cannot be migrated, until somebody has put it right."""

    service = "metering"

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def migrate(self, _: object) -> None:
        """Fails as often as it has errors."""
        if self.errors:
            raise self.errors.pop(0)


async def test_a_migration_that_fails_is_tried_again_whatever_it_fails_with(monkeypatch):
    class Waiting:
        database_ready = asyncio.Event()

    monkeypatch.setattr(wiring, "MIGRATE_AGAIN_S", 0.001)
    server, database = Waiting(), Ailing(Corrupted("half a page"), RuntimeError("that nobody has thought of"))
    await wiring._migrate_later(server, database, Path("migrations"))  # type: ignore[arg-type]
    assert server.database_ready.is_set()
    assert database.errors == []
