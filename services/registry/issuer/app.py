"""The issuer's HTTP: discovery, keys, login, tokens, logout. One place where its parts become an application."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode, urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.registry.issuer import pages
from services.registry.issuer.authorization import (
    CODE_LIFETIME_S,
    REQUEST_LIFETIME_S,
    AuthorizationRequest,
    Grant,
    ShortMemory,
    check_request,
    redeem,
    trusted_redirect,
)
from services.registry.issuer.clients import PASSWORD_CLIENT, ServiceClient, authenticate_service
from services.registry.issuer.http import NO_STORE, OwnHostOnly, error_response, form, page, redirect
from services.registry.issuer.keys import ALGORITHM, SigningKey
from services.registry.issuer.loopback import is_loopback_redirect
from services.registry.issuer.oauth import OAuthError, Parameters, UntrustedRequest
from services.registry.issuer.throttle import Throttle
from services.registry.issuer.tokens import LIFETIME, TokenMint
from services.registry.issuer.users import authenticate

GRANT_TYPES: Final = ("authorization_code", "client_credentials", "password")


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the application is made of."""

    issuer: str
    """Its own URL, without a slash at the end, as clients know it."""
    key: SigningKey
    service_clients: Mapping[str, ServiceClient]
    now: Callable[[], datetime] = utc_now
    monotonic_s: Callable[[], float] = time.monotonic


def create_app(parts: Parts) -> Starlette:
    """The ASGI application."""
    port = urlsplit(parts.issuer).port
    if port is None:
        raise ValueError("the issuer's URL needs a port")
    provider = Provider(parts)
    routes = [
        Route("/.well-known/openid-configuration", provider.discovery),
        Route("/jwks.json", provider.jwks),
        Route("/authorize", provider.authorize),
        Route("/login", provider.login, methods=["POST"]),
        Route("/token", provider.token, methods=["POST"]),
        Route("/logout", provider.logout),
        Route("/healthz", provider.healthz),
    ]
    return Starlette(routes=routes, middleware=[Middleware(OwnHostOnly, port=port)])


class Provider:
    """The handlers and the little that they remember between requests."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._mint = TokenMint(parts.issuer, parts.key, parts.now)
        self._waiting: ShortMemory[AuthorizationRequest] = ShortMemory(REQUEST_LIFETIME_S, parts.monotonic_s)
        self._codes: ShortMemory[Grant] = ShortMemory(CODE_LIFETIME_S, parts.monotonic_s)
        self._people = Throttle(parts.monotonic_s)
        self._services = Throttle(parts.monotonic_s)

    async def discovery(self, request: Request) -> Response:
        """OpenID Provider Metadata (OpenID Connect Discovery 1.0, section 3)."""
        issuer = self._parts.issuer
        return JSONResponse(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
                "jwks_uri": f"{issuer}/jwks.json",
                "end_session_endpoint": f"{issuer}/logout",
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": list(GRANT_TYPES),
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
                "scopes_supported": ["openid", "profile"],
                "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "name", "preferred_username"],
                "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
                "code_challenge_methods_supported": ["S256"],
                "ui_locales_supported": list(pages.LANGUAGES),
                "authorization_response_iss_parameter_supported": True,
                "request_uri_parameter_supported": False,
            }
        )

    async def jwks(self, request: Request) -> Response:
        """The public key that the tokens are checked with."""
        return JSONResponse(self._parts.key.jwks())

    async def healthz(self, request: Request) -> Response:
        """It serves, or it would not answer: all it needs is in its memory."""
        return JSONResponse({"status": "SERVING"})

    async def authorize(self, request: Request) -> Response:
        """Checks an authorization request and shows the login form."""
        language = pages.choose_language("", request.headers.get("accept-language", ""))
        try:
            parameters = Parameters.parse(request.url.query)
            trusted_redirect(parameters)
        except (UntrustedRequest, OAuthError):
            return page(pages.refusal_page(language, "client"), 400)
        try:
            checked = check_request(parameters)
        except OAuthError as error:
            answer = {"error": error.error, "error_description": error.message, "state": parameters.get("state")}
            return self._back_to(parameters.need("redirect_uri"), answer)
        if locales := parameters.get("ui_locales"):
            language = pages.choose_language(locales, request.headers.get("accept-language", ""))
        return page(pages.login_page(language, self._waiting.put(checked)), form_target=checked.redirect_uri)

    async def login(self, request: Request) -> Response:
        """Takes the login form; sends the browser back with a code."""
        fallback = pages.choose_language("", request.headers.get("accept-language", ""))
        try:
            fields = await form(request)
        except OAuthError as error:
            return page(pages.refusal_page(fallback, "expired"), error.status)
        language = pages.choose_language(fields.get("language") or "", "") if fields.get("language") else fallback
        key = fields.get("request") or ""
        waiting = self._waiting.look(key)
        if waiting is None:
            return page(pages.refusal_page(language, "expired"), 400)
        username = fields.get("username") or ""
        try:
            user = authenticate(self._people, username, fields.get("password") or "")
        except OAuthError as error:
            wait_s = error.retry_after_s or 0.0
            html = pages.login_page(
                language, key, username=username[:100], error="wait" if wait_s else "wrong", wait_s=wait_s
            )
            return page(html, error.status if wait_s else 403, form_target=waiting.redirect_uri, retry_after_s=wait_s)
        self._waiting.take(key)
        code = self._codes.put(Grant(waiting, user, self._parts.now()))
        return self._back_to(waiting.redirect_uri, {"code": code, "state": waiting.state})

    async def token(self, request: Request) -> Response:
        """Trades a code, a service's secret, or (the demonstration command only) a password for tokens."""
        try:
            fields = await form(request)
            grant_type = fields.need("grant_type")
            if grant_type == "authorization_code":
                body = self._token_for_code(fields)
            elif grant_type == "client_credentials":
                body = self._token_for_service(fields, request.headers.get("authorization", ""))
            elif grant_type == "password":
                body = self._token_for_password(fields)
            else:
                raise OAuthError("unsupported_grant_type", f"only {', '.join(GRANT_TYPES)} are served")
        except OAuthError as error:
            return error_response(error)
        return JSONResponse(
            {**body, "token_type": "Bearer", "expires_in": int(LIFETIME.total_seconds())}, 200, NO_STORE
        )

    async def logout(self, request: Request) -> Response:
        """RP-initiated logout: no login is remembered here, so there is only the way back."""
        language = pages.choose_language("", request.headers.get("accept-language", ""))
        try:
            parameters = Parameters.parse(request.url.query)
        except OAuthError:
            return page(pages.logged_out_page(language), 400)
        target = parameters.get("post_logout_redirect_uri")
        if target is not None and is_loopback_redirect(target):
            state = parameters.get("state")
            return redirect(_with_query(target, {"state": state}) if state else target)
        return page(pages.logged_out_page(language))

    def _token_for_code(self, fields: Parameters) -> dict[str, object]:
        grant = redeem(self._codes, fields)
        client_id = grant.request.client_id
        return {
            "access_token": self._mint.access_token_for(grant.user, client_id),
            "id_token": self._mint.id_token_for(grant.user, client_id, grant.request.nonce, grant.auth_time),
            "scope": "openid profile",
        }

    def _token_for_service(self, fields: Parameters, authorization: str) -> dict[str, object]:
        client = authenticate_service(self._parts.service_clients, self._services, fields, authorization)
        return {"access_token": self._mint.access_token_for_service(client.client_id, client.subject)}

    def _token_for_password(self, fields: Parameters) -> dict[str, object]:
        if fields.need("client_id") != PASSWORD_CLIENT:
            raise OAuthError("unauthorized_client", "this client may not use passwords")
        user = authenticate(self._people, fields.need("username"), fields.need("password"))
        return {"access_token": self._mint.access_token_for(user, PASSWORD_CLIENT), "scope": "profile"}

    def _back_to(self, redirect_uri: str, answer: Mapping[str, str | None]) -> Response:
        # The issuer names itself, so that a client of several is not confused about who answers (RFC 9207).
        return redirect(_with_query(redirect_uri, {**answer, "iss": self._parts.issuer}))


def _with_query(uri: str, values: Mapping[str, str | None]) -> str:
    query = urlencode({key: value for key, value in values.items() if value is not None})
    return f"{uri}{'&' if urlsplit(uri).query else '?'}{query}"
