"""Security with a server that nobody here wrote: node-opcua's policies, its trust list, its users."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fieldbus.client import Fieldbus
from fieldbus.opcua.security import OpcUaSecurity, SecurityMode, SecurityPolicy
from fieldbus.profile_loader import load_profile
from fieldbus.security import FieldSecurity
from fieldbus.values import DeviceState, PointAddress, WriteOutcome
from tests.fieldbus.contract import LIMITS, nothing_there
from tests.fieldbus.servers import NOON, eventually
from tests.peers.nodes import CLIENT_URI, PASSWORD, POLICIES, USER, NodeOpcua, Pair, application_pair

pytestmark = [pytest.mark.long, pytest.mark.peers, pytest.mark.asyncio(loop_scope="module")]

PROFILE = load_profile("opcua-lamp")
LEVEL, POWER = PointAddress("level_command", 0), PointAddress("lamp_power", 0)


@dataclass
class Scene:
    """A server that wants certificates and lets in the anonymous, the user, and a user's certificate."""

    folder: Path
    client: Pair
    user: Pair
    server: NodeOpcua

    @property
    def entry(self) -> OpcUaSecurity:
        """What is right, without a user."""
        return OpcUaSecurity(
            certificate=self.client.certificate, key=self.client.key, trusted=self.server.pair.certificate
        )

    def password(self, text: str) -> Path:
        path = self.folder / "password"
        path.write_text(text, encoding="utf-8")
        return path

    def fieldbus(self, entry: OpcUaSecurity | None) -> Fieldbus:
        entries = {} if entry is None else {f"127.0.0.1:{self.server.port}": entry}
        return Fieldbus(now=lambda: NOON, limits=LIMITS, security=FieldSecurity(opcua=entries), uniform=lambda: 0.5)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("security")
    client = application_pair(folder, "client", CLIENT_URI)
    user = application_pair(folder, "user", "urn:lichtbuch:tests:user")
    server = NodeOpcua(
        clients=(client.certificate,),
        users=(user.certificate,),
        policies=POLICIES,
        anonymous=True,
        passwords={USER: PASSWORD},
    )
    await server.start()
    yield Scene(folder, client, user, server)
    await server.close()


async def works(scene: Scene, entry: OpcUaSecurity) -> None:
    """Reading and writing."""
    bus = scene.fieldbus(entry)
    try:
        device = bus.open(scene.server.url, PROFILE)
        batch = await device.read([POWER])
        assert batch.values.tolist() == [12.5], device.health().last_error
        (result,) = await device.write([(LEVEL, 370)])
        assert result.outcome is WriteOutcome.CONFIRMED
        assert await scene.server.get(0, "Level") == 37
    finally:
        await bus.close()


async def refusal(scene: Scene, entry: OpcUaSecurity | None) -> str:
    """Why neither reading nor writing works."""
    await scene.server.put(0, "Level", 50.0)
    bus = scene.fieldbus(entry)
    try:
        device = bus.open(scene.server.url, PROFILE)
        assert nothing_there(await device.read([POWER, LEVEL]))
        reason = device.health().last_error
        (result,) = await device.write([(LEVEL, 370)])
        assert result.outcome is WriteOutcome.UNKNOWN
        assert result.reason.startswith("not sent")
        assert device.health().state is DeviceState.BACKING_OFF
        assert await scene.server.get(0, "Level") == 50
        return reason
    finally:
        await bus.close()


@pytest.mark.parametrize("mode", list(SecurityMode))
@pytest.mark.parametrize("policy", [policy for policy in SecurityPolicy if policy is not SecurityPolicy.NONE])
async def test_every_policy_signed_and_encrypted(scene: Scene, policy: SecurityPolicy, mode: SecurityMode) -> None:
    await works(scene, replace(scene.entry, policy=policy, mode=mode))


@pytest.mark.parametrize("policy", [policy for policy in SecurityPolicy if policy is not SecurityPolicy.NONE])
async def test_a_user_logs_in_by_password(scene: Scene, policy: SecurityPolicy) -> None:
    await works(scene, replace(scene.entry, policy=policy, user=USER, password_file=scene.password(PASSWORD)))


async def test_a_user_logs_in_by_certificate(scene: Scene) -> None:
    await works(scene, replace(scene.entry, user_certificate=scene.user.certificate, user_key=scene.user.key))


async def test_a_wrong_password_is_told_without_the_password(scene: Scene) -> None:
    reason = await refusal(scene, replace(scene.entry, user=USER, password_file=scene.password("falsch geraten")))
    assert f"refuses to log in user '{USER}'" in reason
    assert "falsch geraten" not in reason


async def test_an_unknown_users_certificate_is_refused(scene: Scene) -> None:
    stranger = application_pair(scene.folder, "stranger", "urn:lichtbuch:tests:stranger")
    entry = replace(scene.entry, user_certificate=stranger.certificate, user_key=stranger.key)
    assert "refuses" in await refusal(scene, entry)


async def test_a_server_that_is_not_pinned_is_not_talked_to(scene: Scene) -> None:
    other = application_pair(scene.folder, "other-server", "urn:acme:lamps:server")
    reason = await refusal(scene, replace(scene.entry, trusted=other.certificate))
    assert "trust" in reason


async def test_a_client_that_the_server_does_not_trust_is_refused(scene: Scene) -> None:
    unknown = application_pair(scene.folder, "unknown", CLIENT_URI)
    assert await refusal(scene, replace(scene.entry, certificate=unknown.certificate, key=unknown.key))


async def test_without_security_this_server_is_out_of_reach(scene: Scene) -> None:
    assert await refusal(scene, None)


async def test_a_subscription_runs_over_a_secured_channel(scene: Scene) -> None:
    bus = scene.fieldbus(scene.entry)
    try:
        await scene.server.put(1, "ActualLevel", 10.0)
        seen: list[Any] = []
        level = PointAddress("level_actual", 1)
        device = bus.open(scene.server.url, PROFILE)
        subscription = await device.subscribe([level], lambda batch: seen.append(batch.as_dict().get(level)))
        await eventually(lambda: 100 in seen, 10.0)
        await scene.server.put(1, "ActualLevel", 20.0)
        await eventually(lambda: 200 in seen, 10.0)
        await subscription.cancel()
    finally:
        await bus.close()


async def test_a_hardened_server_that_tells_nothing_without_security(scene: Scene) -> None:
    hardened = NodeOpcua(
        clients=(scene.client.certificate,), policies=POLICIES, anonymous=True, passwords={}, discovery=False
    )
    await hardened.start()
    try:
        entry = replace(scene.entry, policy=SecurityPolicy.AES256_SHA256_RSA_PSS, trusted=hardened.pair.certificate)
        await works(replace(scene, server=hardened), entry)
        reason = await refusal(replace(scene, server=hardened), replace(entry, trusted=scene.server.pair.certificate))
        assert "does not say without security what it offers" in reason
    finally:
        await hardened.close()
