"""The level that is due for a whole town at once. Equal, luminaire by luminaire, to domain.priority.due_level.

A choice of lighting's own stands here: floors hold in the dark, from civil dusk to civil dawn, so that a plan may
switch in the twilight. Not here: what may be written, and to which device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from domain.level import FULL_PERMILLE, OFF_PERMILLE
from domain.plan import to_unix_ms
from domain.priority import Priority, lifts_floor
from domain.sensing import SensorView
from domain.sun import CIVIL_DEG, SUNSET_DEG, elevation_deg
from services.lighting.columns import NO_ROWS, Columns, Flags, Levels, Rows
from services.lighting.identifying import Blink, Identifying
from services.lighting.planned import NOTHING_PLANNED, GroupPlans, GroupsAsk
from services.lighting.records import Orders, OverrideRecord
from services.lighting.written_level import written_levels

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


@dataclass(frozen=True, eq=False)
class Due:
    """What is due at an instant, in columns per luminaire and per feeder."""

    at: datetime
    orders: Orders
    """What it was worked out from."""
    level: Levels
    """Light, in per mille; NOTHING_DUE where locked out."""
    written: Levels
    """The command for it, as gear is told and reads back; NOTHING_DUE where locked out."""
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
    under_test: Flags
    """Per luminaire: may be written though its gateway is only tested."""


class DueCalculator:
    """Works out what is due in a town under given orders. What only changes at known instants is kept until then."""

    def __init__(self, columns: Columns, orders: Orders, sensors: Mapping[str, SensorView] | None = None) -> None:
        self.columns = columns
        self.orders = orders
        self._sensors: Mapping[str, SensorView] = sensors if sensors is not None else {}
        self.locked_feeders: Flags = np.zeros(len(columns.inventory.feeders), dtype=np.bool_)
        for lockout in orders.lockouts:
            if (row := columns.feeder_of.get(lockout.feeder_uid)) is not None:
                self.locked_feeders[_on_one_contactor(columns, row)] = True
        self._locked = _gather(self.locked_feeders, columns.feeder)
        self._plans = GroupPlans(columns, orders)
        self._overrides = sorted(orders.overrides, key=lambda o: (int(o.priority), o.issued_at_ms, o.uid))
        timed = [(o.start_ms, o.end_ms) for o in orders.overrides] + [(w.start_ms, w.end_ms) for w in orders.waivers]
        self._instants = np.unique(
            np.array([*self._plans.instants_ms(), *(at for span in timed for at in span)], np.int64)
        )
        """Every instant at which orders alone change something."""
        self._holds_from = _FOR_EVER
        self._holds_until = -_FOR_EVER
        # Asked level (NOTHING_DUE: the default), its source, the floor, whether floors are lifted, and the ramp.
        self._asked = np.full(columns.count, NOTHING_DUE, dtype=np.int16)
        self._source = np.full(columns.count, DueSource.DEFAULT, dtype=np.uint8)
        self._floor = columns.floor
        self._lifted = np.zeros(columns.count, dtype=np.bool_)
        self._ramp = np.zeros(columns.count, dtype=np.int16)
        self._rows: dict[tuple[str, ...], list[Rows]] = {}
        self._by_sun = _BySun()
        self._active: dict[str, list[int]] = {}
        self._identifying = Identifying(columns, orders.identifications)
        self._untested: Flags = np.zeros(columns.count, dtype=np.bool_)
        self._members = np.array([rows.size for rows in columns.rows_by_feeder], dtype=np.int64)

    def sense(self, sensors: Mapping[str, SensorView]) -> None:
        """Takes what is known of sensors now, by uid."""
        if sensors is not self._sensors:
            self._sensors = sensors
            self._holds_from, self._holds_until = _FOR_EVER, -_FOR_EVER

    def at(self, now: datetime) -> Due:
        """What is due at an instant."""
        self._renew(to_unix_ms(now))
        columns = self.columns
        elevation = elevation_deg(columns.place_latitude, columns.place_longitude, now)
        night_at = elevation < SUNSET_DEG
        night = _gather(night_at, columns.place)
        dark = _gather(elevation < CIVIL_DEG, columns.place)
        asked, source = self._by_sun.taken(self._asked, self._source, night)
        asked = np.where(asked == NOTHING_DUE, np.where(night, FULL_PERMILLE, OFF_PERMILLE), asked)
        floors_hold = dark & ~self._lifted
        dimmed = np.where(floors_hold, np.maximum(asked, self._floor), asked)
        undimmed = np.where(floors_hold | (asked != OFF_PERMILLE), FULL_PERMILLE, OFF_PERMILLE)
        level = np.where(columns.dimmable, dimmed, undimmed).astype(np.int16)
        level[self._locked] = NOTHING_DUE
        ramp, under_test, lit = self._ramp, self._untested, level
        blink = self._identifying.at(to_unix_ms(now))
        if blink is not None:
            level, source, ramp, under_test, lit = self._blinking(blink, level, source, night)
        return Due(
            at=now,
            orders=self.orders,
            level=level,
            written=level if columns.is_plain else written_levels(level, columns.output, columns.least),
            source=np.where(self._locked, DueSource.LOCKOUT, source).astype(np.uint8),
            ramp_s=ramp,
            night=night,
            feeder_on=self._feeder_on(lit, night_at),
            feeder_locked=self.locked_feeders,
            under_test=under_test,
        )

    def next_change(self, now: datetime) -> int | None:
        """The next instant after `now`, in Unix ms, at which a plan, a rule, a command, a waiver, a hold time or what
        a sensor has to say begins or ends, or a luminaire blinks; None if none is known.

        Sunset and sunrise are not among them: they are met by the regular passes.
        """
        now_ms = to_unix_ms(now)
        self._renew(now_ms)
        change = min(self._holds_until, self._identifying.next_change(now_ms))
        return change if change < _FOR_EVER else None

    @property
    def active(self) -> Mapping[str, list[int]]:
        """By uid of a sensor: rows of the groups with a rule that is active because of it, when last asked."""
        return self._active

    def _blinking(
        self, blink: Blink, level: Levels, source: NDArray[np.uint8], night: Flags
    ) -> tuple[Levels, NDArray[np.uint8], NDArray[np.int16], Flags, Levels]:
        """Levels, sources, ramps and who may be tested with what blinks; and levels as its feeders are to see them:
        lit all the time, lest contactors blink, too. Lock-out, emergency and maintenance stand above it."""
        under_test = self._untested.copy()
        under_test[blink.tested] = self.columns.commanded[blink.tested]
        free = (source[blink.rows] > DueSource.MAINTENANCE) & (level[blink.rows] != NOTHING_DUE)
        rows = blink.rows[free]
        level, source, ramp = level.copy(), source.copy(), self._ramp.copy()
        level[rows] = blink.levels(self._floor, self.columns.dimmable, night)[free]
        source[rows], ramp[rows] = DueSource.MAINTENANCE, 0
        lit = level.copy()
        lit[rows] = FULL_PERMILLE
        return level, source, ramp, under_test, lit

    def _feeder_on(self, level: Levels, night_at: Flags) -> Flags:
        """A contactor is due closed when any of its lamps is due to be lit; one without known lamps, all night."""
        feeder = self.columns.feeder
        lit = np.bincount(feeder[(level > 0) & (feeder >= 0)], minlength=self._members.size)
        default = _gather(night_at, self.columns.feeder_place)
        return np.where(self._members > 0, lit > 0, default)

    def _renew(self, now_ms: int) -> None:
        """Fills what is asked, and until when that holds, where it does not hold any more."""
        if self._holds_from <= now_ms < self._holds_until:
            return
        columns = self.columns
        groups = self._plans.ask(now_ms, self._sensors)
        self._active = groups.active
        self._ask_of_groups(groups)
        # Weakest first: the strongest, and among equals the last issued, is written last and stays.
        self._lifted.fill(False)
        commanded = np.zeros(columns.count, dtype=np.bool_)
        for override in self._overrides:
            if override.start_ms <= now_ms < override.end_ms:
                self._apply(override, commanded)
        self._by_sun = _BySun.of(columns, groups, commanded)
        self._floor = self._floors(now_ms)
        self._holds_from, self._holds_until = self._span(now_ms, groups.instants_ms)

    def _ask_of_groups(self, groups: GroupsAsk) -> None:
        group = self.columns.group
        self._asked = _gather(groups.by_day, group, NOTHING_DUE)
        sensed = np.where(_gather(groups.sensed_by_day, group), DueSource.SENSOR, DueSource.PLAN)
        self._source = np.where(self._asked != NOTHING_PLANNED, sensed, DueSource.DEFAULT).astype(np.uint8)
        self._ramp = _gather(groups.ramp_s, group, 0)

    def _apply(self, override: OverrideRecord, commanded: Flags) -> None:
        for rows in self._rows_of(override.targets):
            self._asked[rows] = override.level_permille
            self._source[rows] = SOURCE_OF_PRIORITY[override.priority]
            self._lifted[rows] = lifts_floor(override.priority, override.level_permille)
            self._ramp[rows] = 0
            commanded[rows] = True

    def _rows_of(self, targets: tuple[str, ...]) -> list[Rows]:
        """The luminaires that targets stand for: those that are named one by one in one piece. Looked up once."""
        found = self._rows.get(targets)
        if found is None:
            row_of = self.columns.row_of
            single = [row_of[uid] for uid in targets if uid in row_of]
            found = [self.columns.rows_of_target(uid) for uid in targets if uid not in row_of]
            self._rows[targets] = found = [*found, np.array(single, dtype=np.intp)] if single else found
        return found

    def _floors(self, now_ms: int) -> Levels:
        """The floors that hold: the lowest of the class's own and those of the waivers that hold."""
        floor = self.columns.floor
        holding = [w for w in self.orders.waivers if w.start_ms <= now_ms < w.end_ms]
        if holding:
            floor = floor.copy()
            for waiver in holding:
                for rows in self._rows_of(waiver.targets):
                    floor[rows] = np.minimum(floor[rows], waiver.floor_permille)
        return floor

    def _span(self, now_ms: int, sensed_ms: Iterable[int]) -> tuple[int, int]:
        """The span around an instant in which nothing of what is asked changes."""
        after = int(np.searchsorted(self._instants, now_ms, side="right"))
        begin = int(self._instants[after - 1]) if after else -_FOR_EVER
        end = int(self._instants[after]) if after < self._instants.size else _FOR_EVER
        for instant in sensed_ms:
            if instant <= now_ms:
                begin = max(begin, instant)
            else:
                end = min(end, instant)
        return begin, end


@dataclass(frozen=True, eq=False)
class _BySun:
    """Luminaires whose plan asks for something else while the sun is down: a twilight switch has no fresh value."""

    rows: Rows = field(default_factory=lambda: NO_ROWS)
    level: Levels = field(default_factory=lambda: np.empty(0, dtype=np.int16))
    source: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, dtype=np.uint8))

    @classmethod
    def of(cls, columns: Columns, groups: GroupsAsk, commanded: Flags) -> _BySun:
        """Those of the groups that nobody commands."""
        differs = (groups.by_day != groups.by_night) | (groups.sensed_by_day != groups.sensed_by_night)
        if not differs.any():
            return cls()
        rows = np.flatnonzero(_gather(differs, columns.group) & ~commanded)
        group = columns.group[rows]
        source = np.where(groups.sensed_by_night[group], DueSource.SENSOR, DueSource.PLAN)
        return cls(rows, groups.by_night[group], source.astype(np.uint8))

    def taken(self, asked: Levels, source: NDArray[np.uint8], night: Flags) -> tuple[Levels, NDArray[np.uint8]]:
        """What is asked, and why, with these luminaires under the sun of now."""
        down = night[self.rows]
        if not down.any():
            return asked, source
        asked, source = asked.copy(), source.copy()
        rows = self.rows[down]
        asked[rows], source[rows] = self.level[down], self.source[down]
        return asked, source


def _on_one_contactor(columns: Columns, feeder: int) -> Flags:
    """A feeder, and every other that hangs on the same contactor by what the inventory says: they are energised as one.

    Two feeders with one channel are a mistake somebody made; it must not lead around a lock-out.
    """
    controllers = np.append(columns.cabinet_controller, -1)[columns.feeder_cabinet]
    same = (controllers == controllers[feeder]) & (columns.feeder_channel == columns.feeder_channel[feeder])
    together: Flags = same & columns.feeder_switched & columns.feeder_switched[feeder] & (controllers >= 0)
    together[feeder] = True
    return together


def _gather(values: NDArray[Number], rows: NDArray[np.int32], missing: int = 0) -> NDArray[Number]:
    """values[rows], and `missing` where the row is -1."""
    if not values.size:
        return np.full(rows.shape, missing, dtype=values.dtype)
    taken = values[np.maximum(rows, 0)]
    taken[rows < 0] = missing
    return taken
