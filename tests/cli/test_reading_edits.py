"""lichtbuch readings list|edit|estimate|validate, the real command against metering."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lichtbuch.metering.v1 import metering_pb2 as pb
from tests.cli.metering_command import Command, metering_command
from tests.services.metering.running import PARENT, columns
from tests.support.running import VIEWER

PERIOD = ("--from", "2026-03-28T11:00", "--until", "2026-03-28T13:01")


@pytest.fixture
async def command(tmp_path: Path) -> AsyncIterator[Command]:
    async with metering_command(tmp_path) as running:
        meter = pb.Meter(medium=pb.MEDIUM_ELECTRICITY, unit=pb.UNIT_WH)
        await running.metering.CreateMeter(pb.CreateMeterRequest(parent=PARENT, meter_id="M-1", meter=meter))
        for part in (columns([0, 10, 9_999, 30]), columns([70, 80], first=-1)):
            request = pb.IngestReadingsRequest(parent=PARENT, readings=part, source="import:a.csv")
            await running.metering.IngestReadings(request)
        yield running


async def test_what_the_rules_find_is_listed_edited_estimated_and_listed_with_who_and_why(command: Command) -> None:
    code, found = await command.json("readings", "validate", *PERIOD)
    assert (code, [(one["rule"], one["from"], one["count"], one["doubted"]) for one in found]) == (
        0,
        [("gap", "2026-03-28T12:00+01:00", 3, False)],
    )
    code, [edited] = await command.json(
        "readings", "edit", "M-1", "--set", "2026-03-28T11:30=20", "--reason", "read off the display"
    )
    assert (code, edited["value"], edited["status"], edited["revision"]) == (0, 20, "edited", 1)
    code, tried = await command.json("readings", "estimate", "M-1", *PERIOD, "--dry-run")
    assert (code, [one["value"] for one in tried]) == (0, [40, 50, 60])
    code, out, error = await command.run(
        "readings", "estimate", "M-1", *PERIOD, "--reason", "modem", "--method", "linear"
    )
    assert (code, out.count("estimated"), error) == (0, 3, "")
    _, rows = await command.json("readings", "list", *PERIOD, "--all-revisions")
    told = [(row["value"], row["status"], row["source"], row["why"]) for row in rows]
    assert told[2:5] == [
        (9_999, "doubtful", "import:a.csv", ""),
        (20, "edited", "edit", "read off the display"),
        (30, "measured", "import:a.csv", ""),
    ]
    assert told[5] == (40, "estimated", "estimate", "modem")


async def test_wrong_use_and_missing_rights_are_said_plainly(command: Command) -> None:
    for arguments, words in (
        (("--reason", "x"), "--set or times to --reject"),
        (("--set", "2026-03-28T11:30=1,5", "--reason", "x"), "TIME=VALUE"),
        (("--set", "11:30=5", "--reason", "x"), "local date and time"),
        (("--reject", "2026-03-28T12:00", "--reason", "x"), "no reading is stored"),
        (("--set", "2026-03-28T11:30=5", "--seen", "3", "--reason", "x"), "look again"),
        (("--set", "2026-03-28T11:30=5", "--reason", " "), "reason"),
    ):
        code, _, error = await command.run("readings", "edit", "M-1", *arguments)
        assert code != 0
        assert words in error
    code, _, error = await command.run(
        "readings", "edit", "M-1", "--set", "2026-03-28T11:30=5", "--reason", "x", subject=VIEWER
    )
    assert code != 0
    assert "metering.readings.edit" in error
    code, _, error = await command.run("readings", "estimate", "M-1", "--method", "magic")
    assert code != 0
    assert "linear, weekdays" in error


async def test_a_rejected_reading_is_a_gap(command: Command) -> None:
    code, [row] = await command.json("readings", "edit", "M-1", "--reject", "2026-03-28T11:15", "--reason", "nonsense")
    assert (code, row["status"]) == (0, "gap")
    code, found = await command.json(
        "readings", "validate", "--from", "2026-03-28T11:00", "--until", "2026-03-28T11:31"
    )
    assert (code, [(one["rule"], one["count"]) for one in found]) == (0, [("gap", 1)])
