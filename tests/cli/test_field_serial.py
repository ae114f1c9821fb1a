"""A serial line from the command line: a pair of pseudo terminals with a device at its other end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from pymodbus.framer import FramerRTU

from cli.field.advice import recognise
from tests.cli.field_command import field

UNIT = 3


class SerialDevice:
    """Unit 3: every register holds 17. It takes any speed, as pseudo terminals do."""

    def __init__(self) -> None:
        self._master, self._slave = os.openpty()
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._pending = b""
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    def unplug(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._slave)
        os.close(self._master)

    def _readable(self) -> None:
        self._pending += os.read(self._master, 1024)
        while len(self._pending) >= (length := _length(self._pending)):
            request, self._pending = self._pending[:length], self._pending[length:]
            if request[:2] == bytes((UNIT, 3)):
                words = int.from_bytes(request[4:6], "big")
                body = bytes((UNIT, 3, 2 * words)) + b"\0\x11" * words
                os.write(self._master, body + FramerRTU.compute_CRC(body).to_bytes(2, "big"))


def _length(frame: bytes) -> int:
    """Of a request: the question for the identity is shorter than a reading. This device does not answer it."""
    return 7 if frame[1:2] == b"\x2b" else 8


@pytest.fixture
async def device() -> AsyncIterator[SerialDevice]:
    made = SerialDevice()
    yield made
    made.unplug()


async def test_registers_are_read_over_a_serial_line(device: SerialDevice) -> None:
    url = f"modbus+rtu://{device.path}?baud=19200&unit={UNIT}"
    done = await field("read", url, "--register", "holding:40-41", "--json")
    assert done.code == 0, done.err
    assert [row["value"] for row in done.document] == [17, 17]


async def test_a_scan_tries_speeds_and_finds_the_unit(device: SerialDevice) -> None:
    done = await field(
        "scan", f"modbus+rtu://{device.path}", "--units", "2-3", "--bauds", "9600,19200", "--parities", "N",
        "--timeout", "0.5", "--no-guess", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert [(row["unit"], row["bauds"]) for row in done.document] == [(UNIT, "9600 N"), (UNIT, "19200 N")]


@pytest.mark.parametrize(
    ("sentence", "code", "refused"),
    [
        ("cannot open /dev/ttyUSB0: Permission denied", "SERIAL_PERMISSION", True),
        ("cannot open /dev/ttyUSB9: No such file or directory", "NO_SUCH_SERIAL_DEVICE", False),
        ("cannot open /dev/ttyUSB0: another program is using it", "SERIAL_BUSY", True),
        ("cannot set /dev/ttyUSB0 to 9600 baud 8E1: (22, 'Invalid argument')", "SERIAL_SETTINGS", True),
        ("cannot connect to 10.0.0.9:502: no answer within 3 s", "NO_CONNECTION", False),
        ("cannot connect to 10.0.0.9:502: [Errno 113] No route to host", "NO_ROUTE", False),
        ("cannot trust 10.0.0.9:802: certificate has expired", "CERTIFICATE_EXPIRED", True),
        ("unit 3 did not answer within 2 s", "NO_ANSWER", False),
        ("exception 0B: gateway target device failed to respond", "UNIT_ABSENT", False),
        ("exception 01: illegal function", "ILLEGAL_FUNCTION", True),
        ("the server refuses to log in user 'field': BadUserAccessDenied (0x801F0000)", "LOGIN_REFUSED", True),
        ("the server's certificate is not trusted: 'CN=plc'", "CERTIFICATE_UNTRUSTED", True),
        ("the server refuses: BadSecurityChecksFailed (0x80130000)", "CLIENT_CERTIFICATE_REFUSED", True),
        ("connection to 10.0.0.9:502 was closed by the other side", "CONNECTION_LOST", False),
    ],
)
def test_what_the_drivers_say_is_recognised(sentence: str, code: str, refused: bool) -> None:
    advice = recognise(sentence)
    assert advice is not None
    assert (advice.code, advice.refused) == (code, refused)
    assert advice.hint


def test_a_sentence_that_nobody_knows_gets_no_wrong_advice() -> None:
    assert recognise("the moon is full") is None
