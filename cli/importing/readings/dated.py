"""Amounts of months and years between two dates: whether the last day is in them. Pure.

A date names a day, and senders mean its begin or its end. It shows where amounts follow one another: one that begins on
the day on which another ends leaves that day to itself. So such amounts are held until their file is over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cli.importing.readings.bills import MAX_HELD
from cli.importing.readings.channel import Channel
from cli.importing.readings.known import Status, Step
from domain.errors import InvalidInput


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

    def __init__(self) -> None:
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

    def take(self) -> Iterator[tuple[Dated, bool]]:
        """All that was held, and of each whether its last day is surely not in it; nothing is held any more.

        What nothing follows is as the others of its register, if they are all of one habit.
        """
        series, self._series, self._count = self._series, {}, 0
        for amounts in series.values():
            begins = {one.begin_ms for one in amounts}
            is_habit = not any(one.after_ms in begins for one in amounts)
            shows = any(one.end_ms in begins for one in amounts)
            for one in amounts:
                yield one, one.end_ms in begins or (shows and is_habit)
