"""What must hold for every meter that is shipped, whatever its make: no digit lost, and no energy out of nothing."""

from __future__ import annotations

import asyncio

import pytest

from fieldbus.client import Fieldbus
from fieldbus.profile import ModbusPlace, PointBinding, Profile, Protocol
from fieldbus.profile_loader import load_profile
from fieldbus.values import PointAddress, Quality
from fieldbus.vocabulary import PointType
from tests.fieldbus.conftest import ServeRaw
from tests.fieldbus.recorded import shipped
from tests.fieldbus.servers import answer_frame, registers_pdu

METERS = shipped(Protocol.MODBUS, "meter")
EMPTY = pytest.mark.parametrize("word", [0xFFFF, 0x8000], ids=["all ones", "sign bits"])


def counters(profile: Profile) -> list[str]:
    """The points that count."""
    return [name for name, binding in profile.points.items() if binding.point.type is PointType.COUNTER]


def places(binding: PointBinding) -> list[tuple[ModbusPlace, float, float]]:
    """Each place of a point with its scale and offset."""
    found = [(model.place, model.conversion.scale, model.conversion.offset) for _, model in binding.models]
    if binding.modbus is not None:
        found.append((binding.modbus, binding.conversion.scale, binding.conversion.offset))
    return found


def check_steps(profile: Profile) -> None:
    """A step of a counter is whole units; that it is not less than one the loader sees to."""
    for point in counters(profile):
        for place, scale, offset in places(profile.points[point]):
            assert offset == 0, f"{point}: a counter has no offset"
            assert scale == int(scale), f"{point}: a step is no whole number of units"
            if place.format.kind == "f":
                assert scale in (1, 1000, 1_000_000), f"{point}: floats are base units, kilo or mega"


@pytest.mark.parametrize("name", METERS)
def test_a_step_of_a_counter_is_whole_units_so_none_is_rounded_away(name: str) -> None:
    check_steps(load_profile(name))


@pytest.mark.parametrize("name", METERS)
@EMPTY
async def test_an_empty_bus_counts_no_energy(fieldbus: Fieldbus, serve_raw: ServeRaw, name: str, word: int) -> None:
    await check_empty_bus(fieldbus, serve_raw, load_profile(name), word)


async def check_empty_bus(fieldbus: Fieldbus, serve_raw: ServeRaw, profile: Profile, word: int) -> None:
    """Registers of one and the same pattern, as broken converters and starting meters give them, are no energy.

    Sign bits alone are a float's nought; all else must be no value.
    """

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer_frame(request, registers_pdu(request, word)))

    server = await serve_raw(behave)
    names = counters(profile)
    if not names:
        return
    batch = await fieldbus.open(f"{server.url}?unit=1", profile).read([PointAddress(name) for name in names])
    counted = [
        f"{name}: {pattern(profile.points[name], word)}, read as {batch.values[row]:.0f}"
        for row, name in enumerate(names)
        if batch.quality[row] == Quality.GOOD and batch.values[row] != 0
    ]
    if counted:
        pytest.fail("\n".join(["add these to not_available:", *counted]), pytrace=False)


def pattern(binding: PointBinding, word: int) -> str:
    """What a point's registers are when each holds `word`, as `not_available` gives it."""
    place = next(place for place, _, _ in places(binding))
    octets = word.to_bytes(2, "big")
    return f"0x{(octets if place.format.byte_order == 'big' else octets[::-1]).hex().upper() * place.format.registers}"
