"""node-opcua as a server of nodes: its certificates and folders, without security or with it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fieldbus.opcua.security import OpcUaSecurity, SecurityMode, SecurityPolicy
from fieldbus.security import FieldSecurity
from fieldbus.values import Identity
from tests.fieldbus.contract import LAMPS
from tests.peers.peer import ForeignNodes

SERVER_URI = "urn:acme:lamps:server"
CLIENT_URI = "urn:lichtbuch:tests:client"
IDENTITY = Identity("ACME", "Lamps", "2.156")
USER, PASSWORD = "lichtbuch", "nachts wird gedimmt"
POLICIES = ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]  # as node-opcua calls them


@dataclass(frozen=True)
class Pair:
    """A self-signed application certificate and its key, as PEM files."""

    certificate: Path
    key: Path


def application_pair(folder: Path, name: str, uri: str) -> Pair:
    """As OPC UA wants application certificates: RSA, the application's URI among the names (OPC 10000-6, 6.2.2)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = [x509.UniformResourceIdentifier(uri), x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pair.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pair


class NodeOpcua(ForeignNodes):
    """The server with a folder of its own, gone with it. It trusts the certificates given of clients and users."""

    def __init__(
        self,
        *,
        clients: tuple[Path, ...] = (),
        users: tuple[Path, ...] = (),
        demonstration: bool = False,
        **security: Any,
    ) -> None:
        """`demonstration` adds what its makers show their server with; `security` goes to the script as it is."""
        self._folder = tempfile.TemporaryDirectory(prefix="lichtbuch-node-opcua-")
        folder = Path(self._folder.name)
        self.pair = application_pair(folder, "server", SERVER_URI)
        for name, trusted in (("pki", clients), ("user-pki", users)):
            certificates = folder / name / "trusted" / "certs"
            certificates.mkdir(parents=True)
            for certificate in trusted:
                (certificates / certificate.name).write_bytes(certificate.read_bytes())
        super().__init__(
            "node_opcua_peer.js",
            IDENTITY,
            LAMPS,
            demonstration=demonstration,
            security={
                "pki": str(folder / "pki"),
                "userPki": str(folder / "user-pki"),
                "certificate": str(self.pair.certificate),
                "key": str(self.pair.key),
                **security,
            },
        )

    async def close(self) -> None:
        await super().close()
        self._folder.cleanup()


class SecuredNodeOpcua(NodeOpcua):
    """Nobody gets in without a trusted certificate, and nobody without a user's password."""

    def __init__(self) -> None:
        self._own = tempfile.TemporaryDirectory(prefix="lichtbuch-opcua-client-")
        folder = Path(self._own.name)
        client = application_pair(folder, "client", CLIENT_URI)
        password = folder / "password"
        password.write_text(f"{PASSWORD}\n", encoding="utf-8")
        super().__init__(clients=(client.certificate,), policies=POLICIES, anonymous=False, passwords={USER: PASSWORD})
        self._entry = OpcUaSecurity(
            policy=SecurityPolicy.AES256_SHA256_RSA_PSS,
            mode=SecurityMode.SIGN_AND_ENCRYPT,
            certificate=client.certificate,
            key=client.key,
            trusted=self.pair.certificate,
            user=USER,
            password_file=password,
        )

    @property
    def security(self) -> FieldSecurity:
        return FieldSecurity(opcua={f"127.0.0.1:{self.port}": self._entry})

    async def close(self) -> None:
        await super().close()
        self._own.cleanup()
