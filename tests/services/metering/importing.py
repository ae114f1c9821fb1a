"""What tests of imported files stand on: a session of the town, a file brought once or twice, what it comes to.

No command line is here (tests/cli) and no file.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cli.commands.reading_imports import Outcome, directory_of, send_readings
from cli.importing.readings.declared import Declared
from cli.importing.readings.reader import open_readings
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.convert import timestamp_to_proto
from tests.services.metering.running import PARENT, Metering

REAL = Path(os.environ.get("LICHTBUCH_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data")) / "meters"
with_real_files = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real meters are not at {REAL}")
BERLIN = ZoneInfo("Europe/Berlin")
HALF_HOURS = {"kind": pb.READING_KIND_INTERVAL, "reading_cycle": pb.READING_CYCLE_HALF_HOUR}
HOURS = {"kind": pb.READING_KIND_INTERVAL, "reading_cycle": pb.READING_CYCLE_HOUR}


class Town:
    """What a command's session is, as far as files of readings go."""

    def __init__(self, metering: Metering) -> None:
        self.metering = metering.as_()

    async def parent(self) -> str:
        return PARENT

    async def zone(self) -> ZoneInfo:
        return BERLIN


async def bring(metering: Metering, file: Path, declared: Declared, **options: Any) -> Outcome:
    session: Any = Town(metering)
    dry_run, zone = options.pop("dry_run", False), options.pop("zone", "Europe/Berlin")
    opened = open_readings(file, declared, await directory_of(session), time_zone=zone, **options)
    return await send_readings(session, opened, f"import:{file.name}", dry_run=dry_run)


async def bring_twice(metering: Metering, file: Path, declared: Declared, **options: Any) -> Outcome:
    """Brings a file, and again: the second time changes nothing. Answers the first outcome."""
    first = await bring(metering, file, declared, **options)
    again = await bring(metering, file, declared, **options)
    assert (again.stored, again.unchanged + again.refused) == (0, first.stored + first.unchanged + first.refused)
    assert again.refused == first.refused
    return first


async def amount(metering: Metering, meter_id: str, first: datetime, end: datetime) -> int:
    request = pb.QueryConsumptionRequest(
        parent=PARENT,
        meters=[f"{PARENT}/meters/{meter_id}"],
        start_time=timestamp_to_proto(first),
        end_time=timestamp_to_proto(end),
        step=pb.STEP_TOTAL,
    )
    answer: pb.QueryConsumptionResponse = await metering.as_().QueryConsumption(request)
    return answer.amounts[0]
