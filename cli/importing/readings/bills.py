"""Amounts of months and years of which a file says only where each begins: where they end. Pure.

Bills run from one reading of the meter to the next, mostly some days beside a calendar month: an amount ends where the
next one of its series begins. So the lines of such a series are held until the file is over, in whichever order they
come. What has no line behind it ends a calendar month (year) later by the clock that its series keeps, if all others do
(the first may be a part of one); else nobody knows where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from itertools import pairwise, zip_longest
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
    if not begins_ms:
        return []
    tz = _clock_of(begins_ms, tz)
    off = [not _is_calendar(begin, after, step, tz) for begin, after in pairwise(begins_ms)]
    # Whoever moves in within a month has a first bill of a part of it.
    moved_in = len(off) > 1 and not any(off[1:]) and _is_first_day(begins_ms[1], step, tz)
    is_regular = moved_in or not any(off)
    found: list[int | str] = []
    for begin, after, is_off in zip_longest(begins_ms, begins_ms[1:], off):
        end = _calendar_end(begin, step, tz)
        if after is not None and may_last(CYCLES[step], after - begin):
            found.append(after)
        elif after is not None and end is not None and after < end - _HOUR_MS:
            days = (after - begin) / _DAY_MS
            found.append(f"the next one begins after {days:.4g} days: is no interval of {step.value}")
        elif not is_regular or is_off:
            found.append(
                f"no line says where it ends, and others are no calendar {_WORDS[step]}: add one that begins there,"
                " without a value"
            )
        elif end is None:
            found.append("begins on a day that the month of its end has not")
        else:
            found.append(end)
    return found


def _clock_of(begins_ms: Sequence[int], tz: tzinfo) -> tzinfo:
    """The clock by which all begins are at one time of day: the town's, else winter time, summer time or UTC all year.

    A calendar end by another one than the file's would be an hour off once a line behind it says where it is. Midnight
    comes first: in summer winter time's is one o'clock in town, until October shows that it is none.
    """
    year = _local(begins_ms[0], tz).year
    offsets = {datetime(year, month, 1, tzinfo=tz).utcoffset() or timedelta() for month in (1, 7)}
    clocks = [tz, *(timezone(offset) for offset in sorted(offsets)), UTC]
    # The first bill may be of a part of a month, from any minute on.
    for told in filter(None, (begins_ms, begins_ms[1:])):
        fitting: tzinfo | None = None
        for clock in clocks:
            times = {_local(begin, clock).time() for begin in told}
            if times == {time()}:
                return clock
            if len(times) == 1 and fitting is None:
                fitting = clock
        if fitting is not None:
            return fitting
    return tz


def _local(instant_ms: int, tz: tzinfo) -> datetime:
    return datetime.fromtimestamp(instant_ms / 1000, UTC).astimezone(tz)


def _is_calendar(begin_ms: int, after_ms: int, step: Step, tz: tzinfo) -> bool:
    """Whether whole months (years) lie between two begins. An hour beside them is the clocks' change, in a file that
    keeps winter time or an offset."""
    at: int | None = begin_ms
    while at is not None and at < after_ms - _HOUR_MS:
        at = _calendar_end(at, step, tz)
    return at is not None and at <= after_ms + _HOUR_MS


def _is_first_day(begin_ms: int, step: Step, tz: tzinfo) -> bool:
    """Whether a month (year) of the calendar begins there, or up to half a day before or after."""
    local = _local(begin_ms + _DAY_MS // 2 - 1, tz)
    return local.day == 1 and (step is Step.MONTH or local.month == 1)


_WORDS: Final = {Step.MONTH: "months", Step.YEAR: "years"}


def _calendar_end(begin_ms: int, step: Step, tz: tzinfo) -> int | None:
    try:
        return end_of(begin_ms, step, tz)
    except ValueError:
        return None
