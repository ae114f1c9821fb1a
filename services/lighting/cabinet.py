"""One cabinet's controller: its switch, door and contactors are read, and contactors are brought to what is due.

Contactors are written only in automatic, only where Lichtbuch switches, never on a locked-out feeder, and only right
after a good reading. Closing is spread against inrush; opening is not.

Over a link that is slow or has carried its bytes for now, the last reading has to do, and the acknowledgement of a
command stands in for its effect until the controller is read again. Who has turned the switch since is safe all the
same: in hand and 0 the controller's own wiring ignores commands. Not here: what is due, the heartbeat (heartbeat.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from fieldbus.values import PointAddress, ValueBatch, WriteOutcome, WriteRequest
from fieldbus.values import Quality as FieldQuality
from fieldbus.vocabulary import HandOffAuto
from services.lighting.due import Due
from services.lighting.field import Link, Pace
from services.lighting.ground import Ground
from services.lighting.metrics import READINGS, WRITES
from services.lighting.schedule_keeping import ScheduleKeeper
from services.lighting.state import CabinetLive, Power, Quality, Switch

_SWITCHES: Final = {HandOffAuto.HAND: Switch.HAND, HandOffAuto.OFF: Switch.OFF, HandOffAuto.AUTO: Switch.AUTO}
_LONGEST_REST_S: Final = 60.0
_CURRENT: Final = 1.5  # times the interval of readings


@dataclass
class _Contactor:
    """What is known of a feeder's contactor; None for unknown."""

    feeder: int
    channel: int
    commanded: bool | None = None
    closed: bool | None = None
    failures: int = 0
    rest_until: float = 0.0
    tried: bool | None = None


class ControllerWorker:
    """Works on one cabinet's controller."""

    def __init__(self, ground: Ground, cabinet: int) -> None:
        self._ground = ground
        self._cabinet = cabinet
        columns = ground.columns
        self._record = columns.inventory.cabinets[cabinet]
        endpoint = int(columns.cabinet_controller[cabinet])
        self._endpoint = columns.inventory.endpoints[endpoint] if endpoint >= 0 else None
        self._feeders = columns.feeders_by_cabinet[cabinet].tolist()
        self._contactors = [
            _Contactor(feeder, int(columns.feeder_channel[feeder]))
            for feeder in self._feeders
            if columns.feeder_switched[feeder]
        ]
        self._points: tuple[PointAddress, ...] = ()
        # Of its own, not the link's: what is known of contactors does not outlive the inventory either.
        self._pace = Pace()
        self._silent = 0
        self._supply_lost = False
        self._schedule = ScheduleKeeper(ground, cabinet)
        self.next_poll = 0.0
        """Monotonic real time from which on it is to be read."""

    @property
    def link(self) -> Link | None:
        """Its device; None where there is none, or nothing may connect."""
        return None if self._endpoint is None else self._ground.devices.link(self._endpoint)

    @property
    def live(self) -> CabinetLive:
        """What is shown of it."""
        return self._ground.state.cabinets[self._record.uid]

    def is_due(self, due: Due) -> bool:
        """Whether there is something to do: time to read, or a contactor that is not as it is due."""
        now_ms, monotonic = self._ground.now_ms, self._ground.monotonic()
        return monotonic >= self.next_poll or any(self._needs(c, due, now_ms, monotonic) for c in self._contactors)

    @property
    def is_current(self) -> bool:
        """Whether it was read no longer ago than it usually is: nobody need wait for the next reading."""
        ground = self._ground
        return ground.monotonic() - self._pace.answered_at <= _CURRENT * ground.poll_real_s()

    def opens_at_ms(self, due: Due) -> int | None:
        """When the next contactor that waits against inrush may close, in Unix ms; None if none waits."""
        if not self._may_switch():
            return None
        waiting = [
            self._ground.due_on_since_ms[c.feeder] + self._offset_ms(c)
            for c in self._contactors
            if due.feeder_on[c.feeder] and not due.feeder_locked[c.feeder] and c.commanded is False
        ]
        return int(min(waiting)) if waiting else None

    async def step(self) -> None:
        """One turn: read, write what differs, and read again what was written."""
        ground, link = self._ground, self.link
        if link is None:
            self._nobody_answered(counts=False)
            self.next_poll = ground.monotonic() + ground.poll_real_s()
            return
        if self._pace.may_ask(ground.monotonic()):
            if not await self._read(link) and not link.over_budget:
                return
        elif not self._pace.is_fresh(ground.monotonic(), ground.tuning.stale_real_s):
            return
        if ground.retired or ground.due is None:
            return
        wrote = await self._switch(link, ground.due)
        if wrote and not ground.retired and self._pace.may_ask(ground.monotonic()):
            await self._read(link)
            if any(c.closed != c.commanded for c in self._contactors):
                soon = ground.monotonic() + ground.tuning.confirm_real_s  # contacts take their time
                self.next_poll = max(soon, self._earliest)
        if link.controller.keeps_schedule and self._may_switch():
            await self._schedule.step(link)

    # --- reading --------------------------------------------------------------------------------------------------

    async def _read(self, link: Link) -> bool:
        """True if it answered."""
        ground = self._ground
        if not self._points:
            self._points = self._all_points(link)
        self._pace.asked_at = ground.monotonic()
        self._pace.least_s = link.least_interval_s(self._points)
        batch = await link.read(self._points)
        self.next_poll = max(ground.monotonic() + ground.poll_real_s(), self._earliest)
        if ground.retired:
            return False
        if batch is not None and link.over_budget:
            READINGS.labels("over_budget").inc()
            if self.live.quality != Quality.MISSING:
                self.live.quality = Quality.UNCERTAIN
            return False
        if batch is None or not bool((batch.quality <= FieldQuality.UNCERTAIN).any()):
            READINGS.labels("no_answer").inc()
            self._pace.answered_at = -inf
            self._nobody_answered(counts=True)
            return False
        READINGS.labels("answered").inc()
        self._pace.answered_at = ground.monotonic()
        self._silent = 0
        self._take(batch, link)
        return True

    @property
    def _earliest(self) -> float:
        """Monotonic real time before which the link bears no other reading."""
        return self._pace.asked_at + self._pace.least_s

    def _all_points(self, link: Link) -> tuple[PointAddress, ...]:
        able = link.controller
        names = [
            *(["hand_off_auto"] if able.has_switch else []),
            *(["door_open"] if able.has_door else []),
            *(["supply_present"] if able.has_supply else []),
        ]
        points = [PointAddress(name) for name in names]
        for has, name in ((able.has_feedback, "contactor_feedback"), (able.has_command, "contactor_command")):
            points += [PointAddress(name, c.channel) for c in self._contactors if has]
        return tuple(points)

    def _nobody_answered(self, *, counts: bool) -> None:
        """Nothing is known of switch and feeders when it happens too often; meanwhile what was known stays."""
        ground = self._ground
        self.live.quality = Quality.MISSING
        self._silent = min(self._silent + 1, 250) if counts else ground.tuning.following.silences
        if counts:
            ground.signs.controller_silent(self._cabinet, self._feeders, ground.now_ms)
        if self._silent < ground.tuning.following.silences:
            return
        self.live.switch = Switch.UNKNOWN
        ground.set_switch(self._cabinet, Switch.UNKNOWN)
        for contactor in self._contactors:
            contactor.closed = contactor.commanded = None
            ground.set_feeder_power(contactor.feeder, Power.UNKNOWN, ground.now_ms)

    def _take(self, batch: ValueBatch, link: Link) -> None:
        ground = self._ground
        seen = {point: row for row, point in enumerate(batch.points)}

        def value(name: str, index: int | None = None) -> float | None:
            row = seen.get(PointAddress(name, index))
            if row is None or batch.quality[row] > FieldQuality.UNCERTAIN:
                return None
            return float(batch.values[row])

        position = value("hand_off_auto")
        switch = Switch.AUTO if not link.controller.has_switch else Switch.UNKNOWN
        if position is not None:
            switch = _SWITCHES.get(int(position), Switch.UNKNOWN)
            if switch is Switch.AUTO and batch.quality[seen[PointAddress("hand_off_auto")]] != FieldQuality.GOOD:
                switch = Switch.UNKNOWN  # somebody may have turned it since: nothing is switched on that
        complete = bool((batch.quality == FieldQuality.GOOD).all())
        at_ms = int(batch.observed_at.max())
        live = self.live
        live.switch, live.observed_at_ms = switch, at_ms
        live.door_open = bool(value("door_open") or 0)
        live.quality = Quality.GOOD if complete else Quality.UNCERTAIN
        ground.set_switch(self._cabinet, switch)
        supply = value("supply_present")
        self._supply_lost = supply == 0.0
        ground.signs.controller_read(self._cabinet, supply=supply, door=value("door_open"), now_ms=ground.now_ms)
        # Only in automatic, and only while we are the ones who command, must a contactor be as commanded.
        ours = switch == Switch.AUTO and bool(ground.columns.cabinet_ours[self._cabinet]) and link.may_write
        judged = ours and not self._supply_lost and link.controller.has_feedback
        for contactor in self._contactors:
            closed, commanded = (value(name, contactor.channel) for name in ("contactor_feedback", "contactor_command"))
            contactor.commanded = None if commanded is None else bool(commanded)
            # Without an auxiliary contact, the command is the best that is known.
            contactor.closed = contactor.commanded if closed is None else bool(closed)
            known = judged and closed is not None
            ground.signs.contactor_read(contactor.feeder, contactor.commanded if known else None, contactor.closed)
            if contactor.closed is None:
                ground.set_feeder_power(contactor.feeder, Power.UNKNOWN, at_ms)
            else:
                on = contactor.closed and not self._supply_lost
                ground.set_feeder_power(contactor.feeder, Power.ON if on else Power.OFF, at_ms)
        for feeder in self._feeders:
            if not ground.columns.feeder_switched[feeder]:
                ground.set_feeder_power(feeder, Power.OFF if self._supply_lost else Power.ON, at_ms)

    # --- writing --------------------------------------------------------------------------------------------------

    def _may_switch(self) -> bool:
        link = self.link
        return (
            link is not None
            and link.may_write
            and link.controller.can_switch
            and bool(self._ground.columns.cabinet_ours[self._cabinet])
            and self.live.switch == Switch.AUTO
            and self.live.quality != Quality.MISSING
        )

    def _needs(self, contactor: _Contactor, due: Due, now_ms: int, monotonic: float) -> bool:
        """Whether a contactor must be told what is due now."""
        feeder = contactor.feeder
        if due.feeder_locked[feeder] or not self._may_switch():
            return False
        wanted = bool(due.feeder_on[feeder])
        if contactor.commanded == wanted and contactor.closed in (wanted, None):
            return False
        if wanted and now_ms < self._ground.due_on_since_ms[feeder] + self._offset_ms(contactor):
            return False
        return contactor.tried != wanted or monotonic >= contactor.rest_until

    def _offset_ms(self, contactor: _Contactor) -> int:
        """How long after it is due a contactor closes: after those before it in the cabinet, each with its own inrush,
        and after the cabinets before this one."""
        tuning = self._ground.tuning
        before = self._contactors[: self._contactors.index(contactor)]
        cabinets_ms = (self._cabinet % tuning.inrush_slots) * round(tuning.inrush_step_s * 1000)
        return cabinets_ms + sum(self._step_ms(other) for other in before)

    def _step_ms(self, contactor: _Contactor) -> int:
        """How long the next contactor waits for this one: as its feeder says, else the cabinet, else as set up."""
        of_feeder = self._ground.columns.inventory.feeders[contactor.feeder].inrush_step_ms
        of_cabinet = self._record.inrush_step_ms
        usual_ms = round(self._ground.tuning.inrush_step_s * 1000)
        return of_feeder if of_feeder >= 0 else of_cabinet if of_cabinet >= 0 else usual_ms

    async def _switch(self, link: Link, due: Due) -> bool:
        """Tells contactors what is due. True if anything was told."""
        ground = self._ground
        now_ms, monotonic = ground.now_ms, ground.monotonic()
        needing = [c for c in self._contactors if self._needs(c, due, now_ms, monotonic)]
        if not needing or not ground.may_write(due):
            return False
        requests = [
            WriteRequest(PointAddress("contactor_command", c.channel), float(due.feeder_on[c.feeder])) for c in needing
        ]
        results = await link.write(requests)
        if ground.retired:
            return False
        at_ms = ground.now_ms
        for contactor, result in zip(needing, results, strict=True):
            WRITES.labels("contactor", str(result.outcome)).inc()
            wanted = bool(due.feeder_on[contactor.feeder])
            contactor.failures = contactor.failures + 1 if contactor.tried == wanted else 0
            contactor.tried = wanted
            contactor.rest_until = monotonic + min(_LONGEST_REST_S, 2.0 ** min(contactor.failures, 6))
            if result.outcome in (WriteOutcome.ACCEPTED, WriteOutcome.CONFIRMED):
                contactor.commanded = wanted
                unread = link.over_budget or not self._pace.may_ask(ground.monotonic())
                if unread:
                    contactor.closed = wanted
                    self.live.quality = max(self.live.quality, Quality.UNCERTAIN)
                if (unread or not link.controller.has_feedback) and not self._supply_lost:
                    ground.set_feeder_power(contactor.feeder, Power.ON if wanted else Power.OFF, at_ms)
        return True
