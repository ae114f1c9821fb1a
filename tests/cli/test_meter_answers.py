"""lichtbuch meter load|losses|compare, delivery and findings, the real command against metering over real gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.commands.deliveries import _whole
from domain.errors import InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.clock import SteppedClock
from servicekit.context import Caller, acting_as
from servicekit.database import Database
from servicekit.lease import lease_for
from servicekit.tenants import FixedTenants
from services.metering.slot import SLOT_MS
from services.metering.waste.keeper import WasteKeeper
from tests.cli.metering_command import Command, metering_command
from tests.services.metering.making import NOON_MS, NOW
from tests.services.metering.running import PARENT, columns, name_of
from tests.support.running import OPERATOR, TOWNS, VIEWER

PERIOD = ("--from", "2026-03-28T11:00", "--until", "2026-03-28T11:45")
"""Eight to five slots before noon UTC, on the town's clock."""
GAS = pb.GasFactor(valid_from="2026-01-01", calorific_value_wh_per_m3=11_250, state_number_e4=10_000)


@pytest.fixture
async def command(tmp_path: Path) -> AsyncIterator[Command]:
    async with metering_command(tmp_path) as running:
        yield running


async def meter(command: Command, meter_id: str, values: list[int], **facts: Any) -> None:
    """A meter with quarter hours from eight slots before noon."""
    values_of = {"medium": pb.MEDIUM_ELECTRICITY, "unit": pb.UNIT_WH, **facts}
    await command.metering.CreateMeter(
        pb.CreateMeterRequest(parent=PARENT, meter_id=meter_id, meter=pb.Meter(**values_of))
    )
    readings = columns(values, meter_id=meter_id)
    await command.metering.IngestReadings(
        pb.IngestReadingsRequest(parent=PARENT, readings=readings, source="import:test.csv")
    )


async def test_a_load_profile_at_the_terminal(command: Command) -> None:
    await meter(command, "M-1", [0, 500, 1_500, 1_700])
    await meter(command, "slp", [0], reading_cycle=pb.READING_CYCLE_YEAR)
    code, out, error = await command.run("meter", "load", *PERIOD, subject=VIEWER)
    assert code == 0, error
    assert "4.000 kW" in out
    assert "less often" in out
    code, rows = await command.json("meter", "load", "M-1", *PERIOD)
    assert code == 0
    assert (rows[0]["peak"], rows[0]["base"], rows[0]["used"], rows[0]["unit"]) == (4_000, 800, 1_700, "WH")
    assert rows[0]["peak_at"].startswith("2026-03-28T11:15")
    assert rows[0]["load_factor_permille"] == 566


async def test_losses_of_a_tree_at_the_terminal(command: Command) -> None:
    await meter(command, "main", [0, 1_000, 2_000, 3_000])
    await meter(command, "a", [0, 990, 1_500], main_meter=name_of("main"))
    code, out, error = await command.run("meter", "losses", "main", "--step", "quarter-hour", *PERIOD)
    assert code == 0, error
    assert [word for word in ("within", "loss", "unknown") if word in out] == ["within", "loss", "unknown"]
    assert "1 sub-meters (a)" in error
    code, found = await command.json("meter", "losses", "main", "--step", "quarter-hour", *PERIOD)
    assert (found["sub_meters"], [one["difference"] for one in found["steps"]][:2]) == (["a"], [10, 490])
    await meter(command, "b", [0], main_meter=name_of("main"))
    await command.metering.IngestReadings(
        pb.IngestReadingsRequest(parent=PARENT, readings=columns([2_100], first=-5, meter_id="b"), source="hand")
    )
    code, found = await command.json("meter", "losses", "main", "--step", "quarter-hour", *PERIOD)
    assert [one["estimated"] for one in found["steps"]] == [700, 700, 700]
    code, out, error = await command.run("meter", "losses", "main", "--step", "quarter-hour", *PERIOD)
    assert ("estimated" in out, "0.700 kWh" in out) == (True, True), out


async def test_a_comparison_at_the_terminal(command: Command) -> None:
    await meter(command, "M-1", [0, 500, 1_500, 1_200 + 500])
    period = ("--from", "2026-03-28T11:30", "--until", "2026-03-28T11:45", "--with", "2026-03-28T11:00")
    code, out, error = await command.run("meter", "compare", "M-1", *period)
    assert code == 0, error
    assert "0.200 kWh" in out
    assert ("estimated" in out, "provisional" in out, "degree" in out) == (True, True, False), out
    assert "compared with 2026-03-28 11:00" in error
    code, found = await command.json("meter", "compare", "M-1", *period)
    [row] = found["meters"]
    assert (row["used"], row["before"], row["change_permille"], row["provisional"]) == (200, 500, -600, True)
    assert (row["per_degree_day"], row["per_degree_day_before"]) == (None, None)
    await meter(command, "G-1", [0, 2_000, 4_000, 6_000], medium=pb.MEDIUM_GAS, unit=pb.UNIT_L, gas_factors=[GAS])
    code, found = await command.json("meter", "compare", "G-1", "--energy", *period)
    assert (found["meters"][0]["unit"], found["meters"][0]["used"]) == ("WH", 2 * 11_250)
    code, _, error = await command.run("meter", "compare", "M-1")
    assert (code, "--from and --until" in error) == (2, True)


async def test_deliveries_at_the_terminal(command: Command) -> None:
    oil = {"kind": pb.READING_KIND_STOCK, "medium": pb.MEDIUM_OIL, "unit": pb.UNIT_L, "scale_exponent": -1}
    await meter(command, "oil", [30_000, 29_600], **oil)
    add = ("delivery", "add", "oil", "2500.5", "--at", "2026-03-27T09:30", "--cost", "3120.50", "--document", "LS 1")
    code, out, error = await command.run(*add, "--request-id", "r-1", subject=OPERATOR)
    assert code == 0, error
    assert "2500.5 l" in out
    assert "3 120.50 EUR" in out
    await command.run(*add, "--request-id", "r-1", subject=OPERATOR)
    code, rows = await command.json("delivery", "list", "oil")
    assert [(row["amount"], row["cost_cents"], row["document"]) for row in rows] == [(25_005, 312_050, "LS 1")]
    code, _, error = await command.run("delivery", "withdraw", "oil", rows[0]["delivery"], "--reason", "another tank")
    assert code == 0, error
    code, rows = await command.json("delivery", "list", "oil")
    assert rows[0]["why"] == "another tank"
    code, _, error = await command.run("delivery", "add", "oil", "2500.55", "--at", "2026-03-27")
    assert (code, "amount" in error) == (2, True), error


@pytest.mark.parametrize("wrong", ["many", "-1", "2500.55"])
def test_an_amount_that_is_none_is_refused_before_anything_is_asked(wrong: str) -> None:
    with pytest.raises(InvalidInput, match="amount"):
        _whole(wrong, 1, "amount")


async def leak(command: Command, tmp_path: Path) -> None:
    """A water meter that never stops, and a look of the watch at it."""
    water: dict[str, Any] = {"medium": pb.MEDIUM_WATER, "unit": pb.UNIT_L, "kind": pb.READING_KIND_INTERVAL}
    await command.metering.CreateMeter(
        pb.CreateMeterRequest(parent=PARENT, meter_id="W", meter=pb.Meter(**water, reading_cycle=pb.READING_CYCLE_HOUR))
    )
    count, midnight_ms = 24 * 5, NOON_MS - 13 * 4 * SLOT_MS
    readings = pb.ReadingColumns(
        meters=[name_of("W")],
        meter_indexes=[0] * count,
        slots_unix_ms=[midnight_ms - n * 4 * SLOT_MS for n in range(count)],
        values=[20] * count,
    )
    await command.metering.IngestReadings(
        pb.IngestReadingsRequest(parent=PARENT, readings=readings, source="import:test.csv")
    )
    database = Database(f"sqlite:///{tmp_path}/metering.db", "metering", pool_size=1)
    clock = SteppedClock(NOW)
    lease = lease_for("metering.waste", database, tmp_path, holder="test", clock=clock)
    assert await lease.try_acquire()
    with acting_as(Caller.of_service("metering"), action="metering.watch"):
        assert await WasteKeeper(database, FixedTenants(TOWNS), clock, lease).look() == 1
    await lease.release()
    await database.close()


async def test_findings_at_the_terminal(command: Command, tmp_path: Path) -> None:
    await leak(command, tmp_path)
    code, out, error = await command.run("findings", "list", subject=VIEWER)
    assert code == 0, error
    assert "20 L/h at least" in out
    assert "10.80 EUR" in out
    assert ("coverage" in out, "1000" in out) == (True, True), out
    code, rows = await command.json("findings", "list", "--meter", "W")
    [row] = rows
    assert (row["rule"], row["too_much"], row["unit"], row["state"]) == ("water_never_stops", 2_400, "L", "open")
    assert datetime.fromisoformat(row["from"]).astimezone(UTC) < NOW
    short = row["finding"][-8:]
    code, out, error = await command.run("findings", "acknowledge", short, "--note", "plumber", subject=OPERATOR)
    assert (code, "acknowledged" in out) == (0, True), error
    code, out, error = await command.run("findings", "close", short, "--note", "mended", subject=OPERATOR)
    assert (code, "closed" in out) == (0, True), error
    code, rows = await command.json("findings", "list", "--past")
    assert [one["note"] for one in rows] == ["mended"]
    code, _, error = await command.run("findings", "close", "abcdefgh", "--note", "x")
    assert (code, "abcdefgh does not exist" in error) == (2, True), error
