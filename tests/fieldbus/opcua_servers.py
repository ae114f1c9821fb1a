"""Servers made with asyncua for the tests of OPC UA, and the certificates they show, made on the spot."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from asyncua import ua
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.binary_server_asyncio import BinaryServer
from asyncua.server.server import Server
from asyncua.server.user_managers import PermissiveUserManager
from asyncua.ua.attribute_ids import AttributeIds
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.fieldbus.servers import LAMP_NAMESPACE, NOON
from tests.support.ports import free_port

SERVER_URI = "urn:acme:plc:7"
CLIENT_URI = "urn:lichtbuch:field"


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path
    fingerprint: str


def make_pair(
    directory: Path,
    name: str,
    *,
    uri: str,
    hosts: Sequence[str] = ("127.0.0.1", "localhost"),
    valid_from: timedelta = timedelta(days=-1),
    valid_for: timedelta = timedelta(days=30),
    pem: bool = True,
) -> Pair:
    """A self-signed application certificate (OPC 10000-6, 6.2.2)."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    begins = datetime.now(UTC) + valid_from
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + valid_for)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = Encoding.PEM if pem else Encoding.DER
    suffix = "pem" if pem else "der"
    pair = Pair(
        directory / f"{name}.{suffix}",
        directory / f"{name}.key.{suffix}",
        certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
    )
    pair.certificate.write_bytes(certificate.public_bytes(encoding))
    pair.key.write_bytes(key.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption()))
    return pair


class Users:
    """Knows one user by password, and one by certificate."""

    def __init__(self, password: str = "", certificate: bytes = b"") -> None:
        self._password = password
        self._certificate = certificate
        self.logins: list[str] = []

    def get_user(
        self, iserver: object, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> User | None:
        if certificate is not None and username is None and self._certificate and certificate == self._certificate:
            self.logins.append("certificate")
            return User(role=UserRole.User)
        if username == "field" and self._password and password == self._password:
            self.logins.append("password")
            return User(role=UserRole.User)
        self.logins.append("refused")
        return None


class Plant:
    """An asyncua server with lamps, whose namespaces, security and contents a test chooses."""

    def __init__(
        self,
        *,
        pair: Pair | None = None,
        policies: Sequence[ua.SecurityPolicyType] = (ua.SecurityPolicyType.NoSecurity,),
        users: Users | None = None,
        tokens: Sequence[type] = (ua.AnonymousIdentityToken,),
        namespaces_before: Sequence[str] = ("urn:somebody:else",),
        lamps: int = 1,
    ) -> None:
        self._pair = pair
        self._policies = list(policies)
        self._users = users
        self._tokens = list(tokens)
        self.namespaces_before = namespaces_before
        self.lamps = lamps
        self.port = free_port()
        self.namespace = 0
        self._server: Server | None = None
        self.build: Callable[[Plant], Any] | None = None

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/plant"

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def server(self) -> Server:
        assert self._server is not None
        return self._server

    async def start(self) -> None:
        server = Server(user_manager=cast(Any, self._users))
        server.iserver.bind_condition_methods = True  # so that it tells standing alarms to newcomers
        await server.init()
        server.disable_clock()  # it ticks once a second, and stopping waits for the tick
        server.set_endpoint(self.url)
        server.set_security_policy(self._policies)
        server.set_identity_tokens(self._tokens)
        await server.set_application_uri(SERVER_URI)
        await server.set_build_info("urn:acme:plant", "ACME", "Plant", "1", "1", NOON)
        if self._pair is not None:
            await server.load_certificate(self._pair.certificate)
            await server.load_private_key(self._pair.key)
        for uri in self.namespaces_before:
            await server.register_namespace(uri)
        self.namespace = await server.register_namespace(LAMP_NAMESPACE)
        self._server = server
        for lamp in range(self.lamps):
            folder = await server.nodes.objects.add_folder(self.id(f"Lamp.{lamp}"), f"Lamp.{lamp}")
            for name, value, kind in (
                ("Level", 50.0, ua.VariantType.Double),
                ("ActualLevel", 50.0, ua.VariantType.Double),
                ("Power", 12.5, ua.VariantType.Double),
                ("LampFailure", False, ua.VariantType.Boolean),
                ("GearFailure", False, ua.VariantType.Boolean),
                ("Energy", 4321, ua.VariantType.UInt64),
                ("BurningTime", 7200, ua.VariantType.UInt64),
            ):
                node = await folder.add_variable(self.id(f"Lamp.{lamp}.{name}"), name, ua.Variant(value, kind))
                if name == "Level":
                    await node.set_writable()
        if self.build is not None:
            await self.build(self)
        await server.start()

    async def become(
        self,
        pair: Pair,
        policies: Sequence[ua.SecurityPolicyType],
        users: Users | None = None,
        tokens: Sequence[type] = (ua.AnonymousIdentityToken,),
    ) -> None:
        """Listen anew with another identity. A server of its own would cost seconds to build its address space."""
        server = self.server
        assert server.bserver is not None
        await server.bserver.stop()
        server._policies.clear()
        server.iserver.endpoints.clear()
        server.iserver.user_manager = cast(Any, users or PermissiveUserManager())
        server.set_security_policy(list(policies))
        server.set_identity_tokens(list(tokens))
        await server.load_certificate(pair.certificate)
        await server.load_private_key(pair.key)
        await server._setup_server_nodes()
        server.bserver = BinaryServer(server.iserver, "127.0.0.1", self.port, server.limits)
        server.bserver.set_policies(server._policies)
        await server.bserver.start()

    async def stop(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop()

    def id(self, name: str) -> ua.NodeId:
        return ua.NodeId(ua.String(name), ua.Int16(self.namespace), ua.NodeIdType.String)

    def node(self, name: str) -> Any:
        return self.server.get_node(self.id(name))

    async def set(self, name: str, value: Any, kind: ua.VariantType = ua.VariantType.Double, **more: Any) -> None:
        more.setdefault("SourceTimestamp", NOON)
        await self.node(name).write_attribute(AttributeIds.Value, ua.DataValue(ua.Variant(value, kind), **more))
