"""Addresses of field endpoints are checked before anybody connects to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from services.registry.field_url import SCHEMES, parse_field_url


@pytest.mark.parametrize(
    ("url", "bus", "station"),
    [
        ("modbus+tcp://10.1.2.3:15000?unit=7", "10.1.2.3:15000", "7"),
        ("modbus+tcp://10.1.2.3", "10.1.2.3:502", "1"),
        ("modbus+tcp://10.1.2.3/?unit=0", "10.1.2.3:502", "0"),
        ("modbus+tcp://10.1.2.3?unit=255", "10.1.2.3:502", "255"),
        ("modbus+rtutcp://Gateway-7.Stadtwerke.example.:502?unit=247", "gateway-7.stadtwerke.example:502", "247"),
        ("modbus+tcp://10.1.2.3?unit=2&base=40", "10.1.2.3:502", "2+40"),
        ("modbus+tls://cabinet_1", "cabinet_1:802", "1"),
        ("modbus+tcp://[2001:DB8:0:0::1]:502", "[2001:db8::1]:502", "1"),
        ("opc.tcp://plc.example:4840/lamps/", "plc.example:4840", "/lamps"),
        ("opc.tcp://plc.example", "plc.example:4840", "/"),
        ("modbus+rtu://pi-4/dev/ttyUSB0?unit=3&baud=9600&parity=even", "pi-4/dev/ttyUSB0", "3"),
        ("modbus+rtu://pi-4/dev/ttyS1?baud=19200&parity=E&stopbits=2", "pi-4/dev/ttyS1", "1"),
        ("  modbus+tcp://10.1.2.3\n", "10.1.2.3:502", "1"),
    ],
)
def test_an_address_names_a_bus_and_a_station(url: str, bus: str, station: str) -> None:
    parsed = parse_field_url(url)
    assert (parsed.bus, parsed.station) == (bus, station)
    assert parsed.url == url.strip()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("modbus+tcp://Meter.example:502", "modbus+tcp://meter.example.?unit=1"),
        ("modbus+tcp://[::1]:502?unit=1", "modbus+rtutcp://[0:0:0:0:0:0:0:1]"),
        ("opc.tcp://plc/a/../b", "opc.tcp://plc:4840//b/"),
        ("modbus+rtu://pi/dev/./ttyS0", "modbus+rtu://PI/dev/ttyS0?unit=1"),
    ],
)
def test_one_device_in_two_spellings_is_one_device(one: str, other: str) -> None:
    first, second = parse_field_url(one), parse_field_url(other)
    assert (first.bus, first.station) == (second.bus, second.station)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "scheme"),
        ("10.1.2.3:502", "scheme"),
        ("http://10.1.2.3", "scheme"),
        ("modbus+tcp://", "host is missing"),
        ("modbus+tcp://:502", "host is missing"),
        ("modbus+tcp://10.1.2.3:0", "port 0"),
        ("modbus+tcp://10.1.2.3:70000", "not a URL"),
        ("modbus+tcp://10.1.2.3:x", "not a URL"),
        ("modbus+tcp://[::1", "not a URL"),
        ("modbus+tcp://10.1.2", "neither a host name nor an IP address"),
        ("modbus+tcp://-gateway", "neither a host name nor an IP address"),
        ("modbus+tcp://0.0.0.0", "not the address of a device"),
        ("modbus+tcp://224.0.0.1", "not the address of a device"),
        ("modbus+tcp://10.1.2.3?unit=256", "unit '256'"),
        ("modbus+tcp://10.1.2.3?unit=-1", "unit '-1'"),
        ("modbus+tcp://10.1.2.3?unit=", "unit ''"),
        ("modbus+tcp://10.1.2.3?unit=１", "beyond ASCII"),
        ("modbus+rtutcp://10.1.2.3?unit=0", "1..247"),
        ("modbus+rtutcp://10.1.2.3?unit=248", "1..247"),
        ("modbus+tcp://10.1.2.3?unit=1&unit=2", "more than once"),
        ("modbus+tcp://10.1.2.3?slave=1", "'slave' is not a parameter"),
        ("modbus+tcp://10.1.2.3?baud=9600", "'baud' is not a parameter"),
        ("modbus+tcp://10.1.2.3/path", "host, port, ?unit= and &base= only"),
        ("modbus+tcp://10.1.2.3#x", "fragment"),
        ("modbus+tcp://10.1.2.3 ?unit=1", "white space"),
        ("opc.tcp://plc?unit=1", "host, port and path only"),
        ("opc.tcp://user:secret@plc", "credentials"),
        ("opc.tcp://user@plc", "credentials"),
        ("modbus+rtu://pi", "device file"),
        ("modbus+rtu:///dev/ttyS0", "host is missing"),
        ("modbus+rtu://pi/etc/passwd", "device file"),
        ("modbus+rtu://pi/dev/../etc/passwd", "device file"),
        ("modbus+rtu://pi:502/dev/ttyS0", "no port"),
        ("modbus+rtu://pi/dev/ttyS0?baud=12", "baud '12'"),
    ],
)
def test_a_wrong_address_is_refused_with_its_reason(url: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_field_url(url)
    (violation,) = caught.value.violations
    assert violation.field == "url"
    assert reason in violation.reason
    assert "secret" not in violation.reason


@given(scheme=st.sampled_from(SCHEMES), rest=st.text(max_size=60))
def test_whatever_is_written_is_taken_or_refused(scheme: str, rest: str) -> None:
    try:
        parsed = parse_field_url(f"{scheme}://{rest}")
    except InvalidInput:
        return
    again = parse_field_url(parsed.url)
    assert again == parsed
    assert parsed.bus
    assert parsed.station
