"""Who may ask the issuer for tokens: the web UI and the command as public clients, every service with a secret."""

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote_plus

from domain.errors import Corrupted, InvalidInput
from services.registry.issuer.oauth import OAuthError, Parameters
from services.registry.issuer.private_files import read_or_create
from services.registry.issuer.throttle import UNKNOWN, Throttle

SERVICES: Final = ("registry", "lighting", "scheduler", "metering", "building", "ledger", "admin")
PUBLIC_CLIENTS: Final = ("lichtbuch-admin", "lichtbuch-cli")
"""Clients that people log in with. They hold no secret: PKCE binds the code to whoever asked for it."""

PASSWORD_CLIENT: Final = "lichtbuch-cli"
"""The one client that may trade a password for a token, for demonstrations on the command line only."""

SECRETS_FOLDER: Final = "client-secrets"
"""Below the data folder: one file per client id, which the service itself may be pointed at."""

MIN_SECRET_LENGTH: Final = 16


@dataclass(frozen=True, slots=True)
class ServiceClient:
    """A service that proves itself with a secret."""

    client_id: str
    subject: str
    secret: str


def service_client_id(service: str) -> str:
    """The client id of a service: "service-lighting"."""
    return f"service-{service}"


def load_service_clients(configured: str, data_dir: Path) -> dict[str, ServiceClient]:
    """The service clients by id, with secrets as configured ("service-lighting=...,service-metering=...") or, where
    nothing is configured, from the data folder, where they are made up at the first start.

    Raises InvalidInput on a wrong setting, Corrupted on a file that holds something else.
    """
    if configured:
        secrets_by_id = parse_secrets(configured)
    else:
        folder = data_dir / SECRETS_FOLDER
        secrets_by_id = {client_id: _kept_secret(folder / client_id) for client_id in map(service_client_id, SERVICES)}
    return {
        service_client_id(service): ServiceClient(service_client_id(service), f"service:{service}", secret)
        for service in SERVICES
        if (secret := secrets_by_id.get(service_client_id(service)))
    }


def parse_secrets(configured: str) -> dict[str, str]:
    """Client ids and secrets out of a setting. Raises InvalidInput, which never repeats a secret."""
    field = "LICHTBUCH_ISSUER_CLIENT_SECRETS"
    result: dict[str, str] = {}
    known = {service_client_id(service) for service in SERVICES}
    for number, item in enumerate(configured.split(","), start=1):
        client_id, equals, secret = item.strip().partition("=")
        if not equals or client_id not in known:
            raise InvalidInput.of(field, f"item {number} is not service-<name>=<secret> for a known service")
        if len(secret) < MIN_SECRET_LENGTH:
            raise InvalidInput.of(field, f"the secret of {client_id} is shorter than {MIN_SECRET_LENGTH} characters")
        if client_id in result:
            raise InvalidInput.of(field, f"{client_id} stands there twice")
        result[client_id] = secret
    return result


def authenticate_service(
    clients: Mapping[str, ServiceClient], throttle: Throttle, parameters: Parameters, authorization: str
) -> ServiceClient:
    """The service that proves itself by HTTP Basic or by form fields (RFC 6749 2.3.1). Raises OAuthError."""
    client_id, secret = _credentials(parameters, authorization)
    client = clients.get(client_id)
    key = client_id if client is not None else UNKNOWN
    wait_s = throttle.wait_s(key)
    if wait_s > 0:
        raise OAuthError("invalid_client", "too many wrong secrets; try again later", 429, wait_s)
    if client is None or not hmac.compare_digest(secret.encode("utf-8"), client.secret.encode("utf-8")):
        throttle.failed(key)
        raise OAuthError("invalid_client", "the client is not known or its secret is wrong", 401)
    throttle.succeeded(key)
    return client


def _credentials(parameters: Parameters, authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if not authorization:
        return parameters.need("client_id"), parameters.need("client_secret")
    if scheme.lower() != "basic" or parameters.get("client_secret") is not None:
        raise OAuthError("invalid_request", "one way to authenticate the client is needed: Basic or form fields")
    try:
        client_id, colon, secret = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise OAuthError("invalid_client", "the Basic credentials cannot be read", 401) from error
    if not colon:
        raise OAuthError("invalid_client", "the Basic credentials cannot be read", 401)
    return unquote_plus(client_id), unquote_plus(secret)


def _kept_secret(file: Path) -> str:
    secret = read_or_create(file, lambda: secrets.token_urlsafe(32)).strip()
    if len(secret) < MIN_SECRET_LENGTH or not secret.isprintable():
        raise Corrupted(f"{file} holds no secret of {MIN_SECRET_LENGTH} characters or more; delete it for a new one")
    return secret
