"""Looks at the town after each pass and keeps the book of faults: what is raised, seen again, cleared.

It puts together what control knows (ground.py, following.py), what the workers noted (fault_signs.py) and what the
models ought to draw. Not here: verdicts (fault_lamps.py, fault_places.py), debouncing, the database (fault_clerk.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.level import PowerCurve
from services.lighting.columns import Columns, Flags, Rows
from services.lighting.due import Due
from services.lighting.fault_book import FaultBook
from services.lighting.fault_debounce import Debounce, Instants, Verdicts
from services.lighting.fault_kinds import MINUTE_MS, FaultEnd, FaultKey, FaultKind, FaultLimits, SubjectKind, Verdict
from services.lighting.fault_lamps import LAMP_KINDS, LampLook, expected_power_w, lamp_verdicts, power_verdicts
from services.lighting.fault_places import (
    PlaceLook,
    PlaceVerdicts,
    Standing,
    feeder_supply_verdicts,
    of_cabinet,
    place_verdicts,
)
from services.lighting.faults import Fault
from services.lighting.gear_board import GearBoard, GearVerdicts
from services.lighting.ground import Ground
from services.lighting.records import EndpointState
from services.lighting.state import Power

_UNSEEN_MS: Final = 30 * MINUTE_MS
"""A feeder whose contactor nobody reads is taken to be closed so long after it ought to be."""
_KINDS: Final = {
    SubjectKind.LUMINAIRE: (*LAMP_KINDS, FaultKind.GEAR_UNADDRESSED, FaultKind.ADDRESS_DUPLICATE),
    SubjectKind.FEEDER: (FaultKind.SUPPLY_LOSS, FaultKind.RELAY_FAILURE),
    SubjectKind.CABINET: (FaultKind.SUPPLY_LOSS, FaultKind.COMMUNICATION_LOSS, FaultKind.DOOR_OPEN),
    SubjectKind.GATEWAY: (FaultKind.COMMUNICATION_LOSS, FaultKind.GEAR_UNADDRESSED),
}
_OF_STRAYS: Final = (FaultKind.GEAR_FAILURE, FaultKind.COMMUNICATION_LOSS)
_SHOWN: Final = {
    FaultKind.POWER_TOO_HIGH: Fault.POWER_TOO_HIGH,
    FaultKind.POWER_TOO_LOW: Fault.POWER_TOO_LOW,
    FaultKind.CYCLING: Fault.CYCLING,
}

Values = NDArray[np.float64]


class _Subjects:
    """All subjects of a kind, by row."""

    def __init__(self, kind: SubjectKind, uids: tuple[str, ...], municipality_uids: tuple[str, ...]) -> None:
        self.kind, self.uids, self.municipality_uids = kind, uids, municipality_uids
        self.row_of = {uid: row for row, uid in enumerate(uids)}
        self.debounce = {fault: Debounce(len(uids)) for fault in _KINDS[kind]}

    def take_over(self, other: _Subjects) -> None:
        """Keeps what is known of subjects that stay."""
        pairs = [(row, self.row_of[uid]) for row, uid in enumerate(other.uids) if uid in self.row_of]
        columns = np.array(pairs, dtype=np.intp).reshape(-1, 2)
        for fault, debounce in self.debounce.items():
            debounce.take_over(other.debounce[fault], (columns[:, 0], columns[:, 1]))


class FaultWatch:
    """Watches one town on behalf of the process that holds the field."""

    def __init__(
        self,
        book: FaultBook,
        limits: FaultLimits,
        curves: Callable[[], Mapping[str, PowerCurve]] = dict,
        gears: GearBoard | None = None,
    ) -> None:
        """curves: power over level of luminaires by uid, where it is known; a new object whenever that changes. gears:
        what lines say of gear without an address, and of addresses that more than one gear has."""
        self._book, self._limits, self._curves = book, limits, curves
        self._gears = gears or GearBoard()
        self._columns: Columns | None = None
        self._subjects: dict[SubjectKind, _Subjects] = {}
        self._generation = -1
        self._known_curves: Mapping[str, PowerCurve] = {}
        self._curve_list: list[PowerCurve] = []
        self._curve_of: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self._judged_power_ms: Instants = np.empty(0, dtype=np.int64)
        self._expected_w: Values = np.empty(0)
        self._failed_due: NDArray[np.int16] = np.empty(0, dtype=np.int16)

    def look(self, ground: Ground) -> None:
        """One look, after a pass that held the field."""
        due = ground.due
        if due is None:
            return
        self._settle(ground)
        now_ms = ground.now_ms
        places = self._places(ground, due)
        self._judge_places(ground, places, now_ms)
        blocked = due.feeder_locked | of_cabinet(places.cabinet_covers, ground.columns.feeder_cabinet)
        feeder_supply = self._feeder_supply(ground, places, blocked)
        self._judge_feeders(ground, places, feeder_supply, now_ms)
        gears = self._gears.in_columns(ground.columns)
        self._judge_lamps(ground, due, places, feeder_supply, gears, now_ms)
        self._judge_gears(ground, gears, now_ms)
        self._show(ground)

    # --- what there is ----------------------------------------------------------------------------------------------

    def _settle(self, ground: Ground) -> None:
        """Takes another inventory, other curves, and faults that came in from the database."""
        columns = ground.columns
        if columns is not self._columns:
            self._take_columns(columns)
        if self._curves() is not self._known_curves or self._curve_of.size != columns.count:
            self._take_curves(columns)
        if self._generation != self._book.generation:
            self._generation = self._book.generation
            self._take_book(ground)

    def _take_columns(self, columns: Columns) -> None:
        inventory = columns.inventory
        before, self._subjects = self._subjects, {
            SubjectKind.LUMINAIRE: _Subjects(
                SubjectKind.LUMINAIRE, columns.uids, tuple(inventory.towns[row].uid for row in columns.town.tolist())
            ),
            **{
                kind: _Subjects(kind, tuple(r.uid for r in records), tuple(r.municipality_uid for r in records))
                for kind, records in (
                    (SubjectKind.FEEDER, inventory.feeders),
                    (SubjectKind.CABINET, inventory.cabinets),
                    (SubjectKind.GATEWAY, inventory.gateways),
                )
            },
        }  # fmt: skip
        for kind, subjects in before.items():
            self._subjects[kind].take_over(subjects)
        self._columns = columns
        self._generation = -1
        self._curve_of = np.empty(0, dtype=np.int32)
        self._failed_due = np.full(columns.count, -1, dtype=np.int16)
        self._judged_power_ms = np.zeros(columns.count, dtype=np.int64)
        self._expected_w = np.full(columns.count, np.nan)

    def _take_curves(self, columns: Columns) -> None:
        self._known_curves = known = self._curves()
        numbers: dict[PowerCurve, int] = {}
        self._curve_of = np.fromiter(
            (numbers.setdefault(known[uid], len(numbers)) if uid in known else -1 for uid in columns.uids),
            dtype=np.int32,
            count=columns.count,
        )
        self._curve_list = list(numbers)

    def _take_book(self, ground: Ground) -> None:
        """What stands in the book stands here, and nothing else does."""
        for subjects in self._subjects.values():
            for debounce in subjects.debounce.values():
                debounce.drop(np.flatnonzero(debounce.open))
        is_loaded = ground.columns.inventory.revision > 0
        for key, entry in list(self._book.standing.items()):
            subjects = self._subjects[entry.subject_kind]
            row = subjects.row_of.get(entry.subject_uid)
            if row is not None:
                if key.kind in subjects.debounce:  # the rest is a person's to say
                    subjects.debounce[key.kind].stands_on(np.array([row], dtype=np.intp))
                if key.kind == FaultKind.DIMMING_FAILURE and not np.isnan(entry.expected):
                    self._failed_due[row] = round(entry.expected)
            elif is_loaded:
                self._book.clear(key, ground.now_ms, FaultEnd.NOT_WATCHED)

    # --- cabinets, gateways, feeders --------------------------------------------------------------------------------

    def _places(self, ground: Ground, due: Due) -> PlaceVerdicts:
        columns, signs = ground.columns, ground.signs
        cabinets, gateways = self._subjects[SubjectKind.CABINET], self._subjects[SubjectKind.GATEWAY]
        supplied = (columns.gateway >= 0) & (ground.state.lamps.powered != Power.OFF)
        has_supply = np.bincount(columns.gateway[supplied], minlength=len(gateways.uids)) > 0
        return place_verdicts(
            PlaceLook(
                cabinet_watched=_asked(columns)[columns.cabinet_controller],
                cabinet_silences=signs.cabinet_silences,
                supply=signs.supply,
                door=signs.door,
                relay=signs.relay,
                feeder_cabinet=columns.feeder_cabinet,
                feeder_locked=due.feeder_locked,
                gateway_cabinet=columns.gateway_cabinet,
                gateway_watched=_asked(columns)[columns.gateway_endpoint],
                gateway_has_supply=has_supply | signs.own_supply,
                gateway_silences=signs.gateway_silences,
                lost_from=ground.tuning.following.silences,
                standing=Standing(
                    cabinet_silent=cabinets.debounce[FaultKind.COMMUNICATION_LOSS].open,
                    cabinet_supply=cabinets.debounce[FaultKind.SUPPLY_LOSS].open,
                    gateway_silent=gateways.debounce[FaultKind.COMMUNICATION_LOSS].open,
                    feeder_supply=self._subjects[SubjectKind.FEEDER].debounce[FaultKind.SUPPLY_LOSS].open,
                ),
            )
        )

    def _judge_places(self, ground: Ground, places: PlaceVerdicts, now_ms: int) -> None:
        columns, signs = ground.columns, ground.signs
        asked = _asked(columns)
        cabinets, watched = self._subjects[SubjectKind.CABINET], asked[columns.cabinet_controller]
        for kind, verdict in (
            (FaultKind.SUPPLY_LOSS, places.cabinet_supply),
            (FaultKind.COMMUNICATION_LOSS, places.cabinet_silent),
            (FaultKind.DOOR_OPEN, places.door),
        ):
            self._judge(cabinets, kind, verdict, signs.cabinet_read_ms, watched, now_ms)
        gateways = self._subjects[SubjectKind.GATEWAY]
        watched = asked[columns.gateway_endpoint]
        self._judge(
            gateways, FaultKind.COMMUNICATION_LOSS, places.gateway_silent, signs.gateway_read_ms, watched, now_ms
        )
        # A cabinet that turned out to be dead takes the faults of its gateways along.
        dead = cabinets.debounce[FaultKind.COMMUNICATION_LOSS].open | cabinets.debounce[FaultKind.SUPPLY_LOSS].open
        silent = signs.gateway_silences > 0
        self._give_up(
            gateways, FaultKind.COMMUNICATION_LOSS, of_cabinet(dead, columns.gateway_cabinet) & silent, now_ms
        )

    def _feeder_supply(self, ground: Ground, places: PlaceVerdicts, blocked: Flags) -> Verdicts:
        """Feeders whose contactor is closed, or ought to be and is read by nobody, and whose gear is out."""
        columns, following, signs = ground.columns, ground.following, ground.signs
        power = ground.state.feeder_power
        unread = ~of_cabinet(_asked(columns)[columns.cabinet_controller], columns.feeder_cabinet)
        since_ms = ground.due_on_since_ms
        taken = (power == Power.UNKNOWN) & unread & (since_ms > 0) & (ground.now_ms - since_ms > _UNSEEN_MS)
        lamps = self._subjects[SubjectKind.LUMINAIRE]
        broken = lamps.debounce[FaultKind.GEAR_FAILURE].open | lamps.debounce[FaultKind.COMMUNICATION_LOSS].open
        heard = (columns.gateway >= 0) & ~of_cabinet(places.gateway_covers, columns.gateway)
        read = signs.lamp_read_ms > 0
        return feeder_supply_verdicts(
            powered=(power == Power.ON) | taken,
            blocked=blocked,
            feeder=columns.feeder,
            watched=heard & read & ~broken,
            out=following.gear_failure | (following.silent > 0),
            answers=heard & _answers(ground),
            least=self._limits.feeder_lamps,
        )

    def _judge_feeders(self, ground: Ground, places: PlaceVerdicts, supply: Verdicts, now_ms: int) -> None:
        columns, signs = ground.columns, ground.signs
        feeders = self._subjects[SubjectKind.FEEDER]
        watched = np.ones(len(feeders.uids), dtype=np.bool_)
        read_ms = np.zeros(len(feeders.uids), dtype=np.int64)
        mine = columns.feeder >= 0
        np.maximum.at(read_ms, columns.feeder[mine], signs.lamp_read_ms[mine])
        self._judge(feeders, FaultKind.SUPPLY_LOSS, supply, read_ms, watched, now_ms)
        asked = of_cabinet(_asked(columns)[columns.cabinet_controller], columns.feeder_cabinet)
        relay_ms = np.append(signs.cabinet_read_ms, 0)[columns.feeder_cabinet]
        self._judge(
            feeders,
            FaultKind.RELAY_FAILURE,
            places.relay,
            relay_ms,
            asked & columns.feeder_switched,
            now_ms,
            measured=(~signs.relay_wanted).astype(np.float64),
            expected=signs.relay_wanted.astype(np.float64),
        )
        lost = self._subjects[SubjectKind.CABINET].debounce[FaultKind.SUPPLY_LOSS].open
        self._give_up(feeders, FaultKind.SUPPLY_LOSS, of_cabinet(lost, columns.feeder_cabinet), now_ms)

    # --- luminaires -------------------------------------------------------------------------------------------------

    def _judge_lamps(
        self,
        ground: Ground,
        due: Due,
        places: PlaceVerdicts,
        feeder_supply: Verdicts,
        gears: GearVerdicts,
        now_ms: int,
    ) -> None:
        columns, following, signs, lamps = ground.columns, ground.following, ground.signs, ground.state.lamps
        subjects = self._subjects[SubjectKind.LUMINAIRE]
        watched = (columns.gateway >= 0) & of_cabinet(_asked(columns)[columns.gateway_endpoint], columns.gateway)
        feeder_out = (feeder_supply == Verdict.BAD) | due.feeder_locked
        feeder_out |= self._subjects[SubjectKind.FEEDER].debounce[FaultKind.SUPPLY_LOSS].open
        behind = of_cabinet(places.gateway_covers, columns.gateway) | of_cabinet(feeder_out, columns.feeder)
        answers = _answers(ground)
        # Where nobody reads the contactor, gear of a feeder of which nothing answers may have no supply.
        count = len(columns.inventory.feeders)
        alive = np.bincount(columns.feeder[(columns.feeder >= 0) & answers], minlength=count) > 0
        fed = (columns.feeder < 0) | of_cabinet(alive | (ground.state.feeder_power == Power.ON), columns.feeder)
        lapses = np.zeros(columns.count, dtype=np.int16)
        for row, times in signs.lapses(now_ms).items():
            lapses[row] = times
        follows = following.follows(slice(None), lamps.actual, due.written) & following.is_settled(slice(None), now_ms)
        look = LampLook(
            visible=watched & (lamps.powered != Power.OFF) & ~behind & fed,
            unpowered=ground.supply_of(slice(None)) == Power.OFF,
            answers=answers,
            silent=following.is_silent,
            lamp_failure=following.lamp_failure,
            gear_failure=following.gear_failure,
            disobedient=following.is_disobedient,
            burns_by_day=following.burns_by_day,
            follows=follows & (following.misses == 0),
            in_control=lamps.in_control & ~ground.is_left_alone(slice(None), due.level),
            night=due.night,
            level=lamps.actual,
            due=due.written,
            failed_due=self._failed_due,
            lapses=lapses,
        )
        read_ms = signs.lamp_read_ms
        for kind, verdict in lamp_verdicts(look, self._limits).items():
            at_ms, measured, expected = read_ms, None, None
            if kind in _OF_STRAYS:  # it is silent since its new driver has no address: that is the fault
                verdict[gears.lamp_stray == Verdict.BAD] = Verdict.UNKNOWN
            if kind == FaultKind.DAY_BURNER:
                at_ms = np.where(look.unpowered, now_ms, read_ms)
            elif kind == FaultKind.DIMMING_FAILURE:
                bad = verdict == Verdict.BAD
                self._failed_due[bad] = due.written[bad]
                measured, expected = lamps.actual.astype(np.float64), due.written.astype(np.float64)
            elif kind == FaultKind.CYCLING:
                measured = lapses.astype(np.float64)
            self._judge(subjects, kind, verdict, at_ms, watched, now_ms, measured=measured, expected=expected)
        self._judge_power(ground, subjects, look.visible, watched, now_ms)
        # The gateway's fault is theirs too; a fault of the feeder's is what their silence was.
        gone = of_cabinet(
            self._subjects[SubjectKind.GATEWAY].debounce[FaultKind.COMMUNICATION_LOSS].open, columns.gateway
        )
        gone |= of_cabinet(self._subjects[SubjectKind.FEEDER].debounce[FaultKind.SUPPLY_LOSS].open, columns.feeder)
        cabinets = self._subjects[SubjectKind.CABINET].debounce
        gone |= of_cabinet(cabinets[FaultKind.SUPPLY_LOSS].open, columns.cabinet)
        self._give_up(subjects, FaultKind.COMMUNICATION_LOSS, gone, now_ms)

    def _judge_gears(self, ground: Ground, gears: GearVerdicts, now_ms: int) -> None:
        """Gear without an address, and addresses that more than one gear answers at, as their lines say."""
        columns = ground.columns
        lamps, gateways = self._subjects[SubjectKind.LUMINAIRE], self._subjects[SubjectKind.GATEWAY]
        asked = _asked(columns)[columns.gateway_endpoint]
        watched = (columns.gateway >= 0) & of_cabinet(asked, columns.gateway)
        stray, kind = gears.lamp_stray, FaultKind.GEAR_UNADDRESSED
        self._judge(lamps, kind, stray, gears.lamp_read_ms, watched, now_ms, measured=gears.lamp_count)
        self._judge(lamps, FaultKind.ADDRESS_DUPLICATE, gears.lamp_conflict, gears.lamp_read_ms, watched, now_ms)
        self._judge(
            gateways, kind, gears.gateway_stray, gears.gateway_read_ms, asked, now_ms, measured=gears.gateway_count
        )
        for part in _OF_STRAYS:
            self._give_up(lamps, part, lamps.debounce[kind].open & (stray == Verdict.BAD), now_ms)

    def _judge_power(self, ground: Ground, subjects: _Subjects, visible: Flags, watched: Flags, now_ms: int) -> None:
        """Powers that were read since the last look, against the model's curve at the level they were read at."""
        signs = ground.signs
        new = np.flatnonzero(signs.power_read_ms != self._judged_power_ms)  # a clock may have been set back
        if new.size:
            self._judged_power_ms[new] = signs.power_read_ms[new]
            self._expected_w[new] = expected_power_w(self._curve_of[new], self._curve_list, signs.power_level[new])
        high, low = power_verdicts(signs.power_w, self._expected_w, self._limits)
        for kind, verdict in ((FaultKind.POWER_TOO_HIGH, high), (FaultKind.POWER_TOO_LOW, low)):
            verdict[~visible] = Verdict.UNKNOWN
            self._judge(
                subjects, kind, verdict, signs.power_read_ms, watched, now_ms,
                measured=signs.power_w, expected=self._expected_w,
            )  # fmt: skip

    # --- into the book ----------------------------------------------------------------------------------------------

    def _judge(
        self,
        subjects: _Subjects,
        kind: FaultKind,
        verdict: Verdicts,
        read_ms: Instants,
        watched: Flags,
        now_ms: int,
        *,
        measured: Values | None = None,
        expected: Values | None = None,
    ) -> None:
        debounce = subjects.debounce[kind]
        raised, cleared = debounce.judge(verdict, read_ms, self._limits.rules[kind])
        for row in raised.tolist():
            self._book.raise_(
                kind, subjects.kind, subjects.uids[row], subjects.municipality_uids[row], now_ms,
                _at(measured, row), _at(expected, row),
            )  # fmt: skip
        for row in cleared.tolist():
            self._book.clear(FaultKey(kind, subjects.uids[row]), now_ms, FaultEnd.SEEN_GOOD)
        for row in np.flatnonzero(debounce.is_bad & (verdict == Verdict.BAD)).tolist():
            key = FaultKey(kind, subjects.uids[row])
            self._book.see(key, int(read_ms[row]), _at(measured, row), _at(expected, row))
        self._end(subjects, kind, np.flatnonzero(debounce.open & ~watched), FaultEnd.NOT_WATCHED, now_ms)

    def _give_up(self, subjects: _Subjects, kind: FaultKind, behind: Flags, now_ms: int) -> None:
        """Faults that turned out to be another's."""
        rows = np.flatnonzero(subjects.debounce[kind].open & behind)
        self._end(subjects, kind, rows, FaultEnd.PART_OF_ANOTHER, now_ms)

    def _end(self, subjects: _Subjects, kind: FaultKind, rows: Rows, end: FaultEnd, now_ms: int) -> None:
        if rows.size:
            subjects.debounce[kind].drop(rows)
            for row in rows.tolist():
                self._book.clear(FaultKey(kind, subjects.uids[row]), now_ms, end)

    def _show(self, ground: Ground) -> None:
        """What only the watch knows stands among the bits of luminaires, too."""
        debounce, lamps = self._subjects[SubjectKind.LUMINAIRE].debounce, ground.state.lamps
        for kind, bit in _SHOWN.items():
            lamps.faults[debounce[kind].open & (lamps.powered != Power.OFF)] |= int(bit)


def _asked(columns: Columns) -> Flags:
    """Which endpoints may be asked at all; a last one, False, for none (-1)."""
    asked = [endpoint.state != EndpointState.PLANNED for endpoint in columns.inventory.endpoints]
    return np.array([*asked, False], dtype=np.bool_)


def _answers(ground: Ground) -> Flags:
    """Luminaires that answered when they were read last."""
    answers: Flags = (ground.following.silent == 0) & ~ground.following.gear_failure & (ground.signs.lamp_read_ms > 0)
    return answers


def _at(values: Values | None, row: int) -> float:
    return float("nan") if values is None else float(values[row])
