"""Amounts of months and years of which a file says only where each begins: where they end. Pure.

Bills run from one reading of the meter to the next, mostly some days beside a calendar month: an amount ends where the
next one of its series begins. So the lines of such a series are held until the file is over, in whichever order they
come. What has no line behind it ends a calendar month (year) later, if all others do; else nobody knows where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import Final, NamedTuple

from cli.importing.readings.channel import CYCLES, Channel
from cli.importing.readings.known import Status, Step
from cli.importing.readings.stamps import end_of
from domain.errors import InvalidInput
from services.metering.cycle import may_last

MAX_HELD: Final = 500_000
"""The months of a thousand meters in forty years."""
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS


class Bill(NamedTuple):
    """A cell of a line: what begins at an instant (Unix ms), and what it says."""

    channel: Channel
    line: int
    column: str
    begin_ms: int
    text: str
    status: Status


class Bills:
    """Holds the lines of series until their file is over."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], list[Bill]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def hold(self, bill: Bill) -> None:
        """Takes a line. Raises InvalidInput for more than are held in memory."""
        if self._count >= MAX_HELD:
            raise InvalidInput.of("file", f"has more than {MAX_HELD} amounts of months or years: give it in parts")
        self._count += 1
        self._series.setdefault((bill.channel.meter.name, bill.column), []).append(bill)

    def take(self) -> Iterator[tuple[Step, list[Bill]]]:
        """All that was held, series by series in order of time, with their step; nothing is held any more."""
        series, self._series, self._count = self._series, {}, 0
        for bills in series.values():
            yield bills[0].channel.step or Step.MONTH, sorted(bills, key=lambda bill: bill.begin_ms)


def ends_of(begins_ms: Sequence[int], step: Step, tz: tzinfo) -> list[int | str]:
    """Where amounts end that begin at these instants, in order and each but once: Unix ms, or why nobody knows."""
    calendar = [_calendar_end(begin, step, tz) for begin in begins_ms]
    following = [*begins_ms[1:], None]
    fits = [
        after is not None and may_last(CYCLES[step], after - begin)
        for begin, after in zip(begins_ms, following, strict=True)
    ]
    # An hour beside it is the clocks' change, in a file that keeps winter time or an offset: no other length.
    off = [
        is_next and not (end is not None and after is not None and abs(after - end) <= _HOUR_MS)
        for is_next, end, after in zip(fits, calendar, following, strict=True)
    ]
    is_regular = not any(off)
    found: list[int | str] = []
    for begin, after, end, is_next, is_off in zip(begins_ms, following, calendar, fits, off, strict=True):
        if is_next and is_off and after is not None:
            found.append(after)
        elif after is not None and not is_next and end is not None and after < end - _HOUR_MS:
            days = (after - begin) / _DAY_MS
            found.append(f"the next one begins after {days:.4g} days: is no interval of {step.value}")
        elif end is not None and (is_next or is_regular):
            found.append(end)
        elif end is None and is_regular:
            found.append("begins on a day that the month of its end has not")
        else:
            found.append(
                f"no line says where it ends, and others are no calendar {_WORDS[step]}: add one that begins there,"
                " without a value"
            )
    return found


_WORDS: Final = {Step.MONTH: "months", Step.YEAR: "years"}


def _calendar_end(begin_ms: int, step: Step, tz: tzinfo) -> int | None:
    try:
        return end_of(begin_ms, step, tz)
    except ValueError:
        return None
