"""What readings show of faults, beyond levels: kept by the workers as they read, looked at by the fault watch.

In columns; instants are domain time in Unix ms, 0 for never. Not here: what is a fault (fault_lamps.py,
fault_places.py).
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.lighting.columns import Columns, Flags, Levels, Rows
from services.lighting.fault_kinds import HOUR_MS, Verdict

_MOST_SILENCES: Final = 250
_MOST_CYCLES: Final = 200

_OF_LAMPS: Final = ("lamp_read_ms", "power_w", "power_level", "power_read_ms", "_at_due", "_followed")
_OF_FEEDERS: Final = ("relay", "relay_wanted")
_OF_CABINETS: Final = ("cabinet_silences", "cabinet_read_ms", "supply", "door")
_OF_GATEWAYS: Final = ("gateway_silences", "gateway_read_ms", "own_supply")


class Signs:
    """The columns; rows as in the inventory's columns."""

    def __init__(self, columns: Columns) -> None:
        inventory = columns.inventory
        lamps, feeders = columns.count, len(inventory.feeders)
        cabinets, gateways = len(inventory.cabinets), len(inventory.gateways)
        self._columns = columns
        self.lamp_read_ms = np.zeros(lamps, dtype=np.int64)
        """When a luminaire was asked last and answered, or ought to have."""
        self.power_w = np.full(lamps, np.nan)
        self.power_level = np.zeros(lamps, dtype=np.int16)
        """The settled level that `power_w` was read at."""
        self.power_read_ms = np.zeros(lamps, dtype=np.int64)
        # Whether it showed its due level when it was read last (-1 unknown), and which level that was.
        self._followed = np.full(lamps, -1, dtype=np.int8)
        self._at_due = np.full(lamps, -1, dtype=np.int16)
        self._lapses: dict[int, deque[int]] = {}
        self.relay = np.full(feeders, Verdict.UNKNOWN, dtype=np.int8)
        """Whether a contactor is as it is commanded."""
        self.relay_wanted = np.zeros(feeders, dtype=np.bool_)
        self.cabinet_silences = np.zeros(cabinets, dtype=np.uint8)
        """Readings of a controller in a row without an answer."""
        self.cabinet_read_ms = np.zeros(cabinets, dtype=np.int64)
        self.supply = np.full(cabinets, Verdict.UNKNOWN, dtype=np.int8)
        """Whether a cabinet has supply, by what its controller says."""
        self.door = np.full(cabinets, Verdict.UNKNOWN, dtype=np.int8)
        self.gateway_silences = np.zeros(gateways, dtype=np.uint8)
        self.gateway_read_ms = np.zeros(gateways, dtype=np.int64)
        self.own_supply = np.zeros(gateways, dtype=np.bool_)
        """Whether a gateway has answered while its lamps had no supply (asleep.py)."""

    def take_over(self, other: Signs, lamps: tuple[Rows, Rows]) -> None:
        """Keeps what is known of what stays; `lamps` are rows of luminaires there and here."""
        before, now = other._columns.inventory, self._columns.inventory
        _copy(other, self, _OF_LAMPS, lamps)
        _copy(other, self, _OF_FEEDERS, _shared(before.feeders, now.feeders))
        _copy(other, self, _OF_CABINETS, _shared(before.cabinets, now.cabinets))
        _copy(other, self, _OF_GATEWAYS, _shared(before.gateways, now.gateways))
        if other._lapses:
            here = dict(zip(lamps[0].tolist(), lamps[1].tolist(), strict=True))
            self._lapses = {here[row]: times for row, times in other._lapses.items() if row in here}

    # --- luminaires -------------------------------------------------------------------------------------------------

    def lamps_read(self, rows: Rows, now_ms: int) -> None:
        """These were asked, and answered or ought to have."""
        self.lamp_read_ms[rows] = now_ms

    def lamps_followed(self, rows: Rows, followed: Flags, due: Levels, now_ms: int) -> None:
        """Settled luminaires show their due level, or do not. One that did, and by itself does not any more, lapsed."""
        same = (self._at_due[rows] == due) & (due > 0)
        for row in rows[same & ~followed & (self._followed[rows] == 1)].tolist():
            self._lapses.setdefault(row, deque(maxlen=_MOST_CYCLES)).append(now_ms)
        self._followed[rows] = followed
        self._at_due[rows] = due

    def supply_changed(self, rows: Rows) -> None:
        """Gear got supply or lost it: what it does next, it does not do by itself."""
        self._followed[rows] = -1

    def lapses(self, now_ms: int) -> dict[int, int]:
        """How often luminaires lapsed within the last hour, by row; those that did not are left out."""
        for row, times in list(self._lapses.items()):
            while times and times[0] <= now_ms - HOUR_MS:
                times.popleft()
            if not times:
                del self._lapses[row]
        return {row: len(times) for row, times in self._lapses.items()}

    def power_read(self, rows: Rows, power_w: NDArray[np.float64], level: Levels, now_ms: int) -> None:
        """The power of luminaires at settled levels."""
        self.power_w[rows], self.power_level[rows], self.power_read_ms[rows] = power_w, level, now_ms

    # --- gateways, cabinets, feeders --------------------------------------------------------------------------------

    def gateway_read(self, gateway: int, answered: bool, now_ms: int) -> None:
        """A gateway was asked."""
        silences = 0 if answered else min(int(self.gateway_silences[gateway]) + 1, _MOST_SILENCES)
        self.gateway_silences[gateway], self.gateway_read_ms[gateway] = silences, now_ms

    def controller_silent(self, cabinet: int, feeders: list[int], now_ms: int) -> None:
        """A controller was asked and did not answer."""
        self.cabinet_silences[cabinet] = min(int(self.cabinet_silences[cabinet]) + 1, _MOST_SILENCES)
        self.cabinet_read_ms[cabinet] = now_ms
        self.supply[cabinet] = self.door[cabinet] = Verdict.UNKNOWN
        self.relay[feeders] = Verdict.UNKNOWN

    def controller_read(self, cabinet: int, *, supply: float | None, door: float | None, now_ms: int) -> None:
        """A controller answered; values None where it has no such point, or could not tell."""
        self.cabinet_silences[cabinet], self.cabinet_read_ms[cabinet] = 0, now_ms
        self.supply[cabinet] = Verdict.UNKNOWN if supply is None else Verdict.GOOD if supply else Verdict.BAD
        self.door[cabinet] = Verdict.UNKNOWN if door is None else Verdict.BAD if door else Verdict.GOOD

    def contactor_read(self, feeder: int, commanded: bool | None, closed: bool | None) -> None:
        """A contactor's command and feedback; None for what is not known, or proves nothing now."""
        if commanded is None or closed is None:
            self.relay[feeder] = Verdict.UNKNOWN
            return
        self.relay[feeder] = Verdict.GOOD if commanded == closed else Verdict.BAD
        self.relay_wanted[feeder] = commanded


def _shared(before: tuple[object, ...], now: tuple[object, ...]) -> tuple[Rows, Rows]:
    there = {getattr(record, "uid", ""): row for row, record in enumerate(before)}
    pairs = [(there[uid], row) for row, record in enumerate(now) if (uid := getattr(record, "uid", "")) in there]
    columns = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


def _copy(source: Signs, target: Signs, names: tuple[str, ...], pairs: tuple[Rows, Rows]) -> None:
    there, here = pairs
    for name in names:
        getattr(target, name)[here] = getattr(source, name)[there]
