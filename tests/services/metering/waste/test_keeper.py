"""The waste watch over a running service: looks in the morning, raises once, extends, ends by itself, obeys people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.errors import Conflict, FailedPrecondition, InvalidInput, NotPermitted
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.access import Binding, Role
from servicekit.clock import SteppedClock
from servicekit.context import Caller, acting_as
from servicekit.database import Database
from servicekit.lease import lease_for
from servicekit.tenants import FixedTenants
from services.metering.store.waste import SILENT_DAYS
from services.metering.waste.keeper import WasteKeeper
from tests.services.metering.profiles import BERLIN
from tests.services.metering.running import PARENT, Metering, name_of, running_metering
from tests.support.issuer import Issuer
from tests.support.running import HERSFELD, OPERATOR, TOWNS, VIEWER

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

TODAY = date(2026, 3, 28)
"""The day of the running service's clock; it stands at one in the afternoon."""


@dataclass
class Watched:
    """A running service and the watch over it."""

    metering: Metering
    keeper: WasteKeeper
    clock: SteppedClock
    again: Callable[[], WasteKeeper]
    memory: Path
    """Where a worker keeps what it looked at."""

    def restart(self) -> None:
        """Another process takes over, at another place: it does not know what was looked at."""
        self.memory.unlink()
        self.keeper = self.again()

    def restart_here(self) -> None:
        """The process is started again."""
        self.keeper = self.again()

    async def look(self) -> int:
        """Looks once more."""
        with acting_as(Caller.of_service("metering"), action="metering.watch"):
            return await self.keeper.look()

    async def findings(self, **more: Any) -> list[pb.Finding]:
        """What stands."""
        answer = await self.metering.as_(VIEWER).ListFindings(pb.ListFindingsRequest(parent=PARENT, **more))
        return list(answer.findings)

    async def after(self, days: int, meter: str = "", amounts: list[int] | None = None) -> int:
        """Looks so many days later; until then the meter has counted these hours up to the last midnight."""
        await self.clock.advance(timedelta(days=days))
        if amounts:
            await self.hours(meter, amounts, self.clock.now().astimezone(BERLIN).date())
        return await self.look()

    async def hours(self, meter: str, amounts: list[int], end: date = TODAY) -> None:
        """Hours of a meter up to a local midnight, as intervals."""
        last = round(datetime(end.year, end.month, end.day, tzinfo=BERLIN).timestamp()) * 1000
        count = len(amounts)
        await self.metering.ingest(
            pb.ReadingColumns(
                meters=[name_of(meter)],
                meter_indexes=[0] * count,
                slots_unix_ms=[last - (count - 1 - n) * 3_600_000 for n in range(count)],
                values=amounts,
            )
        )

    async def of_hours(self, meter: str, **changes: Any) -> pb.Meter:
        """A new meter of hours."""
        facts = {"kind": pb.READING_KIND_INTERVAL, "reading_cycle": pb.READING_CYCLE_HOUR, **changes}
        return await self.metering.meter(meter, **facts)


@pytest.fixture
async def watched(issuer: Issuer, database: Database, tmp_path: Path) -> AsyncIterator[Watched]:
    async with running_metering(issuer, database) as running:
        yield await watch_of(running, database, tmp_path)


async def watch_of(running: Metering, database: Database, folder: Path) -> Watched:
    clock = running.servicer.clock
    assert isinstance(clock, SteppedClock)
    lease = lease_for("metering.waste", database, folder, holder="test", clock=clock)
    assert await lease.try_acquire()

    memory = folder / "waste-watched.json"

    def keeper() -> WasteKeeper:
        return WasteKeeper(database, FixedTenants(TOWNS), clock, lease, memory=memory)

    return Watched(running, keeper(), clock, keeper, memory)


WATER: dict[str, Any] = {"medium": pb.MEDIUM_WATER, "unit": pb.UNIT_L}
SCHOOL = [0] * 7 + [200] * 9 + [0] * 8
LEAK = [30] * 24


async def test_a_leak_is_raised_once_extended_while_it_runs_and_ends_by_itself(watched: Watched) -> None:
    await watched.of_hours("W", building="Schule", **WATER)
    await watched.hours("W", SCHOOL * 10 + LEAK * 4)
    assert await watched.look() == 1
    [raised] = await watched.findings()
    assert (raised.rule, raised.meter, raised.state) == ("water_never_stops", name_of("W"), pb.FINDING_STATE_OPEN)
    assert raised.excess_amount == 30 * 4 * 24
    assert raised.cost_cents == round(30 * 4 * 24 / 1000 * 450)
    assert (raised.unit, raised.coverage_permille) == (pb.UNIT_L, 1000)
    assert "30 L/h" in raised.detail
    # The same day again changes nothing, and neither does a restart.
    assert await watched.look() == 0
    watched.restart()
    assert await watched.look() == 0

    assert await watched.after(1, "W", LEAK) == 1
    [extended] = await watched.findings()
    assert (extended.name, extended.start_time) == (raised.name, raised.start_time)
    assert extended.excess_amount == 30 * 5 * 24
    assert extended.etag != raised.etag

    # A day that nobody has read ends nothing.
    assert await watched.after(2) == 0
    assert [one.name for one in await watched.findings()] == [raised.name]

    assert await watched.after(1, "W", SCHOOL * 3) == 1
    assert await watched.findings() == []
    [ended] = await watched.findings(with_past=True)
    assert (ended.name, ended.state) == (raised.name, pb.FINDING_STATE_ENDED)
    assert ended.HasField("closed_at")


@sqlite_only
async def test_a_worker_that_is_started_again_looks_when_the_next_morning_has_come(watched: Watched) -> None:
    await watched.of_hours("W", **WATER)
    await watched.hours("W", SCHOOL * 14)
    assert await watched.look() == 0
    # What comes in on the same day is looked at the next morning, however often the worker is started until then.
    await watched.of_hours("V", **WATER)
    await watched.hours("V", SCHOOL * 10 + LEAK * 4)
    for _ in range(3):
        watched.restart_here()
        assert await watched.look() == 0
    assert await watched.after(1) == 1
    assert [one.meter for one in await watched.findings()] == [name_of("V")]


@sqlite_only
@pytest.mark.parametrize("words", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "looked": {"x": "noon"}}'])
async def test_a_memory_that_cannot_be_read_costs_no_more_than_a_look(watched: Watched, words: str) -> None:
    await watched.of_hours("W", **WATER)
    await watched.hours("W", SCHOOL * 10 + LEAK * 4)
    watched.memory.write_text(words, encoding="utf-8")
    watched.restart_here()
    assert await watched.look() == 1
    watched.restart_here()
    assert await watched.look() == 0


async def test_people_acknowledge_and_close_and_what_they_closed_is_not_raised_again(watched: Watched) -> None:
    await watched.of_hours("W", **WATER)
    await watched.hours("W", SCHOOL * 10 + LEAK * 4)
    await watched.look()
    [raised] = await watched.findings()
    with pytest.raises(NotPermitted):
        await watched.metering.as_(VIEWER).CloseFinding(pb.CloseFindingRequest(name=raised.name, note="no"))
    operator = watched.metering.as_(OPERATOR)
    known = await operator.AcknowledgeFinding(
        pb.AcknowledgeFindingRequest(name=raised.name, note="plumber is called", etag=raised.etag)
    )
    assert (known.state, known.acknowledged_by, known.note) == (
        pb.FINDING_STATE_ACKNOWLEDGED,
        OPERATOR,
        "plumber is called",
    )
    with pytest.raises(Conflict):
        await operator.CloseFinding(pb.CloseFindingRequest(name=raised.name, note="mended", etag=raised.etag))
    with pytest.raises(InvalidInput, match="note"):
        await operator.CloseFinding(pb.CloseFindingRequest(name=raised.name, note=" "))

    await watched.after(1, "W", LEAK)
    [extended] = await watched.findings()
    assert (extended.state, extended.note) == (pb.FINDING_STATE_ACKNOWLEDGED, "plumber is called")

    closed = await operator.CloseFinding(pb.CloseFindingRequest(name=raised.name, note="the pool is filled"))
    assert (closed.state, closed.note) == (pb.FINDING_STATE_CLOSED, "the pool is filled")
    with pytest.raises(FailedPrecondition, match="no longer"):
        await operator.AcknowledgeFinding(pb.AcknowledgeFindingRequest(name=raised.name))
    assert await watched.after(1, "W", LEAK) == 0
    assert await watched.findings() == []
    # It stopped, and began anew.
    assert await watched.after(5, "W", SCHOOL + LEAK * 4) == 1
    assert len(await watched.findings(with_past=True)) == 2


def office(hour: int, more: int) -> int:
    return (2_000 if 8 <= hour < 18 else 500) + more


@sqlite_only
async def test_a_night_base_load_that_went_up_is_raised_for_buildings_and_not_for_cabinets(watched: Watched) -> None:
    profile = [office(hour, 0) for _ in range(40) for hour in range(24)]
    profile += [office(hour, 400) for _ in range(6) for hour in range(24)]
    for meter, place in (("B", {"building": "Rathaus"}), ("C", {"cabinet": f"{PARENT}/cabinets/C-1"})):
        await watched.of_hours(meter, avoidable_price_micro_eur=300_000, **place)
        await watched.hours(meter, profile)
    await watched.look()
    [found] = await watched.findings()
    assert (found.meter, found.rule) == (name_of("B"), "night_base_load_up")
    assert found.cost_cents == round(400 * 6 * 24 / 1000 * 30)
    assert [one.meter for one in await watched.findings(meter=name_of("C"))] == []
    assert len(await watched.findings(meter=name_of("B"))) == 1


@sqlite_only
async def test_weekends_are_judged_only_where_a_building_is_said_to_rest(watched: Watched) -> None:
    profile = [office(hour, 0) for _ in range(46) for hour in range(24)]
    for meter, rests in (("office", True), ("museum", False)):
        await watched.of_hours(meter, rests_on_weekends=rests)
        await watched.hours(meter, profile)
    await watched.look()
    assert [(one.meter, one.rule) for one in await watched.findings()] == [(name_of("office"), "weekend_use")]


@sqlite_only
async def test_heating_in_warm_weather_needs_the_weather(watched: Watched) -> None:
    await watched.of_hours("H", medium=pb.MEDIUM_HEAT)
    use = [8_000] * 24 * 60 + [1_000] * 24 * 20 + [5_000] * 24 * 6
    await watched.hours("H", use)
    await watched.look()
    assert await watched.findings() == []
    first = TODAY - timedelta(days=87)
    numbers = [(first + timedelta(days=n) - date(1970, 1, 1)).days for n in range(87)]
    means = [200] * 61 + [1_700] * 26
    await watched.metering.as_().IngestTemperatures(
        pb.IngestTemperaturesRequest(
            parent=PARENT, station="dwd-1", days=numbers, mean_centidegrees=means, source="import:x"
        )
    )
    watched.restart()
    await watched.look()
    [found] = await watched.findings()
    assert found.rule == "heating_in_warm_weather"
    assert found.excess_amount > 0


@sqlite_only
async def test_profiles_and_weather_that_are_brought_once_a_month_are_looked_at_up_to_their_end(
    watched: Watched,
) -> None:
    await watched.of_hours("W", **WATER)
    await watched.hours("W", SCHOOL * 10 + LEAK * 4, TODAY - timedelta(days=25))
    await watched.of_hours("old", **WATER)
    await watched.hours("old", LEAK * 5, TODAY - timedelta(days=80))
    await watched.of_hours("H", medium=pb.MEDIUM_HEAT)
    await watched.hours("H", [8_000] * 24 * 60 + [1_000] * 24 * 20 + [5_000] * 24 * 6)
    first = TODAY - timedelta(days=87)
    await watched.metering.as_().IngestTemperatures(
        pb.IngestTemperaturesRequest(
            parent=PARENT,
            station="dwd-1",
            days=[(first + timedelta(days=n) - date(1970, 1, 1)).days for n in range(85)],
            mean_centidegrees=[200] * 61 + [1_700] * 24,
            source="import:x",
        )
    )
    await watched.look()
    found = {one.meter: one for one in await watched.findings()}
    assert set(found) == {name_of("W"), name_of("H")}
    assert found[name_of("W")].end_time.ToDatetime(tzinfo=BERLIN).date() == TODAY - timedelta(days=25)
    assert await watched.after(1) == 0


@sqlite_only
async def test_a_sum_of_meters_is_watched_like_any_meter(watched: Watched) -> None:
    await watched.of_hours("a", **WATER)
    await watched.of_hours("b", **WATER)
    await watched.hours("a", SCHOOL * 14)
    await watched.hours("b", [0] * 24 * 10 + LEAK * 4)
    terms = [pb.MeterTerm(meter=name_of("a")), pb.MeterTerm(meter=name_of("b"))]
    await watched.metering.meter("sum", kind=pb.READING_KIND_VIRTUAL, terms=terms, **WATER)
    await watched.look()
    # Most of what the sum wastes shows at one of its parts: there it is raised, and once.
    assert {one.meter for one in await watched.findings()} == {name_of("b")}


@sqlite_only
async def test_waste_is_raised_at_the_deepest_meter_that_shows_it(watched: Watched) -> None:
    await watched.of_hours("main", **WATER)
    await watched.of_hours("floor", main_meter=name_of("main"), **WATER)
    await watched.of_hours("kitchen", main_meter=name_of("floor"), **WATER)
    for meter in ("main", "floor", "kitchen"):
        await watched.hours(meter, SCHOOL * 10 + LEAK * 4)
    assert await watched.look() == 1
    [found] = [one for one in await watched.findings() if one.rule == "water_never_stops"]
    assert found.meter == name_of("kitchen")

    # What a person has closed is the sub-meter's business too: the main meter does not raise it in its place.
    note = pb.CloseFindingRequest(name=found.name, note="the fountain runs in summer")
    await watched.metering.as_(OPERATOR).CloseFinding(note)
    for meter in ("main", "floor", "kitchen"):
        await watched.after(int(meter == "main"), meter, LEAK)
    assert await watched.findings() == []


@sqlite_only
async def test_a_leak_of_which_sub_meters_show_little_is_raised_at_the_main_meter_too(watched: Watched) -> None:
    await watched.of_hours("main", **WATER)
    await watched.of_hours("sub", main_meter=name_of("main"), loss_tolerance_permille=1000, **WATER)
    await watched.hours("main", SCHOOL * 10 + [100] * 24 * 4)
    await watched.hours("sub", [0] * 24 * 10 + LEAK * 4)
    await watched.look()
    raised = {one.meter for one in await watched.findings() if one.rule == "water_never_stops"}
    assert raised == {name_of("main"), name_of("sub")}


@sqlite_only
async def test_a_finding_goes_to_the_sub_meter_as_soon_as_there_is_one_that_shows_it(watched: Watched) -> None:
    await watched.of_hours("main", **WATER)
    await watched.hours("main", SCHOOL * 10 + LEAK * 4)
    await watched.look()
    [raised] = await watched.findings()
    await watched.of_hours("sub", main_meter=name_of("main"), **WATER)
    await watched.hours("sub", SCHOOL * 10 + LEAK * 4)
    await watched.after(1, "main", LEAK)
    watched.restart()
    await watched.hours("sub", LEAK, TODAY + timedelta(days=1))
    await watched.look()
    assert [one.meter for one in await watched.findings() if one.rule == raised.rule] == [name_of("sub")]
    past = {one.name: one for one in await watched.findings(with_past=True)}[raised.name]
    assert (past.state, past.detail) == (pb.FINDING_STATE_ENDED, "it shows at sub behind it")


@sqlite_only
async def test_a_tree_that_is_off_and_a_store_that_does_not_add_up_are_findings_without_cost(watched: Watched) -> None:
    await watched.of_hours("main")
    await watched.of_hours("sub", main_meter=name_of("main"))
    await watched.hours("main", [1_000] * 24 * 8)
    await watched.hours("sub", [700] * 24 * 8)
    await watched.metering.meter("oil", kind=pb.READING_KIND_STOCK, medium=pb.MEDIUM_OIL, unit=pb.UNIT_L)
    await watched.hours("oil", [500, 480, 4_000, 3_990])
    await watched.look()
    found = {one.rule: one for one in await watched.findings()}
    assert set(found) == {"sum_check", "stock_does_not_add_up"}
    assert {one.cost_cents for one in found.values()} == {0}
    assert found["stock_does_not_add_up"].excess_amount == 3_520
    assert found["sum_check"].excess_amount == 300 * 24 * 7


@sqlite_only
async def test_the_watch_waits_for_the_morning(watched: Watched) -> None:
    await watched.of_hours("W", **WATER)
    await watched.hours("W", SCHOOL * 10 + LEAK * 4)
    await watched.clock.advance(timedelta(hours=13))  # two o'clock in the night, local time
    await watched.hours("W", LEAK, TODAY + timedelta(days=1))
    assert await watched.look() == 0
    await watched.clock.advance(timedelta(hours=5))
    assert await watched.look() == 1


async def leaking_behind_a_main_meter(watched: Watched) -> None:
    """A leak at a sub-meter, which its main meter counts too; looked at."""
    await watched.of_hours("main", **WATER)
    await watched.of_hours("sub", main_meter=name_of("main"), **WATER)
    for meter in ("main", "sub"):
        await watched.hours(meter, SCHOOL * 10 + LEAK * 4)
    await watched.look()


@sqlite_only
async def test_a_finding_of_a_sub_meter_that_was_taken_down_ends_and_hides_nothing_of_the_main_one(
    watched: Watched,
) -> None:
    await leaking_behind_a_main_meter(watched)
    assert {finding.meter for finding in await watched.findings()} == {name_of("sub")}
    taken_down = pb.DismountMeterRequest(name=name_of("sub"), final_reading=0)
    taken_down.dismounted_at.FromDatetime(watched.clock.now())
    await watched.metering.as_().DismountMeter(taken_down)
    await watched.after(1, "main", LEAK)
    assert {finding.meter for finding in await watched.findings()} == {name_of("main")}
    [ended] = [one for one in await watched.findings(with_past=True) if one.meter == name_of("sub")]
    assert ended.state == pb.FINDING_STATE_ENDED


@sqlite_only
async def test_a_main_meter_is_still_held_against_its_sub_meters_when_one_was_taken_down(watched: Watched) -> None:
    await watched.of_hours("main")
    for meter in ("stays", "goes"):
        await watched.of_hours(meter, main_meter=name_of("main"))
        await watched.hours(meter, [100] * 24 * 10)
    await watched.hours("main", [200] * 24 * 10)
    taken_down = pb.DismountMeterRequest(name=name_of("goes"), final_reading=0)
    taken_down.dismounted_at.FromDatetime(watched.clock.now())
    await watched.metering.as_().DismountMeter(taken_down)
    await watched.clock.advance(timedelta(days=SILENT_DAYS + 10))
    for meter, amount in (("stays", 100), ("main", 200)):
        await watched.hours(meter, [amount] * 24 * 30, watched.clock.now().astimezone(BERLIN).date())
    await watched.look()
    assert "sum_check" in {finding.rule for finding in await watched.findings() if finding.meter == name_of("main")}


@sqlite_only
async def test_a_finding_of_a_sub_meter_that_fell_silent_explains_the_main_one_s_waste_for_two_months(
    watched: Watched,
) -> None:
    await leaking_behind_a_main_meter(watched)
    await watched.after(1, "main", LEAK)
    assert {finding.meter for finding in await watched.findings()} == {name_of("sub")}
    await watched.after(SILENT_DAYS + 2, "main", LEAK * 14)
    assert {finding.meter for finding in await watched.findings()} == {name_of("main"), name_of("sub")}


@sqlite_only
async def test_a_finding_of_a_meter_that_is_no_more_ends(watched: Watched) -> None:
    await watched.of_hours("W", **WATER)
    await watched.hours("W", SCHOOL * 10 + LEAK * 4)
    await watched.look()
    await watched.metering.as_().DeleteMeter(pb.DeleteMeterRequest(name=name_of("W")))
    await watched.after(1)
    assert [one.state for one in await watched.findings(with_past=True)] == [pb.FINDING_STATE_ENDED]


@sqlite_only
async def test_findings_come_in_pages_the_newest_first_and_are_no_business_of_a_contractor(
    issuer: Issuer, database: Database, tmp_path: Path
) -> None:
    bound = {"contractor": [Binding(Role.CONTRACTOR, HERSFELD.id, (name_of("W2"),))]}
    async with running_metering(issuer, database, bound) as metering:
        watched = await watch_of(metering, database, tmp_path)
        for number in range(3):
            await watched.of_hours(f"W{number}", **WATER)
            await watched.after(int(number > 0), f"W{number}", SCHOOL * 10 + LEAK * 4)
        stub = metering.as_(VIEWER)
        first = await stub.ListFindings(pb.ListFindingsRequest(parent=PARENT, page_size=2))
        rest = await stub.ListFindings(
            pb.ListFindingsRequest(parent=PARENT, page_size=2, page_token=first.next_page_token)
        )
        listed = [one.meter for one in (*first.findings, *rest.findings)]
        assert listed == [name_of("W2"), name_of("W1"), name_of("W0")]
        everywhere = await stub.ListFindings(pb.ListFindingsRequest(parent="municipalities/-"))
        assert [one.meter for one in everywhere.findings] == listed
        with pytest.raises(NotPermitted):
            await metering.as_("contractor").ListFindings(pb.ListFindingsRequest(parent=PARENT))
