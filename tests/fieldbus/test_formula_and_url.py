"""Address formulas and endpoint URLs: what is taken, and what is refused with which reason."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.errors import InvalidInput
from fieldbus.client import Fieldbus
from fieldbus.format.formula import Formula
from fieldbus.url import Parity, Scheme, parse_url
from fieldbus.values import PointAddress
from fieldbus.vocabulary import Scope
from tests.fieldbus.conftest import Serve


@pytest.mark.parametrize(
    ("text", "scope", "index", "address"),
    [
        (19026, Scope.DEVICE, None, 19026),
        ("0x5B14", Scope.DEVICE, None, 0x5B14),
        ("7000*line + 100*gear + 15", Scope.GEAR, 64 + 3, 7000 + 300 + 15),
        ("7000 * line+20*group +6400", Scope.GROUP, 17, 7000 + 20 + 6400),
        ("7000*line + 6800", Scope.LINE, 1, 13800),
        ("channel", Scope.CHANNEL, 5, 5),
        ("8 + channel + channel", Scope.CHANNEL, 5, 18),
        ("3*index", Scope.GEAR, 70, 210),
    ],
)
def test_a_formula_gives_the_address(text: int | str, scope: Scope, index: int | None, address: int) -> None:
    assert Formula.parse(text, scope).at(scope, index) == address


@pytest.mark.parametrize(
    ("text", "scope", "reason"),
    [
        ("gear*100", Scope.GEAR, "'gear\\*100'"),
        ("7000*line", Scope.DEVICE, "no variable of a device point"),
        ("group", Scope.GEAR, "allowed: gear, index, line"),
        ("", Scope.DEVICE, "''"),
        ("1 - 2", Scope.DEVICE, "1 - 2"),
        ("__import__", Scope.GEAR, "__import__"),
        (True, Scope.DEVICE, "neither"),
        (1.5, Scope.DEVICE, "neither"),
    ],
)
def test_what_is_no_formula_is_refused_with_its_reason(text: object, scope: Scope, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Formula.parse(text, scope)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "unit"),
    [
        ("modbus+tcp://10.1.2.3", Scheme.MODBUS_TCP, "10.1.2.3", 502, 1),
        ("modbus+tcp://cabinet-7.example:1502?unit=17", Scheme.MODBUS_TCP, "cabinet-7.example", 1502, 17),
        ("modbus+tcp://[2001:db8::1]:502?unit=0", Scheme.MODBUS_TCP, "2001:db8::1", 502, 0),
        ("modbus+rtutcp://10.1.2.3:4001/?unit=255", Scheme.MODBUS_RTU_TCP, "10.1.2.3", 4001, 255),
        ("modbus+tls://cabinet-7?unit=4", Scheme.MODBUS_TLS, "cabinet-7", 802, 4),
        ("modbus+rtu:///dev/ttyUSB0?unit=12", Scheme.MODBUS_RTU, "/dev/ttyUSB0", 0, 12),
        ("modbus+rtu:///dev/serial/by-id/a%20b", Scheme.MODBUS_RTU, "/dev/serial/by-id/a b", 0, 1),
        ("opc.tcp://user:secret@plc:4841/lamps", Scheme.OPCUA, "plc", 4841, 0),
        (" opc.tcp://plc ", Scheme.OPCUA, "plc", 4840, 0),
    ],
)
def test_an_endpoint_is_read_from_its_url(url: str, scheme: Scheme, host: str, port: int, unit: int) -> None:
    endpoint = parse_url(url)
    assert (endpoint.scheme, endpoint.host, endpoint.port, endpoint.unit) == (scheme, host, port, unit)


def test_an_endpoint_shows_neither_user_nor_password() -> None:
    assert str(parse_url("opc.tcp://user:secret@plc:4841/lamps")) == "opc.tcp://plc:4841"
    assert str(parse_url("modbus+tcp://[::1]?unit=3")) == "modbus+tcp://[::1]:502?unit=3"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("10.1.2.3:502", "no known scheme"),
        ("http://10.1.2.3", "no known scheme"),
        ("modbus+tcp://", "names no host"),
        ("modbus+tcp://host:99999", "no URL"),
        ("modbus+tcp://host:0", "port 0"),
        ("modbus+tcp://host?unit=256", "0..255"),
        ("modbus+tcp://host?unit=-1", "0..255"),
        ("modbus+tcp://host?unit=", "0..255"),
        ("modbus+tcp://host?slave=1", "'slave' is unknown"),
        ("modbus+tcp://host/path", "host, port, "),
        ("modbus+tcp://user@host", "host, port, "),
        ("opc.tcp://host?x=1", "user, host, port and path"),
        ("modbus+tcp://host?unit=1&unit=2", "'unit' is given twice"),
        ("modbus+tcp://host?baud=9600", "'baud' is unknown, only 'unit' and 'base' are"),
        ("modbus+tls://user@host", "host, port, "),
        ("modbus+rtu://ttyUSB0", "three slashes"),
        ("modbus+rtu://", "names no serial port"),
        ("modbus+rtu:///dev/", "names no serial port"),
        ("modbus+rtu:///dev/ttyUSB0?baud=9601", "baud '9601' is not one of 300, 600, 1200"),
        ("modbus+rtu:///dev/ttyUSB0?baud=fast", r"baud 'fast' is not 300\.\.921600"),
        ("modbus+rtu:///dev/ttyUSB0?parity=M", "parity 'M' is not N, E or O"),
        ("modbus+rtu:///dev/ttyUSB0?stopbits=3", r"stopbits '3' is not 1\.\.2"),
        ("modbus+rtu:///dev/ttyUSB0?unit=0", r"unit '0' is not 1\.\.255"),
        ("modbus+rtu:///dev/ttyUSB0?databits=7", "only 'unit', 'base', 'baud', 'parity' and 'stopbits' are"),
        # What no resolver takes must not fail when the device is read.
        ("modbus+tcp://" + "a" * 64, "is no host name"),
        ("modbus+tcp://.plc", "is no host name"),
        ("modbus+tls://plc..lan", "is no host name"),
        ("opc.tcp://" + "a." * 200 + "lan", "is no host name"),
        ("modbus+tcp://10.1.2.3\u202e", "printable"),
        ("modbus+tcp://10.1\n.2.3", "printable"),
        ("modbus+tcp://pl\0c", "printable"),
        ("modbus+tcp://pl c", "is no host name"),
        ("modbus+rtu:///dev/tty%00USB0", "printable"),
        ("modbus+rtu:///dev/tty%1b[2J", "printable"),
        ("modbus+rtu:///dev/../etc/passwd", "names no serial port"),
        ("modbus+rtu:///" + "a" * 5000, "longer than"),
    ],
)
def test_a_wrong_url_is_refused_with_its_reason(url: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        parse_url(url)


@pytest.mark.parametrize(
    "url", ["modbus+tcp://a\nb", "modbus+rtu:///dev/\x1b[2J/", "\x1b]0;gone\x07", "opc.tcp://\u202e:99999"]
)
def test_what_is_refused_is_named_in_words_that_can_be_shown(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_url(url)
    assert str(refused.value).isprintable()


def test_a_serial_line_that_names_a_machine_is_that_machines_alone() -> None:
    url = "modbus+rtu://cabinet-7/dev/ttyS0?baud=9600&parity=even&unit=3"
    here = Fieldbus(now=lambda: datetime.now(UTC), machine="Cabinet-7")
    elsewhere = Fieldbus(now=lambda: datetime.now(UTC), machine="cabinet-8")
    here.open(url, "generic-level-status")
    with pytest.raises(InvalidInput, match="the serial line hangs at cabinet-7, this is cabinet-8"):
        elsewhere.open(url, "generic-level-status")


def test_a_serial_line_is_what_the_specification_says_unless_told_otherwise() -> None:
    usual = parse_url("modbus+rtu:///dev/ttyS0")
    assert str(usual.line) == "19200 baud 8E1"
    assert str(usual) == "modbus+rtu:///dev/ttyS0?baud=19200&parity=E&stopbits=1&unit=1"
    other = parse_url("modbus+rtu:///dev/ttyS0?baud=9600&parity=N&stopbits=2&unit=7")
    assert str(other.line) == "9600 baud 8N2"
    assert usual.bus == other.bus


@pytest.mark.parametrize("parity", ["E", "e", "even"])
def test_parity_is_a_letter_or_a_word(parity: str) -> None:
    line = parse_url(f"modbus+rtu:///dev/ttyS0?parity={parity}").line
    assert line is not None
    assert line.parity is Parity.EVEN


def heat_meter(number: int, energy_wh: int) -> list[int]:
    """A meter of an M-Bus gateway with its first value: ten registers each."""
    about = [number >> 16, number & 0xFFFF, 0, 4, 0x6900, 0, 0, 0x0200, 0, 0]
    value = energy_wh.to_bytes(8, "big")
    words = [value[at] << 8 | value[at + 1] for at in range(0, 8, 2)]
    return [*about, *words, 0, 0, 0, 5, 0x6900, 0]


async def test_equal_devices_in_one_address_space_are_told_apart_by_their_base(serve: Serve) -> None:
    server = await serve({1: {"holding": {10: heat_meter(4711, 267_000) + heat_meter(4712, 5_000)}}})
    bus = Fieldbus(now=lambda: datetime.now(UTC))
    energy, number = PointAddress("energy_heat"), PointAddress("meter_number")
    try:
        first, second = (bus.open(f"{server.url}?unit=1&base={base}", "mbus-gateway-heat") for base in (0, 20))
        values = [(await device.read([number, energy])).as_dict() for device in (first, second)]
    finally:
        await bus.close()
    assert values == [{number: 4711.0, energy: 267_000.0}, {number: 4712.0, energy: 5_000.0}]


@pytest.mark.parametrize(
    ("url", "profile", "reason"),
    [
        ("modbus+tcp://gw?base=65530", "eastron-sdm630", "beyond register 65535"),
        ("modbus+tcp://gw?base=4", "sunspec-meter", "no addresses that could be moved"),
        ("modbus+tcp://gw?base=-1", "eastron-sdm630", "base '-1' is not 0..65535"),
    ],
)
def test_a_base_that_cannot_be_is_refused(url: str, profile: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        Fieldbus(now=lambda: datetime.now(UTC)).open(url, profile)
