"""The vocabulary of OAuth 2.0 that every part of the issuer shares: its errors and its form parameters. Pure."""

from collections.abc import Mapping
from typing import ClassVar, Final
from urllib.parse import parse_qsl

from domain.errors import PermanentError

MAX_FORM_BYTES: Final = 16_384
MAX_FIELDS: Final = 40


class OAuthError(PermanentError):
    """Refused in OAuth's own words (RFC 6749 5.2, 4.1.2.1): `error` for machines, the message for people."""

    code: ClassVar[str] = "OAUTH"

    def __init__(self, error: str, description: str, status: int = 400, retry_after_s: float | None = None) -> None:
        super().__init__(description)
        self.error = error
        self.status = status
        self.retry_after_s = retry_after_s


class UntrustedRequest(PermanentError):
    """An authorization request whose client or redirect URI is not to be trusted: shown here, never redirected."""

    code: ClassVar[str] = "UNTRUSTED_REQUEST"


class Parameters:
    """Parameters of a query or a form. One that stands twice is refused (RFC 6749 3.1); an empty one is absent."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    @classmethod
    def parse(cls, encoded: str) -> "Parameters":
        """Parses application/x-www-form-urlencoded text. Raises OAuthError."""
        try:
            pairs = parse_qsl(encoded, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
        except ValueError as error:
            raise OAuthError("invalid_request", "the parameters are not form-encoded UTF-8") from error
        values: dict[str, str] = {}
        for key, value in pairs:
            if key in values:
                raise OAuthError("invalid_request", f"the parameter {key[:40]!r} is given more than once")
            values[key] = value
        return cls({key: value for key, value in values.items() if value})

    def get(self, key: str) -> str | None:
        """The parameter, or None where it is absent or empty."""
        return self._values.get(key)

    def need(self, key: str) -> str:
        """The parameter. Raises OAuthError where it is absent."""
        value = self._values.get(key)
        if value is None:
            raise OAuthError("invalid_request", f"the parameter {key!r} is missing")
        return value
