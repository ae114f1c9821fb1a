"""What went wrong with a device, and what an engineer can do about it.

The drivers say what they saw in one sentence; here it is recognised. Where the sentence leaves open why there is no
connection, `diagnose` looks once more itself: name, port, serial device. Nothing is written to anybody.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from cli.errors import REFUSED, UNREACHABLE
from domain.errors import InvalidInput

_LOOK_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Advice:
    """A failure: a word for programs, what happened, what to do, and whether somebody refused or nobody answered."""

    code: str
    message: str
    hint: str
    refused: bool = False

    @property
    def exit_code(self) -> int:
        """5 where the other end said no, 4 where it said nothing."""
        return REFUSED if self.refused else UNREACHABLE


@dataclass(frozen=True, slots=True)
class _Known:
    pattern: str
    code: str
    hint: str
    refused: bool = False


# The first that matches counts, so the more telling ones come first.
_KNOWN: Final = (
    # The line itself.
    _Known(
        r"/dev/\S*: permission denied|cannot open \S+: permission denied",
        "SERIAL_PERMISSION",
        "This account may not open the serial device: `sudo usermod -a -G dialout $USER`, then log out and in again.",
        True,
    ),
    _Known(
        r"cannot open \S+: no such file|/dev/\S+: no such file|: no such file or directory",
        "NO_SUCH_SERIAL_DEVICE",
        "There is no such serial device: plug the adapter in and take its name from `ls /dev/serial/by-id`.",
    ),
    _Known(
        r"another program is using it|device or resource busy",
        "SERIAL_BUSY",
        "Another program has the serial device open; find it with `fuser` and end it.",
        True,
    ),
    _Known(
        r"cannot set \S+ to ",
        "SERIAL_SETTINGS",
        "The serial adapter does not know this speed or parity: take those that the device's manual states, often "
        "?baud=9600&parity=N or &parity=E.",
        True,
    ),
    _Known(
        r"connection refused|connect call failed|errno 111\b",
        "CONNECTION_REFUSED",
        "The host is there, but nothing listens on this port: check the port (Modbus 502, Modbus TLS 802, OPC UA "
        "4840), that the protocol is switched on in the device, its list of allowed masters, and whether another "
        "master holds its only connection.",
    ),
    _Known(
        r"name or service not known|getaddrinfo|name resolution|nodename nor servname",
        "UNKNOWN_HOST",
        "No name server knows this host: use its IP address, or check the name and the VPN.",
    ),
    _Known(
        r"no route to host|network is unreachable|errno 113\b|errno 101\b",
        "NO_ROUTE",
        "There is no way to this address: check the laptop's own address and subnet, the cable and the VPN.",
    ),
    # TLS.
    _Known(
        r"certificate has expired|certificate is not yet valid|certificate is valid from|badcertificatetimeinvalid",
        "CERTIFICATE_EXPIRED",
        "The certificate's time is over or has not begun: check the clocks of laptop and device, then renew it.",
        True,
    ),
    _Known(
        r"hostname mismatch|ip address mismatch|doesn't match|certificate is not valid for|its certificate is for"
        r"|badcertificatehostnameinvalid",
        "CERTIFICATE_NAME",
        "The certificate is for another name: if you know that it is right, give that name as server_name in the "
        "--security file.",
        True,
    ),
    _Known(
        r"wrong version number|record layer failure|unexpected message|http request",
        "NO_TLS",
        "What listens there speaks no TLS: try modbus+tcp:// on this port, or port 802.",
        True,
    ),
    _Known(
        r"certificate required|handshake failure|alert bad certificate|alert unknown ca|alert certificate",
        "CLIENT_CERTIFICATE_REFUSED",
        "The device wants a certificate of ours that it knows: give certificate and key in the --security file, and "
        "enter their authority in the device.",
        True,
    ),
    # OPC UA.
    _Known(
        r"refuses to log in|baduseraccessdenied|badidentitytoken\w+",
        "LOGIN_REFUSED",
        "The server does not let this login do that: give user and password_file (or a user certificate) in the "
        "--security file, and have the server's owner grant the right.",
        True,
    ),
    _Known(
        r"badsecuritychecksfailed|badcertificateuntrusted|badcertificate\w+",
        "CLIENT_CERTIFICATE_REFUSED",
        "The server does not trust our certificate yet: have its owner move it from the rejected to the trusted ones, "
        "then try again.",
        True,
    ),
    _Known(
        r"not trusted|untrusted|certificate.*not pinned|not in the trust list|certificate verify failed"
        r"|unable to get local|self.signed",
        "CERTIFICATE_UNTRUSTED",
        "Compare the fingerprint with the one that the device shows (`field scan` prints it); if it is the same, name "
        "the certificate or its authority in the --security file.",
        True,
    ),
    _Known(
        r"badsecuritypolicyrejected|badsecuritymoderejected|no matching endpoint|no endpoint",
        "SECURITY_POLICY",
        "The server does not offer this security: `field scan` lists its policies; set policy and mode in the "
        "--security file.",
        True,
    ),
    _Known(
        r"badtoomanysessions|badmaxconnections|badtcpnotenoughresources",
        "TOO_MANY_SESSIONS",
        "The server's sessions are all in use: end another client, or wait until one times out.",
        True,
    ),
    _Known(
        r"badnodeid(unknown|invalid)|badnoentryexists|has no namespace",
        "NO_SUCH_NODE",
        "The server has no such node: `field scan` shows the top of its address space with node ids, and `field scan "
        "--node` what lies below one.",
        True,
    ),
    _Known(
        r"badnot(writable|readable)|badwritenotsupported",
        "NODE_NOT_WRITABLE",
        "The node does not allow it for anybody: look for the setpoint that belongs to this value.",
        True,
    ),
    _Known(r"badtypemismatch", "WRONG_TYPE", "The node holds another type; read it with --node to see which.", True),
    _Known(
        r"badoutofrange", "OUT_OF_RANGE", "The server does not take this value: read its range in the manual.", True
    ),
    # Modbus exceptions.
    _Known(
        r"exception 0[ab]\b",
        "UNIT_ABSENT",
        "The gateway answers, the device behind it does not: check the unit number, A and B of the line, baud rate and "
        "parity at both ends, and the device's supply. `field scan --units 1-247` shows who is there.",
    ),
    _Known(
        r"exception 01\b",
        "ILLEGAL_FUNCTION",
        "The device does not know this function: try the other table (holding or input), or --multiple for writing.",
        True,
    ),
    _Known(
        r"exception 02\b",
        "ILLEGAL_ADDRESS",
        "The device has no such register: addresses count from 0 here, so 40108 in a manual is holding:107; check that "
        "the profile is for this model and firmware.",
        True,
    ),
    _Known(
        r"exception 03\b",
        "ILLEGAL_VALUE",
        "The device does not take this value, or not so many registers at once.",
        True,
    ),
    _Known(
        r"exception 0[56]\b",
        "DEVICE_BUSY",
        "The device is busy with something else: try again in a minute; another master may be asking too fast.",
    ),
    _Known(
        r"exception 0[478]\b",
        "DEVICE_FAILURE",
        "The device reports a fault of its own: look at its display. Some gateways say so of a unit that is not there.",
        True,
    ),
    # Silence.
    _Known(
        r"cannot connect.*(no answer|timed out)|no connection within|errno 110\b|timeout",
        "NO_CONNECTION",
        "The host does not answer at all: ping it; check address, power, cable, SIM or VPN, and firewalls between, and "
        "raise --timeout on a radio link.",
    ),
    _Known(
        r"unit \d+ did not answer|did not answer within|no answer in time|does not answer|none of the units",
        "NO_ANSWER",
        "The line stands, but nobody answers: check the unit number, whether the device wants modbus+rtutcp:// "
        "instead of modbus+tcp:// (or the other way round), baud rate and parity, and raise --timeout on a radio link.",
    ),
    _Known(
        r"broke|closed by the other side|reset by peer|connection lost",
        "CONNECTION_LOST",
        "The device closes the connection: it may serve one master only, or expects another protocol on this port.",
    ),
    _Known(
        r"made no sense|could not be read|cannot be read|bytes came for|echo of the write",
        "GARBLED",
        "What comes back is no clean answer: check termination and shield of the line, baud rate and parity, and that "
        "no second master talks on it.",
    ),
)
_SAYS_NOTHING_OF_OPCUA: Final = ("NO_CONNECTION", "NO_ANSWER", "CONNECTION_LOST", "GARBLED")
_NOT_OPCUA_HINT: Final = (
    "Check the port: OPC UA is on 4840 unless the server is set up otherwise, Modbus (modbus+tcp://) on 502. If it is "
    "the right one, the server hangs: restart it."
)
_UNKNOWN_HINT: Final = "Check address, port, cable and power; `lichtbuch field scan` shows what answers."


def recognise(sentence: str) -> Advice | None:
    """The advice for a sentence of a driver; None where it says nothing that is known."""
    text = sentence.lower()
    for known in _KNOWN:
        if re.search(known.pattern, text):
            return Advice(known.code, sentence, known.hint, known.refused)
    return None


async def diagnose(url: str, sentence: str) -> Advice:
    """The advice for a failed device. Looks at the endpoint itself where the driver could not say why."""
    known = recognise(sentence)
    if url.strip().lower().startswith("opc.tcp:") and (known is None or known.code in _SAYS_NOTHING_OF_OPCUA):
        foreign = await _look_for_opcua(url)
        if foreign is not None:
            return foreign
    if known is not None and known.code not in ("NO_CONNECTION", "NO_ANSWER"):
        return known
    seen = await _look(url)
    found = recognise(seen) if seen else None
    if found is not None:
        return Advice(found.code, seen if not sentence else f"{sentence} ({seen})", found.hint, found.refused)
    return known or Advice("UNREACHABLE", sentence or "nothing answers", _UNKNOWN_HINT)


async def _look(url: str) -> str:
    """Why no connection can be made, as far as this laptop can tell; empty where one can."""
    parts = urlsplit(url.strip())
    if parts.scheme == "modbus+rtu":
        return _look_at_serial(parts.path)
    with suppress(ValueError, InvalidInput):
        port = parts.port or {"opc.tcp": 4840, "modbus+tls": 802}.get(parts.scheme, 502)
        return await _look_at_port(parts.hostname or "", port, tls=parts.scheme == "modbus+tls")
    return ""


def _look_at_serial(path: str) -> str:
    if not os.path.exists(path):
        return f"{path}: no such file or directory"
    if not os.access(path, os.R_OK | os.W_OK):
        return f"{path}: permission denied"
    return ""


async def _look_for_opcua(url: str) -> Advice | None:
    """Whether something listens there that does not know OPC UA's greeting; None if it does, or nothing listens."""
    parts = urlsplit(url.strip())
    address = url.strip().encode()
    # OPC 10000-6, 7.1.2.3: version, sizes of buffers, messages and chunks, the URL.
    body = struct.pack("<5Ii", 0, 1 << 16, 1 << 16, 0, 0, len(address)) + address
    try:
        async with asyncio.timeout(_LOOK_S):
            reader, writer = await asyncio.open_connection(parts.hostname or "", parts.port or 4840)
    except (OSError, ValueError, TimeoutError):
        return None
    answer = b""
    try:
        writer.write(b"HELF" + struct.pack("<I", 8 + len(body)) + body)
        async with asyncio.timeout(_LOOK_S):
            answer = await reader.read(3)
    except (OSError, TimeoutError):
        pass
    finally:
        writer.close()
    if answer[:3] in (b"ACK", b"ERR"):
        return None
    return Advice("NOT_OPCUA", "something listens there, but it does not speak OPC UA", _NOT_OPCUA_HINT)


async def _look_at_port(host: str, port: int, *, tls: bool) -> str:
    context: ssl.SSLContext | None = None
    if tls:
        # Only to hear why the other side refuses: nothing is sent, so nobody needs to be trusted.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(_LOOK_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except TimeoutError:
        return f"no connection within {_LOOK_S:g} s"
    except ssl.SSLError as error:
        return str(error)
    except socket.gaierror as error:
        return f"{host}: name or service not known ({error.strerror})"
    except OSError as error:
        return str(error) if error.errno is None else os.strerror(error.errno)
    writer.close()
    with suppress(OSError, ssl.SSLError):
        await writer.wait_closed()
    return ""
