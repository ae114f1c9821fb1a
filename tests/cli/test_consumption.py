"""lichtbuch consumption and meters, the real command: gas in litres and in kWh, units as people write them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.commands.meters import amount
from lichtbuch.metering.v1 import metering_pb2 as pb
from tests.cli.metering_command import Command, metering_command
from tests.services.metering.running import PARENT, columns


@pytest.fixture
async def command(tmp_path: Path) -> AsyncIterator[Command]:
    async with metering_command(tmp_path) as running:
        yield running


async def create(command: Command, meter_id: str, **fields: object) -> None:
    meter = pb.Meter(**fields)  # type: ignore[arg-type]
    await command.metering.CreateMeter(pb.CreateMeterRequest(parent=PARENT, meter_id=meter_id, meter=meter))


async def test_gas_is_told_in_litres_or_in_kwh(command: Command) -> None:
    factor = pb.GasFactor(valid_from="2025-01-01", calorific_value_wh_per_m3=11_250, state_number_e4=9_634)
    await create(command, "G-1", medium=pb.MEDIUM_GAS, unit=pb.UNIT_L, gas_factors=[factor])
    await create(
        command, "T-1", medium=pb.MEDIUM_TEMPERATURE, unit=pb.UNIT_CELSIUS, kind=pb.READING_KIND_INSTANT,
        scale_exponent=-1,
    )  # fmt: skip
    readings = columns([1_000 * n for n in range(9)], meter_id="G-1")
    await command.metering.IngestReadings(pb.IngestReadingsRequest(parent=PARENT, readings=readings, source="test"))
    sensor = columns([-55], first=-1, meter_id="T-1")
    await command.metering.IngestReadings(pb.IngestReadingsRequest(parent=PARENT, readings=sensor, source="test"))
    period = ("--from", "2026-03-28T11:00", "--until", "2026-03-28T13:00", "--step", "total")
    code, [plain] = await command.json("consumption", *period)
    assert (code, plain["meter"], plain["used"], plain["unit"]) == (0, "G-1", 8_000, "L")
    _, [energy] = await command.json("consumption", *period, "--energy")
    assert (energy["used"], energy["unit"]) == (8_000 * 11_250 * 9_634 // 10**7, "WH")
    code, out, _ = await command.run("consumption", *period, "--energy")
    assert code == 0
    assert "86.7" in out
    code, out, _ = await command.run("meters")
    assert "-5.5 °C" in out
    assert "8000 l" in out


@pytest.mark.parametrize(
    ("value", "unit", "exponent", "shown"),
    [
        (1_500, "L", 0, "1500 l"),
        (-55, "CELSIUS", -1, "-5.5 °C"),
        (12, "KG", 2, "1200 kg"),
        (42, "COUNT", 0, "42"),
        (7, "PERCENT", 0, "7 %"),
    ],
)
def test_a_value_is_told_in_its_unit(value: int, unit: str, exponent: int, shown: str) -> None:
    assert amount(value, unit, exponent) == shown
