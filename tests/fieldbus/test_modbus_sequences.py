"""Commands that a gateway only takes when a counter changes with them, and the way of writing that a point wants."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from domain.errors import InvalidInput, OutOfLimits
from fieldbus.client import Fieldbus
from fieldbus.device import Limits
from fieldbus.format.formula import Formula
from fieldbus.format.toml_source import TomlSource
from fieldbus.modbus.sequences import SequenceCounters
from fieldbus.profile import CommandSequence, Profile, WriteMode
from fieldbus.profile_loader import profile_from_toml
from fieldbus.values import PointAddress, WriteOutcome
from tests.fieldbus.conftest import Serve, ServeRaw
from tests.fieldbus.servers import Manual, answer_frame

HEAD = """
[profile]
name = "sequenced"
kind = "lamps"
vendor = "test"
product = "test"
protocol = "modbus"
source = "this test"
[modbus]
[index]
gear = [0, 63]
[points.level_command]
access = "read_write"
address = "gear"
type = "uint16"
"""
# As ADFweb's HD67843: register 64 holds a counter above and the short address below, register 65 the level.
SEQUENCE = CommandSequence(Formula(64), (8, 15), (0, 7))


def sequenced() -> Profile:
    profile = profile_from_toml(TomlSource("sequenced.toml", HEAD))
    binding = profile.points["level_command"]
    assert binding.modbus is not None
    place = replace(binding.modbus, write_address=Formula(65), write_mode=WriteMode.SEQUENCE, sequence=SEQUENCE)
    return replace(profile, points={"level_command": replace(binding, modbus=place)})


def test_the_counter_goes_round_and_the_index_has_its_own_bits() -> None:
    counters = SequenceCounters(lambda: 0.5)
    counters.shown(64, SEQUENCE, 0xFE07)
    assert [counters.next_word(64, SEQUENCE, 3) for _ in range(3)] == [0xFF03, 0x0003, 0x0103]
    with pytest.raises(OutOfLimits, match="does not fit"):
        counters.next_word(64, SEQUENCE, 256)


def test_where_nothing_is_known_the_counter_begins_anywhere() -> None:
    assert SequenceCounters(lambda: 0.25).next_word(64, SEQUENCE, 0) == 64 << 8
    assert SequenceCounters(lambda: 0.999).next_word(64, SEQUENCE, 0) == 255 << 8


async def test_each_command_is_one_request_with_a_counter_one_after_what_the_device_shows(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    held = [0] * 66
    held[64] = 0x2A00
    taken: list[tuple[int, int, int]] = []

    async def gateway(request: bytes, writer: asyncio.StreamWriter) -> None:
        start, count = int.from_bytes(request[8:10], "big"), int.from_bytes(request[10:12], "big")
        if request[7] == 3:
            data = b"".join(value.to_bytes(2, "big") for value in held[start : start + count])
            writer.write(answer_frame(request, bytes((3, 2 * count)) + data))
            return
        assert (request[7], start, count) == (16, 64, 2)
        word, level = int.from_bytes(request[13:15], "big"), int.from_bytes(request[15:17], "big")
        if word >> 8 != held[64] >> 8:  # edge-triggered
            held[word & 0xFF] = level
            taken.append((word >> 8, word & 0xFF, level))
        held[64] = word
        writer.write(answer_frame(request, request[7:12]))

    server = await serve_raw(gateway)
    lamps = fieldbus.open(server.url, sequenced())
    results = await lamps.write([(PointAddress("level_command", gear), 100.0 + gear) for gear in (5, 3, 9)])
    assert [result.outcome for result in results] == [WriteOutcome.CONFIRMED] * 3
    assert taken == [(0x2B, 3, 103), (0x2C, 5, 105), (0x2D, 9, 109)]
    held[64] = 0x7000  # another master was here
    await lamps.write([(PointAddress("level_command", 3), 500)])
    assert taken[-1] == (0x71, 3, 500)


async def test_a_sequence_register_that_cannot_be_read_is_asked_for_once(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    counters: list[int] = []
    reads = 0

    async def gateway(request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal reads
        if request[7] == 3:
            reads += 1
            writer.write(answer_frame(request, bytes((0x83, 2))))
            return
        counters.append(request[13])
        writer.write(answer_frame(request, request[7:12]))

    server = await serve_raw(gateway)
    lamps = fieldbus.open(server.url, sequenced())
    for level in (100, 200, 300):
        (result,) = await lamps.write([(PointAddress("level_command", 1), level)], verify=False)
        assert result.outcome is WriteOutcome.ACCEPTED
    assert reads == 1
    assert counters == [255, 0, 1], "0.999 of 256, then on"


class EdgeTriggered:
    """A gateway that takes a command only when its counter in register 64 changes. `refusal` answers readings of the
    counter: an exception code, 0 for silence, None for what it holds."""

    def __init__(self, refusal: int | None = None) -> None:
        self.held = [0] * 66
        self.taken: list[tuple[int, int]] = []
        self.writes = 0
        self.refusal = refusal

    async def __call__(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        start, count = int.from_bytes(request[8:10], "big"), int.from_bytes(request[10:12], "big")
        if request[7] == 16:
            self.writes += 1
            word, level = int.from_bytes(request[13:15], "big"), int.from_bytes(request[15:17], "big")
            if word >> 8 != self.held[64] >> 8:
                self.taken.append((word & 0xFF, level))
            self.held[64] = word
            writer.write(answer_frame(request, request[7:12]))
        elif start != 64 or self.refusal is None:
            data = b"".join(value.to_bytes(2, "big") for value in self.held[start : start + count])
            writer.write(answer_frame(request, bytes((3, 2 * count)) + data))
        elif self.refusal:
            writer.write(answer_frame(request, bytes((0x83, self.refusal))))


@pytest.mark.parametrize("refusal", [0, 4, 5, 6, 11])
async def test_nothing_is_written_while_the_counter_cannot_be_read(
    fieldbus: Fieldbus, serve_raw: ServeRaw, clock: Manual, refusal: int
) -> None:
    """A counter that stands there already would make the command none; an exception to the reading is none of the
    command's, not even a promise to work on it."""
    gateway = EdgeTriggered(refusal)
    server = await serve_raw(gateway)
    lamps = fieldbus.open(server.url, sequenced(), limits=Limits(request_timeout_s=0.1, backoff_initial_s=0.01))
    results = await lamps.write([(PointAddress("level_command", gear), 700.0) for gear in (1, 2)])
    assert [result.outcome for result in results] == [WriteOutcome.UNKNOWN] * 2
    assert results[0].reason.startswith("not sent: its sequence register 64 could not be read: ")
    assert results[1].reason.startswith("not sent: ")
    assert (gateway.writes, lamps.health().counters.writes_sent) == (0, 0)
    gateway.refusal = None
    clock.seconds += lamps.health().seconds_to_next_attempt
    (result,) = await lamps.write([(PointAddress("level_command", 1), 700.0)], verify=False)
    assert result.outcome is WriteOutcome.ACCEPTED
    assert gateway.taken == [(1, 700)]


async def test_commands_given_at_the_same_time_do_not_count_on_from_the_same_number(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    gateway = EdgeTriggered()
    server = await serve_raw(gateway)
    lamps = fieldbus.open(server.url, sequenced())
    await asyncio.gather(
        *(lamps.write([(PointAddress("level_command", gear), 700.0)], verify=False) for gear in range(5))
    )
    assert sorted(gateway.taken) == [(gear, 700) for gear in range(5)]


async def test_a_point_may_be_written_otherwise_than_the_rest_of_its_product(fieldbus: Fieldbus, serve: Serve) -> None:
    server = await serve({1: {"holding": {0: [0] * 70}}})
    profile = profile_from_toml(TomlSource("sequenced.toml", HEAD))
    binding = profile.points["level_command"]
    assert binding.modbus is not None
    for mode, functions in ((WriteMode.SINGLE, [6, 6]), (WriteMode.MULTIPLE, [16]), (WriteMode.AUTO, [16])):
        place = replace(binding.modbus, write_mode=mode)
        lamps = fieldbus.open(server.url, replace(profile, points={"level_command": replace(binding, modbus=place)}))
        server.requests.clear()
        await lamps.write([(PointAddress("level_command", gear), 100.0) for gear in (0, 1)], verify=False)
        assert [request[1] for request in server.requests] == functions
    (one,) = await lamps.write([(PointAddress("level_command", 0), 100.0)], verify=False)
    assert one.outcome is WriteOutcome.ACCEPTED
    assert server.requests[-1][1] == 6


async def test_each_point_of_a_run_that_fails_half_way_has_its_own_outcome(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    """Exception 4 to a multiple write may mean that some registers hold the new value: each is then written alone."""
    held = [0] * 64

    async def fails_from_lamp_3(request: bytes, writer: asyncio.StreamWriter) -> None:
        function, start = request[7], int.from_bytes(request[8:10], "big")
        count = int.from_bytes(request[10:12], "big") if function in (3, 16) else 1
        if function == 3:
            data = b"".join(value.to_bytes(2, "big") for value in held[start : start + count])
            writer.write(answer_frame(request, bytes((3, 2 * count)) + data))
            return
        words = request[13:] if function == 16 else request[10:12]
        for offset in range(count):
            if start + offset == 3:
                writer.write(answer_frame(request, bytes((function | 0x80, 4))))
                return
            held[start + offset] = int.from_bytes(words[2 * offset : 2 * offset + 2], "big")
        writer.write(answer_frame(request, request[7:12]))

    server = await serve_raw(fails_from_lamp_3)
    lamps = fieldbus.open(server.url, "generic-level-status")
    results = await lamps.write([(PointAddress("level_command", gear), 300) for gear in range(6)])
    assert [result.outcome for result in results] == [
        *[WriteOutcome.CONFIRMED] * 3,
        WriteOutcome.REFUSED,
        *[WriteOutcome.CONFIRMED] * 2,
    ]
    assert results[3].reason == "exception 04: device failure"
    assert held[:6] == [300, 300, 300, 0, 300, 300]


def test_bits_that_are_always_set_stand_beside_counter_and_index() -> None:
    counters = SequenceCounters(lambda: 0.0)
    groups = CommandSequence(Formula(64), (8, 15), (0, 3), fixed=0xC0)
    counters.shown(64, groups, 0x05FF)
    assert counters.next_word(64, groups, 2) == 0x06C2
    with pytest.raises(OutOfLimits):
        counters.next_word(64, groups, 16)


def test_bits_that_are_always_set_must_not_be_the_counters_or_the_indexs() -> None:
    lines = """write_address = 65
write_mode = "sequence"
sequence = { register = 64, index_bits = [0, 6], fixed = 0x140 }
"""
    with pytest.raises(InvalidInput, match="counter_bits") as error:
        profile_from_toml(TomlSource("sequenced.toml", HEAD + lines))
    assert "index_bits" in error.value.message


async def test_an_echo_of_fewer_registers_is_resolved_by_reading_what_each_holds(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    held = [0] * 64

    async def takes_two(request: bytes, writer: asyncio.StreamWriter) -> None:
        start, count = int.from_bytes(request[8:10], "big"), int.from_bytes(request[10:12], "big")
        if request[7] == 3:
            data = b"".join(value.to_bytes(2, "big") for value in held[start : start + count])
            writer.write(answer_frame(request, bytes((3, 2 * count)) + data))
            return
        for offset in range(2):
            held[start + offset] = int.from_bytes(request[13 + 2 * offset : 15 + 2 * offset], "big")
        writer.write(answer_frame(request, request[7:10] + b"\0\2"))

    server = await serve_raw(takes_two)
    lamps = fieldbus.open(server.url, "generic-level-status")
    results = await lamps.write([(PointAddress("level_command", gear), 300) for gear in range(4)])
    assert [result.outcome for result in results] == [*[WriteOutcome.CONFIRMED] * 2, *[WriteOutcome.UNKNOWN] * 2]
    assert results[3].reason == "the echo of the write does not match it"
