"""Asking an OpenID Connect issuer where its keys and its token endpoint are (OpenID Connect Discovery 1.0).

Here too is by what its certificate is judged.
"""

import json
import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from domain.errors import Unavailable

_TIMEOUT_S: Final = 5.0
_MAX_BYTES: Final = 512 * 1024


async def discover(issuer: str, *, ca_file: Path | None = None) -> dict[str, Any]:
    """The issuer's configuration. Raises Unavailable if it cannot be had or speaks for another issuer."""
    configuration = await fetch_json(issuer.rstrip("/") + "/.well-known/openid-configuration", ca_file=ca_file)
    if str(configuration.get("issuer", "")).rstrip("/") != issuer.rstrip("/"):
        raise Unavailable(f"{issuer} speaks for another issuer", 30.0)
    return configuration


async def fetch_json(url: str, *, ca_file: Path | None = None) -> dict[str, Any]:
    """A JSON object from the issuer. Raises Unavailable."""
    try:
        async with (
            httpx.AsyncClient(verify=verification(url, ca_file), timeout=_TIMEOUT_S, follow_redirects=False) as client,
            client.stream("GET", url, headers={"accept": "application/json"}) as answer,
        ):
            if answer.status_code != 200:
                raise Unavailable(f"the issuer answered {answer.status_code}", 5.0)
            received = b""
            async for piece in answer.aiter_bytes():
                received += piece
                if len(received) > _MAX_BYTES:
                    raise Unavailable("the issuer's answer is too long", 30.0)
    except (httpx.HTTPError, OSError) as error:
        raise Unavailable(f"the issuer cannot be reached: {type(error).__name__}", 2.0) from error
    try:
        body = json.loads(received)
    except ValueError as error:
        raise Unavailable("the issuer's answer is not JSON", 5.0) from error
    if not isinstance(body, dict):
        raise Unavailable("the issuer's answer is not an object", 5.0)
    return body


def verification(url: str, ca_file: Path | None = None) -> ssl.SSLContext | bool:
    """What the certificate of a server is judged by: the authorities of a file, or those that are trusted everywhere.

    For an address without TLS it is nobody: to read all authorities takes longer than to ask, and holds up the event
    loop.
    """
    if urlsplit(url).scheme != "https":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context(cafile=str(ca_file)) if ca_file is not None else True
