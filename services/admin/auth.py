"""Logging in with OpenID Connect: authorization code with PKCE, state and nonce (RFC 6749, RFC 7636, RFC 9207).

Knows the issuer, no cookies and no pages. Tokens stay in this process; the browser sees a code at most.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx

from domain.errors import NotAuthenticated, Unavailable
from servicekit.discovery import discover, verification
from services.admin.id_token import IdTokenJudge

_TIMEOUT_S: Final = 5.0
_CONFIGURATION_LIVES: Final = timedelta(minutes=10)
_MAX_ANSWER_BYTES: Final = 256 * 1024
DEFAULT_TOKEN_LIFE_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """A login in progress: what only the browser that began it may bring back."""

    state: str
    nonce: str
    verifier: str = field(repr=False)
    redirect_uri: str
    """Where the issuer sends the browser back to; the same in both steps."""
    back_to: str
    """Path of our own page to show at the end."""

    @classmethod
    def fresh(cls, redirect_uri: str, back_to: str) -> Attempt:
        """An attempt with new secrets of 256 bits."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state, nonce, verifier, redirect_uri, back_to)

    @property
    def challenge(self) -> str:
        """The S256 code challenge of the verifier (RFC 7636, section 4.2)."""
        digest = hashlib.sha256(self.verifier.encode("ascii")).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


@dataclass(frozen=True, slots=True)
class Login:
    """A login that succeeded."""

    subject: str
    name: str
    access_token: str = field(repr=False)
    id_token: str = field(repr=False)
    ends_at: datetime
    """Real time at which the access token ends."""


class OpenId:
    """One issuer, one client of it."""

    def __init__(
        self, *, issuer: str, client_id: str, scope: str, judge: IdTokenJudge, real: Callable[[], datetime]
    ) -> None:
        self.issuer, self._client_id, self._scope = issuer, client_id, scope
        self._judge, self._real = judge, real
        self._configuration: Mapping[str, Any] = {}
        self._configured_at: datetime | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port of the issuer, for the content security policy."""
        parts = urlsplit(self.issuer)
        return f"{parts.scheme}://{parts.netloc}"

    async def authorization_url(self, attempt: Attempt, language: str) -> str:
        """Where to send the browser. Raises Unavailable."""
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": attempt.redirect_uri,
            "scope": self._scope,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
            "ui_locales": language,
        }
        return _with_query(await self._endpoint("authorization_endpoint"), query)

    async def finish(self, attempt: Attempt, answer: Mapping[str, str]) -> Login:
        """Trades the code that the browser brought back. Raises NotAuthenticated with the reason, Unavailable."""
        if not hmac.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
            raise NotAuthenticated("state: the answer belongs to another login")
        issuer = answer.get("iss")
        if issuer is not None and issuer.rstrip("/") != self.issuer.rstrip("/"):
            raise NotAuthenticated("iss: the answer is of another issuer")
        if error := answer.get("error"):
            raise NotAuthenticated(f"the issuer refused: {error[:100]}")
        if not answer.get("code"):
            raise NotAuthenticated("code: the answer holds none")
        asked_at = self._real()
        tokens = await self._trade(answer["code"], attempt)
        id_token, access_token = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(id_token, str) or not isinstance(access_token, str) or not access_token:
            raise NotAuthenticated("the issuer's answer holds no tokens")
        if str(tokens.get("token_type", "")).lower() != "bearer":
            raise NotAuthenticated("token_type: a bearer token is needed")
        person = await self._judge.judge(id_token, attempt.nonce)
        life_s = tokens.get("expires_in")
        if isinstance(life_s, bool) or not isinstance(life_s, int | float) or not 0 < life_s < 1e8:
            life_s = DEFAULT_TOKEN_LIFE_S
        return Login(person.subject, person.name, access_token, id_token, asked_at + timedelta(seconds=life_s))

    async def logout_url(self, id_token: str, back_to: str) -> str | None:
        """Where to send the browser to end its session at the issuer; None where there is no such place."""
        try:
            endpoint = await self._endpoint("end_session_endpoint")
        except Unavailable:
            return None
        query = {"id_token_hint": id_token, "post_logout_redirect_uri": back_to, "client_id": self._client_id}
        return _with_query(endpoint, query)

    async def _endpoint(self, name: str) -> str:
        now = self._real()
        if self._configured_at is None or now - self._configured_at > _CONFIGURATION_LIVES:
            self._configuration = await discover(self.issuer)
            self._configured_at = now
        endpoint = self._configuration.get(name)
        if not isinstance(endpoint, str) or urlsplit(endpoint).scheme not in ("http", "https"):
            raise Unavailable(f"the issuer names no {name}", 5.0)
        return endpoint

    async def _trade(self, code: str, attempt: Attempt) -> dict[str, Any]:
        endpoint = await self._endpoint("token_endpoint")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": attempt.redirect_uri,
            "client_id": self._client_id,
            "code_verifier": attempt.verifier,
        }
        try:
            trusted = verification(endpoint)
            async with httpx.AsyncClient(verify=trusted, timeout=_TIMEOUT_S, follow_redirects=False) as client:
                answer = await client.post(endpoint, data=form, headers={"accept": "application/json"})
        except (httpx.HTTPError, OSError) as error:
            raise Unavailable(f"the issuer cannot be reached: {type(error).__name__}", 2.0) from error
        if answer.status_code >= 500 or answer.status_code == 429:
            raise Unavailable(f"the issuer answered {answer.status_code}", 2.0)
        if answer.status_code != 200 or len(answer.content) > _MAX_ANSWER_BYTES:
            raise NotAuthenticated(f"the issuer did not take the code: {answer.status_code}")
        try:
            tokens = answer.json()
        except ValueError as error:
            raise Unavailable("the issuer's answer is not JSON", 5.0) from error
        if not isinstance(tokens, dict):
            raise Unavailable("the issuer's answer is not an object", 5.0)
        return tokens


def _with_query(endpoint: str, query: Mapping[str, str]) -> str:
    return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"
