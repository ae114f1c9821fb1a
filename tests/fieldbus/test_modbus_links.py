"""Connections: several requests under way, RTU frames, serial lines, TLS. What devices share is test_contract.py's."""

from __future__ import annotations

import asyncio
import os
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from fieldbus.client import Fieldbus
from fieldbus.faults import AnswerLost, DeviceException, LinkDown, NoAnswer
from fieldbus.modbus.line.frames import crc16, rtu_answer_length, rtu_frame
from fieldbus.modbus.line.link import TcpLink
from fieldbus.modbus.line.rtu_link import RtuTcpLink
from fieldbus.modbus.line.serial_link import SerialLink, character_s, silence_s
from fieldbus.security import FieldSecurity, TlsSecurity
from fieldbus.url import Parity, SerialLine, parse_url
from fieldbus.values import PointAddress, Quality
from tests.fieldbus.conftest import FAST, ServeRaw
from tests.fieldbus.servers import Manual, answer_frame, eventually, registers_pdu

READ = struct.pack(">HH", 0, 2)
RIGHT = bytes((4, 0, 7, 0, 7))
PATIENT_S = 20.0
SHORT_S = 0.05


# --- Modbus TCP ------------------------------------------------------------------------------------------------------


async def _connected(url: str) -> TcpLink:
    link = TcpLink(parse_url(url))
    await link.connect(15.0)
    return link


async def test_answers_in_any_order_find_their_requests(serve_raw: ServeRaw) -> None:
    requests: list[bytes] = []

    async def last_first(request: bytes, writer: asyncio.StreamWriter) -> None:
        requests.append(request)
        if len(requests) == 3:
            for number, held in reversed(list(enumerate(requests))):
                writer.write(answer_frame(held, registers_pdu(held, 100 + number)))

    server = await serve_raw(last_first)
    link = await _connected(server.url)
    answers = [link.request(unit, 3, READ, PATIENT_S) for unit in (1, 2, 3)]
    assert link.outstanding == 3
    assert [(await answer)[1:3] for answer in answers] == [struct.pack(">H", 100 + number) for number in range(3)]
    assert len({request[:2] for request in requests}) == 3
    assert (link.discarded, link.outstanding) == (0, 0)
    link.close()


async def test_each_request_has_its_own_time_though_one_timer_serves_all(serve_raw: ServeRaw) -> None:
    async def only_unit_2(request: bytes, writer: asyncio.StreamWriter) -> None:
        if request[6] == 2:
            writer.write(answer_frame(request, registers_pdu(request, 7)))

    server = await serve_raw(only_unit_2)
    link = await _connected(server.url)
    slow = link.request(1, 3, READ, PATIENT_S)
    short = link.request(3, 3, READ, SHORT_S)
    assert await link.request(2, 3, READ, PATIENT_S) == RIGHT
    with pytest.raises(NoAnswer, match=r"unit 3 did not answer within 0\.05 s"):
        await short
    again = link.request(4, 3, READ, SHORT_S)
    with pytest.raises(NoAnswer):
        await again
    assert not slow.done()
    link.close()
    with pytest.raises(AnswerLost):
        await slow


async def test_the_answer_to_a_request_that_nobody_waits_for_any_more_is_discarded(serve_raw: ServeRaw) -> None:
    release = asyncio.Event()

    async def on_command(request: bytes, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(answer_frame(request, registers_pdu(request, 7)))

    server = await serve_raw(on_command)
    link = await _connected(server.url)
    link.request(1, 3, READ, PATIENT_S).cancel()
    following = link.request(1, 3, READ, PATIENT_S)
    release.set()
    assert await following == RIGHT
    assert link.discarded == 1
    link.close()


async def test_transaction_ids_go_round_past_those_under_way_and_are_never_zero(serve_raw: ServeRaw) -> None:
    async def all_but_unit_9(request: bytes, writer: asyncio.StreamWriter) -> None:
        if request[6] != 9:
            writer.write(answer_frame(request, registers_pdu(request, 7)))

    server = await serve_raw(all_but_unit_9)
    link = await _connected(server.url)
    first = link.request(9, 3, READ, PATIENT_S)
    link._transaction = 0xFFFD
    for _ in range(4):
        assert await link.request(1, 3, READ, PATIENT_S) == RIGHT
    numbers = [int.from_bytes(request[:2], "big") for request in server.requests]
    assert numbers == [1, 0xFFFE, 0xFFFF, 2, 3]
    link.close()
    with pytest.raises(AnswerLost):
        await first


async def test_who_cannot_be_reached_is_down_and_says_where(serve_raw: ServeRaw) -> None:
    link = TcpLink(parse_url("modbus+tcp://127.0.0.1:1"))
    with pytest.raises(LinkDown, match=r"127\.0\.0\.1:1"):
        await link.connect(15.0)
    assert not link.connected
    with pytest.raises(LinkDown, match="not connected"):
        link.request(1, 3, READ, 1.0)


@pytest.mark.parametrize("chunk", [1, 3, 7, 500])
async def test_frames_may_be_cut_anywhere(serve_raw: ServeRaw, chunk: int) -> None:
    held: list[bytes] = []

    async def both_together(request: bytes, writer: asyncio.StreamWriter) -> None:
        held.append(answer_frame(request, registers_pdu(request, 7)))
        if len(held) == 2:
            stream = b"".join(held)
            for start in range(0, len(stream), chunk):
                writer.write(stream[start : start + chunk])
                await writer.drain()
                await asyncio.sleep(0)

    server = await serve_raw(both_together)
    link = await _connected(server.url)
    answers = [link.request(1, 3, READ, PATIENT_S), link.request(2, 3, READ, PATIENT_S)]
    assert [await answer for answer in answers] == [RIGHT, RIGHT]
    link.close()


# --- RTU frames ------------------------------------------------------------------------------------------------------


def test_the_crc_is_that_of_the_specification() -> None:
    # MODBUS over Serial Line V1.02, 6.2.2, works through the message 02 07 and arrives at 0x1241.
    assert crc16(b"\x02\x07") == 0x1241
    assert crc16(rtu_frame(1, 3, READ)) == 0


@pytest.mark.parametrize(
    ("frame", "length"),
    [
        (b"\x01\x03", None),
        (b"\x01\x03\x04", 9),
        (b"\x01\x83\x02", 5),
        (b"\x01\x10\x00", 8),
        (b"\x01\x16\x00", 10),
        (b"\x01\x18\x00", None),
        (b"\x01\x18\x00\x06", 12),
        (b"\x01\x2b\x0e\x01\x01\x00\x00\x02\x00\x01A\x01", None),
        (b"\x01\x2b\x0e\x01\x01\x00\x00\x02\x00\x01A\x01\x02", 17),
        (b"\x01\x41\x00\x01", None),
        (rtu_frame(1, 0x41, b"\x00\x01"), 6),
    ],
)
def test_an_answer_says_how_long_it_is(frame: bytes, length: int | None) -> None:
    assert rtu_answer_length(frame) == length


@given(st.binary(max_size=300))
def test_whatever_bytes_come_their_length_can_be_told_or_not(data: bytes) -> None:
    length = rtu_answer_length(data)
    assert length is None or length >= 4


async def test_the_server_that_sends_more_than_the_answer_is_not_believed(serve_raw: ServeRaw) -> None:
    async def two_answers(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(rtu_frame(1, 3, RIGHT) * 2)

    server = await serve_raw(two_answers, rtu=True)
    link = RtuTcpLink(parse_url(server.url))
    await link.connect(15.0)
    with pytest.raises(AnswerLost):
        await link.request(1, 3, READ, PATIENT_S)
    assert not link.connected
    assert link.discarded == 1


async def test_a_glitch_of_the_line_after_the_answer_does_no_harm(serve_raw: ServeRaw) -> None:
    async def glitch(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(rtu_frame(1, 3, RIGHT) + b"\0")

    server = await serve_raw(glitch, rtu=True)
    link = RtuTcpLink(parse_url(server.url))
    await link.connect(15.0)
    assert await link.request(1, 3, READ, PATIENT_S) == RIGHT
    assert link.connected
    link.close()


async def test_bytes_that_nobody_asked_for_end_an_rtu_connection(serve_raw: ServeRaw) -> None:
    async def answer_and_talk_on(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(rtu_frame(1, 3, RIGHT))
        await writer.drain()
        await released.wait()
        writer.write(rtu_frame(1, 3, RIGHT))

    released = asyncio.Event()
    server = await serve_raw(answer_and_talk_on, rtu=True)
    link = RtuTcpLink(parse_url(server.url))
    await link.connect(15.0)
    assert await link.request(1, 3, READ, PATIENT_S) == RIGHT
    released.set()
    await eventually(lambda: not link.connected)
    assert link.discarded == 1


# --- a serial line, as a pair of pseudo terminals --------------------------------------------------------------------


class Line:
    """The devices' end of a serial line: `behave` answers frames of eight bytes."""

    def __init__(self, behave: Callable[[bytes], bytes | None]) -> None:
        self.behave = behave
        self.requests: list[bytes] = []
        self._master, self._slave = os.openpty()
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._pending = b""
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    def say(self, data: bytes) -> None:
        os.write(self._master, data)

    def unplug(self) -> None:
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._slave)
            os.close(self._master)
            self._master = -1

    def _readable(self) -> None:
        try:
            self._pending += os.read(self._master, 1024)
        except OSError:
            return
        while len(self._pending) >= 8:
            request, self._pending = self._pending[:8], self._pending[8:]
            self.requests.append(request)
            answer = self.behave(request)
            if answer is not None:
                self.say(answer)


def registers(value: int) -> Callable[[bytes], bytes]:
    def behave(request: bytes) -> bytes:
        count = int.from_bytes(request[4:6], "big")
        return rtu_frame(request[0], request[1], bytes((2 * count,)) + value.to_bytes(2, "big") * count)

    return behave


MakeLine = Callable[[Callable[[bytes], bytes | None]], Line]


@pytest.fixture
async def make_line() -> AsyncIterator[MakeLine]:
    lines: list[Line] = []

    def make(behave: Callable[[bytes], bytes | None]) -> Line:
        lines.append(Line(behave))
        return lines[-1]

    yield make
    for line in lines:
        line.unplug()


LEVEL = PointAddress("level_command", 3)


async def test_units_on_a_serial_line_are_read(fieldbus: Fieldbus, make_line: MakeLine) -> None:
    line = make_line(lambda request: registers(100 * request[0])(request))
    first = fieldbus.open(f"modbus+rtu://{line.path}?baud=115200&unit=1", "generic-level-status")
    second = fieldbus.open(f"modbus+rtu://{line.path}?baud=115200&unit=2", "generic-level-status")
    batches = await asyncio.gather(first.read((LEVEL,)), second.read((LEVEL,)))
    assert [batch.values.tolist() for batch in batches] == [[100.0], [200.0]]
    assert all(crc16(request) == 0 for request in line.requests)


async def test_a_damaged_answer_on_the_line_is_asked_for_again_and_never_used(
    fieldbus: Fieldbus, make_line: MakeLine
) -> None:
    def damaged_every_other_time(request: bytes) -> bytes:
        frame = bytearray(registers(700)(request))
        if len(line.requests) % 2 == 0:
            frame[-3] ^= 1
        return bytes(frame)

    line = make_line(damaged_every_other_time)
    lamps = fieldbus.open(f"modbus+rtu://{line.path}?baud=115200", "generic-level-status")
    for _ in range(6):
        assert (await lamps.read((LEVEL,))).values.tolist() == [700.0]
    assert lamps.health().counters.discarded >= 2


async def test_what_the_line_said_too_late_is_not_taken_for_the_next_answer(make_line: MakeLine) -> None:
    line = make_line(lambda request: None)
    link = SerialLink(parse_url(f"modbus+rtu://{line.path}?baud=115200"))
    await link.connect(15.0)
    with pytest.raises(NoAnswer):
        await link.request(1, 3, READ, SHORT_S)
    line.say(rtu_frame(1, 3, bytes((4, 0, 1, 0, 1))))
    await eventually(lambda: link.discarded == 1)
    line.behave = registers(7)
    assert await link.request(1, 3, READ, PATIENT_S) == RIGHT
    link.close()


async def test_an_exception_on_the_line_is_the_devices(make_line: MakeLine) -> None:
    line = make_line(lambda request: rtu_frame(request[0], request[1] | 0x80, b"\x02"))
    link = SerialLink(parse_url(f"modbus+rtu://{line.path}?baud=115200"))
    await link.connect(15.0)
    with pytest.raises(DeviceException):
        await link.request(1, 3, READ, PATIENT_S)
    assert link.connected
    link.close()


async def test_an_unplugged_line_ends_the_request_at_once(make_line: MakeLine) -> None:
    line = make_line(lambda request: None)
    link = SerialLink(parse_url(f"modbus+rtu://{line.path}?baud=115200"))
    await link.connect(15.0)
    answer = link.request(1, 3, READ, 60.0)
    await eventually(lambda: bool(line.requests))
    line.unplug()
    with pytest.raises(AnswerLost):
        await asyncio.wait_for(answer, 20)
    assert not link.connected


async def test_a_line_is_one_programs_and_has_one_speed(fieldbus: Fieldbus, make_line: MakeLine) -> None:
    line = make_line(registers(7))
    fieldbus.open(f"modbus+rtu://{line.path}?baud=9600", "generic-level-status")
    with pytest.raises(InvalidInput, match="9600 baud 8E1, and a line has one speed"):
        fieldbus.open(f"modbus+rtu://{line.path}?baud=19200&unit=2", "generic-level-status")
    link, other = (SerialLink(parse_url(f"modbus+rtu://{line.path}?baud=9600")) for _ in range(2))
    await link.connect(15.0)
    with pytest.raises(LinkDown, match="another program"):
        await other.connect(15.0)
    link.close()
    missing = SerialLink(parse_url("modbus+rtu:///dev/not-plugged-in"))
    with pytest.raises(LinkDown, match="No such file"):
        await missing.connect(15.0)


def test_silence_between_frames_is_three_and_a_half_characters_and_above_19200_baud_fixed() -> None:
    slow = SerialLine(9600, Parity.EVEN, 1)
    assert character_s(slow) == pytest.approx(11 / 9600)
    assert silence_s(slow) == pytest.approx(3.5 * 11 / 9600)
    assert silence_s(SerialLine(115_200, Parity.NONE, 2)) == 0.00175


# --- TLS -------------------------------------------------------------------------------------------------------------


class Authority:
    """Issues certificates for one test."""

    def __init__(self, folder: Path, name: str = "plant") -> None:
        self._folder = folder
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(self._subject, self._key.public_key(), x509.BasicConstraints(True, None))
        self.ca = folder / f"{name}-ca.pem"
        self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternative: x509.GeneralName = x509.DNSName(name)
        if name[0].isdigit():
            alternative = x509.IPAddress(ip_address(name))
        certificate = self._sign(subject, key.public_key(), x509.SubjectAlternativeName([alternative]))
        paths = self._folder / f"{self._name}-{name}.pem", self._folder / f"{self._name}-{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths

    def _sign(self, subject: x509.Name, key: Any, extension: x509.ExtensionType) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(extension, critical=True)
        )
        return builder.sign(self._key, hashes.SHA256())


ServeTls = Callable[..., Awaitable[int]]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def serve_tls(authority: Authority) -> AsyncIterator[ServeTls]:
    """A Modbus/TCP Security server that demands a certificate of us, and answers one byte a record."""
    servers: list[asyncio.Server] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readexactly(12)
                for byte in answer_frame(request, registers_pdu(request, 700)):
                    writer.write(bytes((byte,)))
                    await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def start(name: str, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue(name))
        context.load_verify_locations(authority.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = context.maximum_version = version
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    yield start
    for server in servers:
        server.close()


async def _read_over_tls(clock: Manual, port: int, entry: TlsSecurity) -> tuple[list[int], str]:
    security = FieldSecurity(modbus={f"127.0.0.1:{port}": entry})
    bus = Fieldbus(now=clock.now, limits=FAST, monotonic=clock.monotonic, security=security)
    try:
        lamps = bus.open(f"modbus+tls://127.0.0.1:{port}", "generic-level-status")
        batch = await asyncio.wait_for(lamps.read((LEVEL,)), 20)
        return batch.quality.tolist(), lamps.health().last_error
    finally:
        await bus.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["127.0.0.1", "cabinet-17"])
async def test_both_sides_show_certificates_and_records_may_be_cut_anywhere(
    clock: Manual, authority: Authority, serve_tls: ServeTls, name: str, version: ssl.TLSVersion
) -> None:
    port = await serve_tls(name, version)
    certificate, key = authority.issue("lichtbuch")
    entry = TlsSecurity(authority.ca, certificate, key, None if name[0].isdigit() else name)
    assert (await _read_over_tls(clock, port, entry))[0] == [Quality.GOOD]


async def test_a_server_of_another_authority_or_name_is_sent_nothing(
    clock: Manual, authority: Authority, serve_tls: ServeTls, tmp_path: Path
) -> None:
    port = await serve_tls("cabinet-17")
    certificate, key = authority.issue("lichtbuch")
    stranger = Authority(tmp_path, "stranger")
    quality, reason = await _read_over_tls(clock, port, TlsSecurity(stranger.ca, certificate, key, "cabinet-17"))
    assert quality == [Quality.MISSING]
    assert "cannot trust" in reason
    quality, reason = await _read_over_tls(clock, port, TlsSecurity(authority.ca, certificate, key, "cabinet-18"))
    assert quality == [Quality.MISSING]
    assert "cabinet-18" in reason


async def test_without_our_certificate_or_with_a_broken_file_nothing_is_read(
    clock: Manual, authority: Authority, serve_tls: ServeTls, tmp_path: Path
) -> None:
    port = await serve_tls("127.0.0.1", ssl.TLSVersion.TLSv1_2)
    assert (await _read_over_tls(clock, port, TlsSecurity(authority.ca)))[0] == [Quality.MISSING]
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing\n")
    quality, reason = await _read_over_tls(clock, port, TlsSecurity(authority.ca, broken))
    assert quality == [Quality.MISSING]
    assert "broken.pem" in reason


async def test_tls_without_an_authority_to_trust_is_not_opened(fieldbus: Fieldbus) -> None:
    with pytest.raises(InvalidInput, match=r'\[modbus."cabinet:802"\]'):
        fieldbus.open("modbus+tls://cabinet", "generic-level-status")


# --- whatever order and pieces answers come in -------------------------------------------------------------------


class _Wire(asyncio.Transport):
    """Takes what is written, gives nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        pass

    def close(self) -> None:
        pass


def _feed(link: TcpLink, data: bytes) -> None:
    buffer = link.get_buffer(len(data))
    buffer[: len(data)] = data
    link.buffer_updated(len(data))


@given(st.data())
async def test_among_strange_frames_in_strange_pieces_every_request_gets_its_own_answer(data: st.DataObject) -> None:
    link, wire = TcpLink(parse_url("modbus+tcp://127.0.0.1:1")), _Wire()
    link.connection_made(wire)
    link._loop = asyncio.get_running_loop()
    units = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=5))
    answers = [link.request(unit, 3, READ, PATIENT_S) for unit in units]
    frames = [answer_frame(request, registers_pdu(request, number)) for number, request in enumerate(wire.written)]
    strange = []
    for request in data.draw(st.lists(st.sampled_from(wire.written), max_size=5)):
        spoilt = {
            "unit": answer_frame(request, registers_pdu(request, 999), unit=9),
            "transaction": answer_frame(request, registers_pdu(request, 999), transaction=60_000),
            "function": answer_frame(request, b"\x04" + registers_pdu(request, 999)[1:]),
        }
        strange.append(spoilt[data.draw(st.sampled_from(sorted(spoilt)))])
    stream = b"".join(data.draw(st.permutations(frames + strange)))
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        _feed(link, stream[:size])
        stream = stream[size:]
    assert [await answer for answer in answers] == [bytes((4, 0, n, 0, n)) for n in range(len(units))]
    assert link.discarded == len(strange)
    link.close()


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8))
async def test_random_bytes_end_in_no_answer_and_no_crash(pieces: list[bytes]) -> None:
    link = TcpLink(parse_url("modbus+tcp://127.0.0.1:1"))
    link.connection_made(_Wire())
    link._loop = asyncio.get_running_loop()
    link._transaction = 0x4C41
    answer = link.request(1, 3, READ, PATIENT_S)
    for piece in pieces:
        if link.connected:
            _feed(link, piece)
    link.close()
    with pytest.raises(AnswerLost):
        await answer
