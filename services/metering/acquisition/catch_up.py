"""Catch-up: slots that could not be read are looked for in what devices and servers have recorded themselves.

After a quarter hour has been dealt with, one endpoint after the other is asked for the past of its gaps, each gap once.
It is the lowest of all work on the field: it begins when the current slot is done and stops before the next one. What
keeps no history is asked once and remembered. Only flagged gaps are filled; what is stored as a reading stays.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, Protocol

import numpy as np

from domain.errors import FailedPrecondition, InvalidInput, LichtbuchError, OutOfLimits, RetryableError
from fieldbus.device import HistoryReader
from fieldbus.faults import OverBudget
from fieldbus.values import PointAddress, ValueBatch
from servicekit.clock import Clock
from servicekit.database import Database
from services.metering.acquisition.asked import Asked
from services.metering.acquisition.devices import Devices
from services.metering.acquisition.target import Target, sample_of
from services.metering.metrics import CAUGHT_UP, READINGS_STORED
from services.metering.reading import Int64, Readings, Status
from services.metering.slot import SLOT_MS, floor_slot_ms, from_ms, to_ms
from services.metering.store.feed import OURSELVES, Source
from services.metering.store.gaps import fill_gaps, gaps_of
from services.metering.store.partitions import Partitions, months_between
from services.metering.validation.parameters import DEFAULTS, Parameters

_log = logging.getLogger(__name__)

TOLERANCE_MS: Final = SLOT_MS
"""A recorded value stands for a slot if it is at most this much older: who records every quarter hour is served."""
LOOK_BACK_MS: Final = 31 * 24 * 3_600_000
"""Older gaps are left to people."""
PIECE_MS: Final = 24 * 3_600_000
"""So much of the past is asked for at once, less where a link may not carry that."""
PATIENCE_S: Final = 60.0
REMEMBER_EVERY_S: Final = 30.0
"""How often (real time) what was asked for is written down while much is asked."""
LOOK_EVERY_REAL_S: Final = 5.0
_REST_MS: Final = 60_000
"""This long before a slot the line is left alone."""


class Book(Protocol):
    """Where the targets stand: services/metering/acquisition/book.py."""

    targets: list[Target]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A target, and the slots it lacks."""

    target: Target
    slots: Int64


def recorded_at(wanted: Sequence[Wanted], batches: Sequence[ValueBatch], now_ms: int) -> Readings:
    """Readings for the slots that are wanted: for each the recorded value nearest at or before it, within the
    tolerance. In order of register and slot. Pure."""
    told: defaultdict[PointAddress, list[tuple[int, ValueBatch, int]]] = defaultdict(list)
    for batch in batches:
        for row, (point, at_ms) in enumerate(zip(batch.points, batch.observed_at.tolist(), strict=True)):
            told[point].append((at_ms, batch, row))
    rows: list[tuple[int, int, int, int, int, int]] = []
    for one in sorted(wanted, key=lambda one: one.target.life_key):
        records = sorted(told.get(one.target.address, ()), key=lambda record: record[0])
        instants = np.array([record[0] for record in records], np.int64)
        places = np.searchsorted(instants, one.slots, "right") - 1
        for slot_ms, place in zip(one.slots.tolist(), places.tolist(), strict=True):
            if place < 0 or slot_ms - records[place][0] > TOLERANCE_MS:
                continue
            _, batch, row = records[place]
            sample = sample_of(one.target, batch, row, now_ms)
            if sample is not None:
                status = Status.MEASURED if sample.is_certain else Status.DOUBTFUL
                rows.append(
                    (one.target.life_key, slot_ms, sample.value, status, sample.observed_ms, sample.time_source)
                )
    if not rows:
        return Readings.none()
    return Readings.of(*np.array(rows, np.int64).T)


def halves(wanted: Sequence[Wanted]) -> list[list[Wanted]]:
    """The same in two parts, the earlier one first: by time as long as there are several slots, then by registers.
    Nothing where there is but one slot of one register. Pure."""
    begin_ms = min(int(one.slots[0]) for one in wanted)
    last_ms = max(int(one.slots[-1]) for one in wanted)
    if begin_ms < last_ms:
        middle_ms = (begin_ms + last_ms) // 2 + 1
        parts = [
            [Wanted(one.target, _within(one.slots, begin_ms, middle_ms)) for one in wanted],
            [Wanted(one.target, _within(one.slots, middle_ms, last_ms + 1)) for one in wanted],
        ]
        return [[one for one in part if len(one.slots)] for part in parts]
    if len(wanted) > 1:
        return [list(wanted[: len(wanted) // 2]), list(wanted[len(wanted) // 2 :])]
    return []


class CatchUp:
    """The loop."""

    def __init__(
        self,
        *,
        clock: Clock,
        database: Database,
        devices: Devices,
        book: Book,
        asked: Asked,
        polled_ms: Callable[[], int],
        may_work: Callable[[], bool],
        settle: Callable[[], Awaitable[None]],
        stored: Callable[[], None] = lambda: None,
        parameters: Parameters = DEFAULTS,
    ) -> None:
        """`polled_ms` says which slot has been dealt with, `may_work` whether this worker reads the field and nothing
        waits in the spool, `settle` waits until all that polling handed over is kept. What was caught up is judged by
        `parameters`."""
        self._clock = clock
        self._parameters = parameters
        self._database = database
        self._partitions = Partitions(database)
        self._devices = devices
        self._book = book
        self._asked = asked
        self._polled_ms = polled_ms
        self._may_work = may_work
        self._settle = settle
        self._stored = stored
        self._done_ms = 0
        self._looked: dict[str, int] = {}
        self._piece_ms: dict[str, int] = {}
        self._remembered_s = time.monotonic()

    async def run(self, beat: Callable[[], None]) -> None:
        """Looks after each slot, for ever."""
        while True:
            beat()
            polled_ms = self._polled_ms()
            if polled_ms > self._done_ms and self._may_work():
                try:
                    await self._settle()  # or the gaps of this very slot would come up behind the look
                    await self.look(polled_ms, beat)
                    self._done_ms = polled_ms
                except LichtbuchError as error:
                    _log.warning("gaps are looked for later: %s", error)
            await self._clock.sleep_real(LOOK_EVERY_REAL_S)

    async def look(self, slot_ms: int, beat: Callable[[], None] = lambda: None) -> int:
        """Looks for what is missing up to a slot. Returns how many slots were filled. Raises LichtbuchError where the
        database is away."""
        able: defaultdict[str, list[Target]] = defaultdict(list)
        for target in self._book.targets:
            device: object = self._devices.opened(target.endpoint_uid)
            if isinstance(device, HistoryReader) and self._asked.has_history(target.endpoint_uid, _described(target)):
                able[target.endpoint_uid].append(target)
        self._asked.keep_only(self._book.targets)
        filled = 0
        try:
            for endpoint_uid, targets in able.items():
                if not self._is_time():
                    break
                beat()
                filled += await self._at(endpoint_uid, targets, slot_ms)
        finally:
            await self._asked.save()
        return filled

    async def _at(self, endpoint_uid: str, targets: Sequence[Target], slot_ms: int) -> int:
        """What comes of one endpoint. Nothing that one of them says keeps the others from being asked."""
        try:
            return await self._endpoint(endpoint_uid, targets, slot_ms)
        except RetryableError:
            raise
        except LichtbuchError as error:
            _log.error("the gaps of %s and others cannot be filled: %s", targets[0].name, error)
        except Exception:
            _log.exception("the gaps of %s and others cannot be filled", targets[0].name)
        return 0

    def _is_time(self) -> bool:
        """Whether the next slot is far enough away."""
        now_ms = to_ms(self._clock.now())
        return self._may_work() and floor_slot_ms(now_ms) + SLOT_MS - now_ms > _REST_MS

    async def _endpoint(self, endpoint_uid: str, targets: Sequence[Target], slot_ms: int) -> int:
        # Gaps are flagged in order of time and with an empty spool: nothing comes up behind a look that was finished.
        looked_ms = min(self._looked.get(target.life_uid, 0) for target in targets)
        since_ms = max(slot_ms - LOOK_BACK_MS, looked_ms + 1)
        keys = [target.life_key for target in targets]
        gaps = await self._database.read(partial(gaps_of, keys=keys, start_ms=since_ms, end_ms=slot_ms + 1))
        wanted = [
            Wanted(target, slots)
            for target in targets
            if len(slots := _after(gaps.get(target.life_key), self._asked.asked_until(target)))
        ]
        looked = {target.life_uid: slot_ms for target in targets}
        if not wanted:
            self._looked |= looked
            return 0
        filled = 0
        begin_ms = min(int(one.slots[0]) for one in wanted)
        last_ms = max(int(one.slots[-1]) for one in wanted)
        while begin_ms <= last_ms and self._is_time():
            end_ms = min(begin_ms + self._piece_ms.get(endpoint_uid, PIECE_MS), last_ms + 1)
            piece = [Wanted(one.target, _within(one.slots, begin_ms, end_ms)) for one in wanted]
            piece = [one for one in piece if len(one.slots)]
            if piece:
                count, goes_on = await self._piece(endpoint_uid, piece)
                filled += count
                if not goes_on:
                    break
                await self._remember()
            begin_ms = end_ms
        if begin_ms > last_ms:
            self._looked |= looked
            self._piece_ms.pop(endpoint_uid, None)
        return filled

    async def _remember(self) -> None:
        now_s = time.monotonic()
        if now_s - self._remembered_s >= REMEMBER_EVERY_S:
            self._remembered_s = now_s
            await self._asked.save()

    async def _piece(self, endpoint_uid: str, wanted: Sequence[Wanted]) -> tuple[int, bool]:
        """One question, or several smaller ones where the answer would be too large: how many slots are filled by it,
        and whether it makes sense to ask on."""
        first = wanted[0].target
        device: object = self._devices.opened(endpoint_uid)
        if not isinstance(device, HistoryReader):
            return 0, False
        start = from_ms(min(int(one.slots[0]) for one in wanted) - TOLERANCE_MS)
        end = from_ms(max(int(one.slots[-1]) for one in wanted)) + timedelta(milliseconds=1)
        try:
            async with asyncio.timeout(PATIENCE_S):
                batches = await device.history([one.target.address for one in wanted], start, end)
        except OutOfLimits as error:
            if smaller := halves(wanted):
                return await self._pieces(endpoint_uid, smaller)
            _log.warning("too much is recorded at %s to fill a gap: %s", first.name, error)
            batches = []
        except (FailedPrecondition, InvalidInput) as error:
            _log.info("no history is kept at the endpoint of %s: %s", first.name, error)
            self._asked.note({}, endpoint_uid, _described(first))
            return 0, False
        except OverBudget as error:
            # What came until then is lost with the rest: the next time so much less is asked for.
            piece_ms = max(SLOT_MS, self._piece_ms.get(endpoint_uid, PIECE_MS) // 4)
            self._piece_ms[endpoint_uid] = piece_ms
            _log.info("of the history behind %s %d min are asked for next: %s", first.name, piece_ms // 60_000, error)
            return 0, False
        except (LichtbuchError, TimeoutError) as error:
            _log.debug("the history at the endpoint of %s is asked for later: %s", first.name, error)
            return 0, False
        readings = recorded_at(wanted, batches, to_ms(self._clock.now()))
        filled = await self._fill(readings, wanted)
        self._asked.note({one.target.life_uid: int(one.slots[-1]) for one in wanted})
        return filled, True

    async def _pieces(self, endpoint_uid: str, pieces: Sequence[Sequence[Wanted]]) -> tuple[int, bool]:
        filled, goes_on = 0, True
        for piece in pieces:
            if not (goes_on and self._is_time()):
                return filled, False
            count, goes_on = await self._piece(endpoint_uid, piece)
            filled += count
        return filled, goes_on

    async def _fill(self, readings: Readings, wanted: Sequence[Wanted]) -> int:
        if not len(readings):
            return 0
        slots = readings.slot_ms
        months = months_between(int(slots.min()), int(slots.max()))
        source = Source("history", OURSELVES, self._clock.now())
        uids = [one.target.meter_uid for one in wanted]
        stored, _ = await self._partitions.store(
            months, lambda session: fill_gaps(session, readings, uids, source, self._parameters)
        )
        if len(stored):
            CAUGHT_UP.inc(len(stored))
            for status in np.unique(stored.status).tolist():
                count = int((stored.status == status).sum())
                READINGS_STORED.labels(Status(status).name.lower()).inc(count)
            _log.info("%d slots were filled from history, %s and others", len(stored), wanted[0].target.name)
            self._stored()
        return len(stored)


def _described(target: Target) -> str:
    """What an endpoint is, as far as its history goes: another address or profile may keep one."""
    return f"{target.url} {target.profile}"


def _after(slots: Int64 | None, asked_ms: int) -> Int64:
    return np.empty(0, np.int64) if slots is None else slots[slots > asked_ms]


def _within(slots: Int64, begin_ms: int, end_ms: int) -> Int64:
    return slots[(slots >= begin_ms) & (slots < end_ms)]
