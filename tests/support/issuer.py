"""A small OpenID Connect issuer for tests: keys, discovery, JWKS and tokens over real HTTP on loopback.

It signs whatever it is asked to, also what no issuer should: that is what the tests of forged tokens need.
"""

import hmac
import json
import threading
import time
from base64 import b64decode, urlsafe_b64encode
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

AUDIENCE = "lichtbuch"
ALGORITHM_OF = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}


class Issuer:
    """Runs in a thread until `close`."""

    def __init__(self, secrets: dict[str, str] | None = None) -> None:
        self.keys: list[Key] = [ECKey.generate_key("P-256", {"kid": "ec-1", "use": "sig"})]
        self.secrets = secrets or {}
        self.requests: list[str] = []
        self.away = False
        self.token_life_s = 3600
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer._get(self)

            def do_POST(self) -> None:
                issuer._post(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The issuer's name and address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stops."""
        self._server.shutdown()
        self._server.server_close()

    def rotate(self, key: Key, *, keep_old: bool = False) -> Key:
        """Publishes another key."""
        self.keys = [*(self.keys if keep_old else []), key]
        return key

    def claims(self, subject: str, **changes: Any) -> dict[str, Any]:
        """Claims of a token that holds; a change of None leaves a claim out."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.url,
            "sub": subject,
            "aud": AUDIENCE,
            "iat": now,
            "nbf": now,
            "exp": now + self.token_life_s,
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(
        self, subject: str = "person-1", *, key: Key | None = None, header: dict[str, Any] | None = None, **changes: Any
    ) -> str:
        """A signed token; by default one that holds."""
        signing = key or self.keys[-1]
        fields = {"alg": ALGORITHM_OF[signing.key_type], "kid": signing.kid, "typ": "at+jwt", **(header or {})}
        return jwt.encode(
            {name: value for name, value in fields.items() if value is not None},
            self.claims(subject, **changes),
            signing,
            algorithms=["RS256", "ES256", "EdDSA", "RS512"],
        )

    def unsigned_token(self, subject: str = "person-1", **changes: Any) -> str:
        """A token with algorithm "none"."""
        return f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(self.claims(subject, **changes))}."

    def shared_secret_token(self, secret: bytes, subject: str = "person-1") -> str:
        """A token signed with HS256: with a public key for a secret, the classical confusion of algorithms."""
        signed = f"{_part({'alg': 'HS256', 'kid': self.keys[-1].kid})}.{_part(self.claims(subject))}"
        signature = hmac.new(secret, signed.encode(), "sha256").digest()
        return f"{signed}.{urlsafe_b64encode(signature).decode().rstrip('=')}"

    def _get(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(handler.path)
        if self.away:
            _answer(handler, 503, {})
        elif handler.path == "/.well-known/openid-configuration":
            _answer(
                handler,
                200,
                {"issuer": self.url, "jwks_uri": f"{self.url}/keys", "token_endpoint": f"{self.url}/token"},
            )
        elif handler.path == "/keys":
            _answer(handler, 200, {"keys": [key.as_dict(private=False) for key in self.keys]})
        else:
            _answer(handler, 404, {})

    def _post(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(handler.path)
        form = parse_qs(handler.rfile.read(int(handler.headers["content-length"])).decode())
        basic = b64decode(handler.headers.get("authorization", "").removeprefix("Basic ")).decode()
        client_id, _, secret = basic.partition(":")
        if self.away:
            _answer(handler, 503, {})
        elif form.get("grant_type") != ["client_credentials"] or self.secrets.get(client_id) != secret or not secret:
            _answer(handler, 401, {"error": "invalid_client"})
        else:
            token = self.token(f"service:{client_id.removeprefix('service-')}")
            _answer(handler, 200, {"access_token": token, "expires_in": self.token_life_s, "token_type": "Bearer"})


@lru_cache(maxsize=8)
def new_rsa_key(kid: str) -> RSAKey:
    """An RSA key, the same for the same id: making one is slow."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


def new_ec_key(kid: str) -> ECKey:
    """A fresh key on P-256."""
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})


def new_ed25519_key(kid: str) -> OKPKey:
    """A fresh Ed25519 key."""
    return OKPKey.generate_key("Ed25519", {"kid": kid, "use": "sig"})


def _part(content: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def _answer(handler: BaseHTTPRequestHandler, status: int, body: dict[str, Any]) -> None:
    encoded = json.dumps(body).encode()
    handler.send_response(status)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", str(len(encoded)))
    handler.end_headers()
    handler.wfile.write(encoded)
