"""What the issuer's tests share: a running issuer, a stopwatch, and the steps of a browser that logs in."""

import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import uvicorn
from joserfc import jwt
from joserfc.jwk import KeySet

from services.registry.issuer.authorization import challenge_of
from services.registry.issuer.clients import ServiceClient
from services.registry.issuer.tokens import TokenMint

VERIFIER = "a-verifier-of-at-least-forty-three-characters-0123"
CALLBACK = "http://127.0.0.1:8080/callback"


class Stopwatch:
    """A monotonic clock that stands until it is turned."""

    def __init__(self) -> None:
        self._seconds = 1_000.0

    def seconds(self) -> float:
        return self._seconds

    def turn(self, seconds: float) -> None:
        self._seconds += seconds


@dataclass(frozen=True)
class Running:
    url: str
    service_clients: Mapping[str, ServiceClient]
    stopwatch: Stopwatch
    mint: TokenMint


@dataclass
class Issuer:
    url: str
    http: httpx.AsyncClient
    service_clients: Mapping[str, ServiceClient]
    stopwatch: Stopwatch
    authorization: dict[str, str] = field(
        default_factory=lambda: {
            "response_type": "code",
            "client_id": "lichtbuch-admin",
            "redirect_uri": CALLBACK,
            "scope": "openid profile",
            "state": "from-the-client",
            "nonce": "only-once",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
        }
    )

    async def open_login(self, **changes: str | None) -> httpx.Response:
        """What a browser sees at the authorization endpoint; a change to None leaves a parameter out."""
        parameters = {key: value for key, value in {**self.authorization, **changes}.items() if value is not None}
        return await self.http.get("/authorize", params=parameters)

    async def post_login(self, login: httpx.Response, username: str, password: str) -> httpx.Response:
        """Fills in the form of a login page and sends it."""
        fields = hidden_fields(login.text) | {"username": username, "password": password}
        return await self.http.post("/login", data=fields)

    async def code_for(self, username: str, **changes: str | None) -> str:
        """Logs in and returns the code that the client is given."""
        answer = await self.post_login(await self.open_login(**changes), username, f"demo-{username}")
        assert answer.status_code == 303, answer.text
        return answer_of(answer)["code"]

    async def redeem(self, code: str, **changes: str | None) -> httpx.Response:
        """Trades a code for tokens."""
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": "lichtbuch-admin",
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
            **changes,
        }
        return await self.http.post("/token", data={key: value for key, value in fields.items() if value is not None})

    async def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token whose signature holds against the published keys."""
        keys = KeySet.import_key_set((await self.http.get("/jwks.json")).json())
        return jwt.decode(token, keys, algorithms=["ES256"]).claims


def hidden_fields(html: str) -> dict[str, str]:
    """Name and value of the hidden fields of a form."""
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', html)}


def answer_of(response: httpx.Response) -> dict[str, str]:
    """The parameters that a redirect carries back to the client."""
    return {key: values[0] for key, values in parse_qs(urlsplit(response.headers["location"]).query).items()}


@contextmanager
def serving(server: uvicorn.Server, listener: socket.socket) -> Iterator[None]:
    """Serves in a thread while the block runs. The socket listens already: whoever connects waits in its backlog."""
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
