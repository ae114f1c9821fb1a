"""What must hold for every meter that is shipped, whatever its make: no digit lost, and no energy out of nothing."""

from __future__ import annotations

import asyncio

import pytest

from fieldbus.client import Fieldbus
from fieldbus.profile import ModbusPlace, PointBinding, Protocol
from fieldbus.profile_loader import load_profile, profile_names
from fieldbus.values import PointAddress, Quality
from fieldbus.vocabulary import PointType
from tests.fieldbus.conftest import ServeRaw
from tests.fieldbus.servers import answer_frame, registers_pdu

METERS = [
    name
    for name in profile_names()
    if load_profile(name).kind == "meter" and load_profile(name).protocol is Protocol.MODBUS
]
COUNTERS = [
    (name, point)
    for name in METERS
    for point, binding in load_profile(name).points.items()
    if binding.point.type is PointType.COUNTER
]


def places(binding: PointBinding) -> list[tuple[ModbusPlace, float, float]]:
    """Each place of a point with its scale and offset."""
    found = [(model.place, model.conversion.scale, model.conversion.offset) for _, model in binding.models]
    if binding.modbus is not None:
        found.append((binding.modbus, binding.conversion.scale, binding.conversion.offset))
    return found


@pytest.mark.parametrize(("name", "point"), COUNTERS)
def test_a_step_of_an_integer_counter_is_whole_units_so_none_is_rounded_away(name: str, point: str) -> None:
    for place, scale, offset in places(load_profile(name).points[point]):
        assert offset == 0
        assert scale >= 1
        assert scale == int(scale)
        assert place.format.kind != "f" or scale in (1, 1000, 1_000_000), "floats are base units, kilo or mega"


@pytest.mark.parametrize("name", METERS)
@pytest.mark.parametrize("word", [0xFFFF, 0x8000], ids=["all ones", "sign bits"])
async def test_an_empty_bus_counts_no_energy(fieldbus: Fieldbus, serve_raw: ServeRaw, name: str, word: int) -> None:
    """Registers of one and the same pattern, as broken converters and starting meters give them."""

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer_frame(request, registers_pdu(request, word)))

    server = await serve_raw(behave)
    profile = load_profile(name)
    counters = [PointAddress(point) for point, entry in profile.points.items() if entry.point.type is PointType.COUNTER]
    if not counters:
        return
    batch = await fieldbus.open(f"{server.url}?unit=1", name).read(counters)
    counted = {
        str(counters[row]): value for row, value in enumerate(batch.values) if batch.quality[row] == Quality.GOOD
    }
    assert not any(counted.values()), "sign bits alone are a float's nought, all else is no value"
