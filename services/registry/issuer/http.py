"""Reading requests within limits and answering them with the right headers. Knows OAuth's errors, not its flows."""

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.registry.issuer.loopback import is_own_host_header
from services.registry.issuer.oauth import MAX_FORM_BYTES, OAuthError, Parameters
from services.registry.issuer.pages import STYLE_HASH

NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class OwnHostOnly:
    """Refuses requests whose Host header is not this machine: the answer to a page that rebinds its DNS name."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on what is meant for this machine."""
        if scope["type"] == "http" and not is_own_host_header(Headers(scope=scope).get("host", ""), self._port):
            await PlainTextResponse("this issuer answers on loopback only", 421)(scope, receive, send)
            return
        await self._app(scope, receive, send)


async def form(request: Request) -> Parameters:
    """The form fields of a POST. Raises OAuthError if it is none or too large."""
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type != "application/x-www-form-urlencoded":
        raise OAuthError("invalid_request", "a form (application/x-www-form-urlencoded) is needed")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise OAuthError("invalid_request", f"the form is larger than {MAX_FORM_BYTES} bytes", 413)
    try:
        return Parameters.parse(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise OAuthError("invalid_request", "the form is not UTF-8") from error


def error_response(error: OAuthError) -> Response:
    """The error of a token request (RFC 6749 5.2)."""
    headers = dict(NO_STORE)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="lichtbuch-issuer"'
    return JSONResponse({"error": error.error, "error_description": error.message}, error.status, headers)


def page(html: str, status: int = 200, *, form_target: str = "", retry_after_s: float = 0.0) -> Response:
    """A page that runs no script, is framed by nobody, and posts only here and on to `form_target`."""
    policy = (
        f"default-src 'none'; style-src '{STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    )
    headers = {
        **NO_STORE,
        "Content-Security-Policy": f"{policy} {_source(form_target)}".strip(),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    if retry_after_s > 0:
        headers["Retry-After"] = str(max(1, round(retry_after_s)))
    return HTMLResponse(html, status, headers)


def redirect(uri: str) -> Response:
    """Sends the browser on, with GET whatever it came with."""
    return RedirectResponse(uri, 303, {**NO_STORE, "Referrer-Policy": "no-referrer"})


def _source(uri: str) -> str:
    """The CSP source of a redirect URI: browsers hold a form's redirects against form-action too."""
    if not uri:
        return ""
    parts = urlsplit(uri)
    # The grammar of CSP has no IPv6 addresses; only the scheme can be said for them.
    return f"{parts.scheme}:" if "[" in parts.netloc else f"{parts.scheme}://{parts.netloc}"
