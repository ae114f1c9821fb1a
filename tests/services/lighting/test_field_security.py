"""Certificates and logins of the field, from the settings of the service to a lamp on a secured server."""

import asyncio
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from asyncua import ua

from servicekit.clock import SteppedClock
from services.lighting.app import build
from services.lighting.records import EndpointRecord, EndpointState
from services.lighting.settings import LightingSettings
from services.lighting.store.endpoints import replace_endpoints
from tests.fieldbus.opcua_servers import CLIENT_URI, SERVER_URI, Plant, Users, make_pair
from tests.services.lighting.running import HERSFELD, running_lighting
from tests.support.issuer import Issuer
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
LAMPS = 2


async def test_lamps_on_a_secured_server_follow_and_an_endpoint_without_its_entry_is_named(
    issuer: Issuer, one_database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    client = make_pair(tmp_path, "client", uri=CLIENT_URI)
    users = Users("correct horse")
    plant = Plant(
        pair=make_pair(tmp_path, "plant", uri=SERVER_URI),
        policies=[ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt],
        users=users,
        tokens=(ua.UserNameIdentityToken,),
        lamps=LAMPS,
    )
    await plant.start()
    await stock(issuer, one_database_url, tmp_path, plant.url)
    (tmp_path / "plant.password").write_text("correct horse")
    security = tmp_path / "field.toml"
    security.write_text(
        f"""
[opcua."{plant.authority}"]
policy = "Basic256Sha256"
mode = "sign_and_encrypt"
certificate = "{client.certificate.name}"
key = "{client.key.name}"
trusted = ["plant.pem"]
user = "field"
password_file = "plant.password"
"""
    )
    with caplog.at_level(logging.INFO):
        server = await build(settings(one_database_url, tmp_path, security))
        await server.start()
        try:
            # It knows the town from its own disk: no registry is there. By day lamps go out, by night to full.
            await eventually(lambda: "password" in users.logins)
            for lamp in range(LAMPS):
                async with asyncio.timeout(90):
                    while await plant.node(f"Lamp.{lamp}.Level").read_value() == 50.0:  # noqa: ASYNC110 - it gives no event
                        await asyncio.sleep(0.02)
        finally:
            await server.stop(0)
            await plant.stop()
    assert "endpoint E-c1 cannot be opened" in caplog.text
    assert 'modbus+tls needs an entry [modbus."cabinet-17:802"]' in caplog.text
    assert "correct horse" not in caplog.text


def test_a_wrong_file_keeps_the_service_from_starting_and_is_told_with_line_and_reason(tmp_path: Path):
    wrong = tmp_path / "field.toml"
    wrong.write_text('[opcua."plc:4840"]\npolicy = "Basic128Rsa15"\n')
    environment = {
        **os.environ,
        "LICHTBUCH_DATA_DIR": str(tmp_path),
        "LICHTBUCH_FIELD_SECURITY": str(wrong),
        "LICHTBUCH_LISTEN": "127.0.0.1:0",
        "LICHTBUCH_METRICS_LISTEN": "off",
        "LICHTBUCH_REGISTRY_ADDRESS": "127.0.0.1:1",
    }
    for service in ("lighting", "metering"):
        ended = subprocess.run(
            [sys.executable, "-m", f"services.{service}"],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ended.returncode == 1, ended.stderr
        told = ended.stdout + ended.stderr
        assert f"{service} cannot start: {wrong.name}:2" in told
        assert "'Basic128Rsa15' is not one of" in told
        assert "Traceback" not in told


def settings(database_url: str, folder: Path, security: Path) -> LightingSettings:
    """As a process would have them."""
    return LightingSettings(
        listen="127.0.0.1:0", metrics_listen="off", registry_address="127.0.0.1:1", drain_s=0.2,
        database_url=database_url, data_dir=folder, field_security=security, holder="test",
    )  # fmt: skip


async def stock(issuer: Issuer, database_url: str, folder: Path, lamps_url: str) -> None:
    """A street whose lamps are on an OPC UA server, and whose controller speaks Modbus in TLS."""
    async with running_lighting(issuer, database_url, folder, clock=SteppedClock(datetime.now(UTC))) as light:
        await light.street(1, lamps=LAMPS)
        controlled = EndpointState.IN_CONTROL
        records = [
            EndpointRecord(
                f"{0xE0000:032x}", HERSFELD.uid, "E-c1", "modbus+tls://cabinet-17", "cabinet-plc", controlled
            ),
            EndpointRecord(f"{0xE0001:032x}", HERSFELD.uid, "E-g1", lamps_url, "opcua-lamp", controlled),
        ]
        await light.parts.database.run(lambda session: replace_endpoints(session, records, 0))
        await light.parts.memory.refresh()
