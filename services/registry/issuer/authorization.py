"""The authorization code flow's memory: requests that wait for a login, and codes that wait to be redeemed. No HTTP.

Everything here lives in memory, once, for a short time: a restart of the issuer means to log in again.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

from services.registry.issuer.clients import PUBLIC_CLIENTS
from services.registry.issuer.loopback import is_loopback_redirect
from services.registry.issuer.oauth import OAuthError, Parameters, UntrustedRequest
from services.registry.issuer.users import DemonstrationUser

REQUEST_LIFETIME_S: Final = 600.0
CODE_LIFETIME_S: Final = 60.0
MAX_WAITING: Final = 1_000
MAX_TEXT: Final = 1_024
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What a client asked for, checked."""

    client_id: str
    redirect_uri: str
    challenge: str
    state: str | None
    nonce: str | None


@dataclass(frozen=True, slots=True)
class Grant:
    """A login that a code stands for."""

    request: AuthorizationRequest
    user: DemonstrationUser
    auth_time: datetime


def trusted_redirect(parameters: Parameters) -> tuple[str, str]:
    """Client and redirect URI of a request, before anything else of it is believed. Raises UntrustedRequest."""
    client_id, redirect_uri = parameters.get("client_id"), parameters.get("redirect_uri")
    if client_id not in PUBLIC_CLIENTS:
        raise UntrustedRequest("the client is not known here")
    if redirect_uri is None or len(redirect_uri) > MAX_TEXT or not is_loopback_redirect(redirect_uri):
        raise UntrustedRequest("the redirect URI does not lead to this machine")
    return client_id, redirect_uri


def check_request(parameters: Parameters) -> AuthorizationRequest:
    """The checked request. Raises UntrustedRequest, or OAuthError that may be sent back to the client."""
    client_id, redirect_uri = trusted_redirect(parameters)
    if parameters.need("response_type") != "code":
        raise OAuthError("unsupported_response_type", "only response_type=code is served")
    if parameters.get("response_mode") not in (None, "query"):
        raise OAuthError("invalid_request", "only response_mode=query is served")
    if parameters.get("request") is not None or parameters.get("request_uri") is not None:
        raise OAuthError("request_not_supported", "request objects are not served")
    if "openid" not in (parameters.get("scope") or "").split():
        raise OAuthError("invalid_scope", "the scope openid is needed")
    if parameters.get("prompt") == "none":
        raise OAuthError("login_required", "no login is remembered here")
    if parameters.need("code_challenge_method") != "S256":
        raise OAuthError("invalid_request", "PKCE with code_challenge_method=S256 is needed")
    challenge = parameters.need("code_challenge")
    if not _CHALLENGE.fullmatch(challenge):
        raise OAuthError("invalid_request", "the code challenge is not 43 base64url characters")
    state, nonce = parameters.get("state"), parameters.get("nonce")
    if max(len(state or ""), len(nonce or "")) > MAX_TEXT:
        raise OAuthError("invalid_request", f"state or nonce is longer than {MAX_TEXT} characters")
    return AuthorizationRequest(client_id, redirect_uri, challenge, state, nonce)


def redeem(codes: "ShortMemory[Grant]", parameters: Parameters) -> Grant:
    """The grant of a code, for whoever asked for it. Whatever comes out, the code is used up. Raises OAuthError."""
    client_id = parameters.need("client_id")
    code, verifier = parameters.need("code"), parameters.need("code_verifier")
    grant = codes.take(code)
    if grant is None:
        raise OAuthError("invalid_grant", "the code is not known, used already or expired")
    if grant.request.client_id != client_id:
        raise OAuthError("invalid_grant", "the code was made for another client")
    if grant.request.redirect_uri != parameters.get("redirect_uri"):
        raise OAuthError("invalid_grant", "the redirect URI is not the one that the code was made for")
    if not _VERIFIER.fullmatch(verifier) or not hmac.compare_digest(challenge_of(verifier), grant.request.challenge):
        raise OAuthError("invalid_grant", "the code verifier does not fit the challenge")
    return grant


def challenge_of(verifier: str) -> str:
    """The S256 code challenge of a verifier (RFC 7636 4.2)."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


Item = TypeVar("Item")


class ShortMemory(Generic[Item]):
    """Items under unguessable keys, each for a lifetime in real seconds; the oldest give way beyond `MAX_WAITING`."""

    def __init__(self, lifetime_s: float, monotonic_s: Callable[[], float]) -> None:
        self._lifetime_s = lifetime_s
        self._monotonic_s = monotonic_s
        self._items: dict[str, tuple[float, Item]] = {}

    def put(self, item: Item) -> str:
        """Stores an item and returns its key."""
        self._forget_old()
        key = secrets.token_urlsafe(32)
        self._items[key] = (self._monotonic_s() + self._lifetime_s, item)
        return key

    def look(self, key: str) -> Item | None:
        """The item, which stays."""
        self._forget_old()
        found = self._items.get(key)
        return found[1] if found is not None else None

    def take(self, key: str) -> Item | None:
        """The item, once."""
        item = self.look(key)
        self._items.pop(key, None)
        return item

    def _forget_old(self) -> None:
        now_s = self._monotonic_s()
        # Insertion order is expiry order: the old ones stand first.
        for key, (expires_s, _) in list(self._items.items()):
            if expires_s > now_s and len(self._items) < MAX_WAITING:
                break
            del self._items[key]
