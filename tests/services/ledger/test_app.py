"""The ledger as a process: what its settings make of it, and what it refuses to start with."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from domain.errors import FailedPrecondition
from services.ledger.app import LedgerSettings, build
from services.ledger.signing import KEY_FILE

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def settings(folder: Path, **changes: object) -> LedgerSettings:
    """Settings of a ledger whose neighbours are all away."""
    values: dict[str, object] = {
        "listen": "127.0.0.1:0",
        "metrics_listen": "off",
        "data_dir": folder,
        "registry_address": "127.0.0.1:1",
        "lighting_address": "127.0.0.1:1",
        "metering_address": "127.0.0.1:1",
        "drain_s": 0.2,
        **changes,
    }
    return LedgerSettings.model_validate(values)


async def test_a_ledger_starts_alone_with_a_key_and_a_schema_of_its_own(tmp_path: Path) -> None:
    server = await build(settings(tmp_path))
    await server.start()
    try:
        assert server.port > 0
        assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
        assert (tmp_path / "ledger.db").exists()
        assert {"lichtbuch.ledger.v1.LedgerService", "lichtbuch.audit.v1.AuditService"} <= set(server._services)
    finally:
        await server.stop(0)


async def test_a_given_key_signs_and_none_is_made(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    file = tmp_path / "given.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = await build(settings(tmp_path / "data", ledger_signing_key=file, ledger_former_keys=[KEY]))
    try:
        assert not (tmp_path / "data" / KEY_FILE).exists()
    finally:
        await server.stop(0)


async def test_a_key_that_cannot_serve_keeps_the_ledger_from_starting(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="cannot be read"):
        await build(settings(tmp_path, ledger_signing_key=tmp_path / "nowhere.pem"))


@pytest.mark.parametrize("value", ["no base64!", "AAAA"])
def test_a_former_key_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ValidationError, match="an Ed25519 public key"):
        settings(tmp_path, ledger_former_keys=[value])
