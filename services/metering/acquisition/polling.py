"""Polling: every meter with an endpoint at the slots of its cycle, once; a flagged gap where it cannot be read in time.

What devices tell of by themselves is taken from there (watching.py) where that can be believed in, all else is asked
for. A slot may be read until its tolerance has passed; until then an endpoint that does not answer is asked again. One
task per endpoint: a dead device delays nobody. What was read is judged, then handed to the recorder, which keeps it.
Slots that passed while nobody polled are flagged when the next one is stored (store/polled.py); the newest one of a
meter that is read less often than every quarter hour at once, since its next one may be a month away.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np

from domain.errors import LichtbuchError
from fieldbus.device import Device
from servicekit.clock import Clock
from services.metering.acquisition.devices import Devices
from services.metering.acquisition.resets import Resets
from services.metering.acquisition.serials import SerialNumbers
from services.metering.acquisition.target import Sample, Target, sample_of
from services.metering.acquisition.watching import PROOF_S, Watches, is_watched
from services.metering.metrics import FINDINGS, METERS, POLL_DURATION, SLOTS_LATE, SLOTS_UNREAD, WATCHED
from services.metering.reading import Readings, Status, TimeSource
from services.metering.slot import SLOT_MS, floor_slot_ms, from_ms, slot_text, to_ms, tolerance_ms
from services.metering.vee import Finding, RegisterState, Reset, Verdict, judge

_log = logging.getLogger(__name__)

TOLERANCE_S: Final = 300.0
"""How late (domain time) a value may be read and still stand for its slot."""
LEAST_REAL_S: Final = 1.0
"""And never less than this in real time, lest a time-lapse leave a device no time to answer."""
TRIES: Final = 10
"""How often an endpoint is asked within the tolerance, evenly spread."""
SPREAD_MS: Final = 20
"""Endpoints begin this far apart on average (domain time), so that a thousand do not wake together."""
LATE_MS: Final = 10_000
"""What is read this much after the last endpoint's turn counts as late."""
BEAT_EVERY_REAL_S: Final = 5.0
SAVE_PATIENCE_S: Final = 20.0
_LOOKS: Final = 15
"""How often a sign of life of a subscription is looked for, evenly spread."""
_UNCERTAIN: Final = Verdict(Status.DOUBTFUL, RegisterState())
"""Of a value that the device itself doubts: nothing is learnt from it."""


class Book(Protocol):
    """Where the targets stand: services/metering/acquisition/book.py."""

    targets: list[Target]

    async def refresh(self) -> bool:
        """Reads the list anew where that is due. True if it was."""
        ...

    def forget(self) -> None:
        """Another worker polls: where the registers stand is its knowledge now."""
        ...

    async def save(self) -> None:
        """Keeps the list for a start without the database."""
        ...


class Keeper(Protocol):
    """Where readings go: services/metering/acquisition/recorder.py."""

    @property
    def is_settled(self) -> bool:
        """True if what was handed over is in the database: nothing waits in the spool or in memory."""
        ...

    @property
    def problem(self) -> str | None:
        """Why what was handed over is not kept; None as long as it is."""
        ...

    def submit(self, readings: Readings, lives: dict[int, str]) -> None:
        """Takes readings over, without waiting."""
        ...

    async def settle(self) -> None:
        """Waits until all that was handed over is kept, or cannot be."""
        ...


class Poller:
    """The loop over the quarter hours."""

    def __init__(
        self,
        *,
        clock: Clock,
        devices: Devices,
        book: Book,
        keeper: Keeper,
        resets: Resets,
        may_poll: Callable[[], bool] = lambda: True,
        tolerance_s: float = TOLERANCE_S,
    ) -> None:
        """`may_poll` says whether this worker is the one that reads the field (the lease)."""
        self._clock = clock
        self._devices = devices
        self._book = book
        self._keeper = keeper
        self._resets = resets
        self._may_poll = may_poll
        self._watches = Watches(lambda: to_ms(clock.now()))
        self._tolerance_ms = tolerance_ms(tolerance_s, LEAST_REAL_S, clock.speed)
        self._serials = SerialNumbers()
        self._statuses: dict[str, Status] = {}
        self._watched: defaultdict[str, list[Target]] = defaultdict(list)
        self._late_ms = LATE_MS
        self.polled_ms = 0
        """Newest slot that has been gone through."""

    async def run(self, beat: Callable[[], None]) -> None:
        """Polls each slot from now on, for ever."""
        while True:
            beat()
            if not self._may_poll():
                self._book.forget()
                await self._watches.keep_only(())
            elif not self._book.targets:
                await self._book.refresh()
            now_ms = to_ms(self._clock.now())
            slot_ms = floor_slot_ms(now_ms)
            if slot_ms > self.polled_ms and now_ms < slot_ms + self._tolerance_ms and self._may_poll():
                await self.poll(slot_ms)
                beat()
                await self._save()
            # After the slot, not before it: asking a database takes time, and a time-lapse has none at the quarter
            # hour.
            if self._may_poll():
                if await self._book.refresh():
                    await self._save()
                await self._watches.keep_only({t.endpoint_uid for t in self._book.targets if is_watched(t)})
                await self._devices.keep_only({target.endpoint_uid for target in self._book.targets})
            await self._sleep_towards(slot_ms + SLOT_MS)

    async def poll(self, slot_ms: int) -> None:
        """Reads one slot. Returns when every target whose turn it is has a reading or the tolerance has passed and the
        rest are gaps."""
        began = time.monotonic()
        targets, passed = _by_turn(self._book.targets, slot_ms)
        for due_ms, missed in passed.items():
            self._flag(missed, due_ms)
        self._watched = defaultdict(list)
        for target in filter(is_watched, self._book.targets):
            self._watched[target.endpoint_uid].append(target)
        groups: defaultdict[str, list[Target]] = defaultdict(list)
        for target in targets:
            groups[target.endpoint_uid].append(target)
        spread_ms = min(self._tolerance_ms // 5, len(groups) * SPREAD_MS)
        self._late_ms = spread_ms + LATE_MS
        work = [asyncio.create_task(self._read(group, slot_ms, spread_ms)) for group in groups.values()]
        if work:
            await self._until_deadline(work, slot_ms + self._tolerance_ms)
        self._flag([target for target in targets if target.settled_ms < slot_ms], slot_ms)
        self.polled_ms = slot_ms
        POLL_DURATION.observe(time.monotonic() - began)
        self._tell()

    async def _save(self) -> None:
        """Keeps the list, once what it says was read is kept: a slot that is settled there is not read again."""
        try:
            async with asyncio.timeout(SAVE_PATIENCE_S):
                await self._keeper.settle()
        except TimeoutError:
            _log.warning("what was read is not kept yet: the snapshot of the meters stays as it is")
            return
        if self._keeper.problem is not None:
            return  # a kill would lose what waits in memory, and it is to be read again then
        await self._book.save()

    async def _until_deadline(self, work: Sequence[asyncio.Task[None]], deadline_ms: int) -> None:
        limit = asyncio.create_task(self._clock.sleep_until(from_ms(deadline_ms)))
        reading: asyncio.Future[list[BaseException | None]] = asyncio.gather(*work, return_exceptions=True)
        waiters: set[asyncio.Future[Any]] = {limit, reading}
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            limit.cancel()
            for task in work:
                task.cancel()
            results = await asyncio.gather(*work, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                _log.error("reading an endpoint failed unexpectedly", exc_info=result)

    async def _read(self, group: Sequence[Target], slot_ms: int, spread_ms: int) -> None:
        """Asks one endpoint until all its targets have given a value. Ended from outside at the deadline."""
        await self._clock.sleep(spread_ms * _fraction(group[0].endpoint_uid) / 1000)
        device = await self._devices.of(group[0])
        if device is not None and any(map(is_watched, group)):
            await self._take_told(device, [target for target in group if is_watched(target)], slot_ms)
        while device is not None:
            missing = tuple(target for target in group if target.settled_ms < slot_ms)
            if not missing:
                await self._serials.check(device, group, to_ms(self._clock.now()))
                return
            try:
                batch = await device.read(tuple(target.address for target in missing))
            except LichtbuchError as error:
                self._devices.complain(group[0], error)
                return
            now_ms = to_ms(self._clock.now())
            if now_ms > slot_ms + self._tolerance_ms:
                return
            samples = [(target, sample_of(target, batch, row, now_ms)) for row, target in enumerate(missing)]
            await self._take([(target, sample) for target, sample in samples if sample is not None], slot_ms)
            if any(sample is None for _, sample in samples):
                await self._clock.sleep(self._tolerance_ms / TRIES / 1000)

    async def _take_told(self, device: Device, targets: Sequence[Target], slot_ms: int) -> None:
        """Takes what a subscription has told of the slot. What it has not, or cannot be believed in, is left over."""
        watches, uid = self._watches, targets[0].endpoint_uid
        began = watches.monotonic()
        # To all that it may tell of, lest each slot subscribe anew to those whose turn it is.
        await watches.keep(uid, device, self._watched[uid])
        if not watches.has(uid):
            return
        limit_ms = min(self._tolerance_ms // 4, PROOF_S * 1000 * self._clock.speed)
        for _ in range(_LOOKS):
            if watches.is_alive_since(uid, began):
                break
            await self._clock.sleep(limit_ms / _LOOKS / 1000)
        else:
            return
        now_ms = to_ms(self._clock.now())
        batch = watches.standing(targets, slot_ms)
        samples = [(target, sample_of(target, batch, row, now_ms)) for row, target in enumerate(targets)]
        told = [(target, sample) for target, sample in samples if sample is not None]
        WATCHED.inc(len(told))
        await self._take(told, slot_ms)

    async def _take(self, samples: Sequence[tuple[Target, Sample]], slot_ms: int) -> None:
        """Judges what one answer brought, and hands it on as one record."""
        settled: list[tuple[Target, Sample, Status]] = []
        resets: list[tuple[Target, Sample, Verdict, Reset]] = []
        for target, sample in samples:
            verdict = judge(target.state, target.rules, slot_ms, sample.value) if sample.is_certain else _UNCERTAIN
            if verdict.finding is not Finding.NONE:
                FINDINGS.labels(verdict.finding.value).inc()
                _log.warning("%s at %s: %s (%d)", target.name, slot_text(slot_ms), verdict.finding.value, sample.value)
            if verdict.reset is not None:
                resets.append((target, sample, verdict, verdict.reset))
                continue
            if sample.is_certain:
                target.state = verdict.state
            settled.append((target, sample, verdict.status))
        self._hand_over(settled, slot_ms)
        # Last, since they have to wait for the database: nothing else that was read may be lost at the deadline.
        while resets:
            target, sample, verdict, reset = resets[0]
            try:
                status = await self._reset(target, verdict, reset)
            except BaseException:
                # The deadline, or the end of the process: in doubt, like what cannot be recorded, but not lost.
                self._hand_over([(late, read, Status.DOUBTFUL) for late, read, _, _ in resets], slot_ms)
                raise
            del resets[0]
            self._hand_over([(target, sample, status)], slot_ms)

    def _hand_over(self, judged: Sequence[tuple[Target, Sample, Status]], slot_ms: int) -> None:
        if not judged:
            return
        for target, sample, status in judged:
            target.settled_ms = slot_ms
            self._statuses[target.meter_uid] = status
            if sample.observed_ms - slot_ms > self._late_ms:
                SLOTS_LATE.inc()
        rows = [(t.life_key, s.value, status, s.observed_ms, s.time_source) for t, s, status in judged]
        register, value, statuses, observed_ms, source = np.array(rows, np.int64).T
        slots = np.full(len(rows), slot_ms, np.int64)
        readings = Readings.of(register, slots, value, statuses, observed_ms, source)
        self._keeper.submit(readings, {target.life_key: target.life_uid for target, _, _ in judged})

    async def _reset(self, target: Target, verdict: Verdict, reset: Reset) -> Status:
        """Records a reset that is confirmed, and puts the target on its new register."""
        # The readings under suspicion move over to the new register, so they have to be in the database first.
        await self._keeper.settle()
        if self._keeper.is_settled and await self._resets.record(target, reset):
            target.state = verdict.state
            return verdict.status
        # Not now: it stays in doubt, and the next reading confirms the reset once more.
        return Status.DOUBTFUL

    def _flag(self, targets: Sequence[Target], slot_ms: int) -> None:
        """Flags a slot as a gap for those that could not be read."""
        if not targets:
            return
        SLOTS_UNREAD.inc(len(targets))
        _log.warning("%d meters could not be read at %s", len(targets), slot_text(slot_ms))
        count = len(targets)
        gaps = Readings.of(
            [target.life_key for target in targets],
            [slot_ms] * count,
            [0] * count,
            [Status.GAP] * count,
            [to_ms(self._clock.now())] * count,
            [TimeSource.SYSTEM] * count,
        )
        for target in targets:
            target.settled_ms = slot_ms
            self._statuses[target.meter_uid] = Status.GAP
        self._keeper.submit(gaps, {target.life_key: target.life_uid for target in targets})

    async def _sleep_towards(self, next_ms: int) -> None:
        """Sleeps until the next slot, or for a few real seconds of it: the loop has to give signs of life."""
        now_ms = to_ms(self._clock.now())
        step_ms = BEAT_EVERY_REAL_S * 1000 * self._clock.speed
        await self._clock.sleep_until(from_ms(next_ms if step_ms >= next_ms - now_ms else round(now_ms + step_ms)))

    def _tell(self) -> None:
        known = {target.meter_uid for target in self._book.targets}
        self._serials.keep_only(known)
        self._statuses = {uid: status for uid, status in self._statuses.items() if uid in known}
        counts = Counter(self._statuses.values())
        for status in (Status.MEASURED, Status.GAP, Status.DOUBTFUL):
            METERS.labels(status.name.lower()).set(counts[status])


def _by_turn(targets: Sequence[Target], slot_ms: int) -> tuple[list[Target], dict[int, list[Target]]]:
    """Whose turn it is at a slot, and by the slot those whose turn was passed over: while nobody polled, and without
    another one until now. What was never read yet has missed nothing."""
    turn: list[Target] = []
    passed: defaultdict[int, list[Target]] = defaultdict(list)
    for target in targets:
        due_ms = target.due_ms(slot_ms)
        if target.settled_ms >= due_ms:
            continue
        if due_ms == slot_ms:
            turn.append(target)
        elif target.settled_ms:
            passed[due_ms].append(target)
    return turn, passed


def _fraction(uid: str) -> float:
    """A number in 0..1 that belongs to an endpoint: it is read at the same offset in every slot."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big") / 2**32
