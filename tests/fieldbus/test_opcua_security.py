"""Secured OPC UA channels: every policy, the pinned trust list, logging in, and everything that is refused."""

from __future__ import annotations

import logging
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.common.connection import SecureConnection
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from domain.errors import InvalidInput
from fieldbus.client import Fieldbus
from fieldbus.device import Device, Limits
from fieldbus.opcua.security import OpcUaSecurity, SecurityMode, SecurityPolicy, offered_endpoints
from fieldbus.opcua.trust import SecurityRefused
from fieldbus.security import FieldSecurity
from fieldbus.values import DeviceState, PointAddress, Quality
from tests.fieldbus.opcua_servers import CLIENT_URI, SERVER_URI, Pair, Plant, Users, make_pair
from tests.fieldbus.servers import NOON, eventually
from tests.support.patient_loop import loop_time

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = Limits(connect_timeout_s=4.0, request_timeout_s=2.0, backoff_initial_s=0.05, backoff_max_s=0.1)
POWER = PointAddress("lamp_power", 0)
SECRET = "correct horse battery staple"
EVERY_POLICY = [
    ua.SecurityPolicyType.NoSecurity,
    ua.SecurityPolicyType.Basic256Sha256_Sign,
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_Sign,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_Sign,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
]
STRONG = [ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt]


@dataclass
class Scene:
    """What all tests share: keys cost time."""

    directory: Path
    client: Pair
    server: Pair
    trusted: Path

    def security(self, **changes: object) -> OpcUaSecurity:
        plain = OpcUaSecurity(certificate=self.client.certificate, key=self.client.key, trusted=self.trusted)
        return replace(plain, **changes)  # type: ignore[arg-type]

    def trust(self, name: str, *pairs: Pair) -> Path:
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        for pair in pairs:
            shutil.copy(pair.certificate, directory)
        return directory


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    directory = tmp_path_factory.mktemp("pki")
    client = make_pair(directory, "client", uri=CLIENT_URI)
    server = make_pair(directory, "server", uri=SERVER_URI, pem=False)
    made = Scene(directory, client, server, directory)
    made.trusted = made.trust("trusted", server)
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant(scene: Scene) -> AsyncIterator[Plant]:
    plant = Plant(pair=scene.server, policies=EVERY_POLICY)
    await plant.start()
    yield plant
    await plant.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def changing(scene: Scene) -> AsyncIterator[Plant]:
    """A server that takes on the identity that a test needs."""
    plant = Plant(pair=scene.server)
    await plant.start()
    yield plant
    await plant.stop()


class Opener:
    """Opens a plant with given settings, and closes it after the test."""

    def __init__(self) -> None:
        self._buses: list[Fieldbus] = []

    def __call__(self, plant: Plant, security: OpcUaSecurity | None, limits: Limits = LIMITS) -> Device:
        entries = {} if security is None else {plant.authority: security}
        bus = Fieldbus(now=lambda: NOON, limits=limits, security=FieldSecurity(opcua=entries), monotonic=loop_time)
        self._buses.append(bus)
        return bus.open(plant.url, "opcua-lamp")

    async def close(self) -> None:
        for bus in self._buses:
            await bus.close()


@pytest_asyncio.fixture(loop_scope="module")
async def opened() -> AsyncIterator[Opener]:
    opener = Opener()
    yield opener
    await opener.close()


async def refusal(device: Device) -> str:
    """Why the device is not read, told twice: by the health and by asking who it is."""
    assert (await device.read([POWER])).quality.tolist() == [Quality.MISSING]
    assert device.health().state is DeviceState.BACKING_OFF
    return device.health().last_error


@pytest.mark.parametrize("mode", list(SecurityMode))
@pytest.mark.parametrize("policy", [policy for policy in SecurityPolicy if policy is not SecurityPolicy.NONE])
async def test_every_policy_and_mode_reads_and_writes(
    scene: Scene, plant: Plant, opened: Opener, policy: SecurityPolicy, mode: SecurityMode
) -> None:
    lamp = opened(plant, scene.security(policy=policy, mode=mode))
    assert (await lamp.read([POWER])).value(POWER) == 12.5, lamp.health().last_error
    (result,) = await lamp.write([(PointAddress("level_command", 0), 400)])
    assert result.succeeded
    assert (await lamp.identify()).vendor == "ACME"


async def test_without_settings_the_open_endpoint_is_used(plant: Plant, opened: Opener) -> None:
    assert (await opened(plant, None).read([POWER])).complete


async def test_an_unknown_certificate_is_refused_with_its_fingerprint(
    scene: Scene, plant: Plant, opened: Opener
) -> None:
    nobody = scene.trust("nobody")
    reason = await refusal(opened(plant, scene.security(trusted=nobody)))
    assert "not trusted" in reason
    assert scene.server.fingerprint in reason
    assert str(nobody) in reason
    lamp = opened(plant, scene.security(trusted=nobody))
    with pytest.raises(SecurityRefused) as caught:
        await lamp.identify()
    assert caught.value.fingerprint == scene.server.fingerprint


async def test_nothing_is_trusted_on_first_use(scene: Scene, plant: Plant, opened: Opener) -> None:
    empty = scene.trust("empty")
    lamp = opened(plant, scene.security(trusted=empty))
    await refusal(lamp)
    assert list(empty.iterdir()) == []
    shutil.copy(scene.server.certificate, empty)
    await eventually(lambda: lamp.health().seconds_to_next_attempt == 0)
    assert (await lamp.read([POWER])).complete, "the list is read anew for every connection"


async def test_a_server_with_another_certificate_of_the_same_name_is_refused(
    scene: Scene, changing: Plant, opened: Opener
) -> None:
    impostor_pair = make_pair(scene.directory, "impostor", uri=SERVER_URI)
    await changing.become(impostor_pair, STRONG)
    reason = await refusal(opened(changing, scene.security()))
    assert impostor_pair.fingerprint in reason


async def test_a_server_that_shows_anothers_certificate_cannot_speak_for_it(
    scene: Scene, changing: Plant, opened: Opener
) -> None:
    """It has the certificate, as everybody may, but not the key."""
    thief = make_pair(scene.directory, "thief", uri=SERVER_URI)
    await changing.become(replace(thief, certificate=scene.server.certificate), STRONG)
    lamp = opened(changing, scene.security(), replace(LIMITS, connect_timeout_s=0.5))
    assert (await lamp.read([POWER])).quality.tolist() == [Quality.MISSING]


async def test_an_expired_certificate_is_refused_though_it_is_pinned(
    scene: Scene, changing: Plant, opened: Opener
) -> None:
    old = make_pair(scene.directory, "old", uri=SERVER_URI, valid_from=timedelta(days=-30), valid_for=timedelta(days=1))
    await changing.become(old, STRONG)
    reason = await refusal(opened(changing, scene.security(trusted=old.certificate)))
    assert "valid from" in reason
    assert old.fingerprint in reason


async def test_a_certificate_for_another_host_is_refused_unless_that_is_meant(
    scene: Scene, changing: Plant, opened: Opener
) -> None:
    other = make_pair(scene.directory, "elsewhere", uri=SERVER_URI, hosts=("plc-7.example",))
    await changing.become(other, STRONG)
    reason = await refusal(opened(changing, scene.security(trusted=other.certificate)))
    assert "'plc-7.example'" in reason
    assert "server_name" in reason
    meant = opened(changing, scene.security(trusted=other.certificate, server_name="PLC-7.example"))
    assert (await meant.read([POWER])).complete, meant.health().last_error


async def test_a_certificate_for_another_application_is_refused(scene: Scene, changing: Plant, opened: Opener) -> None:
    other = make_pair(scene.directory, "other-application", uri="urn:acme:plc:8")
    await changing.become(other, STRONG)
    reason = await refusal(opened(changing, scene.security(trusted=other.certificate)))
    assert SERVER_URI in reason
    assert "urn:acme:plc:8" in reason


async def test_a_server_that_offers_only_an_open_channel_gets_none(
    scene: Scene, changing: Plant, opened: Opener
) -> None:
    await changing.become(scene.server, [ua.SecurityPolicyType.NoSecurity])
    reason = await refusal(opened(changing, scene.security()))
    assert "does not offer Basic256Sha256 sign_and_encrypt" in reason
    assert "None" in reason


async def test_a_user_logs_in_by_password(
    scene: Scene, changing: Plant, opened: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    users = Users(password=SECRET)
    await changing.become(scene.server, STRONG, users, [ua.UserNameIdentityToken])
    file = scene.directory / "password"
    file.write_text(f"{SECRET}\n")
    security = scene.security(user="field", password_file=file)
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger="asyncua"):
        lamp = opened(changing, security)
        assert (await lamp.read([POWER])).complete, lamp.health().last_error
        assert users.logins == ["password"]
        assert SECRET not in repr(security)

        file.write_text("wrong\n")
        again = opened(changing, security)
        reason = await refusal(again)
        assert "refuses to log in user 'field'" in reason
        assert "wrong" not in reason

        file.write_text(SECRET)
        await eventually(lambda: again.health().seconds_to_next_attempt == 0)
        assert (await again.read([POWER])).complete, "the file is read anew for every connection"
    assert "asyncua" in caplog.text
    assert SECRET not in caplog.text


async def test_a_user_logs_in_by_certificate(scene: Scene, changing: Plant, opened: Opener) -> None:
    operator = make_pair(scene.directory, "operator", uri="urn:somebody", pem=False)
    users = Users(certificate=operator.certificate.read_bytes())
    await changing.become(scene.server, STRONG, users, [ua.X509IdentityToken])
    lamp = opened(changing, scene.security(user_certificate=operator.certificate, user_key=operator.key))
    assert (await lamp.read([POWER])).complete, lamp.health().last_error
    assert users.logins == ["certificate"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mode": SecurityMode.SIGN, "user": "field", "password_file": Path("x")}, "mode"),
        ({"policy": SecurityPolicy.NONE, "user": "field", "password_file": Path("x")}, "mode"),
        ({"policy": SecurityPolicy.NONE, "user_certificate": Path("x"), "user_key": Path("y")}, "policy"),
        ({"user": "field"}, "password_file"),
        ({"user_certificate": Path("x")}, "user_key"),
        ({"certificate": None}, "certificate"),
        ({"trusted": None}, "trusted"),
    ],
)
async def test_settings_that_could_not_be_safe_are_no_settings(
    scene: Scene, changes: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        scene.security(**changes)
    assert field in {violation.field for violation in caught.value.violations}


async def test_a_password_in_the_url_is_refused_and_not_repeated(plant: Plant) -> None:
    bus = Fieldbus(now=lambda: NOON, limits=LIMITS, monotonic=loop_time)
    with pytest.raises(InvalidInput) as caught:
        bus.open(f"opc.tcp://field:hunter2@{plant.authority}/", "opcua-lamp")
    assert "hunter2" not in str(caught.value)
    await bus.close()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [("certificate", b"junk", "neither PEM nor DER"), ("key", b"junk", "no unencrypted private key")],
)
async def test_files_that_cannot_be_read_are_named(
    scene: Scene, plant: Plant, opened: Opener, name: str, content: bytes, expected: str
) -> None:
    file = scene.directory / f"broken-{name}"
    file.write_bytes(content)
    reason = await refusal(opened(plant, scene.security(**{name: file})))
    assert str(file) in reason
    assert expected in reason


async def test_a_key_of_another_certificate_is_noticed_before_the_server_does(
    scene: Scene, plant: Plant, opened: Opener
) -> None:
    reason = await refusal(opened(plant, scene.security(key=scene.server.key)))
    assert "does not belong" in reason


async def test_our_own_expired_certificate_is_named_and_its_renewal_taken_up(
    scene: Scene, plant: Plant, opened: Opener
) -> None:
    old = make_pair(scene.directory, "ours-old", uri=CLIENT_URI, valid_from=timedelta(-9), valid_for=timedelta(1))
    lamp = opened(plant, scene.security(certificate=old.certificate, key=old.key))
    assert "our own certificate is valid from" in await refusal(lamp)
    shutil.copy(scene.client.certificate, old.certificate)
    shutil.copy(scene.client.key, old.key)
    await eventually(lambda: lamp.health().seconds_to_next_attempt == 0)
    assert (await lamp.read([POWER])).complete


async def test_what_a_server_offers_can_be_looked_at_before_anything_is_trusted(scene: Scene, plant: Plant) -> None:
    offers = await offered_endpoints(plant.url, 2.0)
    assert {(offer.policy, offer.mode) for offer in offers} >= {
        ("None", "None"),
        ("Aes256_Sha256_RsaPss", "SignAndEncrypt"),
    }
    assert {offer.fingerprint for offer in offers} == {scene.server.fingerprint}
    assert offers[0].certificate == scene.server.certificate.read_bytes()
    assert offers[0].application_uri == SERVER_URI


SOON = replace(LIMITS, request_timeout_s=0.4)


@pytest.fixture
def hardened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers refuse every channel without security, the one for asking what they offer too: by silence."""
    select = SecureConnection.select_policy

    def refuse_none(self: SecureConnection, uri: str, certificate: bytes | None, mode: Any = None) -> None:
        if uri == SecurityPolicyNone.URI:
            raise UaStatusCodeError(StatusCodes.BadSecurityPolicyRejected)
        select(self, uri, certificate, mode)

    monkeypatch.setattr(SecureConnection, "select_policy", refuse_none)


@pytest.mark.usefixtures("hardened")
async def test_a_server_that_cannot_be_asked_is_connected_to_with_its_only_pinned_certificate(
    scene: Scene, changing: Plant, opened: Opener
) -> None:
    await changing.become(scene.server, STRONG)
    with pytest.raises(OSError):
        await offered_endpoints(changing.url, 0.4)
    lamp = opened(changing, scene.security(trusted=scene.server.certificate), SOON)
    assert (await lamp.read([POWER])).value(POWER) == 12.5, lamp.health().last_error
    (result,) = await lamp.write([(PointAddress("level_command", 0), 300)])
    assert result.succeeded


@pytest.mark.usefixtures("hardened")
async def test_a_server_that_cannot_be_asked_needs_a_trust_list_of_one(
    scene: Scene, changing: Plant, opened: Opener
) -> None:
    await changing.become(scene.server, STRONG)
    two = scene.trust("two", scene.server, make_pair(scene.directory, "third", uri=SERVER_URI))
    reason = await refusal(opened(changing, scene.security(trusted=two), SOON))
    assert "does not say without security what it offers" in reason
    assert f"{two} holds 2" in reason


@pytest.mark.usefixtures("hardened")
async def test_a_server_that_cannot_be_asked_and_has_another_key_does_not_get_through(
    scene: Scene, changing: Plant, opened: Opener
) -> None:
    await changing.become(scene.server, STRONG)
    other = make_pair(scene.directory, "fourth", uri=SERVER_URI)
    reason = await refusal(opened(changing, scene.security(trusted=other.certificate), SOON))
    for said in ("what it offers", "Basic256Sha256 sign_and_encrypt", other.fingerprint, "trusts ours"):
        assert said in reason


async def test_a_server_that_cannot_be_asked_and_is_not_there_is_simply_not_there(scene: Scene, opened: Opener) -> None:
    nobody = Plant(pair=scene.server)
    reason = await refusal(opened(nobody, scene.security(trusted=scene.server.certificate), SOON))
    assert "what it offers" not in reason
