"""Addresses of field endpoints. Only parsing and checking; client.py opens what they name.

modbus+tcp://host:port?unit=1              Modbus TCP, port 502 unless given
modbus+tcp://host:port?unit=1&base=40      one of several equal devices in one address space: 40 registers further on
modbus+rtutcp://host:port?unit=1           RTU frames through a transparent serial server
modbus+tls://host:port?unit=1              Modbus/TCP Security, port 802 unless given; certificates: security.py
modbus+rtu:///dev/ttyUSB0?baud=9600&parity=N&stopbits=1&unit=1
                                           with a host the line is that machine's: refused on any other
opc.tcp://user@host:port/path              OPC UA, port 4840 unless given
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from domain.errors import InvalidInput


class Scheme(StrEnum):
    """How an endpoint is spoken to."""

    MODBUS_TCP = "modbus+tcp"
    MODBUS_RTU_TCP = "modbus+rtutcp"  # RTU frames with CRC through a transparent serial server
    MODBUS_TLS = "modbus+tls"
    MODBUS_RTU = "modbus+rtu"  # a serial line of this machine
    OPCUA = "opc.tcp"

    @property
    def is_modbus(self) -> bool:
        """Whether the endpoint speaks Modbus."""
        return self is not Scheme.OPCUA


class Parity(StrEnum):
    """The parity bit of a serial character."""

    NONE = "N"
    EVEN = "E"
    ODD = "O"


@dataclass(frozen=True, slots=True)
class SerialLine:
    """How a serial line is driven; always eight data bits."""

    baud: int
    parity: Parity
    stop_bits: int

    def __str__(self) -> str:
        return f"{self.baud} baud 8{self.parity.value}{self.stop_bits}"


_DEFAULT_PORT: Final = {
    Scheme.MODBUS_TCP: 502,
    Scheme.MODBUS_RTU_TCP: 502,
    Scheme.MODBUS_TLS: 802,
    Scheme.OPCUA: 4840,
}
_BAUD_RATES: Final = (300, 600, 1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 921_600)
_HIGHEST_UNIT: Final = 255
_HIGHEST_REGISTER: Final = 65_535
_DEFAULT_LINE: Final = SerialLine(19_200, Parity.EVEN, 1)  # MODBUS over Serial Line V1.02, 3.2 and 2.5.1
_PARITIES: Final = {word: parity for parity in Parity for word in (parity.value.lower(), parity.name.lower())}
_LONGEST_URL: Final = 2000
_LONGEST_HOST: Final = 253  # RFC 1035, 2.3.4
_UNIT_KEYS: Final = ("unit", "base")
_LINE_KEYS: Final = (*_UNIT_KEYS, "baud", "parity", "stopbits")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A parsed address. `unit` is the Modbus unit id, 1 unless given; 0 for OPC UA.

    On a serial line `host` is the path of the port, `port` 0 and `line` how it is driven.
    """

    scheme: Scheme
    host: str
    port: int
    unit: int
    url: str  # as given, with what it carries of user and password: for connecting, not for logs
    line: SerialLine | None = None
    machine: str = ""  # whose serial line it is, where the URL says so
    base: int = 0  # registers that all addresses of the profile are moved by

    @property
    def bus(self) -> tuple[Scheme, str, int]:
        """What is shared by all units of one connection."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """host:port, by which security.py knows an endpoint."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        base = f"&base={self.base}" if self.base else ""
        if self.line is not None:
            line = f"baud={self.line.baud}&parity={self.line.parity.value}&stopbits={self.line.stop_bits}"
            return f"{self.scheme.value}://{self.host}?{line}&unit={self.unit}{base}"
        unit = f"?unit={self.unit}{base}" if self.scheme.is_modbus else ""
        return f"{self.scheme.value}://{self.authority}{unit}"


def parse_url(url: str) -> Endpoint:
    """The endpoint of a URL. Raises InvalidInput with field `url`."""
    if len(url) > _LONGEST_URL:
        raise InvalidInput.of("url", f"is longer than {_LONGEST_URL} characters")
    if not url.strip().isprintable():
        # They would be left out unseen, or obeyed by whatever shows an error.
        raise InvalidInput.of("url", f"{url.strip()!a} has characters that are not printable")
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise InvalidInput.of("url", f"'{url}' is no URL: {error}") from None
    if parts.scheme not in set(Scheme):
        known = ", ".join(f"{scheme.value}://" for scheme in Scheme)
        raise InvalidInput.of("url", f"'{parts.scheme or url}' is no known scheme ({known})")
    scheme = Scheme(parts.scheme)
    if scheme is Scheme.MODBUS_RTU:
        return _serial(url, parts)
    if not parts.hostname:
        raise InvalidInput.of("url", f"'{url}' names no host")
    _check_host(parts.hostname)
    if port == 0:
        raise InvalidInput.of("url", "port 0 cannot be connected to")
    unit = base = 0
    if scheme.is_modbus:
        if parts.username or parts.password or parts.fragment or parts.path not in ("", "/"):
            raise InvalidInput.of("url", f"'{scheme.value}' takes host, port, ?unit= and &base= only")
        query = _query(parts.query, _UNIT_KEYS)
        unit, base = _number(query, "unit", 1, 0, _HIGHEST_UNIT), _number(query, "base", 0, 0, _HIGHEST_REGISTER)
    elif parts.query or parts.fragment:
        raise InvalidInput.of("url", "'opc.tcp' takes user, host, port and path only")
    return Endpoint(scheme, parts.hostname, port or _DEFAULT_PORT[scheme], unit, url.strip(), base=base)


def is_host(text: str) -> bool:
    """Whether a resolver takes it for a host name or an address."""
    try:
        return text.isprintable() and (":" in text or len(text.encode("idna")) <= _LONGEST_HOST) and " " not in text
    except UnicodeError:
        return False


def _check_host(host: str) -> None:
    """Raises InvalidInput for what no resolver takes: it would say so with every attempt to connect."""
    if not is_host(host):
        raise InvalidInput.of("url", f"'{host}' is no host name: labels of 1 to 63 characters with dots between them")


def _serial(url: str, parts: SplitResult) -> Endpoint:
    if parts.netloc and (parts.netloc.lower() != parts.hostname or not parts.path.startswith("/dev/")):
        raise InvalidInput.of(
            "url", f"'{parts.netloc}' stands where a host would: a serial port has three slashes, modbus+rtu:///dev/..."
        )
    path = unquote(parts.path)
    if not path.isprintable():
        raise InvalidInput.of("url", f"{path!a} has characters that are not printable")
    if len(path) < 2 or path.endswith("/") or ".." in path.split("/"):
        raise InvalidInput.of("url", f"'{url}' names no serial port, such as modbus+rtu:///dev/ttyUSB0")
    if parts.fragment:
        raise InvalidInput.of("url", "'modbus+rtu' takes the path of a port and a query only")
    query = _query(parts.query, _LINE_KEYS)
    baud = _number(query, "baud", _DEFAULT_LINE.baud, _BAUD_RATES[0], _BAUD_RATES[-1])
    if baud not in _BAUD_RATES:
        raise InvalidInput.of("url", f"baud '{baud}' is not one of {', '.join(map(str, _BAUD_RATES))}")
    parity = _PARITIES.get(query.get("parity", _DEFAULT_LINE.parity.value).lower())
    if parity is None:
        raise InvalidInput.of("url", f"parity '{query['parity']}' is not N, E or O")
    line = SerialLine(baud, parity, _number(query, "stopbits", _DEFAULT_LINE.stop_bits, 1, 2))
    # 0 is a broadcast, which nobody answers.
    unit = _number(query, "unit", 1, 1, _HIGHEST_UNIT)
    base = _number(query, "base", 0, 0, _HIGHEST_REGISTER)
    return Endpoint(Scheme.MODBUS_RTU, path, 0, unit, url.strip(), line, parts.hostname or "", base)


def _query(text: str, known: tuple[str, ...]) -> dict[str, str]:
    values: dict[str, str] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        if key not in known:
            names = " and ".join(filter(None, (", ".join(f"'{name}'" for name in known[:-1]), f"'{known[-1]}'")))
            raise InvalidInput.of("url", f"'{key}' is unknown, only {names} {'is' if len(known) == 1 else 'are'}")
        if key in values:
            raise InvalidInput.of("url", f"'{key}' is given twice")
        values[key] = value
    return values


def _number(query: dict[str, str], key: str, default: int, lowest: int, highest: int) -> int:
    text = query.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 7) or not lowest <= int(text) <= highest:
        raise InvalidInput.of("url", f"{key} '{text}' is not {lowest}..{highest}")
    return int(text)
