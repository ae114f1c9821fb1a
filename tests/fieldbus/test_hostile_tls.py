"""Who answers in TLS wrongly, or not in TLS at all, is sent no request, costs a bounded time and leaves nothing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fieldbus.client import Fieldbus
from fieldbus.security import FieldSecurity, TlsSecurity
from fieldbus.values import PointAddress, Quality
from tests.fieldbus.conftest import FAST
from tests.fieldbus.leaks import nothing_left_behind
from tests.fieldbus.servers import Manual
from tests.fieldbus.test_modbus_links import Authority

LOOPBACK = ip_address("127.0.0.1")
LEVEL = (PointAddress("level_command", 3),)
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_once(clock: Manual, serve: Serve, context: ssl.SSLContext | None, ca: Path) -> tuple[list[int], str]:
    """What a reading of such a server gives, and why."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with nothing_left_behind(), asyncio.timeout(20):
        security = FieldSecurity(modbus={f"127.0.0.1:{port}": TlsSecurity(ca)})
        bus = Fieldbus(now=clock.now, limits=FAST, monotonic=clock.monotonic, security=security)
        device = bus.open(f"modbus+tls://127.0.0.1:{port}", "generic-level-status")
        batch = await device.read(LEVEL)
        reason = device.health().last_error
        await bus.close()
    server.close()
    return batch.quality.tolist(), reason


async def plain_text(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(16)
    writer.write(b"\x00\x01\x00\x00\x00\x05\x01\x03\x02\x02\xbc")
    writer.close()


async def greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")
    await reader.read()
    writer.close()


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def half_a_handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(16)
    writer.write(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
    await reader.read()
    writer.close()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize(
    "serve", [plain_text, greeting, silence, half_a_handshake, hang_up], ids=lambda serve: serve.__name__
)
async def test_what_is_no_tls_is_not_talked_to(clock: Manual, tmp_path: Path, serve: Serve) -> None:
    quality, reason = await read_once(clock, serve, None, Authority(tmp_path).ca)
    assert quality == [Quality.MISSING]
    assert "cannot connect" in reason


async def never_called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if await reader.read():
        raise AssertionError("a request went to somebody who is not to be believed")
    writer.close()


def self_signed(folder: Path, begins: timedelta, ends: timedelta) -> tuple[Path, Path]:
    """A certificate for the right address that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(LOOPBACK)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "self.pem", folder / "self.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def context_of(pair: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    return context


@pytest.mark.parametrize(
    ("begins", "ends", "trusted", "reason"),
    [
        (-timedelta(days=1), timedelta(days=1), False, "self-signed"),
        (-timedelta(days=3), -timedelta(days=1), True, "expired"),
        (timedelta(days=1), timedelta(days=3), True, "not yet valid"),
    ],
    ids=["nobody vouches", "expired", "not yet valid"],
)
async def test_a_certificate_that_proves_nothing_is_not_believed(
    clock: Manual, tmp_path: Path, begins: timedelta, ends: timedelta, trusted: bool, reason: str
) -> None:
    pair = self_signed(tmp_path, begins, ends)
    ca = pair[0] if trusted else Authority(tmp_path).ca
    quality, why = await read_once(clock, never_called, context_of(pair), ca)
    assert quality == [Quality.MISSING]
    assert "cannot trust" in why
    assert reason in why


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_tls_before_1_2_is_not_spoken(clock: Manual, tmp_path: Path, version: ssl.TLSVersion) -> None:
    pair = self_signed(tmp_path, -timedelta(days=1), timedelta(days=1))
    context = context_of(pair)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = version
    context.maximum_version = version
    quality, why = await read_once(clock, never_called, context, pair[0])
    assert quality == [Quality.MISSING]
    assert "cannot connect" in why


async def test_rubbish_inside_tls_is_no_value(clock: Manual, tmp_path: Path) -> None:
    async def rubbish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(bytes(range(256)) * 300)
        writer.close()

    pair = self_signed(tmp_path, -timedelta(days=1), timedelta(days=1))
    quality, _ = await read_once(clock, rubbish, context_of(pair), pair[0])
    assert quality == [Quality.MISSING]
