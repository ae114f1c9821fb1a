"""The level that is due for a whole town at once. Equal, luminaire by luminaire, to domain.priority.due_level.

Two choices of lighting's own stand here: floors hold in the dark, from civil dusk to civil dawn, so that a plan may
switch in the twilight; and a maintenance or emergency command for level 0 lifts them, since somebody with a name, a
reason and an end decided it. Not here: what may be written, and to which device.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from domain.level import FULL_PERMILLE, OFF_PERMILLE
from domain.plan import to_unix_ms
from domain.priority import Priority
from domain.sun import CIVIL_DEG, SUNSET_DEG, elevation_deg
from services.lighting.columns import Columns, Flags, Levels
from services.lighting.records import Orders, OverrideRecord

NOTHING_DUE: Final = -1
"""As a level: nothing is written, neither on nor off (lock-out)."""

_FOR_EVER: Final = 2**62

Number = TypeVar("Number", bound=np.generic)


class DueSource(IntEnum):
    """What a level is due to; numbers as in the contract."""

    LOCKOUT = 1
    EMERGENCY = 2
    MAINTENANCE = 3
    OPERATOR = 4
    SENSOR = 5
    PLAN = 6
    DEFAULT = 7


SOURCE_OF_PRIORITY: Final = {
    Priority.EMERGENCY: DueSource.EMERGENCY,
    Priority.MAINTENANCE: DueSource.MAINTENANCE,
    Priority.OPERATOR: DueSource.OPERATOR,
    Priority.SENSOR: DueSource.SENSOR,
}


def lifts_floor(priority: Priority, level_permille: int) -> bool:
    """True for a command that may make a street dark at night: level 0 by maintenance or emergency."""
    return level_permille == OFF_PERMILLE and priority >= Priority.MAINTENANCE


@dataclass(frozen=True, eq=False)
class Due:
    """What is due at an instant, in columns per luminaire and per feeder."""

    at: datetime
    orders: Orders
    """What it was worked out from."""
    level: Levels
    """Per mille; NOTHING_DUE where locked out."""
    source: NDArray[np.uint8]
    """DueSource."""
    ramp_s: NDArray[np.int16]
    """Seconds that the change into the level should take, as the plan says."""
    night: Flags
    """Per luminaire: the sun is down."""
    feeder_on: Flags
    """Per feeder: its contactor is due closed. Meaningless for locked-out and permanent feeders."""
    feeder_locked: Flags
    """Per feeder: locked out."""


class DueCalculator:
    """Works out what is due in a town under given orders. What only changes at known instants is kept until then."""

    def __init__(self, columns: Columns, orders: Orders) -> None:
        self.columns = columns
        self.orders = orders
        self.locked_feeders: Flags = np.zeros(len(columns.inventory.feeders), dtype=np.bool_)
        for lockout in orders.lockouts:
            if (row := columns.feeder_of.get(lockout.feeder_uid)) is not None:
                self.locked_feeders[_on_one_contactor(columns, row)] = True
        self._locked = _gather(self.locked_feeders, columns.feeder)
        self._plans = [(columns.group_of[uid], plan) for uid, plan in orders.plans.items() if uid in columns.group_of]
        self._overrides = sorted(orders.overrides, key=lambda o: (int(o.priority), o.issued_at_ms, o.uid))
        self._holds_from = _FOR_EVER
        self._holds_until = -_FOR_EVER
        # Asked level (NOTHING_DUE: the default), its source, whether it lifts floors, and the ramp into it.
        self._asked = np.full(columns.count, NOTHING_DUE, dtype=np.int16)
        self._source = np.full(columns.count, DueSource.DEFAULT, dtype=np.uint8)
        self._waived = np.zeros(columns.count, dtype=np.bool_)
        self._ramp = np.zeros(columns.count, dtype=np.int16)
        self._members = np.array([rows.size for rows in columns.rows_by_feeder], dtype=np.int64)

    def at(self, now: datetime) -> Due:
        """What is due at an instant."""
        now_ms = to_unix_ms(now)
        if not self._holds_from <= now_ms < self._holds_until:
            self._ask(now_ms)
        columns = self.columns
        elevation = elevation_deg(columns.place_latitude, columns.place_longitude, now)
        night_at = elevation < SUNSET_DEG
        night = _gather(night_at, columns.place)
        dark = _gather(elevation < CIVIL_DEG, columns.place)
        asked = np.where(self._asked == NOTHING_DUE, np.where(night, FULL_PERMILLE, OFF_PERMILLE), self._asked)
        floors_hold = dark & ~self._waived
        dimmed = np.where(floors_hold, np.maximum(asked, columns.floor), asked)
        undimmed = np.where(floors_hold | (asked != OFF_PERMILLE), FULL_PERMILLE, OFF_PERMILLE)
        level = np.where(columns.dimmable, dimmed, undimmed).astype(np.int16)
        level[self._locked] = NOTHING_DUE
        return Due(
            at=now,
            orders=self.orders,
            level=level,
            source=np.where(self._locked, DueSource.LOCKOUT, self._source).astype(np.uint8),
            ramp_s=self._ramp,
            night=night,
            feeder_on=self._feeder_on(level, night_at),
            feeder_locked=self.locked_feeders,
        )

    def next_change(self, now: datetime) -> int | None:
        """The next instant after `now`, in Unix ms, at which a plan or a command begins or ends; None if none is known.

        Sunset and sunrise are not among them: they are met by the regular passes.
        """
        now_ms = to_unix_ms(now)
        if not self._holds_from <= now_ms < self._holds_until:
            self._ask(now_ms)
        return self._holds_until if self._holds_until < _FOR_EVER else None

    def _feeder_on(self, level: Levels, night_at: Flags) -> Flags:
        """A contactor is due closed when any of its lamps is due to be lit; one without known lamps, all night."""
        feeder = self.columns.feeder
        lit = np.bincount(feeder[(level > 0) & (feeder >= 0)], minlength=self._members.size)
        default = _gather(night_at, self.columns.feeder_place)
        return np.where(self._members > 0, lit > 0, default)

    def _ask(self, now_ms: int) -> None:
        """Fills what plans and commands ask, and until when that holds."""
        columns = self.columns
        self._asked.fill(NOTHING_DUE)
        self._source.fill(DueSource.DEFAULT)
        self._waived.fill(False)
        self._ramp = np.zeros(columns.count, dtype=np.int16)
        begin, end = -_FOR_EVER, _FOR_EVER
        group_level = np.full(len(columns.inventory.groups), NOTHING_DUE, dtype=np.int16)
        group_ramp = np.zeros(group_level.size, dtype=np.int16)
        for row, plan in self._plans:
            index = plan.index_at(now_ms)
            if index is not None:
                group_level[row] = plan.levels_permille[index]
                group_ramp[row] = plan.ramps_s[index]
                following = plan.instants_ms[index + 1 : index + 2] or (plan.valid_until_ms,)
                begin, end = _narrow(begin, end, now_ms, (plan.instants_ms[index], *following))
            begin, end = _narrow(begin, end, now_ms, (plan.valid_from_ms, plan.valid_until_ms))
        if group_level.size:
            planned = _gather(group_level, columns.group, NOTHING_DUE)
            self._asked[:] = planned
            self._source[planned != NOTHING_DUE] = DueSource.PLAN
            self._ramp = _gather(group_ramp, columns.group, 0)
        # Weakest first: the strongest, and among equals the last issued, is written last and stays.
        for override in self._overrides:
            if override.start_ms <= now_ms < override.end_ms:
                self._apply(override)
            begin, end = _narrow(begin, end, now_ms, (override.start_ms, override.end_ms))
        self._holds_from, self._holds_until = begin, end

    def _apply(self, override: OverrideRecord) -> None:
        for target in override.targets:
            rows = self.columns.rows_of_target(target)
            self._asked[rows] = override.level_permille
            self._source[rows] = SOURCE_OF_PRIORITY[override.priority]
            self._waived[rows] = lifts_floor(override.priority, override.level_permille)
            self._ramp[rows] = 0


def _on_one_contactor(columns: Columns, feeder: int) -> Flags:
    """A feeder, and every other that hangs on the same contactor by what the inventory says: they are energised as one.

    Two feeders with one channel are a mistake somebody made; it must not lead around a lock-out.
    """
    controllers = np.append(columns.cabinet_controller, -1)[columns.feeder_cabinet]
    same = (controllers == controllers[feeder]) & (columns.feeder_channel == columns.feeder_channel[feeder])
    together: Flags = same & columns.feeder_switched & columns.feeder_switched[feeder] & (controllers >= 0)
    together[feeder] = True
    return together


def _narrow(begin: int, end: int, now_ms: int, instants: Iterable[int]) -> tuple[int, int]:
    """The span around `now_ms` in which none of the instants lies."""
    for instant in instants:
        if instant <= now_ms:
            begin = max(begin, instant)
        else:
            end = min(end, instant)
    return begin, end


def _gather(values: NDArray[Number], rows: NDArray[np.int32], missing: int = 0) -> NDArray[Number]:
    """values[rows], and `missing` where the row is -1."""
    if not values.size:
        return np.full(rows.shape, missing, dtype=values.dtype)
    taken = values[np.maximum(rows, 0)]
    taken[rows < 0] = missing
    return taken
