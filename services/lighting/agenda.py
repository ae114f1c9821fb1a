"""Which luminaires must be told something now, worked out for many gateways at once, in columns.

For each line of a gateway it also says whether one broadcast would say the same to every lamp of it. Pure: what is
sent, and over what, is telling.py's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.lighting.abilities import line_of
from services.lighting.columns import Columns, Flags, Levels, Rows
from services.lighting.due import Due
from services.lighting.ground import Ground
from services.lighting.state import Power

_HIGHEST: Final = np.int16(32767)


@dataclass(frozen=True, eq=False)
class Lines:
    """Luminaires in the order of gateway, line and address. Line n holds `rows[starts[n]:starts[n + 1]]`."""

    rows: Rows
    starts: Rows
    """One more than there are lines."""
    number: NDArray[np.int32]
    """Per line: its number at its gateway."""
    of_gateway: Rows
    """Per gateway: its first line; one more than there are gateways."""

    @classmethod
    def of(cls, columns: Columns, gateways: range) -> Lines:
        """The lines of some gateways."""
        parts = [columns.rows_by_gateway[gateway] for gateway in gateways]
        rows = np.concatenate(parts) if parts else np.empty(0, dtype=np.intp)
        owner = np.repeat(np.arange(len(parts)), [part.size for part in parts])
        line = line_of(columns.address[rows])
        begins = np.ones(rows.size, dtype=np.bool_)
        begins[1:] = (owner[1:] != owner[:-1]) | (line[1:] != line[:-1])
        starts = np.flatnonzero(begins)
        return cls(
            rows=rows,
            starts=np.append(starts, rows.size),
            number=line[starts].astype(np.int32),
            of_gateway=np.searchsorted(owner[starts], np.arange(len(parts) + 1)),
        )

    def of_line(self, line: int) -> slice:
        """Where the luminaires of a line stand."""
        return slice(int(self.starts[line]), int(self.starts[line + 1]))


@dataclass(frozen=True, eq=False)
class Agenda:
    """What is to be told under what is due, as of one moment. Columns in the order of `lines.rows`."""

    lines: Lines
    due: Due
    version: int
    """Of what else it rests on: supply and hand switches."""
    level: Levels
    """What it would be told: the command for what is due. Luminaires share a command where these are equal."""
    active: Flags
    """May have supply."""
    allowed: Flags
    """May be told its level: has supply, is in control or under test, is not locked out, and no hand switch stands
    against it."""
    needs: Flags
    """Does not show its level, and must be told now."""
    news: Flags
    """Of these, what was not told the same before: there is no reading to wait for."""
    locked: Flags
    """Per line: a lamp of it is locked out, and must not hear what is meant for others."""
    whole: Flags
    """Per line: a broadcast says what every lamp of it is due to do, and saves something."""

    @classmethod
    def of(cls, ground: Ground, lines: Lines, due: Due) -> Agenda:
        """What is to be told now."""
        rows, following = lines.rows, ground.following
        now_ms, monotonic = ground.now_ms, ground.monotonic()
        level = due.written[rows]
        active: Flags = ground.supply_of(rows) != Power.OFF
        allowed: Flags = active & (level >= 0) & ~ground.is_left_alone(rows, level)
        allowed &= ground.state.lamps.in_control[rows] | due.under_test[rows]
        needs: Flags = allowed & following.needs(rows, ground.state.lamps.actual[rows], level, now_ms, monotonic)
        news: Flags = needs & (following.tried[rows] != level)
        locked, whole = _lines(lines, level, active, allowed, needs, ground.tuning.broadcast_from)
        return cls(lines, due, ground.version, level, active, allowed, needs, news, locked, whole)

    def gateways_with(self, flags: Flags) -> Flags:
        """Per gateway: whether one of its luminaires has a flag."""
        seen = np.concatenate([[0], np.cumsum(flags)])[self.lines.starts]
        first = self.lines.of_gateway
        found: Flags = seen[first[1:]] > seen[first[:-1]]
        return found


def _lines(
    lines: Lines, level: Levels, active: Flags, allowed: Flags, needs: Flags, broadcast_from: int
) -> tuple[Flags, Flags]:
    """Per line: whether a lamp is locked out, and whether one broadcast does.

    Lamps without supply count as locked out, too: one would hear the broadcast if its feeder were energised by hand.
    """
    begin = lines.starts[:-1]
    if not begin.size:
        none = np.zeros(0, dtype=np.bool_)
        return none, none
    locked: Flags = np.minimum.reduceat(level, begin) < 0
    lowest = np.minimum.reduceat(np.where(active, level, _HIGHEST), begin)
    highest = np.maximum.reduceat(np.where(active, level, np.int16(-1)), begin)
    count, asked, needing = (np.add.reduceat(x.astype(np.int64), begin) for x in (active, allowed, needs))
    enough = needing >= np.maximum(broadcast_from, count // 2)
    whole: Flags = enough & (asked == count) & (lowest == highest) & ~locked
    return locked, whole
