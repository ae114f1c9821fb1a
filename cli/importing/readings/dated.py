"""Amounts of months and years between two dates: whether the last day is in them. Pure.

A date names a day, and senders mean its begin or its end. It shows where amounts follow one another: one that begins on
the day on which another ends leaves that day to itself, and one that begins on the day after leaves it to the other. So
such amounts are held until their file is over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import tzinfo
from typing import NamedTuple

from cli.importing.readings.bills import MAX_HELD
from cli.importing.readings.channel import CYCLES, Channel
from cli.importing.readings.known import Status, Step
from cli.importing.readings.stamps import end_of
from domain.errors import InvalidInput
from services.metering.cycle import may_last


class Dated(NamedTuple):
    """A quantity of a segment: the begins (Unix ms) of the days that it names, of the one behind the last too."""

    channel: Channel
    step: Step
    line: int
    begin_ms: int
    end_ms: int
    after_ms: int
    text: str
    status: Status


class DatedAmounts:
    """Holds the quantities of registers until their file is over."""

    def __init__(self, tz: tzinfo) -> None:
        self._tz = tz
        self._series: dict[tuple[str, str], list[Dated]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def hold(self, obis: str, dated: Dated) -> None:
        """Takes a quantity. Raises InvalidInput for more than are held in memory."""
        if self._count >= MAX_HELD:
            raise InvalidInput.of("file", f"has more than {MAX_HELD} amounts between dates: give it in parts")
        self._count += 1
        self._series.setdefault((dated.channel.meter.name, obis), []).append(dated)

    def take(self) -> Iterator[tuple[Dated, bool | None]]:
        """All that was held, and of each whether its last day is in it (None: nothing shows); nothing is held any more.

        What nothing follows is as the others of its register, if they are all of one habit.
        """
        series, self._series, self._count = self._series, {}, 0
        for amounts in series.values():
            # A day's value, or the part of a month, shows nothing of where bills begin.
            bills = [one for one in amounts if _may_be_bill(one)]
            begins = {one.begin_ms for one in bills}
            habits = {told for one in bills if (told := self._has_last_day(one, begins)) is not None}
            habit = habits.pop() if len(habits) == 1 else None
            for one in amounts:
                told = self._has_last_day(one, begins)
                yield one, habit if told is None else told

    def _has_last_day(self, one: Dated, begins: Collection[int]) -> bool | None:
        """Whether an amount's last day is in it, as what follows it shows."""
        ends, begins_after = one.end_ms in begins, one.after_ms in begins
        if ends and begins_after:
            return self._is_whole(one)
        return begins_after if ends or begins_after else None

    def _is_whole(self, one: Dated) -> bool:
        """Whether the day after makes the month (year) one of the calendar."""
        try:
            return end_of(one.begin_ms, one.step, self._tz) == one.after_ms
        except ValueError:  # a month that begins on the 31st
            return False


def _may_be_bill(one: Dated) -> bool:
    """Whether an amount may be one of a month (year), with its last day or without."""
    return any(may_last(CYCLES[one.step], end - one.begin_ms) for end in (one.end_ms, one.after_ms))
