"""What the web UI asks and does about meters, against a running metering service: figures, hand readings, who may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from domain.errors import Conflict, NotPermitted
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.clock import SteppedClock
from servicekit.convert import timestamp_to_proto
from servicekit.database import Database
from services.admin.metering import Comparing
from services.admin.metering import Metering as Questions
from services.admin.meters import MeterItem, by_place
from services.admin.periods import Period, Span
from services.admin.readings import all_doubts
from tests.services.metering.making import NOW
from tests.services.metering.running import PARENT, Metering, columns, name_of, running_metering
from tests.support.issuer import Issuer
from tests.support.running import ADMIN, OPERATOR, PLANNER, VIEWER

BERLIN = ZoneInfo("Europe/Berlin")
TODAY = Period.around(Span.DAY, date(2026, 3, 28))
MONTH = Period.around(Span.MONTH, date(2026, 3, 28))

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


def asked_by(metering: Metering, subject: str) -> Questions:
    """The questions of the pages, with a person's token."""
    clients: Any = SimpleNamespace(metering=metering.as_(subject))
    return Questions(PARENT, clients, SteppedClock(NOW + timedelta(seconds=1)))


async def town_hall(metering: Metering) -> dict[str, MeterItem]:
    """A main meter with a register and a sub-meter, each read every quarter hour from midnight UTC to noon."""
    quarterly = {"reading_cycle": pb.READING_CYCLE_QUARTER_HOUR, "building": "Rathaus"}
    await metering.meter("M-1", serial_number="1EMH1", transformer_ratio=40, floor_area_m2=100, **quarterly)
    await metering.meter("M-2", device=name_of("M-1"), flow=pb.FLOW_FEED_IN, **quarterly)
    await metering.meter("M-3", main_meter=name_of("M-1"), serial_number="1EMH3", **quarterly)
    for meter_id, step in (("M-1", 4_000), ("M-2", 400), ("M-3", 3_000)):
        values = [800_000 + number * step for number in range(49)]
        await metering.ingest(columns(values, first=-48, meter_id=meter_id))
    return {each.id: each for each in await asked_by(metering, VIEWER).meters()}


async def test_a_page_is_told_who_may_do_what(metering: Metering) -> None:
    told = {}
    for subject in (VIEWER, OPERATOR, PLANNER, ADMIN):
        ask = asked_by(metering, subject)
        told[subject] = [
            await each() for each in (ask.may_read_in, ask.may_edit, ask.may_deliver, ask.may_withdraw, ask.may_close)
        ]
    assert told == {
        VIEWER: [False] * 5,
        OPERATOR: [True, False, True, False, True],
        PLANNER: [True] * 5,
        ADMIN: [True] * 5,
    }


async def test_the_list_shows_registers_under_their_housing_with_its_number_and_coverage(metering: Metering) -> None:
    meters = await town_hall(metering)
    [place] = by_place(meters.values())
    assert [(row.meter.id, row.depth) for row in place.rows] == [("M-1", 0), ("M-2", 1), ("M-3", 1)]
    assert (meters["M-2"].serial_number, meters["M-2"].transformer_ratio) == ("1EMH1", 40)
    coverages = await asked_by(metering, VIEWER).coverages(tuple(meters.values()))
    assert coverages.keys() == {each.name for each in meters.values()}
    assert all(60 < coverage < 80 for coverage in coverages.values())  # half a day of seven


async def test_a_meter_s_page_has_its_figures(metering: Metering) -> None:
    meters = await town_hall(metering)
    ask, main = asked_by(metering, VIEWER), meters["M-1"]
    day = await ask.consumption(main, TODAY, BERLIN, as_energy=False)
    assert day.total is not None
    assert (len(day.parts), day.parts[10].amount, day.parts[10].coverage) == (52, 4_000, 1000)
    assert day.total.amount == 48 * 4_000
    month = await ask.consumption(main, MONTH, BERLIN, as_energy=True)
    assert (len(month.parts), month.parts[-1].amount) == (28, 48 * 4_000)
    load = await ask.load(main, TODAY, BERLIN)
    assert load is not None
    assert (load.peak, load.base, load.resolution_s, load.refusal) == (16_000, 16_000, 900, "")
    beside = await ask.comparison(main, MONTH, BERLIN, Comparing())
    assert beside is not None
    assert (beside.amount, beside.change, beside.milli_amount_per_m2) == (0, None, None)  # today is not over
    assert await ask.comparison(main, TODAY, BERLIN, Comparing()) is None
    losses = await ask.losses(main, TODAY, BERLIN)
    assert [name.rsplit("/", 1)[-1] for name in losses.sub_meters] == ["M-3"]
    assert (losses.rows[0].main, losses.rows[0].subs) == (192_000, 144_000)
    years = await ask.consumption(main, Period.around(Span.YEARS, date(2026, 3, 28)), BERLIN, as_energy=False)
    assert years.parts[-1].amount == 192_000


async def test_weather_is_offered_and_counted(metering: Metering) -> None:
    meters = await town_hall(metering)
    first = (date(2025, 1, 1) - date(1970, 1, 1)).days
    await metering.as_().IngestTemperatures(
        pb.IngestTemperaturesRequest(
            parent=PARENT, station="dwd-00232", days=range(first, first + 460), mean_centidegrees=[500] * 460,
            source="import:test.csv",
        )
    )  # fmt: skip
    ask = asked_by(metering, VIEWER)
    assert await ask.stations() == ("dwd-00232",)
    beside = await ask.comparison(meters["M-1"], MONTH, BERLIN, Comparing("dwd-00232", 100))
    assert beside is not None
    assert beside.degree_days is not None
    assert beside.degree_days.centi > 0
    assert beside.is_provisional


async def test_a_sensor_s_page_has_values_and_its_coverage(metering: Metering) -> None:
    await metering.meter(
        "T-1", medium=pb.MEDIUM_TEMPERATURE, unit=pb.UNIT_CELSIUS, kind=pb.READING_KIND_INSTANT, scale_exponent=-1,
        reading_cycle=pb.READING_CYCLE_QUARTER_HOUR,
    )  # fmt: skip
    await metering.ingest(columns([185 + number for number in range(9)], meter_id="T-1"))
    ask = asked_by(metering, VIEWER)
    meters = await ask.meters()
    values = await ask.values(meters[0], MONTH, BERLIN)
    assert (values.unit, values.scale_exponent) == (pb.UNIT_CELSIUS, -1)
    assert (values.steps[-1].least, values.steps[-1].greatest) == (185, 192)
    assert (await ask.coverages(meters))[meters[0].name] > 0


async def test_a_reading_by_hand_is_tried_doubted_and_stored_once(metering: Metering) -> None:
    meters = await town_hall(metering)
    ask, sub = asked_by(metering, OPERATOR), meters["M-3"]
    at = NOW - timedelta(minutes=7)
    last = await ask.last_reading(sub, NOW + timedelta(minutes=1))
    before = await ask.last_reading(sub, at)
    assert last is not None
    assert before is not None
    assert (last.value, before.value) == (800_000 + 48 * 3_000, 800_000 + 47 * 3_000)
    lower = await ask.bring(sub, at, 100, dry_run=True)
    assert [each.rule for each in all_doubts(sub, before, 100, lower)][:1] == ["negative_step"]
    fine = await ask.bring(sub, at, 800_000 + 47 * 3_000 + 1_000, dry_run=True)
    assert (fine.refusals, all_doubts(sub, before, 942_000, fine), fine.is_stored) == ((), (), False)
    value = 800_000 + 47 * 3_000 + 1_000
    assert not (await ask.bring(sub, at, value, dry_run=False)).is_stored
    assert (await ask.bring(sub, at, value, dry_run=False)).is_stored
    found = [each.current for each in await ask.readings(sub, at, at + timedelta(minutes=1))]
    assert [(each.value, each.status, each.source, each.actor) for each in found] == [
        (value, pb.READING_STATUS_HAND, "hand", OPERATOR)
    ]
    refused = await ask.bring(sub, at, value + 5, dry_run=True)
    assert len(refused.refusals) == 1
    future = await ask.bring(sub, NOW + timedelta(days=3), value, dry_run=True)
    assert len(future.refusals) == 1
    with pytest.raises(NotPermitted):
        await asked_by(metering, VIEWER).bring(sub, at, value, dry_run=False)


async def test_a_reading_is_put_right_unless_somebody_was_quicker_and_gaps_are_filled(metering: Metering) -> None:
    meters = await town_hall(metering)
    ask, sub = asked_by(metering, PLANNER), meters["M-3"]
    start = datetime(2026, 3, 28, 6, tzinfo=NOW.tzinfo)
    [seen] = [each.current for each in await ask.readings(sub, start, start + timedelta(minutes=1))]
    await ask.edit(sub, seen, seen.value - 500, "digits swapped", "r-1")
    with pytest.raises(Conflict):
        await ask.edit(sub, seen, seen.value - 700, "too late", "r-2")
    [now] = await ask.readings(sub, start, start + timedelta(minutes=1))
    assert (now.current.status, now.current.reason, now.current.actor) == (
        pb.READING_STATUS_EDITED, "digits swapped", PLANNER,
    )  # fmt: skip
    assert [each.value for each in now.before] == [seen.value]
    await ask.edit(sub, now.current, None, "was none", "r-3")
    tried = await ask.estimate(sub, start - timedelta(hours=1), start + timedelta(hours=1), 1, "", "")
    assert tried.count == 1
    done = await ask.estimate(sub, start - timedelta(hours=1), start + timedelta(hours=1), 1, "filled", "r-4")
    assert done.count == 1
    [filled] = await ask.readings(sub, start, start + timedelta(minutes=1))
    assert filled.current.status == pb.READING_STATUS_ESTIMATED


async def test_deliveries_are_recorded_once_listed_and_withdrawn(metering: Metering) -> None:
    await metering.meter("O-1", medium=pb.MEDIUM_OIL, unit=pb.UNIT_L, kind=pb.READING_KIND_STOCK)
    ask = asked_by(metering, ADMIN)
    [tank] = await ask.meters()
    wanted = pb.Delivery(delivered_at=timestamp_to_proto(NOW - timedelta(days=3)), amount=3_000, document="LS 1")
    for _ in range(2):
        await ask.deliver(tank, wanted, "r-1")
    [delivered] = await ask.deliveries(tank)
    assert (delivered.amount, delivered.document, delivered.recorded_by) == (3_000, "LS 1", ADMIN)
    await ask.withdraw(delivered.name, "twice")
    assert [each.withdrawal_reason for each in await ask.deliveries(tank)] == ["twice"]
    assert await ask.findings() == await ask.all_findings() == ()
