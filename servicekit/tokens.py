"""Tokens that a client shows: a person's, or a service's own by client credentials. Not: judging them (auth.py)."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import httpx

from domain.errors import NotAuthenticated, Unavailable
from servicekit.clock import system_time
from servicekit.discovery import discover, verification
from servicekit.shared import SharedWork

_log = logging.getLogger(__name__)

_REFRESH_AT: Final = 0.8
"""Share of a token's life after which a new one is fetched."""
_TIMEOUT_S: Final = 5.0


class TokenSource(Protocol):
    """Where a client gets its token from."""

    async def token(self) -> str:
        """A bearer token; empty for none. Raises Unavailable or NotAuthenticated."""
        ...

    def refused(self, token: str) -> bool:
        """Told that a server refused a token. True if a new one may help."""
        ...


class NoToken:
    """Shows none: the client certificate speaks, or the method is public."""

    async def token(self) -> str:
        """No token."""
        return ""

    def refused(self, token: str) -> bool:
        """Nothing can be done."""
        return False


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A token that somebody else looks after: a person's."""

    value: str

    async def token(self) -> str:
        """The token."""
        return self.value

    def refused(self, token: str) -> bool:
        """Only its owner can get a new one."""
        return False


class ClientCredentials:
    """A service's own token from the issuer (RFC 6749, section 4.4), fetched anew before it ends."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        secret: Callable[[], str],
        *,
        audience: str = "",
        real: Callable[[], datetime] = system_time,
        ca_file: Path | None = None,
    ) -> None:
        self._issuer, self._client_id, self._secret, self._audience = issuer, client_id, secret, audience
        self._real, self._ca_file = real, ca_file
        self._fetch = SharedWork("service token", self._ask)
        self._token = ""
        self._refresh_at = self._ends_at = real()

    async def token(self) -> str:
        """A token that holds; the old one, while it does, where the issuer is away."""
        if self._token and self._real() < self._refresh_at:
            return self._token
        try:
            await self._fetch()
        except Unavailable:
            if not self._token or self._real() >= self._ends_at:
                raise
            _log.warning("the issuer is away; the service goes on with the token it has")
            self._refresh_at = self._real() + timedelta(seconds=5)
        return self._token

    def refused(self, token: str) -> bool:
        """Forgets a token that a server refused."""
        if token == self._token:
            self._token = ""
        return True

    async def _ask(self) -> None:
        configuration = await discover(self._issuer, ca_file=self._ca_file)
        endpoint = configuration.get("token_endpoint")
        if not isinstance(endpoint, str):
            raise Unavailable("the issuer names no token endpoint", 5.0)
        form = {"grant_type": "client_credentials"}
        if self._audience:
            form["audience"] = self._audience
        asked_at = self._real()
        try:
            async with httpx.AsyncClient(verify=verification(endpoint, self._ca_file), timeout=_TIMEOUT_S) as client:
                answer = await client.post(endpoint, data=form, auth=(self._client_id, self._secret()))
        except (httpx.HTTPError, OSError) as error:
            raise Unavailable(f"the issuer cannot be reached: {type(error).__name__}", 2.0) from error
        if answer.status_code >= 500 or answer.status_code == 429:
            raise Unavailable(f"the issuer answered {answer.status_code}", 2.0)
        if answer.status_code != 200:
            raise NotAuthenticated(f"the issuer refused {self._client_id}: {answer.status_code}")
        self._take(answer.json(), asked_at)

    def _take(self, body: dict[str, Any], asked_at: datetime) -> None:
        token, life_s = body.get("access_token"), body.get("expires_in", 300)
        if not isinstance(token, str) or not token or not isinstance(life_s, int | float):
            raise Unavailable("the issuer's answer holds no token", 5.0)
        self._token = token
        self._refresh_at = asked_at + timedelta(seconds=life_s * _REFRESH_AT)
        self._ends_at = asked_at + timedelta(seconds=life_s)
