"""Addresses of field endpoints: what a URL must say, and which bus and station it names. Pure; nothing is looked up.

The registry never talks to a device, so it knows no driver: it accepts every scheme that has a place in the contract,
and whoever owns the endpoint says whether it can speak it.
"""

import ipaddress
import posixpath
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from domain.errors import InvalidInput

MODBUS_TCP: Final = "modbus+tcp"
MODBUS_RTU_TCP: Final = "modbus+rtutcp"
MODBUS_TLS: Final = "modbus+tls"
MODBUS_RTU: Final = "modbus+rtu"
OPC_TCP: Final = "opc.tcp"

# Ports: IANA for Modbus (502), Modbus over TLS (802) and OPC UA (4840).
_DEFAULT_PORTS: Final = {MODBUS_TCP: 502, MODBUS_RTU_TCP: 502, MODBUS_TLS: 802, OPC_TCP: 4840}
SCHEMES: Final = (*_DEFAULT_PORTS, MODBUS_RTU)

_UNITS: Final = {
    MODBUS_TCP: (0, 255),  # 0 and 255 mean the device itself (Modbus Messaging on TCP/IP 1.0b, 4.4.1.2)
    MODBUS_TLS: (0, 255),
    MODBUS_RTU_TCP: (1, 247),  # on a serial line 0 is broadcast, 248 and up are reserved (Modbus over Serial Line 2.2)
    MODBUS_RTU: (1, 247),
}
_DEFAULT_UNIT: Final = 1
_HIGHEST_REGISTER: Final = 65_535
_BAUD_RATES: Final = ("1200", "2400", "4800", "9600", "19200", "38400", "57600", "115200")
_HOST: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_MAX_HOST: Final = 253


@dataclass(frozen=True, slots=True)
class FieldUrl:
    """A checked address."""

    url: str
    """As it was written, white space around it apart."""
    bus: str
    """What one service alone may connect to: "host:port", or host and device file of a serial line."""
    station: str
    """Which device on the bus: the Modbus unit (and where its registers begin), or the path of an OPC UA server."""


def parse_field_url(text: str) -> FieldUrl:
    """Checks an address. Raises InvalidInput that blames the field "url"."""
    url = text.strip()
    if not all("!" <= character <= "~" for character in url):
        raise _wrong("white space, control characters and letters beyond ASCII have no place in it")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _wrong(f"not a URL: {error}") from None
    if parts.scheme not in SCHEMES:
        raise _wrong(f"the scheme must be one of {', '.join(SCHEMES)}")
    if parts.username is not None:
        # Everybody who may see the endpoint reads its address.
        raise _wrong("credentials have no place in it; they are a setting of the service that connects")
    if parts.fragment or "#" in url:
        raise _wrong("a fragment has no place in it")
    host = _host(parts)
    if parts.scheme == MODBUS_RTU:
        return FieldUrl(url, f"{host}{_device_file(parts, port)}", _station_of_query(parts))
    if port == 0:
        raise _wrong("port 0 cannot be connected to")
    bus = f"{f'[{host}]' if ':' in host else host}:{port or _DEFAULT_PORTS[parts.scheme]}"
    if parts.scheme == OPC_TCP:
        if parts.query or "?" in url:
            raise _wrong("an OPC UA address takes host, port and path only")
        return FieldUrl(url, bus, posixpath.normpath(f"/{parts.path}").replace("//", "/"))
    if parts.path not in ("", "/"):
        raise _wrong("a Modbus address takes host, port, ?unit= and &base= only")
    return FieldUrl(url, bus, _station_of_query(parts))


def _host(parts: SplitResult) -> str:
    """The host in one spelling, so that the same device is not taken for two."""
    host = (parts.hostname or "").rstrip(".")
    if not host:
        raise _wrong("the host is missing")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if ":" in host or host.replace(".", "").isdigit() or len(host) > _MAX_HOST or not _HOST.fullmatch(host):
            raise _wrong(f"{host!r} is neither a host name nor an IP address") from None
        return host
    if address.is_unspecified or address.is_multicast:
        raise _wrong(f"{host} is not the address of a device")
    return str(address)


def _device_file(parts: SplitResult, port: int | None) -> str:
    if port is not None:
        raise _wrong("a serial line has no port")
    path = posixpath.normpath(parts.path) if parts.path else ""
    if not path.startswith("/dev/"):
        raise _wrong("a serial line needs its device file, for instance modbus+rtu://cabinet-7/dev/ttyS0?unit=1")
    return path


def _station_of_query(parts: SplitResult) -> str:
    unit, base = _DEFAULT_UNIT, 0
    seen: set[str] = set()
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key in seen:
            raise _wrong(f"{key!r} is given more than once")
        seen.add(key)
        if key == "unit":
            unit = _unit(parts.scheme, value)
        elif key == "base":
            base = _base(value)
        elif parts.scheme == MODBUS_RTU and key == "baud":
            _one_of(key, value, _BAUD_RATES)
        elif parts.scheme == MODBUS_RTU and key == "parity":
            _one_of(key, value.lower(), ("n", "e", "o", "none", "even", "odd"))
        elif parts.scheme == MODBUS_RTU and key == "stopbits":
            _one_of(key, value, ("1", "2"))
        else:
            raise _wrong(f"{key!r} is not a parameter of {parts.scheme}")
    # Several equal devices may share a unit: a gateway lays their registers one behind the other.
    return f"{unit}+{base}" if base else str(unit)


def _base(value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 5 or int(value) > _HIGHEST_REGISTER:
        raise _wrong(f"base {value!r} is not one of 0..{_HIGHEST_REGISTER}")
    return int(value)


def _unit(scheme: str, value: str) -> int:
    low, high = _UNITS[scheme]
    if not value.isascii() or not value.isdigit() or len(value) > 3 or not low <= int(value) <= high:
        raise _wrong(f"unit {value!r} is not one of {low}..{high}")
    return int(value)


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise _wrong(f"{key} {value!r} is not one of {', '.join(allowed)}")


def _wrong(reason: str) -> InvalidInput:
    return InvalidInput.of("url", reason)
