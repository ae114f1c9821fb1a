"""Who is calling: OpenID Connect bearer tokens judged by the issuer's keys, and client certificates under mutual TLS.

Everything is judged on real time. What the caller may do is access.py. Errors name the claim, never the token.
"""

import asyncio
import hashlib
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

from joserfc import jwt
from joserfc.errors import BadSignatureError, JoseError, SecurityWarning
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from joserfc.jws import JWSRegistry, extract_compact
from joserfc.util import to_bytes

from domain.errors import LichtbuchError, NotAuthenticated, Unavailable
from servicekit.access import SERVICE_PERMISSIONS
from servicekit.clock import system_time
from servicekit.discovery import discover, fetch_json
from servicekit.metrics import TOKENS_REFUSED
from servicekit.shared import SharedWork

ALGORITHMS: Final = ("RS256", "ES256", "EdDSA", "Ed25519")
"""What a token may be signed with: public keys only. "none" and shared secrets never."""

# RFC 9864 gives Ed25519 a name of its own; issuers will go on writing EdDSA for years.
warnings.filterwarnings("ignore", message="EdDSA is deprecated", category=SecurityWarning)

MAX_TOKEN_BYTES: Final = 16 * 1024
SERVICE_PREFIX: Final = "service:"

_KEYS_LIVE: Final = timedelta(minutes=10)
_NOT_AGAIN_WITHIN: Final = timedelta(seconds=10)
_FETCH_TIMEOUT_S: Final = 6.0
_MAX_SUBJECT: Final = 255
_MAX_SEEN: Final = 4096
_JWT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_ACCESS_TOKEN_TYPES: Final = ("", "JWT", "AT+JWT", "APPLICATION/AT+JWT")


@dataclass(frozen=True, slots=True)
class Identity:
    """A proven identity: the subject, and the service's name where it is one."""

    subject: str
    service: str = ""


class KeySource(Protocol):
    """Where the issuer's public keys come from."""

    async def keys(self, kid: str | None) -> KeySet:
        """The keys, fetched anew if `kid` is not among the known ones. Raises Unavailable."""
        ...


class IssuerKeys:
    """The issuer's keys (JWKS), cached, refreshed every ten minutes, and at once for an unknown key id.

    Unknown ids ask the issuer at most every ten seconds: forged tokens do not become traffic. While the issuer is away,
    the keys that are known go on.
    """

    def __init__(
        self,
        issuer: str,
        jwks_uri: str = "",
        *,
        real: Callable[[], datetime] = system_time,
        ca_file: Path | None = None,
        fetch: Callable[..., Any] = fetch_json,
    ) -> None:
        self._issuer, self._jwks_uri = issuer, jwks_uri
        self._real, self._ca_file, self._fetch = real, ca_file, fetch
        self._keys: KeySet | None = None
        self._fetched_at: datetime | None = None
        self._asked_at: datetime | None = None
        self._refresh = SharedWork("issuer keys", self._fetch_keys)

    async def keys(self, kid: str | None) -> KeySet:
        """The keys. Raises Unavailable where none is known and the issuer is away."""
        if self._keys is not None and not self._is_old() and self._holds(kid):
            return self._keys
        if self._may_ask(kid):
            await self._refresh()
        if self._keys is None:
            raise Unavailable("the issuer's keys are not known yet", 2.0)
        return self._keys

    def _holds(self, kid: str | None) -> bool:
        return kid is None or any(key.kid == kid for key in self._keys or ())

    def _is_old(self) -> bool:
        return self._fetched_at is None or self._real() - self._fetched_at > _KEYS_LIVE

    def _may_ask(self, kid: str | None) -> bool:
        if self._refresh.is_running:
            return True
        pause = _NOT_AGAIN_WITHIN if self._keys is not None else timedelta(seconds=1)
        return self._asked_at is None or self._real() - self._asked_at >= pause

    async def _fetch_keys(self) -> None:
        self._asked_at = self._real()
        try:
            async with asyncio.timeout(_FETCH_TIMEOUT_S):
                uri = self._jwks_uri or await self._discovered()
                document = await self._fetch(uri, ca_file=self._ca_file)
            self._keys = usable_keys(document)
            self._fetched_at = self._real()
        except (LichtbuchError, TimeoutError) as error:
            if self._keys is None:
                raise Unavailable("the issuer's keys cannot be had", 2.0) from error

    async def _discovered(self) -> str:
        configuration = await discover(self._issuer, ca_file=self._ca_file)
        uri = configuration.get("jwks_uri")
        if not isinstance(uri, str):
            raise Unavailable("the issuer names no keys", 5.0)
        return uri


def usable_keys(document: Mapping[str, Any]) -> KeySet:
    """The public signature keys of a JWKS document; others are left out. Raises Unavailable if none is left."""
    kinds: dict[str, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    keys: list[Any] = []
    for data in document.get("keys", ()):
        if not isinstance(data, dict) or data.get("kty") not in kinds or data.get("use", "sig") != "sig":
            continue
        if "d" in data:
            continue  # a private key has no business there
        try:
            keys.append(kinds[data["kty"]].import_key(data))
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    if not keys:
        raise Unavailable("the issuer publishes no usable key", 5.0)
    return KeySet(keys)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A token whose signature held, and the keys by which it did."""

    claims: Mapping[str, Any]
    kid: str | None
    keys: KeySet


class TokenValidator:
    """Judges bearer tokens."""

    def __init__(
        self,
        keys: KeySource,
        *,
        issuer: str,
        audience: str,
        skew_s: float = 30.0,
        service_subjects: Mapping[str, str] | None = None,
        real: Callable[[], datetime] = system_time,
    ) -> None:
        self._keys, self._issuer, self._audience, self._skew_s = keys, issuer, audience, skew_s
        self._service_subjects = dict(service_subjects or {})
        self._real = real
        self._registry = JWSRegistry(algorithms=list(ALGORITHMS))
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()

    async def validate(self, token: str) -> Identity:
        """The identity that a token proves. Raises NotAuthenticated naming what is wrong, Unavailable without keys."""
        claims = await self._verified(token)
        self._check_times(claims)
        if not isinstance(claims.get("iss"), str) or claims["iss"].rstrip("/") != self._issuer.rstrip("/"):
            raise refused("iss", "the token is of another issuer")
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if self._audience not in audiences:
            raise refused("aud", "the token is for another audience")
        return self._identity(claims)

    def _header(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_BYTES or not _JWT.fullmatch(token):
            raise refused("token", "not a signed JSON Web Token")
        try:
            header = extract_compact(to_bytes(token)).headers()
        except (JoseError, ValueError) as error:
            raise refused("token", "not a signed JSON Web Token") from error
        if header.get("alg") not in ALGORITHMS:
            raise refused("alg", f"the token is signed with none of {', '.join(ALGORITHMS)}")
        if str(header.get("typ", "")).upper() not in _ACCESS_TOKEN_TYPES:
            raise refused("typ", "not an access token")
        if "crit" in header:
            raise refused("crit", "the token asks for what is not understood here")
        return dict(header)

    async def _verified(self, token: str) -> Mapping[str, Any]:
        """The claims under a signature that holds. It is not verified anew while the issuer's keys are the same."""
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        seen = self._seen.get(digest)
        if seen is not None and seen.keys is await self._keys.keys(seen.kid):
            self._seen.move_to_end(digest)
            return seen.claims
        header = self._header(token)
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise refused("kid", "the key id is no text")
        keys = await self._keys.keys(kid)
        claims = self._verify(token, kid, keys)
        self._seen[digest] = _Seen(claims, kid, keys)
        while len(self._seen) > _MAX_SEEN:
            self._seen.popitem(last=False)
        return claims

    def _verify(self, token: str, kid: str | None, keys: KeySet) -> dict[str, Any]:
        matching = [key for key in keys if kid is None or key.kid == kid]
        if not matching:
            raise refused("kid", "the issuer has no such key")
        for key in matching:
            try:
                return dict(jwt.decode(token, key, algorithms=list(ALGORITHMS), registry=self._registry).claims)
            except BadSignatureError:
                continue
            except (JoseError, ValueError, TypeError):
                continue  # a key of another kind than the algorithm asks for
        raise refused("signature", "the signature does not hold")

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self._real().timestamp()
        expires, not_before, issued = (_number(claims, name) for name in ("exp", "nbf", "iat"))
        if expires is None:
            raise refused("exp", "the token does not say when it ends")
        if expires <= now - self._skew_s:
            raise refused("exp", "the token has ended")
        if not_before is not None and not_before > now + self._skew_s:
            raise refused("nbf", "the token does not hold yet")
        if issued is not None and issued > now + self._skew_s:
            raise refused("iat", "the token was issued in the future")

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        subject = claims.get("sub")
        if not isinstance(subject, str) or not subject or len(subject.encode()) > _MAX_SUBJECT:
            raise refused("sub", "the token names no subject")
        service = self._service_subjects.get(subject, "")
        if not service and subject.startswith(SERVICE_PREFIX):
            if self._service_subjects:  # then people of that issuer may be called anything
                raise refused("sub", "the issuer's services are those of service_subjects")
            service = subject.removeprefix(SERVICE_PREFIX)
        if service and service not in SERVICE_PERMISSIONS:
            raise refused("sub", "the token is of an unknown service")
        return Identity(f"{SERVICE_PREFIX}{service}" if service else subject, service)


def _number(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise refused(name, f"{name} is no instant")
    return float(value)


def refused(claim: str, reason: str) -> NotAuthenticated:
    """The error for a token that does not hold, counted by claim."""
    TOKENS_REFUSED.labels(claim).inc()
    return NotAuthenticated(f"{claim}: {reason}")


class Authenticator:
    """Finds out who calls, from the call's metadata and its transport."""

    def __init__(self, validator: TokenValidator | None, *, trusts_certificates: bool = False) -> None:
        self._validator = validator
        self._trusts_certificates = trusts_certificates

    async def identify(
        self, metadata: Iterable[tuple[str, str | bytes]], auth_context: Mapping[str, Iterable[bytes]]
    ) -> Identity:
        """The caller's identity: by its token, else by its certificate. Raises NotAuthenticated."""
        values = [value for key, value in metadata if key == "authorization"]
        if len(values) > 1:
            raise refused("authorization", "one is needed, several were given")
        if values:
            if self._validator is None:
                raise refused("authorization", "tokens are not taken here")
            return await self._validator.validate(_bearer(values[0]))
        identity = self._by_certificate(auth_context) if self._trusts_certificates else None
        if identity is None:
            raise refused("authorization", "a bearer token is needed")
        return identity

    def _by_certificate(self, auth_context: Mapping[str, Iterable[bytes]]) -> Identity | None:
        # gRPC has checked the certificate against our authorities of clients before we see it.
        if list(auth_context.get("transport_security_type", ())) != [b"ssl"]:
            return None
        names = [name.decode("utf-8", "replace") for name in auth_context.get("x509_common_name", ())]
        if len(names) != 1:
            return None
        service = names[0].removeprefix(SERVICE_PREFIX)
        return Identity(f"{SERVICE_PREFIX}{service}", service) if service in SERVICE_PERMISSIONS else None


def _bearer(value: str | bytes) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    scheme, _, token = text.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise refused("authorization", "a bearer token is needed")
    return token.strip()
