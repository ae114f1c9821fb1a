"""The addresses that are not the live page: login and logout, choosing a municipality, health, metrics.

The guard has passed every request before it comes here. Not here: what a login is (auth.py), the live page (pages/).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from domain.errors import LichtbuchError, NotAuthenticated, RetryableError
from servicekit.client import ServiceChannel
from servicekit.logs import get_logger
from services.admin.asking import municipalities
from services.admin.auth import Attempt, OpenId
from services.admin.guard import LANGUAGE_COOKIE, SESSION, Place, safe_path
from services.admin.metrics import LOGINS, PAGE_LOADS
from services.admin.plain import chooser_page, link, page
from services.admin.seal import Seal
from services.admin.session import Session, Sessions
from services.admin.texts import Texts, choose_language

LOGIN_COOKIE: Final = "lichtbuch_login"
LOGIN_LIFE: Final = timedelta(minutes=10)
REGISTRY_AGAIN_S: Final = 5

_log = get_logger(__name__)


def texts_for(request: Request) -> Texts:
    """The words in the language of whoever asks."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    return Texts(choose_language(request.headers.get("accept-language", ""), chosen))


class Web:
    """The handlers."""

    def __init__(
        self,
        openid: OpenId,
        sessions: Sessions,
        place: Place,
        seal: Seal,
        registry: Callable[[], ServiceChannel],
    ) -> None:
        self._openid, self._sessions, self._place = openid, sessions, place
        self._seal, self._registry = seal, registry

    # --- login and logout --------------------------------------------------------------------------------------

    async def login(self, request: Request) -> Response:
        """Sends the browser to the issuer."""
        texts = texts_for(request)
        redirect_uri = f"{self._base(request)}/auth/callback"
        attempt = Attempt.fresh(redirect_uri, safe_path(request.query_params.get("to", "/")))
        try:
            url = await self._openid.authorization_url(attempt, texts.language)
        except RetryableError as error:
            return self._failed(texts, "away", error)
        answer = RedirectResponse(url, 303, {"Cache-Control": "no-store"})
        kept = {
            "state": attempt.state,
            "nonce": attempt.nonce,
            "verifier": attempt.verifier,
            "redirect_uri": redirect_uri,
            "back_to": attempt.back_to,
        }
        self._set_cookie(answer, LOGIN_COOKIE, self._seal.close(kept, LOGIN_LIFE), "/auth", LOGIN_LIFE)
        return answer

    async def callback(self, request: Request) -> Response:
        """Takes what the issuer sent the browser back with; begins a session."""
        texts = texts_for(request)
        kept = self._seal.open(request.cookies.get(LOGIN_COOKIE, ""))
        if kept is None:
            return self._failed(texts, "stale", None)
        attempt = Attempt(**kept)
        try:
            login = await self._openid.finish(attempt, dict(request.query_params))
        except RetryableError as error:
            return self._failed(texts, "away", error)
        except LichtbuchError as error:
            return self._failed(texts, "refused", error)
        self._end_old(request)
        session, shown = self._sessions.open(login)
        LOGINS.labels("ok").inc()
        _log.info("logged in", subject=login.subject)
        answer = RedirectResponse(safe_path(attempt.back_to), 303, {"Cache-Control": "no-store"})
        life = session.ends_at - session.clock.real()
        self._set_cookie(answer, self._place.session_cookie, shown, "/", life)
        answer.delete_cookie(LOGIN_COOKIE, path="/auth", secure=self._place.is_secure, httponly=True, samesite="lax")
        return answer

    async def logout(self, request: Request) -> Response:
        """Ends the session here and at the issuer."""
        session: Session = request.scope[SESSION]
        self._sessions.end(session, left_from=request.query_params.get("page", ""))
        back_to = f"{self._base(request)}/signed-out"
        url = await self._openid.logout_url(session.login.id_token, back_to)
        answer = RedirectResponse(url or back_to, 303, {"Cache-Control": "no-store"})
        answer.delete_cookie(
            self._place.session_cookie, path="/", secure=self._place.is_secure, httponly=True, samesite="lax"
        )
        return answer

    async def signed_out(self, request: Request) -> Response:
        """Where a logout ends."""
        texts = texts_for(request)
        action = link("/login", texts("log_in_again"))
        return page(texts, texts("signed_out"), [texts("signed_out_text")], action=action)

    def _failed(self, texts: Texts, outcome: str, error: LichtbuchError | None) -> Response:
        LOGINS.labels(outcome).inc()
        if error is not None:
            _log.warning("a login failed", reason=error.message)
        action = link("/login", texts("log_in"))
        status = {"away": 503, "stale": 400}.get(outcome, 403)
        return page(texts, texts("login_failed"), [texts(f"login_{outcome}")], action=action, status=status)

    def _end_old(self, request: Request) -> None:
        old = self._sessions.find(request.cookies.get(self._place.session_cookie, ""))
        if old is not None:
            self._sessions.end(old)

    def _base(self, request: Request) -> str:
        return self._place.base_url(request.headers.get("host", ""))

    def _set_cookie(self, answer: Response, name: str, value: str, path: str, life: timedelta) -> None:
        answer.set_cookie(
            name,
            value,
            max_age=max(1, int(life.total_seconds())),
            path=path,
            secure=self._place.is_secure,
            httponly=True,
            samesite="lax",
        )

    async def session(self, request: Request) -> Response:
        """That the browser's session holds: the guard has let it pass."""
        return Response(status_code=204, headers={"Cache-Control": "no-store"})

    # --- which page --------------------------------------------------------------------------------------------

    async def start(self, request: Request) -> Response:
        """To the page in the browser's language."""
        return RedirectResponse(f"/{texts_for(request).language}", 303)

    async def choose(self, request: Request) -> Response:
        """The only municipality that the person may see, or which one of several."""
        texts = Texts(request.url.path.strip("/"))
        session: Session = request.scope[SESSION]
        PAGE_LOADS.labels("choose").inc()
        try:
            towns = await municipalities(session.clients)
        except NotAuthenticated:
            self._sessions.end(session)
            return RedirectResponse("/login", 303)
        except RetryableError:
            return page(texts, "Lichtbuch", [texts("registry_away")], status=503, again_s=REGISTRY_AGAIN_S)
        except LichtbuchError as error:
            _log.warning("the municipalities cannot be listed", reason=error.message)
            towns = ()
        if not towns:
            form = f'<form method="post" action="/logout"><button class="action">{texts("logout")}</button></form>'
            return page(texts, texts("choose_town"), [texts("no_town")], action=form)
        if len(towns) == 1:
            return RedirectResponse(f"/{texts.language}/{towns[0].id}", 303)
        return chooser_page(texts, towns)

    # --- machines ----------------------------------------------------------------------------------------------

    async def healthz(self, request: Request) -> Response:
        """That this process serves: it answers. The registry's absence is told, and is no reason to restart us."""
        state = self._registry().get_state(try_to_connect=True)
        problems = {} if state.name in ("READY", "IDLE", "CONNECTING") else {"registry": state.name.lower()}
        body: dict[str, Any] = {"serving": True, "problems": problems, "sessions": len(self._sessions)}
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    async def metrics(self, request: Request) -> Response:
        """Prometheus' text."""
        encoder, content_type = choose_encoder(request.headers.get("accept", ""))
        text = await asyncio.to_thread(encoder, REGISTRY)
        return Response(text, headers={"Content-Type": content_type, "Cache-Control": "no-store"})
