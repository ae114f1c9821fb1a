"""The reconcile loop: what is due now, for every luminaire and feeder, against what the field says; the difference is
told. Each pass stands on its own: nothing depends on an event, and after any outage the next pass is right.

A pass never waits for a device that is slow or dead: each gateway and each controller has a worker of its own, and one
that is still busy is passed over. Not here: what is due (due.py), what a worker does (gateway.py, cabinet.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from math import isfinite
from typing import Any, Final, Protocol

import numpy as np

from domain.plan import from_unix_ms, to_unix_ms
from fieldbus.tasks import end
from servicekit.clock import Clock
from servicekit.waiting import happens_within
from services.lighting import metrics
from services.lighting.agenda import Agenda, Lines
from services.lighting.cabinet import ControllerWorker
from services.lighting.columns import Columns, Flags, build_columns
from services.lighting.due import Due, DueCalculator, DueSource
from services.lighting.faults import Fault
from services.lighting.field import Field, Link
from services.lighting.gateway import GatewayWorker
from services.lighting.ground import Ground, Tuning
from services.lighting.heartbeat import Heartbeats
from services.lighting.history import Change, LevelRecorder
from services.lighting.records import EndpointState, GroupRecord, Inventory, Known
from services.lighting.sensor_field import SensorWorker, sensor_workers
from services.lighting.sensors import SensorBoard
from services.lighting.state import Power, TownState

_log = logging.getLogger(__name__)

LastKnown = tuple[dict[str, Change], int]

_QUIET_WITHIN_S: Final = 5.0
_TAKE_OVER_WITHIN_S: Final = 8.0
_HEALTH_EVERY_S: Final = 5.0
_OLD: Final = "old "
_COMMANDS: Final = "commands to gateway"


class Knowledge(Protocol):
    """What control rests on: memory.Memory, or a given one in tests."""

    @property
    def known(self) -> Known:
        """The newest knowledge: a new object whenever anything changed."""
        ...

    @property
    def database_is_away(self) -> bool:
        """True while it cannot be refreshed."""
        ...

    def on_change(self, listener: Callable[[], None]) -> None:
        """Adds what is called whenever anything changed."""
        ...


class Control:
    """Brings every lamp to the level that is due, while it holds the field."""

    def __init__(
        self,
        memory: Knowledge,
        state: TownState,
        devices: Field,
        clock: Clock,
        *,
        holds: Callable[[], bool],
        tuning: Tuning | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        after_pass: Callable[[], None] = lambda: None,
        watch_faults: Callable[[Ground], None] = lambda _ground: None,
        last_known: Callable[[], Awaitable[LastKnown]] | None = None,
        sensors: SensorBoard | None = None,
    ) -> None:
        """holds: whether this process is the one that works on the field. after_pass: called at the end of each.
        watch_faults: looks at what a pass that held the field has found.

        last_known: asked when the field is taken over: what was recorded last of luminaires, by uid, and until when (in
        Unix ms) somebody watched.
        """
        self._memory, self._state, self._devices, self._clock = memory, state, devices, clock
        self._holds, self._monotonic, self._after_pass, self._last_known = holds, monotonic, after_pass, last_known
        self._watch_faults = watch_faults
        self._held = False
        self.tuning = tuning or Tuning()
        self.recorder = LevelRecorder(())
        self._earlier: LastKnown = ({}, 0)
        self.settled_until_ms = 0
        """Domain time of the last pass that held the field: until then levels were watched."""
        self._known = Known()
        self._calculator = DueCalculator(state.columns, self._known.orders)
        self._calm = asyncio.Event()
        self._calm.set()
        self._ground = self._new_ground(state.columns)
        self._lines = Lines.of(state.columns, range(0))
        self._gateways: list[GatewayWorker] = []
        self._reached: tuple[Ground, int] | None = None
        self._in_control: Flags = np.zeros(0, dtype=np.bool_)
        self._controllers: list[ControllerWorker] = []
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(self.tuning.concurrency)
        self._heartbeats = Heartbeats(clock, holds, monotonic, self.tuning.interval_s)
        self._wake = asyncio.Event()
        self._reported = 0.0
        self._looked_at_health = float("-inf")
        self._waiting: asyncio.Future[None] | None = None
        self._missed: set[str] = set()
        self._telling = 0
        memory.on_change(self.look_up)
        self.sensors = sensors or SensorBoard()
        self.sensors.on_news(self._wake.set)
        self._sensor_workers: list[SensorWorker] = []

    @property
    def holds_field(self) -> bool:
        """Whether this process works on the field."""
        return self._holds()

    @property
    def inventory(self) -> Inventory:
        """What the passes of now work on."""
        return self._ground.columns.inventory

    @property
    def is_calm(self) -> bool:
        """Whether no commands are under way."""
        return not self._telling

    def active_groups(self) -> dict[str, list[GroupRecord]]:
        """By uid of a sensor: groups with a rule that is active because of it, as of the last pass."""
        groups = self._ground.columns.inventory.groups
        return {uid: [groups[row] for row in rows] for uid, rows in self._calculator.active.items()}

    # --- the loop -------------------------------------------------------------------------------------------------

    async def run(self, beat: Callable[[], None]) -> None:
        """Passes for ever."""
        while True:
            began = self._monotonic()
            self._wake.clear()
            await self.once()
            beat()
            await self._rest(began)

    async def once(self) -> None:
        """One pass."""
        began = self._monotonic()
        await self._take_known()
        if self._holds() != self._held:
            await self._change_hands()
        now = self._clock.now()
        self._calculator.sense(self.sensors.views)
        due = self._calculator.at(now)
        ground = self._ground
        ground.take_due(due)
        if self._held:
            await self._work_on_field()
            self.settled_until_ms = to_unix_ms(now)
        ground.settle_supply(ground.now_ms)
        ground.show()
        if self._held:
            self._watch_faults(ground)
        self._state.publish(to_unix_ms(now))
        self._after_pass()
        metrics.PASSES.inc()
        metrics.PASS_DURATION.observe(self._monotonic() - began)
        self._report()

    def look_up(self) -> None:
        """Something else holds: a pass that waits for devices does not any more, and the next one begins."""
        self._wake.set()
        if self._waiting is not None:
            _finish(self._waiting)

    async def quiet(self, feeder_uid: str) -> None:
        """Returns when nothing is being written to a feeder any more: after a lock-out was taken into memory.

        From then on nothing will be, as every worker looks at the orders right before it writes. A worker that is stuck
        in a slow device is ended: what it did is read back by the next pass.
        """
        feeder = self._ground.columns.feeder_of.get(feeder_uid)
        if feeder is None:
            return
        columns = self._ground.columns
        names = {f"controller {int(columns.feeder_cabinet[feeder])}"}
        gateways = np.unique(columns.gateway[columns.rows_by_feeder[feeder]]).tolist()
        names |= {f"{what} {row}" for row in gateways for what in ("gateway", _COMMANDS)}
        # Of what runs on a former inventory nobody knows the numbers any more: all of it is waited for.
        tasks = [
            task for name, task in self._busy.items() if (name in names or name.startswith(_OLD)) and not task.done()
        ]
        await _ended(tasks)

    async def ended(self) -> None:
        """Returns when nothing that is under way now is any more, whatever it was: after the field was lost."""
        await _ended([task for task in self._busy.values() if not task.done()])

    async def lend(self, gateway_uid: str, errand: Callable[[Ground, Link], Coroutine[Any, Any, None]]) -> bool:
        """Runs an errand at a gateway in its worker's turn, which waits meanwhile. False, and nothing is run, where
        it is busy, not known, or nothing may connect to it."""
        ground = self._ground
        rows = [row for row, record in enumerate(ground.columns.inventory.gateways) if record.uid == gateway_uid]
        link = self._gateways[rows[0]].link if rows and self._held and rows[0] < len(self._gateways) else None
        if link is None:
            return False
        task = self._start(f"gateway {rows[0]}", lambda: errand(ground, link))
        if task is None:
            return False
        await asyncio.wait([task])
        return True

    async def close(self) -> None:
        """Ends the workers and closes the devices."""
        self._ground.retired = True
        await self._heartbeats.stop()
        await asyncio.gather(*(end(task) for task in self._busy.values()))
        await self._devices.close()

    # --- what is known --------------------------------------------------------------------------------------------

    async def _take_known(self) -> None:
        """Takes what changed since the last pass."""
        known = self._memory.known
        self.sensors.watch(known)
        if known.inventory is not self._known.inventory:
            await self._take_inventory(known)
        elif known.orders is not self._known.orders:
            self._calculator = DueCalculator(self._ground.columns, known.orders)
        self._known = known

    async def _change_hands(self) -> None:
        """The field was taken over, or lost: what another process knows of it now is not what was known here.

        Who takes it over goes on with the history where the last one left it. Who lost it lets go of every device.
        """
        self._held = self._holds()
        self._earlier = ({}, 0)
        if self._held:
            if self._last_known is not None:
                try:
                    async with asyncio.timeout(_TAKE_OVER_WITHIN_S):
                        self._earlier = await self._last_known()
                except TimeoutError:
                    _log.warning("what was recorded before is not known in time")
            _log.info("the field is held")
        else:
            await self._heartbeats.stop()
            self._devices.settle(())
            self._state.forget()
            _log.warning("the field is not held any more")
        self.recorder = LevelRecorder(())
        await self._take_inventory(self._memory.known)
        self._known = self._memory.known

    async def _take_inventory(self, known: Known) -> None:
        columns = build_columns(known.inventory)
        before = self._ground
        before.retired = True
        self._devices.settle(known.inventory.endpoints)
        pairs = self._state.move_to(columns)
        self.recorder = self.recorder.moved_to(columns.uids, columns.inner)
        self.recorder.resume(*self._earlier)
        ground = self._ground = self._new_ground(columns)
        ground.following.take_over(before.following, pairs)
        ground.signs.take_over(before.signs, pairs)
        self._calculator = DueCalculator(columns, known.orders)
        self._lines = Lines.of(columns, range(len(columns.inventory.gateways)))
        self._gateways = [GatewayWorker(ground, row) for row in range(len(columns.inventory.gateways))]
        self._controllers = [ControllerWorker(ground, row) for row in range(len(columns.inventory.cabinets))]
        self._sensor_workers = sensor_workers(ground, self.sensors, columns.inventory)
        # A step on the old ground may still be under way; its device takes one request after the other.
        self._busy = {f"{_OLD}{name}": task for name, task in self._busy.items() if not task.done()}
        _log.info(
            "inventory %d: %d luminaires, %d gateways, %d cabinets",
            known.inventory.revision, columns.count, len(self._gateways), len(self._controllers),
        )  # fmt: skip

    def _new_ground(self, columns: Columns) -> Ground:
        ground = Ground(
            columns, self._state, self.recorder, self._devices, self._clock, self.tuning, monotonic=self._monotonic
        )
        ground.calm = self._calm
        ground.are_current = lambda orders: self._memory.known.orders is orders and self._holds()
        return ground

    # --- the field ------------------------------------------------------------------------------------------------

    async def _work_on_field(self) -> None:
        """What is newly due is told first; then controllers, so that gear that gets its supply is reached in the same
        pass; then what is to be read, and told again."""
        ground, due = self._ground, self._ground.due
        if due is None:
            return
        self._busy = {name: task for name, task in self._busy.items() if not task.done()}
        self._reach()
        watched = [row for row, worker in enumerate(self._controllers) if worker.is_due(due)]
        told = self._tell(due, except_of=[row for row in watched if not self._controllers[row].is_current])
        controllers = [self._start(f"controller {row}", self._controllers[row].step) for row in watched]
        await self._wait(controllers)
        ground.settle_supply(ground.now_ms)
        for row, sensors in enumerate(self._sensor_workers):
            if sensors.is_due:  # not waited for: a condition that begins or ends wakes the next pass
                self._start(f"sensors {row}", sensors.step)
        if not ground.may_write(due):
            return  # other orders hold: what was started looks at them itself, and the next pass is on its way
        told += self._tell(due)
        gateways = [self._start(f"gateway {row}", self._gateways[row].step) for row in self._gateways_to_work_on(due)]
        await self._wait([*told, *gateways])
        await self._heartbeats.keep(self._commanded())

    def _tell(self, due: Due, except_of: Sequence[int] = ()) -> list[asyncio.Task[None] | None]:
        """Starts commands to all gateways with news that can be told on what was read last; not to those of cabinets
        whose switch was last seen too long ago, and is about to be read."""
        agenda = Agenda.of(self._ground, self._lines, due)
        wanted = agenda.gateways_with(agenda.news)
        if len(except_of) and wanted.any():
            wanted &= ~np.isin(self._ground.columns.gateway_cabinet, except_of)
        return [
            self._start(f"{_COMMANDS} {row}", partial(self._gateways[row].tell, agenda))
            for row in np.flatnonzero(wanted).tolist()
            if self._gateways[row].can_tell
        ]

    def _commanded(self) -> Iterable[Link]:
        """The devices that orders reach: gateways, and the controllers of cabinets that are ours to switch."""
        ours = [worker for row, worker in enumerate(self._controllers) if self._ground.columns.cabinet_ours[row]]
        links = [*(worker.link for worker in ours), *(worker.link for worker in self._gateways)]
        return [link for link in links if link is not None]

    def _reach(self) -> None:
        """Says of every luminaire whether it is in control, and how exactly its level can be read."""
        ground, columns = self._ground, self._ground.columns
        links = [worker.link for worker in self._gateways]
        if self._reached != (ground, self._devices.revision):
            released = np.array(
                [e.state == EndpointState.IN_CONTROL for e in columns.inventory.endpoints] + [False], dtype=np.bool_
            )
            gateway_released = np.append(released[columns.gateway_endpoint], False)
            switched = np.append(released[columns.cabinet_controller] & columns.cabinet_ours, False)
            by_feeder = switched[columns.cabinet] & np.append(columns.feeder_switched, False)[columns.feeder]
            by_gateway = gateway_released[columns.gateway] & columns.commanded
            self._in_control = np.where(columns.gateway >= 0, by_gateway, by_feeder)
            pairs = zip(self._gateways, links, strict=True)
            ground.following.reached_by([(worker.rows, link.gateway) for worker, link in pairs if link is not None])
            self._reached = ground, self._devices.revision
        ground.state.lamps.in_control = self._in_control

    def _gateways_to_work_on(self, due: Due) -> Iterable[int]:
        """Gateways that are to be read, and those with luminaires that must be told something; not those that are being
        told something just now."""
        ground = self._ground
        agenda = Agenda.of(ground, self._lines, due)
        needs = agenda.needs & ~ground.following.is_booting(self._lines.rows, ground.now_ms)
        wanted = (ground.next_poll <= self._monotonic()) | agenda.gateways_with(needs)
        return [row for row in np.flatnonzero(wanted).tolist() if f"{_COMMANDS} {row}" not in self._busy]

    def _start(self, name: str, step: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None] | None:
        """Starts a worker's step; None while its last one is still under way."""
        before = self._busy.get(name)
        if before is not None and not before.done():
            if name.startswith(_COMMANDS):
                self._missed.add(name)
            return None
        work = self._command(name, step) if name.startswith(_COMMANDS) else self._in_its_place(step)
        task = asyncio.create_task(work, name=name)
        self._busy[name] = task
        return task

    async def _command(self, name: str, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Commands wait for no place, and what is only read waits for them: as long as a pass waits."""
        if not self._telling:
            self._calm.clear()
        self._telling += 1
        until = asyncio.get_running_loop().call_later(self.tuning.patience_real_s, self._calm.set)
        try:
            await self._guarded(step)
        finally:
            until.cancel()
            self._telling -= 1
            if not self._telling:
                self._calm.set()
            if name in self._missed:  # there was more to tell meanwhile
                self._missed.discard(name)
                self._wake.set()

    async def _in_its_place(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A step has its place among those worked on at once for as long as a pass waits: devices that are dead or wait
        for their turn on a bus need no place, and must not take those of devices that answer."""
        await self._slots.acquire()
        place = [self._slots.release]
        until = asyncio.get_running_loop().call_later(self.tuning.patience_real_s, lambda: place.pop()())
        try:
            await self._calm.wait()
            await self._guarded(step)
        finally:
            until.cancel()
            if place:
                place.pop()()

    async def _guarded(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A step that fails unexpectedly is counted and does not end the others."""
        try:
            await step()
        except asyncio.CancelledError:
            raise
        except Exception:
            metrics.STEP_FAILURES.inc()
            _log.exception("a step of the field failed")

    async def _wait(self, tasks: Sequence[asyncio.Task[None] | None]) -> None:
        """Waits for devices that answer in time, and no longer than until other orders come; the others go on by
        themselves."""
        started = [task for task in tasks if task is not None]
        if not started:
            return
        loop = asyncio.get_running_loop()
        waiting = self._waiting = loop.create_future()
        left = len(started)

        def ended(_task: asyncio.Task[None] | None = None) -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                _finish(waiting)

        for task in started:
            task.add_done_callback(ended)
        patience = loop.call_later(self.tuning.patience_real_s, _finish, waiting)
        try:
            await waiting
        finally:
            patience.cancel()
            self._waiting = None

    # --- pacing and telling ---------------------------------------------------------------------------------------

    async def _rest(self, began: float) -> None:
        """Until the next regular pass, the next instant at which something is due to change, or a change of orders."""
        tuning, speed = self.tuning, self._clock.speed
        now = self._clock.now()
        regular_s = max(tuning.interval_s, tuning.least_interval_real_s * speed if isfinite(speed) else 0.0)
        wake = self._next_instant(now, now + timedelta(seconds=regular_s))
        if not isfinite(speed):
            if self._wake.is_set():  # something else holds since this pass began: the next one is due at this instant
                await self._until_idle()
                return
            await self._clock.sleep_until(wake)
            return
        until_s = min((wake - now).total_seconds() / speed, self._next_reading_s())
        least_s = began + tuning.least_gap_real_s - self._monotonic()
        await happens_within(self._wake, max(until_s, least_s, 0.0))

    async def _until_idle(self) -> None:
        """Waits for what is under way with devices, no longer than a pass does."""
        working = [task for task in self._busy.values() if not task.done()]
        if working:
            await asyncio.wait(working, timeout=self.tuning.patience_real_s)

    def _next_instant(self, now: datetime, regular: datetime) -> datetime:
        """The regular instant, or an earlier one at which a plan, a command or a waiting contactor is due."""
        due = self._ground.due
        candidates = [self._calculator.next_change(now)]
        if due is not None:
            candidates += [worker.opens_at_ms(due) for worker in self._controllers]
        now_ms = to_unix_ms(now)
        later = [candidate for candidate in candidates if candidate is not None and candidate > now_ms]
        return min([regular, *(from_unix_ms(candidate) for candidate in later)])

    def _next_reading_s(self) -> float:
        """Real seconds until a command is to be read back."""
        awaited = self._ground.next_poll[self._ground.awaited]
        if not awaited.size or not self._held:
            return float("inf")
        return max(0.0, float(awaited.min()) - self._monotonic())

    def _report(self) -> None:
        """Sets the gauges, once a second at most."""
        monotonic = self._monotonic()
        if monotonic - self._reported < 1.0:
            return
        self._reported = monotonic
        ground, due, lamps = self._ground, self._ground.due, self._state.lamps
        if due is None:
            return
        off = lamps.powered == Power.OFF
        known = (lamps.actual >= 0) & ~off
        wrong = np.zeros(lamps.actual.shape, dtype=np.bool_)
        if self._held:
            shows = ground.following.shows(slice(None), lamps.actual, due.written, ground.now_ms)
            wrong = known & lamps.in_control & (due.level >= 0) & ~shows & (ground.columns.gateway >= 0)
        states = {
            "lit": known & (lamps.actual > 0),
            "off": known & (lamps.actual == 0),
            "unpowered": off,
            "not_following": (lamps.faults & Fault.DIMMING_FAILURE) > 0,
            "unknown": (lamps.actual < 0) & ~off,
        }
        for name, mask in states.items():
            metrics.LUMINAIRES.labels(name).set(int(mask.sum()))
        metrics.MISMATCHES.set(int(wrong.sum()))
        for fault in Fault:
            metrics.FAULTS.labels(str(fault.name).lower()).set(int(((lamps.faults & fault) > 0).sum()))
        if monotonic >= self._looked_at_health + _HEALTH_EVERY_S:
            self._looked_at_health = monotonic
            for health, count in self._devices.health(ground.columns.inventory.endpoints).items():
                metrics.ENDPOINTS.labels(health).set(count)
        for state, count in self.sensors.counts(ground.now_ms).items():
            metrics.SENSORS.labels(state).set(count)
        metrics.SENSED_GROUPS.set(len({row for rows in self._calculator.active.values() for row in rows}))
        metrics.LOCKED_FEEDERS.set(int(due.feeder_locked.sum()))
        for power in Power:
            metrics.ENERGISED_FEEDERS.labels(power.name.lower()).set(int((self._state.feeder_power == power).sum()))
        without = ground.columns.group[(due.source == DueSource.DEFAULT) & (ground.columns.group >= 0)]
        metrics.PLANS_RUN_OUT.set(int(np.unique(without).size))
        metrics.DATABASE_AWAY.set(1 if self._memory.database_is_away else 0)


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Returns when all of them have ended; those that are stuck are ended."""
    if tasks:
        _, stuck = await asyncio.wait(tasks, timeout=_QUIET_WITHIN_S)
        await asyncio.gather(*(end(task) for task in stuck))


def _finish(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
