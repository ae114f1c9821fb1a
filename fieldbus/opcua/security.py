"""What secures an OPC UA connection: policy and mode, our certificate, the servers we trust, and who we log in as.

All files are read anew for every connection, so that a renewed certificate or password needs no restart. Secrets are
only ever in memory while a connection is made; they appear in no message and no repr. Certificates themselves are
trust.py's, sessions link.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from asyncua import ua
from asyncua.crypto import security_policies
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from domain.errors import InvalidInput, Violation
from fieldbus.opcua.transport import DiscoveryRefused, LeanClient, Traffic
from fieldbus.opcua.trust import (
    SecurityRefused,
    TrustList,
    application_uris,
    check_names,
    check_validity,
    describe,
    fingerprint,
    leaf,
    read_certificates,
    read_key,
    read_secret,
    to_der,
)


class SecurityPolicy(StrEnum):
    """Cipher suites (OPC 10000-7, 6.6); those with SHA-1 or RSA 1.5 are out of date and not offered."""

    NONE = "None"
    BASIC256_SHA256 = "Basic256Sha256"
    AES128_SHA256_RSA_OAEP = "Aes128Sha256RsaOaep"
    AES256_SHA256_RSA_PSS = "Aes256Sha256RsaPss"


class SecurityMode(StrEnum):
    """What is done to messages."""

    SIGN = "sign"
    SIGN_AND_ENCRYPT = "sign_and_encrypt"


# asyncua's classes carry no types.
_POLICIES: Final[dict[SecurityPolicy, Any]] = {
    SecurityPolicy.BASIC256_SHA256: security_policies.SecurityPolicyBasic256Sha256,
    SecurityPolicy.AES128_SHA256_RSA_OAEP: security_policies.SecurityPolicyAes128Sha256RsaOaep,
    SecurityPolicy.AES256_SHA256_RSA_PSS: security_policies.SecurityPolicyAes256Sha256RsaPss,
}
_MODES: Final = {
    SecurityMode.SIGN: ua.MessageSecurityMode.Sign,
    SecurityMode.SIGN_AND_ENCRYPT: ua.MessageSecurityMode.SignAndEncrypt,
}


def _utc_now() -> datetime:
    """Certificates expire in real time, however fast the town's time runs."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class OpcUaSecurity:
    """How one endpoint is to be spoken to. Raises InvalidInput, with every violation, for what could not be safe."""

    policy: SecurityPolicy = SecurityPolicy.BASIC256_SHA256
    mode: SecurityMode = SecurityMode.SIGN_AND_ENCRYPT
    certificate: Path | None = None  # ours, PEM (leaf first) or DER
    key: Path | None = None
    trusted: Path | tuple[Path, ...] | None = None  # a directory of pinned server certificates, or single files
    server_name: str = ""  # host name in the server's certificate, where it is not the URL's
    user: str = ""
    password_file: Path | None = None
    user_certificate: Path | None = None
    user_key: Path | None = None

    def __post_init__(self) -> None:
        wrong = list(self._violations())
        if wrong:
            raise InvalidInput("OPC UA security is not complete or not safe", wrong)

    def _violations(self) -> list[Violation]:
        wrong: list[Violation] = []
        secured = self.policy is not SecurityPolicy.NONE
        if secured:
            for name in ("certificate", "key", "trusted"):
                if getattr(self, name) is None:
                    wrong.append(Violation(name, f"policy {self.policy} needs it"))
        if bool(self.user) != (self.password_file is not None):
            wrong.append(Violation("password_file", "user and password_file belong together"))
        if self.user and not (secured and self.mode is SecurityMode.SIGN_AND_ENCRYPT):
            wrong.append(Violation("mode", "a password is only sent over an encrypted channel (sign_and_encrypt)"))
        if (self.user_certificate is None) != (self.user_key is None):
            wrong.append(Violation("user_key", "user_certificate and user_key belong together"))
        if self.user_certificate is not None and not secured:
            wrong.append(Violation("policy", "a user's certificate proves nothing without a security policy"))
        if self.user_certificate is not None and self.user:
            wrong.append(Violation("user_certificate", "a user logs in by password or by certificate, not by both"))
        return wrong

    @property
    def login(self) -> str:
        """Who we log in as, for messages."""
        if self.user:
            return f"user '{self.user}'"
        return f"the certificate {self.user_certificate}" if self.user_certificate is not None else "anonymous"

    async def secure(self, client: LeanClient, host: str, now: Callable[[], datetime] = _utc_now) -> None:
        """Prepare a client that is not connected yet. Asks the server what it offers and takes exactly what is set:
        SecurityRefused where that is not on offer or the certificate is not the pinned one.

        A server that does not let itself be asked gets what is set unasked, where exactly one certificate is pinned:
        whoever has not its key cannot go on.
        """
        if self.policy is SecurityPolicy.NONE:
            return
        ours = self._load(now())
        assert self.trusted is not None
        pinned = TrustList(self.trusted)
        try:
            offered = _chosen(await client.discover(), self)
        except DiscoveryRefused as error:
            theirs = pinned.only(str(error))
            uri = next(iter(application_uris(theirs)), "")
            client.remark = self._unasked(str(error), theirs)
        else:
            theirs = leaf(offered.ServerCertificate or b"")
            uri = str(offered.Server.ApplicationUri or "")
            pinned.check(theirs)
        check_validity(theirs, "the server's", now())
        check_names(theirs, self.server_name or host, uri)
        policy = _POLICIES[self.policy](
            theirs, ours.certificate, ours.key, _MODES[self.mode], host_cert_chain=ours.chain
        )
        client.security_policy = policy
        client.uaclient.set_security(policy)
        client.application_uri = (application_uris(ours.certificate) or [client.application_uri])[0]
        if self.user:
            client.set_user(self.user)
            client.set_password(ours.password)
        if ours.user_certificate is not None:
            client.user_certificate = ours.user_certificate
            client.user_private_key = ours.user_key

    def _unasked(self, why: str, theirs: x509.Certificate) -> str:
        return (
            f"it does not say without security what it offers ({why}), so {self.policy} {self.mode} and the pinned "
            f"certificate {describe(theirs)} were taken unasked; check that it offers these, that the certificate is "
            f"still its own, and that it trusts ours ({self.certificate})"
        )

    def _load(self, at: datetime) -> _Credentials:
        assert self.certificate is not None
        assert self.key is not None
        certificate, *chain = read_certificates(self.certificate)
        check_validity(certificate, "our own", at)
        credentials = _Credentials(certificate, chain, read_key(self.key))
        _check_pair(certificate, credentials.key, self.certificate, self.key)
        if self.password_file is not None:
            credentials.password = read_secret(self.password_file)
        if self.user_certificate is not None and self.user_key is not None:
            credentials.user_certificate = read_certificates(self.user_certificate)[0]
            check_validity(credentials.user_certificate, "the user's", at)
            credentials.user_key = read_key(self.user_key)
            _check_pair(credentials.user_certificate, credentials.user_key, self.user_certificate, self.user_key)
        return credentials


@dataclass(slots=True)
class _Credentials:
    """What the files hold, for as long as a connection is being made."""

    certificate: x509.Certificate
    chain: list[x509.Certificate]
    key: rsa.RSAPrivateKey = field(repr=False)
    password: str = field(default="", repr=False)
    user_certificate: x509.Certificate | None = None
    user_key: rsa.RSAPrivateKey | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OfferedEndpoint:
    """One way in that a server offers. Whatever it says of itself is unproven until its certificate is compared."""

    policy: str
    mode: str
    logins: tuple[str, ...]
    application_uri: str
    fingerprint: str  # "" where it shows no certificate
    certificate: bytes  # DER, to be put into a trust list after comparison


async def offered_endpoints(url: str, timeout_s: float) -> list[OfferedEndpoint]:
    """What a server offers, asked without security and without a session. Raises OSError and asyncua's errors."""
    client = LeanClient(url, timeout_s, timeout_s, Traffic())
    offers: list[OfferedEndpoint] = []
    for endpoint in await client.discover() or ():
        certificate = leaf(endpoint.ServerCertificate) if endpoint.ServerCertificate else None
        offers.append(
            OfferedEndpoint(
                policy=str(endpoint.SecurityPolicyUri).rpartition("#")[2],
                mode=endpoint.SecurityMode.name.rstrip("_"),
                logins=tuple(token.TokenType.name for token in endpoint.UserIdentityTokens or ()),
                application_uri=str(endpoint.Server.ApplicationUri or ""),
                fingerprint="" if certificate is None else fingerprint(certificate),
                certificate=b"" if certificate is None else to_der(certificate),
            )
        )
    return offers


def _chosen(offers: list[ua.EndpointDescription], wanted: OpcUaSecurity) -> ua.EndpointDescription:
    uri, mode = _POLICIES[wanted.policy].URI, _MODES[wanted.mode]
    for offer in offers:
        if offer.SecurityPolicyUri == uri and offer.SecurityMode == mode:
            return offer
    names = {f"{str(o.SecurityPolicyUri).rpartition('#')[2]} {o.SecurityMode.name.rstrip('_')}" for o in offers}
    raise SecurityRefused(
        f"the server does not offer {wanted.policy} {wanted.mode}, only {', '.join(sorted(names)) or 'nothing'}; "
        "less is not taken instead"
    )


def _check_pair(certificate: x509.Certificate, key: rsa.RSAPrivateKey, where: Path, key_path: Path) -> None:
    if certificate.public_key() != key.public_key():
        raise SecurityRefused(f"key {key_path} does not belong to certificate {where}")
