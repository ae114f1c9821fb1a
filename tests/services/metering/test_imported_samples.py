"""Real samples of meters with values by the hour, the day and the bill: stored once, brought twice, judged and summed.

What the readings come to is added up here from the file, with decimals, by nothing of the import's.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cli.commands.reading_imports import facts_of
from cli.importing.readings.declared import Declared
from cli.importing.tables import read_table
from cli.importing.weather import read_weather
from domain.errors import InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.database import Database
from tests.services.metering.importing import HALF_HOURS, HOURS, REAL, amount, bring, bring_twice, with_real_files
from tests.services.metering.running import PARENT, Metering, running_metering
from tests.support.issuer import Issuer

SAMPLES = REAL / "eemeter_samples"
DAYS = {"kind": pb.READING_KIND_INTERVAL, "reading_cycle": pb.READING_CYCLE_DAY}
MONTHS = {"kind": pb.READING_KIND_INTERVAL, "reading_cycle": pb.READING_CYCLE_MONTH}
ALL_TIME = datetime(2012, 1, 1, tzinfo=UTC), datetime(2019, 1, 1, tzinfo=UTC)
LONELY_ZEROS = [
    "2016-01-13T12", "2016-01-18T16", "2016-07-12T06", "2016-08-26T10", "2016-12-31T20",
    "2017-12-30T12", "2018-01-11T13", "2018-01-25T00", "2018-01-27T08",
]  # fmt: skip
"""Ends of the hours without consumption where a month before and after it had next to none. The 134 others of the file
stand beside their like."""
KWH_OF_THERM = Decimal("29.3071")
pytestmark = [with_real_files, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


def rows_of(name: str) -> list[tuple[str, Decimal]]:
    """(start, value) of the rows that have a value, in the order of the file."""
    with gzip.open(SAMPLES / name, "rt", encoding="utf-8", newline="") as file:
        return [(row["start"], Decimal(row["value"])) for row in csv.DictReader(file) if row["value"] != "nan"]


def last_of(name: str) -> str:
    """The start that the last line of a file says."""
    with gzip.open(SAMPLES / name, "rt", encoding="utf-8", newline="") as file:
        return str(list(csv.DictReader(file))[-1]["start"])


@pytest.mark.parametrize(
    ("name", "cycle", "zone", "stored", "missing", "span"),
    [
        ("hourly", HOURS, "America/Chicago", 19_417, 0, ("2015-11-22T07:00Z", "2018-02-08T07:00Z")),
        ("daily", DAYS, "-06:00", 809, 1, ("2015-11-23T06:00Z", "2018-02-08T06:00Z")),
        ("billing_monthly", MONTHS, "-06:00", 26, 1, ("2015-12-21T06:00Z", "2018-01-20T06:00Z")),
    ],
)
async def test_a_sample_is_stored_once_to_the_watt_hour(
    metering: Metering, name: str, cycle: dict[str, int], zone: str, stored: int, missing: int, span: tuple[str, str]
) -> None:
    await metering.meter("m", **cycle)
    file = SAMPLES / f"il-electricity-cdd-hdd-{name}.csv.gz"
    declared = Declared(meter="m", unit="kWh", stamp="start", time_zone=zone)
    outcome = await bring_twice(metering, file, declared)
    assert (outcome.stored, outcome.unchanged, outcome.all_refused) == (stored, 0, 0)
    facts = facts_of(file, outcome, False)
    assert (facts["missing"], facts["rounded"]) == (missing, 0)
    assert facts["meters"] == [{"meter": "m", "readings": stored, "from": span[0], "until": span[1]}]
    rows = rows_of(file.name)
    assert len(rows) == stored
    zeros = LONELY_ZEROS if cycle is HOURS else []
    assert facts["findings_by_rule"] == ({"zero": len(zeros)} if zeros else {})
    assert [(one["from"], one["until"], one["doubted"]) for one in facts["findings"]] == [
        (f"{end}:00:00Z", f"{end}:00:00Z", True) for end in zeros
    ]
    by_end = {datetime.fromisoformat(start).timestamp() + 3600: value for start, value in rows}
    assert all(by_end[datetime.fromisoformat(f"{end}:00+00:00").timestamp()] == 0 for end in zeros)
    assert await amount(metering, "m", *ALL_TIME) == sum((value for _, value in rows), Decimal()) * 1000


async def test_british_half_hours_with_a_midnight_too_many_each_month_are_stored_once(metering: Metering) -> None:
    await metering.meter("m", **HALF_HOURS)
    file = SAMPLES / "uk-electricity-hdd-only-hourly-sample-1.csv.gz"
    declared = Declared(meter="m", unit="kWh", stamp="start", time_zone="UTC")
    outcome = await bring_twice(metering, file, declared)
    assert (outcome.stored, outcome.unchanged, outcome.all_refused) == (22_521, 15, 0)
    rows = rows_of(file.name)
    once = dict(rows)
    assert (len(rows), len(once)) == (22_536, 22_521)
    facts = facts_of(file, outcome, False)
    found = [(one["rule"], one["from"], one["until"], one["count"]) for one in facts["findings"]]
    assert found == [
        ("gap", "2012-10-12T11:30:00Z", "2012-10-12T11:30:00Z", 1),
        ("gap", "2012-11-02T20:00:00Z", "2012-11-02T20:00:00Z", 1),
        ("gap", "2012-11-08T01:00:00Z", "2012-11-09T00:30:00Z", 48),
        ("gap", "2012-12-11T15:00:00Z", "2012-12-11T15:00:00Z", 1),
        ("gap", "2014-01-15T21:30:00Z", "2014-01-15T21:30:00Z", 1),
        ("zero", "2012-10-12T01:00:00Z", "2012-10-12T11:00:00Z", 21),
    ]
    # The slots that the file spans and does not have are those of the gaps.
    starts = sorted(datetime.fromisoformat(start) for start in once)
    assert (starts[-1] - starts[0]).total_seconds() / 1800 + 1 - len(starts) == 52
    assert facts["rounded"] == 96
    assert abs(await amount(metering, "m", *ALL_TIME) - sum(once.values(), Decimal()) * 1000) <= 48


@pytest.mark.parametrize(
    ("name", "cycle", "stored"), [("il-gas-hdd-only-daily", DAYS, 809), ("il-gas-hdd-only-billing_monthly", MONTHS, 26)]
)
async def test_gas_in_therms_is_refused_by_name_and_taken_once_it_is_in_kwh(
    metering: Metering, tmp_path: Path, name: str, cycle: dict[str, int], stored: int
) -> None:
    await metering.meter("m", medium=pb.MEDIUM_GAS, **cycle)
    file = SAMPLES / f"{name}.csv.gz"
    declared = Declared(meter="m", unit="therm", stamp="start", time_zone="-06:00")
    with pytest.raises(InvalidInput, match="'therm' is none of"):
        await bring(metering, file, declared)
    in_kwh = tmp_path / f"{name}.csv"
    rows = [(start, (value * KWH_OF_THERM).quantize(Decimal("0.001"))) for start, value in rows_of(file.name)]
    # As in the file, the last line has no value and says where the amount before it ends.
    lines = [f"{start},{value}\n" for start, value in rows] + [f"{last_of(file.name)},\n"]
    in_kwh.write_text("start,value\n" + "".join(lines), encoding="utf-8")
    declared = Declared(meter="m", unit="kWh", stamp="start", time_zone="-06:00")
    outcome = await bring_twice(metering, in_kwh, declared)
    assert (outcome.stored, outcome.all_refused, outcome.file.tally.rounded) == (stored, 0, 0)
    assert dict(outcome.found) == {}
    assert await amount(metering, "m", *ALL_TIME) == sum((value for _, value in rows), Decimal()) * 1000


@pytest.mark.parametrize(
    ("name", "column", "zone", "hours", "days"),
    [
        ("il-electricity-cdd-hdd-tempF", "tempF", "America/Chicago", 19_417, 809),
        ("il-tempF", "tempF", "America/Chicago", 19_417, 809),
        ("uk-tempC-sample-1_2", "tempC", "Europe/London", 11_287, 470),
    ],
)
async def test_the_temperatures_beside_the_samples_become_means_of_local_days_and_are_stored_once(
    metering: Metering, name: str, column: str, zone: str, hours: int, days: int
) -> None:
    file = SAMPLES / f"{name}.csv.gz"
    tz = ZoneInfo(zone)
    found = read_weather(read_table(file), tz=tz, times="utc")
    assert (found.lines, found.missing, found.refusals, found.temperature_column) == (hours, 0, [], column)
    by_day: defaultdict[date, list[Decimal]] = defaultdict(list)
    with gzip.open(file, "rt", encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            at = datetime.fromisoformat(row["dt"])
            value = Decimal(row[column])
            celsius = (value - 32) * 5 / 9 if column == "tempF" else value
            by_day[(at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(tz).date()].append(celsius)
    whole = {day: sum(values, Decimal()) / len(values) for day, values in by_day.items() if len(values) >= 23}
    assert len(found.means) == days
    assert set(whole) <= set(found.means)
    assert all(abs(found.means[day] - mean * 100) <= 1 for day, mean in whole.items())
    request = pb.IngestTemperaturesRequest(
        parent=PARENT,
        station=name,
        days=[(day - date(1970, 1, 1)).days for day in found.means],
        mean_centidegrees=list(found.means.values()),
        source=f"import:{file.name}",
    )
    for stored in (days, 0):
        answer = await metering.as_().IngestTemperatures(request)
        assert (answer.stored, answer.unchanged, answer.refused) == (stored, days - stored, 0)
