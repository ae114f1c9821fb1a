"""Judging an ID token (OpenID Connect Core 1.0, section 3.1.3.7): who has just logged in, and here, and now.

It is shown to nobody: services get the access token. Errors name the claim, never the token.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry, extract_compact
from joserfc.util import to_bytes

from domain.errors import NotAuthenticated
from servicekit.auth import ALGORITHMS, MAX_TOKEN_BYTES, KeySource

_JWT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_MAX_SUBJECT: Final = 255
_MAX_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Person:
    """Who logged in. The name is for the screen only."""

    subject: str
    name: str
    token_ends_at: datetime


class IdTokenJudge:
    """Judges ID tokens made for one client."""

    def __init__(
        self, keys: KeySource, *, issuer: str, client_id: str, skew_s: float, real: Callable[[], datetime]
    ) -> None:
        self._keys, self._issuer, self._client_id = keys, issuer.rstrip("/"), client_id
        self._skew_s, self._real = skew_s, real
        self._registry = JWSRegistry(algorithms=list(ALGORITHMS))

    async def judge(self, token: str, nonce: str) -> Person:
        """The person that the token speaks of. Raises NotAuthenticated naming the claim, Unavailable without keys."""
        header = self._header(token)
        claims = await self._verified(token, header)
        issuer = claims.get("iss")
        if not isinstance(issuer, str) or issuer.rstrip("/") != self._issuer:
            raise _refused("iss", "the token is of another issuer")
        self._check_audience(claims)
        ends_at = self._check_times(claims)
        given = claims.get("nonce")
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
            raise _refused("nonce", "the token answers another login")
        subject = claims.get("sub")
        if not isinstance(subject, str) or not subject or len(subject.encode()) > _MAX_SUBJECT:
            raise _refused("sub", "the token names nobody")
        return Person(subject, _name_of(claims, subject), ends_at)

    def _header(self, token: str) -> Mapping[str, Any]:
        if len(token) > MAX_TOKEN_BYTES or not _JWT.fullmatch(token):
            raise _refused("id_token", "not a signed JSON Web Token")
        try:
            header: Mapping[str, Any] = extract_compact(to_bytes(token)).headers()
        except (JoseError, ValueError) as error:
            raise _refused("id_token", "not a signed JSON Web Token") from error
        if header.get("alg") not in ALGORITHMS:
            raise _refused("alg", f"the token is signed with none of {', '.join(ALGORITHMS)}")
        if str(header.get("typ", "JWT")).upper() != "JWT":
            raise _refused("typ", "not an ID token")
        if "crit" in header:
            raise _refused("crit", "the token asks for what is not understood here")
        return header

    async def _verified(self, token: str, header: Mapping[str, Any]) -> Mapping[str, Any]:
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise _refused("kid", "the key id is no text")
        for key in await self._keys.keys(kid):
            if kid is not None and key.kid != kid:
                continue
            try:
                return jwt.decode(token, key, algorithms=list(ALGORITHMS), registry=self._registry).claims
            except (JoseError, ValueError, TypeError):
                continue  # another key, or one of another kind than the algorithm asks for
        raise _refused("signature", "no key of the issuer fits the signature")

    def _check_audience(self, claims: Mapping[str, Any]) -> None:
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if self._client_id not in audiences:
            raise _refused("aud", "the token is for another client")
        authorized = claims.get("azp")
        if (len(audiences) > 1 or authorized is not None) and authorized != self._client_id:
            raise _refused("azp", "the token was made for another client")

    def _check_times(self, claims: Mapping[str, Any]) -> datetime:
        now = self._real().timestamp()
        expires, issued = _number(claims, "exp"), _number(claims, "iat")
        if expires <= now - self._skew_s:
            raise _refused("exp", "the token has ended")
        if issued > now + self._skew_s:
            raise _refused("iat", "the token was issued in the future")
        return datetime.fromtimestamp(expires, UTC)


def _number(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e11:
        raise _refused(name, "no instant")
    return float(value)


def _name_of(claims: Mapping[str, Any], subject: str) -> str:
    for claim in ("name", "preferred_username", "email"):
        value = claims.get(claim)
        if isinstance(value, str) and value.strip():
            return value.strip()[:_MAX_NAME]
    return subject


def _refused(claim: str, reason: str) -> NotAuthenticated:
    return NotAuthenticated(f"{claim}: {reason}")
