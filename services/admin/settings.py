"""The web UI's own settings, beside those of every service. Variables: LICHTBUCH_ and the name in capitals."""

from __future__ import annotations

from typing import ClassVar, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from servicekit.settings import ServiceSettings, is_loopback, split_address

MIN_SECRET_LENGTH: Final = 32


class AdminSettings(ServiceSettings):
    """What the web UI needs to know. Durations are real time."""

    service: ClassVar[str] = "admin"

    admin_listen: str = "127.0.0.1:8080"
    """Address of the HTTP server, "host:port". Plain HTTP: beyond loopback something in front of it speaks TLS."""
    public_url: str = ""
    """Where browsers reach it, "https://licht.example.org". Default: the address it listens on, on loopback only."""
    admin_client_id: str = "lichtbuch-admin"
    """Client id at the issuer. A public client: it holds no secret, PKCE binds a code to whoever asked for it."""
    admin_scope: str = "openid profile"
    """Scopes to ask for; some issuers need one more for an access token with our audience."""
    session_secret: SecretStr = SecretStr("")
    """Seals what a login in progress leaves in the browser; the same for all instances. Default: made up at start."""
    session_max_hours: float = Field(default=12.0, gt=0, le=24 * 31)
    """Longest session, however long the tokens live."""
    max_sessions: int = Field(default=500, ge=1, le=100_000)
    """Most people logged in at once; the one who has been logged in longest has to do so again."""
    simulated: bool = False
    """True where the field devices are a simulator: the page says so."""

    @field_validator("admin_listen")
    @classmethod
    def _check_admin_listen(cls, value: str) -> str:
        split_address(value, lowest_port=0)
        return value

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str) -> str:
        if not value:
            return value
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError("an address without a path is needed, for instance https://licht.example.org")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("https is needed where browsers on other machines come: the session is a cookie")
        return value.rstrip("/")

    @field_validator("session_secret")
    @classmethod
    def _check_secret(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and len(value.get_secret_value()) < MIN_SECRET_LENGTH:
            raise ValueError(f"at least {MIN_SECRET_LENGTH} characters are needed")
        return value

    @model_validator(mode="after")
    def _check_reachable(self) -> Self:
        host, _ = split_address(self.admin_listen, lowest_port=0)
        if not self.public_url and not is_loopback(host):
            raise ValueError("LICHTBUCH_PUBLIC_URL is needed where the page is reached from other machines")
        return self
