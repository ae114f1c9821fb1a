"""What every request passes before anything else: host, origin, path, session; and the headers of every answer.

The page may load nothing from elsewhere: the content security policy says so, and inline scripts run by nonce only.
Not here: what the paths do (web.py), how sessions begin and end (session.py).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

from nicegui import Client
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.names import ID_PATTERN
from services.admin.plain import not_found_page
from services.admin.session import Session, Sessions
from services.admin.texts import choose_language

SESSION: Final = "lichtbuch.session"
"""Key of the session in the scope of a request that has passed."""
LANGUAGE_COOKIE: Final = "lichtbuch_language"

OPEN: Final = frozenset({"/login", "/auth/callback", "/signed-out", "/healthz", "/metrics", "/favicon.ico"})
MACHINES: Final = frozenset({"/healthz", "/metrics"})
"""Asked by probes and Prometheus under whatever name they know: any Host header will do."""
_PAGES: Final = "faults|preview|waivers|sensors|protection|endpoints|meters|findings|readings/new"
_TOWN: Final = re.compile(rf"/(de|en)/[a-z][a-z0-9-]{{0,62}}(?:/(?:{_PAGES}|meters/{ID_PATTERN}))?")
_OURS: Final = re.compile(r"/(?:|de/?|en/?|session)")
_NO_PAGE: Final = frozenset({"/session", "/logout"})
"""Asked by scripts and forms: without a session they are told so, not sent to log in."""
_LANGUAGE: Final = re.compile(r"/(de|en)(?:/|$)")
_SAFE_PATH: Final = re.compile(r"/(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?)?")
_SAFE_QUERY: Final = re.compile(r"[A-Za-z0-9_]+=[A-Za-z0-9._~-]*(?:&[A-Za-z0-9_]+=[A-Za-z0-9._~-]*)*")
"""What our pages choose by (`meter=R-1`, `day=2026-11-22`) needs no other characters, and nothing encoded."""
_SCRIPT: Final = re.compile(rb"<script(?=[\s>])")
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_SOCKET: Final = "/_nicegui_ws/"


def safe_path(path: str) -> str:
    """A path of our own to go back to, with what it asks for; anything that might lead elsewhere becomes the start
    page."""
    bare, mark, query = path.partition("?")
    is_ours = len(path) <= 300 and _SAFE_PATH.fullmatch(bare) and (not mark or _SAFE_QUERY.fullmatch(query))
    return path if is_ours else "/"


def with_query(path: str, query: str) -> str:
    """A path with what was asked for on it; a query that no page of ours would write is left out."""
    return f"{path}?{query}" if query and safe_path(f"/?{query}") != "/" else path


@dataclass(frozen=True)
class Place:
    """Where browsers reach us: the public address, or, without one, any name of this machine at our port."""

    public_url: str = ""
    port: int = 0
    hosts: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        names = ("127.0.0.1", "localhost", "[::1]")
        own = {urlsplit(self.public_url).netloc} if self.public_url else {f"{name}:{self.port}" for name in names}
        if not self.public_url and self.port == 80:
            own |= set(names)
        object.__setattr__(self, "hosts", frozenset(host.lower() for host in own))

    @property
    def is_secure(self) -> bool:
        """True if cookies travel over TLS only."""
        return self.public_url.startswith("https:")

    def base_url(self, host: str) -> str:
        """Our address as this browser knows it; `host` has been checked."""
        return self.public_url or f"http://{host.lower()}"

    @property
    def session_cookie(self) -> str:
        """Name of the session's cookie; over TLS browsers then refuse to have it planted by another host."""
        return "__Host-lichtbuch_session" if self.is_secure else "lichtbuch_session"


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, place: Place, sessions: Sessions, issuer_origin: str) -> None:
        self._app, self._place, self._sessions, self._issuer_origin = app, place, sessions, issuer_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through, or answers it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answering = _Answering(send, self._headers(headers.get("host", ""), scope["path"]))
        refusal = self._refusal(scope, headers)
        if refusal is None:
            await self._app(scope, receive, answering)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4403})
        else:
            await refusal(scope, receive, answering)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        path: str = scope["path"]
        if path not in MACHINES and headers.get("host", "").lower() not in self._place.hosts:
            return PlainTextResponse("this server is not known by that name", 421)
        if not self._same_origin(scope, headers):
            return PlainTextResponse("this was asked for by another site", 403)
        if path in OPEN or path.startswith(("/_nicegui/", "/static/")):
            return None
        language = choose_language(headers.get("accept-language", ""), _cookies(headers).get(LANGUAGE_COOKIE, ""))
        logs_out = path == "/logout" and scope.get("method") == "POST"
        if not (logs_out or _OURS.fullmatch(path) or _TOWN.fullmatch(path) or path.startswith(_SOCKET)):
            return not_found_page(language)
        session = self._sessions.find(_cookies(headers).get(self._place.session_cookie, ""))
        if session is None:
            if path in _NO_PAGE or path.startswith(_SOCKET):
                return PlainTextResponse("you are not logged in", 401)
            asked = with_query(path, scope.get("query_string", b"").decode("latin-1"))
            return RedirectResponse(f"/login?to={quote(safe_path(asked))}", 303)
        if path.startswith(_SOCKET) and not _is_of(session, scope):
            return PlainTextResponse("this page belongs to another login", 403)
        scope[SESSION] = session
        return None

    def _same_origin(self, scope: Scope, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None:
            # Browsers name the origin of every request that changes something, and of every socket.
            return bool(scope["type"] == "http")
        if scope["type"] == "http" and scope["method"] in _SAFE_METHODS and not scope["path"].startswith(_SOCKET):
            return True
        return origin.lower() == self._place.base_url(headers.get("host", "")).lower()

    def _headers(self, host: str, path: str) -> Mapping[str, str]:
        base = self._place.base_url(host) if host.lower() in self._place.hosts else ""
        socket = base.replace("http", "ws", 1)
        policy = (
            "default-src 'none'; script-src 'self' 'unsafe-eval' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; "
            f"img-src 'self' data:; font-src 'self'; connect-src 'self' {socket}; base-uri 'none'; "
            f"frame-ancestors 'none'; form-action 'self' {self._issuer_origin}"
        )
        headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        }
        if self._place.is_secure:
            headers["Strict-Transport-Security"] = "max-age=31536000"
        if language := _LANGUAGE.match(path):
            # Who reads a page in a language gets the next one in it too.
            headers["Set-Cookie"] = f"{LANGUAGE_COOKIE}={language[1]}; Path=/; Max-Age=31536000; SameSite=Lax"
        return headers


class _Answering:
    """Adds the headers to an answer, and to a page the nonce of its scripts."""

    def __init__(self, send: Send, headers: Mapping[str, str]) -> None:
        self._send, self._headers = send, headers
        self._start: Message | None = None
        self._body = b""
        self._nonce = secrets.token_urlsafe(16)

    async def __call__(self, message: Message) -> None:
        """Passes on a piece of an answer; pages wait until they are whole."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in self._headers.items():
                headers.setdefault(name, value.replace("{nonce}", self._nonce))
            if headers.get("content-type", "").startswith("text/html"):
                self._start = message
                return
        if message["type"] == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if message.get("more_body", False):
                return
            body = _SCRIPT.sub(f'<script nonce="{self._nonce}"'.encode(), self._body)
            MutableHeaders(raw=self._start["headers"])["content-length"] = str(len(body))
            start, self._start = self._start, None
            await self._send(start)
            await self._send({"type": "http.response.body", "body": body})
            return
        await self._send(message)


def _cookies(headers: Headers) -> dict[str, str]:
    return cookie_parser(headers.get("cookie", ""))


def _is_of(session: Session, scope: Scope) -> bool:
    """True if a socket is for a page that was built for this session, or for one that NiceGUI will say is gone."""
    query: dict[str, list[str]] = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    page = query.get("client_id", [""])[0]
    client = Client.instances.get(page)
    return bool(page) and (client is None or client.request.scope.get(SESSION) is session)
