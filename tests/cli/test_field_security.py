"""Secured endpoints from the command line: what is refused, and what the engineer is told to do about it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from asyncua import ua

from tests.cli.field_command import field
from tests.fieldbus.opcua_servers import CLIENT_URI, SERVER_URI, Pair, Plant, Users, make_pair
from tests.fieldbus.servers import answer_frame, registers_pdu
from tests.support.certificates import Authority

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "not told to anybody"
NODE = "nsu=urn:lichtbuch:lamp;s=Lamp.0.Level"


# --- Modbus over TLS -------------------------------------------------------------------------------------------------


@dataclass
class Secured:
    """A Modbus server behind TLS, and the authority of its certificate."""

    port: int
    authority: Authority
    folder: Path

    @property
    def url(self) -> str:
        return f"modbus+tls://127.0.0.1:{self.port}"

    def security(self, authority: Authority, name: str = "") -> Path:
        file = self.folder / f"security-{authority.file.stem}-{name}.toml"
        ours = authority.issue("lichtbuch")
        named = f'server_name = "{name}"\n' if name else ""
        file.write_text(
            f'[modbus."127.0.0.1:{self.port}"]\nca = "{authority.file}"\ncertificate = "{ours.certificate}"\n'
            f'key = "{ours.key}"\n{named}',
            encoding="utf-8",
        )
        return file


@pytest_asyncio.fixture(loop_scope="module")
async def secured(tmp_path: Path) -> AsyncIterator[Secured]:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = authority.issue("cabinet")
    context.load_cert_chain(pair.certificate, pair.key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readexactly(12)
                writer.write(answer_frame(request, registers_pdu(request, 17)))
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield Secured(int(server.sockets[0].getsockname()[1]), authority, tmp_path)
    server.close()


async def test_a_device_of_our_own_authority_is_read_over_tls(secured: Secured) -> None:
    security = secured.security(secured.authority)
    done = await field("read", secured.url, "--register", "holding:40", "--security", security, "--json")
    assert done.code == 0, done.err
    assert done.document[0]["value"] == 17


async def test_a_device_of_another_authority_is_not_read_and_the_security_file_is_named(secured: Secured) -> None:
    stranger = secured.security(Authority(secured.folder, "stranger"))
    done = await field("read", secured.url, "--register", "holding:40", "--security", stranger, "--json")
    assert done.code == 5
    assert done.error["code"] == "CERTIFICATE_UNTRUSTED"
    assert "--security" in done.error["hint"]


async def test_a_device_with_a_certificate_for_another_name_is_not_read(secured: Secured) -> None:
    security = secured.security(secured.authority, "cabinet-18")
    done = await field("read", secured.url, "--register", "holding:40", "--security", security, "--json")
    assert done.code == 5
    assert done.error["code"] == "CERTIFICATE_NAME"
    assert "server_name" in done.error["hint"]


async def test_without_a_security_file_nothing_is_read_over_tls(secured: Secured) -> None:
    done = await field("read", secured.url, "--register", "holding:40", "--json")
    assert done.code == 2
    assert done.error["field"] == "security"


async def test_all_errors_of_a_security_file_are_told_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "security.toml"
    file.write_text('[modbus."10.0.0.1:802"]\nca = "nowhere.pem"\npassword = "x"\n', encoding="utf-8")
    done = await field("read", "modbus+tls://10.0.0.1", "--register", "holding:1", "--security", file, "--json")
    assert done.code == 2
    assert [violation["field"] for violation in done.error["violations"]] == ["security.toml:2", "security.toml:3"]


# --- OPC UA ----------------------------------------------------------------------------------------------------------


@dataclass
class Locked:
    """A server that wants encryption and a login, and our papers for it."""

    plant: Plant
    folder: Path
    ours: Pair
    theirs: Pair

    def security(self, *, trusted: Pair, password: str = PASSWORD) -> Path:
        secret = self.folder / "password"
        secret.write_text(password, encoding="utf-8")
        file = self.folder / "opcua.toml"
        file.write_text(
            f'[opcua."{self.plant.authority}"]\npolicy = "Basic256Sha256"\nmode = "sign_and_encrypt"\n'
            f'certificate = "{self.ours.certificate}"\nkey = "{self.ours.key}"\n'
            f'trusted = ["{trusted.certificate}"]\nuser = "field"\npassword_file = "password"\n',
            encoding="utf-8",
        )
        return file


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def locked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Locked]:
    folder = tmp_path_factory.mktemp("pki")
    ours, theirs = make_pair(folder, "client", uri=CLIENT_URI), make_pair(folder, "server", uri=SERVER_URI)
    plant = Plant(
        pair=theirs,
        policies=[ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt],
        users=Users(password=PASSWORD),
        tokens=[ua.UserNameIdentityToken],
    )
    await plant.start()
    yield Locked(plant, folder, ours, theirs)
    await plant.stop()


async def test_a_login_from_files_reads_a_locked_server_and_the_password_is_told_nowhere(locked: Locked) -> None:
    security = locked.security(trusted=locked.theirs)
    done = await field("read", locked.plant.url, "--node", NODE, "--security", security, "--json")
    assert done.code == 0, done.err
    assert PASSWORD not in done.out + done.err


async def test_a_server_that_is_not_trusted_is_named_with_its_fingerprint(locked: Locked) -> None:
    security = locked.security(trusted=locked.ours)
    done = await field("read", locked.plant.url, "--node", NODE, "--security", security, "--json")
    assert done.code == 5
    assert done.error["code"] == "CERTIFICATE_UNTRUSTED"
    assert "SHA-256" in done.error["message"]
    assert "Compare the fingerprint" in done.error["hint"]


async def test_a_wrong_password_is_told_as_a_refused_login(locked: Locked) -> None:
    security = locked.security(trusted=locked.theirs, password="guessed")
    done = await field("read", locked.plant.url, "-P", "opcua-lamp", "--security", security, "--json")
    assert done.code == 5
    assert done.error["code"] == "LOGIN_REFUSED"
    assert "guessed" not in done.out + done.err


async def test_a_scan_of_a_locked_server_shows_its_ways_in_and_keeps_its_certificate(
    locked: Locked, tmp_path: Path
) -> None:
    kept = tmp_path / "server.der"
    done = await field("scan", locked.plant.url, "--save-certificate", kept, "--json")
    assert done.code == 3
    seen = done.document
    assert {"policy": "Basic256Sha256", "mode": "SignAndEncrypt", "logins": ["UserName"]} in seen["endpoints"]
    assert len(seen["certificate_sha256"].split(":")) == 32
    assert kept.exists()
    assert seen["problem"]


async def test_tls_without_an_entry_names_the_option_for_it() -> None:
    done = await field("read", "modbus+tls://127.0.0.1:1", "--register", "holding:0", "--json")
    assert done.code == 2
    assert "--security FILE" in done.error["hint"]
