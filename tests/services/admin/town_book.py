"""What the small town of tests keeps of its meters: readings in all revisions, deliveries, findings; local steps."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from domain.errors import InvalidInput
from domain.night import local_date, local_instant
from lichtbuch.metering.v1 import metering_pb2
from servicekit.convert import unix_ms

QUARTER_MS = 900_000
CYCLES_MS = {
    metering_pb2.READING_CYCLE_QUARTER_HOUR: QUARTER_MS,
    metering_pb2.READING_CYCLE_HOUR: 4 * QUARTER_MS,
    metering_pb2.READING_CYCLE_DAY: 100 * QUARTER_MS,
    metering_pb2.READING_CYCLE_YEAR: 370 * 96 * QUARTER_MS,
}
UNUSABLE = (metering_pb2.READING_STATUS_GAP, metering_pb2.READING_STATUS_DOUBTFUL)
ESTIMATED = metering_pb2.READING_STATUS_ESTIMATED
LARGEST_STEP = 100_000_000
BERLIN = ZoneInfo("Europe/Berlin")


@dataclass
class Stored:
    """One revision of a reading."""

    value: int
    status: int
    source: str = "poll"
    actor: str = "metering"
    reason: str = ""
    stored_at: datetime = datetime(2026, 11, 22, 17, 16, tzinfo=UTC)


@dataclass
class MeterBook:
    """Readings, deliveries and findings."""

    readings: dict[str, dict[int, list[Stored]]] = field(default_factory=dict)
    """By name of the meter and slot; the last revision holds."""
    deliveries: dict[str, metering_pb2.Delivery] = field(default_factory=dict)
    findings: dict[str, metering_pb2.Finding] = field(default_factory=dict)
    requests: dict[str, Any] = field(default_factory=dict)
    largest_steps: dict[str, int] = field(default_factory=dict)
    """What a reading by hand may be above the last one before it is doubted."""

    def put(self, meter: str, at: datetime, value: int, status: int = metering_pb2.READING_STATUS_MEASURED) -> None:
        """Stores a reading as polled."""
        self.readings.setdefault(meter, {})[unix_ms(at)] = [Stored(value, status)]

    def usable(self, meter: str) -> list[tuple[int, Stored]]:
        """What figures rest on, by slot."""
        held = sorted((slot, versions[-1]) for slot, versions in self.readings.get(meter, {}).items())
        return [(slot, each) for slot, each in held if each.status not in UNUSABLE]


def slots_of(message: Any) -> tuple[int, int]:
    return unix_ms(message.start_time.ToDatetime(tzinfo=UTC)), unix_ms(message.end_time.ToDatetime(tzinfo=UTC))


def _day(ms: int) -> date:
    return local_date(datetime.fromtimestamp(ms / 1000, UTC), BERLIN)


def _begin(day: date) -> int:
    return unix_ms(local_instant(day, time(0), BERLIN))


def steps_of(step: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The steps of a period, cut to it."""
    at = start
    while at < end:
        day = _day(at)
        match step:
            case metering_pb2.STEP_QUARTER_HOUR:
                following = at + QUARTER_MS
            case metering_pb2.STEP_LOCAL_DAY:
                following = _begin(day + timedelta(days=1))
            case metering_pb2.STEP_LOCAL_MONTH:
                following = _begin((day.replace(day=1) + timedelta(days=32)).replace(day=1))
            case metering_pb2.STEP_LOCAL_YEAR:
                following = _begin(date(day.year + 1, 1, 1))
            case metering_pb2.STEP_TOTAL:
                following = end
            case _:
                raise InvalidInput.of("step", "not known here")
        yield at, min(following, end)
        at = following
