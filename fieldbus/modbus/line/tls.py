"""TLS for Modbus/TCP Security: who we are, and whom we believe.

Source: MODBUS/TCP Security Protocol Specification V2.1: TLS 1.2 or newer on port 802, both sides with certificates, and
the same frames inside. The role that a client certificate carries in its extension (OID 1.3.6.1.4.1.50316.802.1) is
read and enforced by the server alone: a request that the role does not cover is answered with exception 1.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

from fieldbus.faults import LinkDown
from fieldbus.security import TlsSecurity
from fieldbus.url import Endpoint


def tls_context(endpoint: Endpoint, security: TlsSecurity) -> Callable[[], tuple[ssl.SSLContext, str]]:
    """Makes a context and names the server for it. Files are read for each connection, so that a renewed certificate
    needs no restart; LinkDown, which is tried again, when one of them cannot be used."""

    def make() -> tuple[ssl.SSLContext, str]:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies chain and name
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_verify_locations(cafile=security.ca)
            if security.certificate is not None:
                # A key that asks for a password must not make the service ask on its terminal.
                context.load_cert_chain(security.certificate, security.key, password=_no_password)
        except (OSError, ssl.SSLError, _EncryptedKey) as error:
            raise LinkDown(f"cannot secure {endpoint.authority}: {_reason(error, security)}") from None
        return context, security.server_name or endpoint.host

    return make


class _EncryptedKey(Exception):
    """The key file is protected by a password."""


def _no_password() -> str:
    raise _EncryptedKey("the key is protected by a password; keep it unprotected in a file that only we may read")


def _reason(error: Exception, security: TlsSecurity) -> str:
    if isinstance(error, ssl.SSLError):
        files = ", ".join(str(path) for path in (security.ca, security.certificate, security.key) if path is not None)
        return f"{error.reason or error} (in {files})"
    return str(error)
