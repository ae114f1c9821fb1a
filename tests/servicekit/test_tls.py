"""TLS and mutual TLS with real handshakes."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from domain.errors import NotAuthenticated, NotPermitted, Unavailable
from lichtbuch.metering.v1 import metering_pb2 as pb
from lichtbuch.metering.v1 import metering_pb2_grpc
from servicekit.client import connect
from servicekit.tokens import StaticToken
from tests.support.certificates import Authority
from tests.support.meter_service import MeterServicer
from tests.support.running import RunningService, authenticator_for, running_service, settings_for

HERE = "municipalities/bad-hersfeld"
LIST = pb.ListMetersRequest(parent=HERE)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def serving(issuer, database, authority) -> Any:
    pair = authority.issue("metering")
    servicer = MeterServicer(database, None)  # type: ignore[abstract, arg-type]

    @asynccontextmanager
    async def serve(*, mutual: bool) -> AsyncIterator[RunningService]:
        settings = settings_for(
            tls_certificate=pair.certificate, tls_key=pair.key, tls_client_ca=authority.file if mutual else None
        )
        authenticator = authenticator_for(issuer, trusts_certificates=mutual)
        async with running_service(
            issuer, servicer.add_to, database=database, settings=settings, authenticator=authenticator
        ) as running:
            yield running

    return serve


def client_settings(authority: Authority, certificate_of: str = "") -> Any:
    pair = authority.issue(certificate_of) if certificate_of else None
    return settings_for(
        tls_ca=authority.file,
        tls_certificate=pair.certificate if pair else None,
        tls_key=pair.key if pair else None,
    )


def stub(running: RunningService, settings: Any, token: str | None = None) -> Any:
    identity = StaticToken(token) if token else None
    return metering_pb2_grpc.MeteringServiceStub(connect(running.target, settings, identity, deadline_s=30))


async def test_over_tls_a_token_is_enough(serving, authority, issuer):
    async with serving(mutual=False) as running:
        answer = await stub(running, client_settings(authority), issuer.token("viewer")).ListMeters(LIST)
        assert list(answer.meters) == []


async def test_without_tls_the_server_does_not_talk(serving, issuer):
    async with serving(mutual=False) as running:
        with pytest.raises(Unavailable):
            await stub(running, None, issuer.token("viewer")).ListMeters(LIST)


async def test_a_server_of_another_authority_is_not_believed(serving, issuer, tmp_path):
    (tmp_path / "other").mkdir()
    async with serving(mutual=False) as running:
        with pytest.raises(Unavailable):
            other = client_settings(Authority(tmp_path / "other", "another authority"))
            await stub(running, other, issuer.token("viewer")).ListMeters(LIST)


async def test_under_mutual_tls_a_client_without_certificate_is_not_let_in(serving, authority, issuer):
    async with serving(mutual=True) as running:
        with pytest.raises(Unavailable):
            await stub(running, client_settings(authority), issuer.token("viewer")).ListMeters(LIST)


async def test_under_mutual_tls_a_client_of_another_authority_is_not_let_in(serving, authority, issuer, tmp_path):
    (tmp_path / "other").mkdir()
    pair = Authority(tmp_path / "other", "another authority").issue("ledger")
    settings = settings_for(tls_ca=authority.file, tls_certificate=pair.certificate, tls_key=pair.key)
    async with serving(mutual=True) as running:
        with pytest.raises(Unavailable):
            await stub(running, settings, issuer.token("viewer")).ListMeters(LIST)


async def test_a_service_is_known_by_its_certificate(serving, authority):
    async with serving(mutual=True) as running:
        ledger = stub(running, client_settings(authority, "ledger"))
        assert list((await ledger.ListMeters(LIST)).meters) == []
        with pytest.raises(NotPermitted):
            await ledger.UpdateMeter(
                pb.UpdateMeterRequest(meter=pb.Meter(name=f"{HERE}/meters/m", medium=pb.MEDIUM_GAS, unit=pb.UNIT_WH))
            )
        with pytest.raises(NotAuthenticated):
            await stub(running, client_settings(authority, "grafana")).ListMeters(LIST)


async def test_a_person_behind_a_service_acts_on_the_own_token(serving, authority, issuer):
    async with serving(mutual=True) as running:
        admin_ui = client_settings(authority, "admin")
        with pytest.raises(NotPermitted):
            await stub(running, admin_ui).ListMeters(LIST)
        assert await stub(running, admin_ui, issuer.token("viewer")).ListMeters(LIST)


async def test_a_certificate_that_was_renewed_is_shown_to_the_next_client(serving, authority, issuer, tmp_path):
    (tmp_path / "new").mkdir()
    successor = Authority(tmp_path / "new", "new authority")
    async with serving(mutual=False) as running:
        token = issuer.token("viewer")
        assert await stub(running, client_settings(authority), token).ListMeters(LIST)
        old, new = running.server.settings, successor.issue("metering")
        old.tls_key.write_bytes(new.key.read_bytes())
        old.tls_certificate.write_bytes(new.certificate.read_bytes())
        assert await stub(running, client_settings(successor), token).ListMeters(LIST)
        with pytest.raises(Unavailable):
            await stub(running, client_settings(authority), token).ListMeters(LIST)


async def test_a_half_written_certificate_changes_nothing(serving, authority, issuer):
    async with serving(mutual=False) as running:
        running.server.settings.tls_certificate.unlink()
        assert await stub(running, client_settings(authority), issuer.token("viewer")).ListMeters(LIST)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_no_old_protocol_is_spoken(serving, authority):
    async with serving(mutual=False) as running:
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.load_verify_locations(str(authority.file))
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", running.server.port, ssl=old)


async def test_health_can_be_probed_over_tls(serving, authority):
    async with serving(mutual=False) as running:
        credentials = grpc.ssl_channel_credentials(authority.file.read_bytes())
        async with grpc.aio.secure_channel(running.target, credentials) as channel:
            probe: Any = health_pb2_grpc.HealthStub(channel)
            answer = await probe.Check(health_pb2.HealthCheckRequest())
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
