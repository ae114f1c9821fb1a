"""Periods and steps of requests that ask for figures."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp

from domain.errors import InvalidInput
from servicekit.convert import timestamp_from_proto
from services.metering.figures.consumption import Step, boundaries
from services.metering.reading import Int64


class HasPeriod(Protocol):
    """A request with a period."""

    @property
    def start_time(self) -> Timestamp:
        """From when, inclusive."""

    @property
    def end_time(self) -> Timestamp:
        """Until when, exclusive."""


def period_of(request: HasPeriod) -> tuple[datetime, datetime]:
    """Start and end of a period. Raises InvalidInput for an instant that is none."""
    return (
        timestamp_from_proto(request.start_time, "start_time"),
        timestamp_from_proto(request.end_time, "end_time"),
    )


def step_of(number: int) -> Step:
    """Length of the steps that a request asks for. Raises InvalidInput for one that is not known here."""
    step = next((one for one in Step if one.value == number), None)
    if step is None:
        raise InvalidInput.of("step", f"{number} is not a step known here")
    return step


def bounds_of(request: HasPeriod, step: Step, tz: ZoneInfo) -> Int64:
    """Boundaries of the steps of a period. Raises InvalidInput for one that is empty or off the quarter hours."""
    start, end = period_of(request)
    return boundaries(start, end, step, tz)
