"""What counts as this machine: addresses to bind to, hosts to answer for, places to send a browser back to.

Pure. The demonstration issuer hands out administrators' tokens for passwords that stand in its documentation: nothing
but this machine may ever reach it or receive what it issues.
"""

import ipaddress
from urllib.parse import SplitResult, urlsplit

LOCALHOST = "localhost"


def loopback_address(host: str) -> str | None:
    """The loopback address that `host` stands for, or None if it is anything but loopback.

    Names other than "localhost" are refused even where they resolve to loopback today: a resolver may change its mind
    between the check and the bind.
    """
    if host == LOCALHOST:
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return str(address) if address.is_loopback else None


def is_own_host_header(header: str, port: int) -> bool:
    """True if a Host header names this machine and port. A foreign page that rebinds its name to 127.0.0.1 does not."""
    try:
        parts = urlsplit(f"//{header}")
        host, asked_port = parts.hostname, parts.port
    except ValueError:
        return False
    return host is not None and loopback_address(host) is not None and (asked_port or 80) == port


def is_loopback_redirect(uri: str) -> bool:
    """True if a redirect URI stays on this machine (RFC 8252 7.3: any port, since clients take a free one)."""
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018 - raises ValueError on a port that is none
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or parts.fragment or "#" in uri or parts.username is not None:
        return False
    return _plain_characters(uri) and _is_loopback_host(parts)


def _is_loopback_host(parts: SplitResult) -> bool:
    return parts.hostname is not None and loopback_address(parts.hostname) is not None


def _plain_characters(uri: str) -> bool:
    """Printable ASCII without a backslash: browsers read one as a slash and Python does not."""
    return all("!" <= character <= "~" for character in uri) and "\\" not in uri
