"""A device that takes shorter blocks than its maker writes is found out once, not cut to pieces block by block."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from fieldbus.client import Fieldbus
from fieldbus.modbus.block_length import BlockLengths
from fieldbus.modbus.plans import shared_plans
from fieldbus.profile import ModbusLimits, Table
from fieldbus.profile_loader import load_profile
from fieldbus.values import PointAddress, Quality
from tests.fieldbus.conftest import ServeRaw
from tests.fieldbus.servers import Behaviour, answer_frame, registers_pdu

LEVELS = tuple(PointAddress("level_command", gear) for gear in range(64))
EVERYTHING = (*LEVELS, *(PointAddress("level_power_on", gear) for gear in range(64)))


def takes_at_most(longest: int, code: int = 3, illegal: frozenset[int] = frozenset()) -> Behaviour:
    """A device that refuses longer blocks with an exception, and any block that touches an illegal register."""

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        start, count = int.from_bytes(request[8:10], "big"), int.from_bytes(request[10:12], "big")
        if request[7] == 0x2B:
            writer.write(answer_frame(request, bytes((0xAB, 1))))
        elif count > longest or illegal & set(range(start, start + count)):
            writer.write(answer_frame(request, bytes((request[7] | 0x80, code))))
        else:
            writer.write(answer_frame(request, registers_pdu(request, 500)))

    return behave


@pytest.mark.parametrize("longest", [1, 5, 20, 50, 63, 100])
@pytest.mark.parametrize("code", [2, 3])
async def test_the_longest_block_is_found_and_kept_to(
    fieldbus: Fieldbus, serve_raw: ServeRaw, longest: int, code: int
) -> None:
    server = await serve_raw(takes_at_most(longest, code))
    lamps = fieldbus.open(server.url, "generic-level-status")
    for _ in range(8):
        assert (await lamps.read(EVERYTHING)).complete
    health = lamps.health()
    server.requests.clear()
    assert (await lamps.read(EVERYTHING)).complete
    after = lamps.health()
    assert after.counters.exceptions == health.counters.exceptions, "nothing is asked that will be refused"
    assert after.refused_points == 0
    assert after.last_error == "", "it came in parts, so there is nothing to tell"
    fewest = 2 * -(-64 // longest) if longest < 64 else 2
    assert len(server.requests) <= 2 * fewest


async def test_points_never_read_before_are_asked_for_in_blocks_that_the_device_takes(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    server = await serve_raw(takes_at_most(40))
    lamps = fieldbus.open(server.url, "generic-level-status")
    for _ in range(8):
        await lamps.read(LEVELS)
    refusals = lamps.health().counters.exceptions
    assert (await lamps.read([PointAddress("level_power_on", gear) for gear in range(64)])).complete
    assert lamps.health().counters.exceptions == refusals


async def test_an_illegal_register_is_not_taken_for_a_block_that_is_too_long(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    server = await serve_raw(takes_at_most(125, illegal=frozenset({30})))
    lamps = fieldbus.open(server.url, "generic-level-status")
    first = await lamps.read(LEVELS)
    assert first.quality.tolist() == [Quality.BAD if gear == 30 else Quality.GOOD for gear in range(64)]
    server.requests.clear()
    assert (await lamps.read(LEVELS)).quality.tolist() == first.quality.tolist()
    others = tuple(PointAddress("level_power_on", gear) for gear in range(64))
    server.requests.clear()
    assert (await lamps.read(others)).complete
    assert [request[10:12] for request in server.requests] == [b"\0\x40"], "all 64 in one"


async def test_a_gap_that_must_not_be_touched_is_cut_out_and_long_blocks_stay_long(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    server = await serve_raw(takes_at_most(125, illegal=frozenset(range(64, 100))))
    lamps = fieldbus.open(server.url, "generic-level-status")
    assert (await lamps.read(EVERYTHING)).complete
    server.requests.clear()
    assert (await lamps.read(EVERYTHING)).complete
    assert sorted(int.from_bytes(request[8:10], "big") for request in server.requests) == [0, 100]


async def test_asking_a_device_what_it_is_forgets_what_was_learnt_of_the_one_before(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    server = await serve_raw(takes_at_most(20, illegal=frozenset({7})))
    lamps = fieldbus.open(server.url, "generic-level-status")
    await lamps.read(LEVELS)
    assert lamps.health().refused_points == 1
    server.behave = takes_at_most(125)
    assert not (await lamps.read(LEVELS)).complete
    await lamps.identify()
    assert lamps.health().refused_points == 0
    server.requests.clear()
    assert (await lamps.read(LEVELS)).complete
    assert len(server.requests) == 1


def test_a_length_given_before_is_never_too_long() -> None:
    lengths = BlockLengths()
    lengths.granted[Table.HOLDING] = 100
    assert not lengths.too_long(Table.HOLDING, 100)
    limits = ModbusLimits()
    assert lengths.narrow(limits) is limits
    assert lengths.too_long(Table.HOLDING, 120)
    assert lengths.narrow(limits) == replace(limits, max_read_registers=110)
    assert lengths.too_long(Table.COIL, 1000)
    assert lengths.narrow(limits).max_read_bits == 500


def test_devices_of_one_profile_share_their_plans() -> None:
    profile = load_profile("generic-level-status")
    assert shared_plans(profile) is shared_plans(profile)
    assert shared_plans(replace(profile)) is not shared_plans(profile)
