"""Four real years of a building's meter, hour by hour, through the contract: stored once, summed by local month."""

from __future__ import annotations

import csv
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.convert import timestamp_to_proto
from servicekit.database import Database
from services.metering.slot import to_ms
from tests.services.metering.running import PARENT, Metering, name_of, running_metering
from tests.support.issuer import Issuer

SHARED = Path(os.environ.get("LICHTBUCH_SHARED_DATA", Path(__file__).resolve().parents[4] / ".." / "shared" / "data"))
FILE = SHARED / "meters" / "cambridge" / "ucam_b4_hourly_2017_2020.csv"

pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"the real meter data is not at {FILE}")


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


def hours() -> list[tuple[datetime, int]]:
    """Begin of each hour and what was used in it, in Wh."""
    with FILE.open(newline="") as file:
        return [
            (
                datetime.fromisoformat(row["datetime_utc"]).replace(tzinfo=UTC),
                round(float(row["electricity"] or 0) * 1000),
            )
            for row in csv.DictReader(file)
        ]


async def test_a_real_meter_is_imported_once_and_its_months_add_up(metering: Metering) -> None:
    used = hours()
    await metering.meter(building="ucam b4")
    starts = [to_ms(begin) for begin, _ in used]
    counters = [0, *np.cumsum([wh for _, wh in used]).tolist()]
    given = pb.ReadingColumns(
        meters=[name_of()],
        meter_indexes=[0] * len(counters),
        slots_unix_ms=[*starts, starts[-1] + 3_600_000],
        values=counters,
    )
    first = await metering.ingest(given)
    assert (first.stored, first.refused) == (len(used) + 1, 0)
    again = await metering.ingest(given)
    assert (again.stored, again.unchanged) == (0, len(used) + 1)
    berlin = ZoneInfo("Europe/Berlin")
    query = pb.QueryConsumptionRequest(
        parent=PARENT,
        meters=[name_of()],
        start_time=timestamp_to_proto(datetime(2018, 1, 1, tzinfo=berlin)),
        end_time=timestamp_to_proto(datetime(2019, 1, 1, tzinfo=berlin)),
        step=pb.STEP_LOCAL_MONTH,
    )
    answer = await metering.as_().QueryConsumption(query)
    by_month = [0] * 12
    for begin, wh in used:
        local = begin.astimezone(berlin)
        if local.year == 2018:
            by_month[local.month - 1] += wh
    assert list(answer.amounts) == by_month
    assert set(answer.coverages_permille) == {1000}
