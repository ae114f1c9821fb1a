"""Addresses of field endpoints: `modbus+tcp://host:port?unit=1`, `modbus+rtutcp://...`, `opc.tcp://host:port/path`.

Only parsing and checking; client.py opens what they name.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from domain.errors import InvalidInput


class Scheme(StrEnum):
    """How an endpoint is spoken to."""

    MODBUS_TCP = "modbus+tcp"
    MODBUS_RTU_TCP = "modbus+rtutcp"  # RTU frames with CRC through a transparent serial server
    OPCUA = "opc.tcp"

    @property
    def is_modbus(self) -> bool:
        """Whether the endpoint speaks Modbus."""
        return self is not Scheme.OPCUA


_DEFAULT_PORT: Final = {Scheme.MODBUS_TCP: 502, Scheme.MODBUS_RTU_TCP: 502, Scheme.OPCUA: 4840}
_HIGHEST_UNIT: Final = 255


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A parsed address. `unit` is the Modbus unit id, 1 unless given; 0 for OPC UA."""

    scheme: Scheme
    host: str
    port: int
    unit: int
    url: str  # as given, with what it carries of user and password: for connecting, not for logs

    @property
    def bus(self) -> tuple[Scheme, str, int]:
        """What is shared by all units of one connection."""
        return self.scheme, self.host, self.port

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        unit = f"?unit={self.unit}" if self.scheme.is_modbus else ""
        return f"{self.scheme.value}://{host}:{self.port}{unit}"


def parse_url(url: str) -> Endpoint:
    """The endpoint of a URL. Raises InvalidInput with field `url`."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise InvalidInput.of("url", f"'{url}' is no URL: {error}") from None
    if parts.scheme not in set(Scheme):
        known = ", ".join(f"{scheme.value}://" for scheme in Scheme)
        raise InvalidInput.of("url", f"'{parts.scheme or url}' is no known scheme ({known})")
    scheme = Scheme(parts.scheme)
    if not parts.hostname:
        raise InvalidInput.of("url", f"'{url}' names no host")
    if port == 0:
        raise InvalidInput.of("url", "port 0 cannot be connected to")
    unit = 0
    if scheme.is_modbus:
        if parts.username or parts.password or parts.fragment or parts.path not in ("", "/"):
            raise InvalidInput.of("url", f"'{scheme.value}' takes host, port and ?unit= only")
        unit = _unit(parts.query)
    elif parts.query or parts.fragment:
        raise InvalidInput.of("url", "'opc.tcp' takes user, host, port and path only")
    return Endpoint(scheme, parts.hostname, port or _DEFAULT_PORT[scheme], unit, url.strip())


def _unit(query: str) -> int:
    unit = 1
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key != "unit":
            raise InvalidInput.of("url", f"'{key}' is unknown, only 'unit' is")
        if not (value.isascii() and value.isdigit()) or int(value) > _HIGHEST_UNIT:
            raise InvalidInput.of("url", f"unit '{value}' is not 0..{_HIGHEST_UNIT}")
        unit = int(value)
    return unit
