"""What tests of files of readings stand on: a town of four meters, a table opened for it, what came out of it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli.importing.readings.declared import Declared
from cli.importing.readings.known import Directory, Kind, KnownMeter, Step
from cli.importing.readings.reader import ReadingsFile, open_readings

REAL = Path(os.environ.get("LICHTBUCH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "meters"
COUNTER = KnownMeter("municipalities/town/meters/m")
PROFILE = KnownMeter("municipalities/town/meters/p", kind=Kind.INTERVAL, aliases=("DE 0001",))
HOURS = KnownMeter("municipalities/town/meters/h", kind=Kind.INTERVAL, step=Step.HOUR)
SENSOR = KnownMeter("municipalities/town/meters/t", "CELSIUS", Kind.INSTANT, -2, None)
TOWN = Directory([COUNTER, PROFILE, HOURS, SENSOR])


def opened(tmp_path: Path, text: str | bytes, **declared: Any) -> ReadingsFile:
    file = tmp_path / "readings.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return open_readings(file, Declared().with_options(**declared), TOWN, time_zone="Europe/Berlin")


def taken(found: ReadingsFile) -> list[tuple[str, int]]:
    """(UTC as day, hour and minute, value) of all readings."""
    return [
        (datetime.fromtimestamp(slot / 1000, UTC).strftime("%d %H:%M"), value)
        for piece in found.pieces
        for slot, value in zip(piece.slots, piece.values, strict=True)
    ]


def read(tmp_path: Path, text: str | bytes, **declared: Any) -> list[tuple[str, int]]:
    found = opened(tmp_path, text, **{"meter": "m", "unit": "kWh", **declared})
    values = taken(found)
    assert not found.tally.refusals
    return values


def refusals(tmp_path: Path, text: str, **declared: Any) -> list[tuple[int, str, str]]:
    found = opened(tmp_path, text, **{"meter": "m", "unit": "kWh", **declared})
    taken(found)
    return [(one.line, one.column, one.reason) for one in found.tally.refusals]
