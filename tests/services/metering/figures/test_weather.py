"""Weather over gRPC: days of stations taken once and corrected beside what was; degree days of stations and sensors."""

from __future__ import annotations

import asyncio
import csv
import os
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import Session, select

from domain.degree_days import DailyMeans, Rule
from domain.errors import FailedPrecondition, InvalidInput, NotFound, NotPermitted
from domain.night import local_day_bounds, unix_ms
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.access import Binding, Role
from servicekit.audit import AuditRecord
from servicekit.convert import timestamp_to_proto
from servicekit.database import Database
from services.metering.figures.weather import DayStep, day_number, warmth, whole_days
from services.metering.meter import Kind, Medium, Unit
from services.metering.reading import Readings
from services.metering.store.ingest import write
from services.metering.store.tables import WeatherDayRow
from services.metering.store.weather import span
from tests.services.metering.making import NOW, add_meter, source
from tests.services.metering.running import PARENT, Metering, name_of, running_metering
from tests.support.issuer import Issuer
from tests.support.running import HERSFELD, PLANNER, VIEWER

BERLIN = ZoneInfo("Europe/Berlin")
_SHARED = Path(os.environ.get("LICHTBUCH_SHARED_DATA", Path(__file__).resolve().parents[5] / "shared" / "data"))
AUGSBURG = _SHARED / "weather" / "dwd_00232_augsburg_daily_2009_2018.csv"
STATION = "dwd-00232"
JANUARY = date(2026, 1, 1)
CONTRACTOR = "carla"


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    bound = [Binding(Role.CONTRACTOR, HERSFELD.id, (name_of("other"),))]
    async with running_metering(issuer, database, {CONTRACTOR: bound}) as running:
        yield running


sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def ingest(
    metering: Metering, means: Sequence[int], first: date = JANUARY, subject: str = PLANNER, **more: Any
) -> pb.IngestTemperaturesResponse:
    """Brings means of consecutive days."""
    request = pb.IngestTemperaturesRequest(
        parent=PARENT,
        station=STATION,
        days=[day_number(first) + n for n in range(len(means))],
        mean_centidegrees=means,
        source="import:produkt_klima_tag.txt",
        **more,
    )
    answer: pb.IngestTemperaturesResponse = await metering.as_(subject).IngestTemperatures(request)
    return answer


def asked(weather: str, first: date, end: date, step: int = pb.STEP_TOTAL, **more: Any) -> pb.QueryDegreeDaysRequest:
    """A request for whole local days."""
    return pb.QueryDegreeDaysRequest(
        parent=PARENT,
        weather=weather,
        start_time=timestamp_to_proto(local_day_bounds(first, BERLIN)[0]),
        end_time=timestamp_to_proto(local_day_bounds(end, BERLIN)[0]),
        step=step,  # type: ignore[arg-type]
        **more,
    )


async def degree_days(
    metering: Metering, weather: str, first: date, end: date, step: int = pb.STEP_TOTAL, **more: Any
) -> list[pb.DegreeDays]:
    answer = await metering.as_(VIEWER).QueryDegreeDays(asked(weather, first, end, step, **more))
    return list(answer.degree_days)


def figures(found: pb.DegreeDays) -> tuple[int, int, int, int, int]:
    return (
        found.degree_days_centi,
        found.heating_days,
        found.known_days,
        found.days,
        found.mean_centidegrees,
    )


async def test_days_are_taken_once_and_again_changes_nothing(metering: Metering) -> None:
    first = await ingest(metering, [500, -110, 1500])
    again = await ingest(metering, [500, -110, 1500, 1600])
    assert (first.stored, first.unchanged, first.corrected, first.refused) == (3, 0, 0, 0)
    assert (again.stored, again.unchanged, again.corrected, again.refused) == (1, 3, 0, 0)
    [total] = await degree_days(metering, STATION, JANUARY, date(2026, 1, 5))
    assert figures(total) == (1500 + 2110, 2, 4, 4, 873)


async def test_a_correction_is_kept_beside_what_was(metering: Metering) -> None:
    await ingest(metering, [500, 600])
    answer = await ingest(metering, [500, 650])
    assert (answer.unchanged, answer.corrected) == (1, 1)
    back = await ingest(metering, [500, 600])
    assert (back.unchanged, back.corrected) == (1, 1), "what was corrected back is a version of its own"
    [total] = await degree_days(metering, STATION, JANUARY, date(2026, 1, 3))
    assert total.degree_days_centi == 1500 + 1400

    def versions(session: Session) -> list[tuple[int, int, str]]:
        day = day_number(date(2026, 1, 2))
        rows = session.exec(select(WeatherDayRow).where(WeatherDayRow.day == day).order_by("revision")).all()
        return [(row.revision, row.mean_centidegrees, row.actor) for row in rows]

    stored = await metering.servicer.database.read(versions)
    assert [(revision, mean) for revision, mean, _ in stored] == [(0, 600), (1, 650), (2, 600)]
    assert all(PLANNER in actor for _, _, actor in stored)
    trail = await metering.servicer.database.read(lambda session: session.exec(select(AuditRecord)).all())
    assert [record.resource for record in trail] == [f"{PARENT}/weather/{STATION}"] * 3


async def test_each_refusal_names_its_index_and_reason(metering: Metering) -> None:
    today = NOW.astimezone(BERLIN).date()
    days = [JANUARY, today - timedelta(days=1), today, date(1600, 1, 1), date(2026, 1, 2), date(2026, 1, 3), JANUARY]
    request = pb.IngestTemperaturesRequest(
        parent=PARENT,
        station=STATION,
        days=[day_number(day) for day in days] + [day_number(JANUARY)],
        mean_centidegrees=[500, 600, 700, 0, 9_000, -9_500, 501, 500],
        source="test",
    )
    answer = await metering.as_().IngestTemperatures(request)
    assert (answer.stored, answer.unchanged, answer.refused) == (2, 1, 5)
    for refusal, index, words in zip(
        answer.refusals,
        (2, 3, 4, 5, 6),
        ("not over", "before 1700", "warmer", "colder", "another mean"),
        strict=True,
    ):
        assert refusal.startswith(f"{index}: ")
        assert words in refusal


@sqlite_only
async def test_a_dry_run_checks_everything_and_stores_nothing(metering: Metering) -> None:
    await ingest(metering, [500])
    answer = await ingest(metering, [600, 700], dry_run=True)
    assert (answer.stored, answer.corrected) == (1, 1)
    assert (await ingest(metering, [500])).unchanged == 1
    [total] = await degree_days(metering, STATION, JANUARY, date(2026, 1, 3))
    assert figures(total) == (1500, 1, 1, 2, 500)


async def test_two_who_bring_the_same_days_at_once_store_them_once(metering: Metering) -> None:
    answers = await asyncio.gather(*(ingest(metering, list(range(200)), date(2024, 1, 1)) for _ in range(4)))
    assert sum(answer.stored for answer in answers) == 200
    assert sum(answer.unchanged for answer in answers) == 600


@sqlite_only
async def test_columns_of_different_lengths_are_refused(metering: Metering) -> None:
    request = pb.IngestTemperaturesRequest(
        parent=PARENT, station=STATION, days=[1, 2], mean_centidegrees=[5], source="t"
    )
    with pytest.raises(InvalidInput, match="mean_centidegrees"):
        await metering.as_().IngestTemperatures(request)
    with pytest.raises(NotPermitted):
        await ingest(metering, [500], subject=VIEWER)


@sqlite_only
async def test_months_and_years_add_up_and_a_missing_day_is_told(metering: Metering) -> None:
    first, end = date(2024, 1, 1), date(2026, 1, 1)
    length = (end - first).days
    means = [1000 + 1000 * (n % 7 - 3) // 3 for n in range(length)]
    await ingest(metering, means[:400], first)
    await ingest(metering, means[401:], first + timedelta(days=401))
    [total] = await degree_days(metering, STATION, first, end)
    by_month = await degree_days(metering, STATION, first, end, pb.STEP_LOCAL_MONTH)
    by_year = await degree_days(metering, STATION, first, end, pb.STEP_LOCAL_YEAR)
    by_day = await degree_days(metering, STATION, first, end, pb.STEP_LOCAL_DAY)
    assert [len(one) for one in (by_month, by_year, by_day)] == [24, 2, length]
    assert total.degree_days_centi == sum(2000 - mean for n, mean in enumerate(means) if n != 400 and mean < 1500)
    for parts in (by_month, by_year, by_day):
        assert sum(part.degree_days_centi for part in parts) == total.degree_days_centi
        assert sum(part.days for part in parts) == total.days == length
        assert sum(part.known_days for part in parts) == total.known_days == length - 1
        assert [part.end_time for part in parts[:-1]] == [part.start_time for part in parts[1:]]
    assert figures(by_day[400]) == (0, 0, 0, 1, 0)


@sqlite_only
async def test_base_and_limit_are_those_of_the_request(metering: Metering) -> None:
    await ingest(metering, [0, 1400])
    end = date(2026, 1, 3)
    [hgt] = await degree_days(metering, STATION, JANUARY, end, base_centidegrees=1500)
    [austrian] = await degree_days(metering, STATION, JANUARY, end, limit_centidegrees=1200)
    assert (hgt.degree_days_centi, austrian.degree_days_centi) == (1600, 2000)
    with pytest.raises(InvalidInput, match="base_centidegrees"):
        await degree_days(metering, STATION, JANUARY, end, base_centidegrees=1000)
    with pytest.raises(InvalidInput, match="step"):
        await degree_days(metering, STATION, JANUARY, end, step=pb.STEP_HOUR)


async def test_a_station_without_days_answers_which_there_are(metering: Metering) -> None:
    await ingest(metering, [500])
    answer = await metering.as_(VIEWER).QueryDegreeDays(asked("dwd-1", JANUARY, date(2026, 1, 3)))
    assert list(answer.stations) == [STATION]
    assert figures(answer.degree_days[0]) == (0, 0, 0, 2, 0)
    known = await metering.as_(VIEWER).QueryDegreeDays(asked(STATION, JANUARY, date(2026, 1, 3)))
    assert list(known.stations) == []


@sqlite_only
async def test_ten_years_of_a_real_station_are_answered_as_sums_in_decimals(metering: Metering) -> None:
    if not AUGSBURG.is_file():
        pytest.skip(f"{AUGSBURG} is not here: set LICHTBUCH_SHARED_DATA")
    with AUGSBURG.open(newline="") as file:
        real = {date.fromisoformat(row["MESS_DATUM"]): Decimal(row["TMK"]) for row in csv.DictReader(file)}
    first, end = date(2009, 1, 1), date(2019, 1, 1)
    answer = await ingest(metering, [int(mean * 100) for mean in real.values()], first)
    assert (answer.stored, answer.refused) == (3652, 0)
    years = await degree_days(metering, STATION, first, end, pb.STEP_LOCAL_YEAR)
    for year, found in zip(range(2009, 2019), years, strict=True):
        cold = [mean for day, mean in real.items() if day.year == year and mean < 15]
        assert Decimal(found.degree_days_centi) / 100 == sum((20 - mean for mean in cold), Decimal(0))
        assert (found.heating_days, found.known_days, found.days) == (
            len(cold),
            found.days,
            365 + (year in (2012, 2016)),
        )


async def add_sensor(metering: Metering, meter_id: str, exponent: int, values: dict[int, int], **more: Any) -> None:
    """An outdoor sensor and its values by Unix ms."""

    def add(session: Session) -> None:
        fields: dict[str, Any] = {"kind": int(Kind.INSTANT), "medium": int(Medium.TEMPERATURE), **more}
        fields = {"unit": int(Unit.CELSIUS), "scale_exponent": exponent, **fields}
        stored = add_meter(session, meter_id, municipality_uid=HERSFELD.uid, **fields)
        key = stored.lives[0].key
        slots = list(values)
        write(session, Readings.of([key] * len(slots), slots, list(values.values())), source())

    await metering.servicer.partitions.ensure([(2025, 12), (2026, 1)])
    await metering.servicer.database.run(add)


def hours(day: date, count: int = 24) -> list[int]:
    begin = unix_ms(local_day_bounds(day, BERLIN)[0])
    return [begin + n * 3_600_000 for n in range(count)]


async def test_degree_days_of_an_outdoor_sensor(metering: Metering) -> None:
    cold, mild, thin = (date(2026, 1, n) for n in (10, 11, 12))
    values = dict.fromkeys(hours(cold), -55)
    # A broken sensor's value is no temperature, and three missing hours are borne.
    values |= {instant: 120 if n % 2 else 80 for n, instant in enumerate(hours(mild))}
    values |= dict.fromkeys(hours(mild)[:2], 8_500)
    values |= dict.fromkeys(hours(thin, 20), 50)
    await add_sensor(metering, "T-1", -1, values)
    [total] = await degree_days(metering, name_of("T-1"), cold, date(2026, 1, 13))
    mean = (11 * 1200 + 11 * 800) // 22
    assert figures(total) == (2550 + 2000 - mean, 2, 2, 3, (-550 + mean) // 2)


@sqlite_only
async def test_values_are_read_in_the_scale_of_their_register(metering: Metering) -> None:
    day = date(2026, 1, 10)
    await add_sensor(metering, "T-milli", -3, dict.fromkeys(hours(day), 5_005))
    [total] = await degree_days(metering, name_of("T-milli"), day, day + timedelta(days=1))
    assert total.mean_centidegrees == 501
    await add_sensor(metering, "T-whole", 0, dict.fromkeys(hours(day), -3))
    [total] = await degree_days(metering, name_of("T-whole"), day, day + timedelta(days=1))
    assert total.mean_centidegrees == -300


@sqlite_only
async def test_what_is_no_sensor_of_temperature_is_refused(metering: Metering) -> None:
    await metering.meter("M-1")
    for weather, error in (
        (name_of("M-1"), FailedPrecondition),
        (name_of("nobody"), NotFound),
        (f"{PARENT}/luminaires/L-1", InvalidInput),
    ):
        with pytest.raises(error):
            await degree_days(metering, weather, JANUARY, date(2026, 1, 3))


@sqlite_only
async def test_a_contractor_sees_no_sensor_of_others(metering: Metering) -> None:
    await add_sensor(metering, "T-1", -1, dict.fromkeys(hours(JANUARY), 5))
    with pytest.raises(NotFound):
        await metering.as_(CONTRACTOR).QueryDegreeDays(asked(name_of("T-1"), JANUARY, date(2026, 1, 3)))


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        (datetime(2025, 12, 31, 23, tzinfo=UTC), datetime(2026, 1, 1, 23, tzinfo=UTC), ("2026-01-01", "2026-01-02")),
        (datetime(2025, 12, 31, 23, 1, tzinfo=UTC), datetime(2026, 1, 3, 22, tzinfo=UTC), ("2026-01-02", "2026-01-03")),
        (datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, tzinfo=UTC), ("2026-03-29", "2026-03-30")),
    ],
)
def test_a_period_is_cut_to_whole_local_days(start: datetime, end: datetime, days: tuple[str, str]) -> None:
    first, after = whole_days(start, end, BERLIN)
    assert (first.isoformat(), after.isoformat()) == days


def test_a_period_without_a_whole_day_is_refused() -> None:
    start = datetime(2026, 1, 1, 1, tzinfo=UTC)
    with pytest.raises(InvalidInput, match="no whole local day"):
        whole_days(start, start + timedelta(hours=30), BERLIN)


def test_steps_of_months_are_cut_by_the_period() -> None:
    means = DailyMeans.of({}, date(2024, 2, 28), date(2024, 4, 2))
    found = warmth(means, Rule(2000, 1500), DayStep.LOCAL_MONTH)
    assert [(one.first.isoformat(), one.end.isoformat()) for one in found] == [
        ("2024-02-28", "2024-03-01"),
        ("2024-03-01", "2024-04-01"),
        ("2024-04-01", "2024-04-02"),
    ]
    assert [one.mean_centi_c for one in found] == [None, None, None]


async def test_the_span_of_a_station_is_known(metering: Metering) -> None:
    await ingest(metering, [500, 600, 700])
    read = metering.servicer.database.read
    assert await read(lambda session: span(session, HERSFELD.uid, STATION)) == (JANUARY, date(2026, 1, 4))
    assert await read(lambda session: span(session, HERSFELD.uid, "nobody")) is None
