"""Spans of local time that figures of a meter are asked for: a day, a month, a year, ten years. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from domain.night import local_instant
from lichtbuch.metering.v1 import metering_pb2

DECADE: Final = 10
_EARLIEST: Final = date(1950, 1, 1)
_LATEST: Final = date(2150, 1, 1)


class Span(StrEnum):
    """How long."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"
    YEARS = "years"


STEPS: Final = {
    Span.DAY: metering_pb2.STEP_QUARTER_HOUR,
    Span.MONTH: metering_pb2.STEP_LOCAL_DAY,
    Span.YEAR: metering_pb2.STEP_LOCAL_MONTH,
    Span.YEARS: metering_pb2.STEP_LOCAL_YEAR,
}
"""What figures of a span are shown by."""


@dataclass(frozen=True, slots=True)
class Period:
    """A span by its first local day."""

    span: Span
    first: date

    @classmethod
    def around(cls, span: Span, day: date) -> Period:
        """The span that a day is in; ten years end with the year of the day."""
        day = min(max(day, _EARLIEST), _LATEST)
        match span:
            case Span.DAY:
                return cls(span, day)
            case Span.MONTH:
                return cls(span, day.replace(day=1))
            case Span.YEAR:
                return cls(span, date(day.year, 1, 1))
            case Span.YEARS:
                return cls(span, date(day.year - DECADE + 1, 1, 1))

    @property
    def end(self) -> date:
        """The first local day after it."""
        match self.span:
            case Span.DAY:
                return self.first + timedelta(days=1)
            case Span.MONTH:
                return (self.first + timedelta(days=31)).replace(day=1)
            case Span.YEAR:
                return date(self.first.year + 1, 1, 1)
            case Span.YEARS:
                return date(self.first.year + DECADE, 1, 1)

    @property
    def anchor(self) -> date:
        """A day of it by which it is named: the first one; of ten years the first of the last."""
        return date(self.end.year - 1, 1, 1) if self.span is Span.YEARS else self.first

    @property
    def step(self) -> metering_pb2.Step.ValueType:
        """What figures of it are shown by."""
        return STEPS[self.span]

    def bounds(self, tz: ZoneInfo) -> tuple[datetime, datetime]:
        """First instant of it and first instant after it, in UTC."""
        return local_instant(self.first, time(0), tz), local_instant(self.end, time(0), tz)

    def until(self, now: datetime, tz: ZoneInfo) -> tuple[datetime, datetime]:
        """As `bounds`, but no further than the last quarter hour that is over: what is to come counts for no gap."""
        start, end = self.bounds(tz)
        over = now - timedelta(seconds=now.timestamp() % 900)
        return start, max(min(end, over), min(end, start + timedelta(minutes=15)))

    def whole_days(self, now: datetime, tz: ZoneInfo) -> tuple[date, date] | None:
        """First day of it, and the first one after its last day that is over; None where none is."""
        end = min(self.end, now.astimezone(tz).date())
        return (self.first, end) if end > self.first else None

    def before(self) -> Period:
        """The span before it."""
        day = date(self.anchor.year - 1, 1, 1) if self.span is Span.YEARS else self.first - timedelta(days=1)
        return Period.around(self.span, day)

    def after(self) -> Period:
        """The span after it."""
        return Period.around(self.span, self.end)
