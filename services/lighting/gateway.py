"""One gateway: its luminaires are read back in blocks, and told what is due where they do not show it.

A step is one turn of this: read where that is time, then tell the differences. What is newly due is told at once, while
a reading is under way or due, where the last one is fresh enough; the bus lets a command go before the next block.
Nothing is written on a reading that is old, nor when the orders changed meanwhile.

A link that has carried its bytes for now is the exception: its lamps are told what is due without being read, since
light comes before bytes. The device's acknowledgement then stands in for the reading, until one is possible again; what
must not be written (lock-outs, hand switches) is decided by orders and by the cabinet, not by what lamps show. The same
holds between two readings that a slow link bears. Not here: which level is due, how it is told (telling.py).
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fieldbus.values import PointAddress, ValueBatch
from fieldbus.values import Quality as FieldQuality
from services.lighting.agenda import Agenda
from services.lighting.asleep import Asleep
from services.lighting.columns import Flags, Levels, Rows
from services.lighting.fault_kinds import MINUTE_MS
from services.lighting.field import Link, Pace
from services.lighting.following import NOTHING_TOLD
from services.lighting.ground import Ground
from services.lighting.lamp_reading import LampReading, parse
from services.lighting.metrics import READINGS
from services.lighting.power_reading import PowerReader
from services.lighting.state import UNKNOWN_LEVEL, Power, Quality
from services.lighting.telling import Teller

Points: TypeAlias = tuple[PointAddress, ...]

_MOST_PLANS: Final = 64
_OTHERS_MORNING_MS: Final = 30 * MINUTE_MS


class GatewayWorker:
    """Works on the luminaires of one gateway."""

    def __init__(self, ground: Ground, gateway: int) -> None:
        self._ground = ground
        self._gateway = gateway
        self._rows = ground.columns.rows_by_gateway[gateway]
        endpoint = int(ground.columns.gateway_endpoint[gateway])
        self._endpoint = ground.columns.inventory.endpoints[endpoint] if endpoint >= 0 else None
        self._uid = ground.columns.inventory.gateways[gateway].uid
        self._points: dict[bytes, Points] = {}
        self._power = PowerReader(ground)
        self._teller = Teller(ground, gateway)
        self._asleep = Asleep(ground, gateway)
        self._lit_since_ms: dict[int, int] = {}

    @property
    def rows(self) -> Rows:
        """Its luminaires."""
        return self._rows

    @property
    def link(self) -> Link | None:
        """Its device; None where nothing may connect."""
        return None if self._endpoint is None else self._ground.devices.link(self._endpoint)

    async def step(self) -> None:
        """One turn."""
        ground, link = self._ground, self.link
        active = self._rows[ground.supply_of(self._rows) != Power.OFF]
        if link is None or not active.size:
            if link is not None and self._rows.size and link.gateway.level_point:
                await self._asleep.step(link, link.pace(self._uid), self._points_of(link, self._rows[:1]))
            ground.was_read(self._gateway)
            return
        self._asleep.awake()
        pace, monotonic = link.pace(self._uid), ground.monotonic()
        ground.earliest[self._gateway] = pace.asked_at + pace.least_s
        is_time = monotonic >= ground.next_poll[self._gateway] or not self._is_fresh(pace)
        if is_time and pace.may_ask(monotonic):
            await self._read(link, pace, active)
            if ground.retired:
                return
        elif is_time:
            ground.next_poll[self._gateway] = ground.earliest[self._gateway]
        if self._may_tell(link, pace):
            await self._teller.tell(link, only_news=False)

    @property
    def can_tell(self) -> bool:
        """Whether something may be told on what was read last, without reading before."""
        link = self.link
        return link is not None and self._may_tell(link, link.pace(self._uid))

    async def tell(self, agenda: Agenda | None = None) -> None:
        """Tells what is due now and was not told before, whatever else is under way with this gateway: commands go
        before readings. What is repeated waits for its reading."""
        link = self.link
        if link is not None and self._may_tell(link, link.pace(self._uid)):
            await self._teller.tell(link, agenda, only_news=True)

    def _may_tell(self, link: Link, pace: Pace) -> bool:
        return (self._is_fresh(pace) or link.over_budget) and link.may_test and link.gateway.can_write

    def _is_fresh(self, pace: Pace) -> bool:
        """Whether it answered lately enough to write on."""
        return pace.is_fresh(self._ground.monotonic(), self._ground.tuning.stale_real_s)

    # --- reading --------------------------------------------------------------------------------------------------

    async def _read(self, link: Link, pace: Pace, active: Rows) -> None:
        ground = self._ground
        pace.asked_at = ground.monotonic()
        if not link.gateway.level_point:
            pace.answered_at = pace.asked_at
            ground.was_read(self._gateway)
            return
        parts = self._parts_of(link, active)
        points = parts[0] if len(parts) == 1 else self._points_of(link, active)
        pace.least_s = link.least_interval_s(points)
        tried = ground.following.tried[active]
        batch = await (link.read(points) if len(parts) == 1 else self._read_parts(link, points, parts))
        ground.earliest[self._gateway] = pace.asked_at + pace.least_s
        ground.was_read(self._gateway, pace.asked_at)
        if ground.retired:
            return
        silent = batch is None or bool(np.all(batch.quality == FieldQuality.MISSING))
        if batch is None or (silent and not link.over_budget):
            READINGS.labels("no_answer").inc()
            self._nobody_answered(active)
            return
        READINGS.labels("over_budget" if silent else "answered").inc()
        if not silent:
            pace.answered_at = ground.monotonic()
        reading, unasked = parse(batch, active, link)
        self._doubt(unasked)
        if not silent:
            ground.signs.gateway_read(self._gateway, True, ground.now_ms)
        self._take(reading.without(active[ground.following.tried[active] != tried]), link)
        await self._power.step(link, pace, active)

    async def _read_parts(self, link: Link, points: Points, parts: list[Points]) -> ValueBatch | None:
        """One batch of several readings, each of which lets commands to others go first. Who is silent to one is not
        asked for the next."""
        batches: list[ValueBatch] = []
        for part in parts:
            await self._ground.calm.wait()
            silent = bool(batches) and bool(np.all(batches[-1].quality == FieldQuality.MISSING))
            batch = ValueBatch.missing(part, self._ground.clock.now()) if silent else await link.read(part)
            if batch is None:
                return None
            batches.append(batch)
        names = 1 + len(link.gateway.flags)

        def joined(name: str) -> NDArray[Any]:
            return np.concatenate([getattr(b, name).reshape(names, -1) for b in batches], axis=1).ravel()

        return ValueBatch(points, joined("values"), joined("quality"), joined("observed_at"), joined("time_source"))

    def _parts_of(self, link: Link, active: Rows) -> list[Points]:
        """What is read of these luminaires, in parts that do not keep commands waiting."""
        size = link.gateway.lamps_at_once
        if not size or active.size <= size or link.is_counted:
            return [self._points_of(link, active)]
        return [self._points_of(link, active[at : at + size]) for at in range(0, active.size, size)]

    def _points_of(self, link: Link, active: Rows) -> Points:
        """What is read of these luminaires: the same tuple each time, since the driver keeps its plan by it."""
        key = active.tobytes()
        points = self._points.get(key)
        if points is None:
            if len(self._points) > _MOST_PLANS:
                self._points.clear()
            names = (link.gateway.level_point, *link.gateway.flags)
            addresses = self._ground.columns.address[active].tolist()
            points = tuple(PointAddress(name, address) for name in names for address in addresses)
            self._points[key] = points
        return points

    def _nobody_answered(self, active: Rows) -> None:
        ground, now_ms = self._ground, self._ground.now_ms
        missed = active[~ground.following.is_booting(active, now_ms)]
        if missed.size:
            ground.signs.gateway_read(self._gateway, False, now_ms)
            ground.signs.lamps_read(missed, now_ms)
        self._lose(missed, now_ms)

    def _lose(self, rows: Rows, now_ms: int) -> None:
        """Luminaires that did not answer: unsure at first, unknown when it happens too often."""
        ground = self._ground
        lamps = ground.state.lamps
        lost = ground.following.kept_silent(rows, now_ms)
        self._doubt(rows)
        if lost.size:
            lamps.actual[lost], lamps.quality[lost] = UNKNOWN_LEVEL, Quality.MISSING
            ground.recorder.lost(lost, int(ground.following.silent_since_ms[lost].min()))

    def _doubt(self, rows: Rows) -> None:
        """Luminaires of which nothing was heard: what was known of them may not hold any more."""
        lamps = self._ground.state.lamps
        unknown = lamps.actual[rows] == UNKNOWN_LEVEL
        lamps.quality[rows] = np.where(unknown, Quality.MISSING, Quality.UNCERTAIN).astype(np.uint8)

    def _take(self, reading: LampReading, link: Link) -> None:
        """Brings state, following and history up to what was read."""
        ground, due = self._ground, self._ground.due
        following, lamps = ground.following, ground.state.lamps
        now_ms = ground.now_ms
        answered = reading.level != UNKNOWN_LEVEL
        booting = following.is_booting(reading.rows, now_ms)
        following.gear_failure[reading.rows] = reading.gear_failure & ~booting
        following.lamp_failure[reading.rows] = reading.lamp_failure & answered
        ground.signs.lamps_read(reading.rows[answered | ~booting], now_ms)
        self._lose(reading.rows[~answered & ~booting], now_ms)

        rows, level, at_ms = reading.rows[answered], reading.level[answered], reading.at_ms[answered]
        following.answered(rows)
        lamps.actual[rows], lamps.observed_at_ms[rows], lamps.quality[rows] = level, at_ms, Quality.GOOD
        moving = reading.moving[answered]
        if link.gateway.tells_fading:  # what is where it was told to go, and rests there, has arrived
            arrived = ~moving & following.follows(rows, level, following.told[rows])
            following.settle_ms[rows[arrived]] = np.minimum(following.settle_ms[rows[arrived]], now_ms)
        still = ~moving & following.is_settled(rows, now_ms)
        if moving.any():  # a long fade, or somebody else's: look again when it should be over
            until_ms = now_ms + round(ground.tuning.settle_s * 1000)
            following.settle_ms[rows[moving]] = np.maximum(following.settle_ms[rows[moving]], until_ms)
        if not still.all():
            ground.read_again(self._gateway, (int(following.settle_ms[rows[~still]].max()) - now_ms) / 1000)
        self._record(rows[still], level[still], now_ms)
        if due is None:
            return
        obeys = still & following.follows(rows, level, due.written[rows])
        following.obeyed(rows[obeys])
        seen = obeys & ~following.lamp_failure[rows]
        ground.signs.lamps_followed(rows[still], seen[still], due.written[rows[still]], now_ms)
        by_day = (level > 0) & (due.written[rows] == 0) & ~due.night[rows] & still
        # Light that no command reduces is to be off by day, too; what a gateway only remembers of it proves nothing.
        by_day &= ~ground.is_left_alone(rows, due.written[rows], reduced_by_others=False)
        by_day &= ground.columns.commanded[rows] | ~following.from_memory[rows]
        by_day &= ~self._may_lag(rows, by_day, now_ms)
        following.lit_by_day[rows] = np.where(by_day, np.minimum(following.lit_by_day[rows] + 1, 250), 0)

    def _may_lag(self, rows: Rows, by_day: Flags, now_ms: int) -> Flags:
        """Light that neither a command reduces nor a contactor of ours switches: somebody else's clock may have another
        morning than we do, for a while."""
        columns = self._ground.columns
        ours = np.append(columns.cabinet_ours, True)[columns.cabinet[rows]]
        others = by_day & ~columns.commanded[rows] & ~ours
        lit = rows[others].tolist()
        self._lit_since_ms = {row: self._lit_since_ms.get(row, now_ms) for row in lit}
        lags = np.zeros(rows.size, dtype=np.bool_)
        lags[others] = [now_ms - self._lit_since_ms[row] < _OTHERS_MORNING_MS for row in lit]
        return lags

    def _record(self, rows: Rows, level: Levels, now_ms: int) -> None:
        """Settled levels go into the history; a failed lamp is dark whatever its gear drives."""
        following = self._ground.following
        told = following.told[rows]
        confirmed = following.follows(rows, level, told) & (told != NOTHING_TOLD)
        shown = np.where(following.lamp_failure[rows], 0, level).astype(np.int16)
        self._ground.recorder.observed(rows, shown, confirmed, now_ms)
