"""One gateway: its luminaires are read back in blocks, and told what is due where they do not show it.

A step is one turn of this: read where that is time, then write the differences; a whole line at one level by broadcast.
Nothing is written on a reading that is old, nor when the orders changed meanwhile.

A link that has carried its bytes for now is the exception: its lamps are told what is due without being read, since
light comes before bytes. The device's acknowledgement then stands in for the reading, until one is possible again; what
must not be written (lock-outs, hand switches) is decided by orders and by the cabinet, not by what lamps show. The same
holds between two readings that a slow link bears. Not here: which level is due.
"""

from __future__ import annotations

import numpy as np

from fieldbus.values import PointAddress, WriteOutcome, WriteRequest, WriteResult
from fieldbus.values import Quality as FieldQuality
from services.lighting.abilities import line_of
from services.lighting.columns import Flags, Levels, Rows
from services.lighting.due import Due
from services.lighting.field import Link, Pace
from services.lighting.following import LONGEST_REST_S, NOTHING_TOLD
from services.lighting.ground import Ground
from services.lighting.lamp_reading import LampReading, parse
from services.lighting.metrics import COMMANDED, READINGS, WRITES
from services.lighting.power_reading import PowerReader
from services.lighting.state import UNKNOWN_LEVEL, Power, Quality

_MOST_FADE_S = 90.0
_LONG_FADE_S = 5.0
_USUAL_FADE_S = 2.0


class GatewayWorker:
    """Works on the luminaires of one gateway."""

    def __init__(self, ground: Ground, gateway: int) -> None:
        self._ground = ground
        self._gateway = gateway
        self._rows = ground.columns.rows_by_gateway[gateway]
        endpoint = int(ground.columns.gateway_endpoint[gateway])
        self._endpoint = ground.columns.inventory.endpoints[endpoint] if endpoint >= 0 else None
        # Where two gateways stand for one device, a broadcast of one would reach the lamps of the other.
        self._is_alone = int((ground.columns.gateway_endpoint == endpoint).sum()) == 1
        self._uid = ground.columns.inventory.gateways[gateway].uid
        self._points: dict[bytes, tuple[PointAddress, ...]] = {}
        self._power = PowerReader(ground)

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
            ground.was_read(self._gateway)
            return
        pace, monotonic = link.pace(self._uid), ground.monotonic()
        ground.earliest[self._gateway] = pace.asked_at + pace.least_s
        is_time = monotonic >= ground.next_poll[self._gateway] or not self._is_fresh(pace)
        if is_time and pace.may_ask(monotonic):
            await self._read(link, pace, active)
            if ground.retired:
                return
        elif is_time:
            ground.next_poll[self._gateway] = ground.earliest[self._gateway]
        if (self._is_fresh(pace) or link.over_budget) and link.may_test and link.gateway.can_write:
            await self._write(link, active)

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
        points = self._points_of(link, active)
        pace.least_s = link.least_interval_s(points)
        batch = await link.read(points)
        ground.earliest[self._gateway] = pace.asked_at + pace.least_s
        ground.was_read(self._gateway)
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
        self._take(reading)
        await self._power.step(link, pace, active)

    def _points_of(self, link: Link, active: Rows) -> tuple[PointAddress, ...]:
        """What is read of these luminaires: the same tuple each time, since the driver keeps its plan by it."""
        key = active.tobytes()
        points = self._points.get(key)
        if points is None:
            if len(self._points) > 16:
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

    def _take(self, reading: LampReading) -> None:
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
        still = ~moving & following.is_settled(rows, now_ms)
        if moving.any():  # a long fade, or somebody else's: look again when it should be over
            until_ms = now_ms + round(ground.tuning.settle_s * 1000)
            following.settle_ms[rows[moving]] = np.maximum(following.settle_ms[rows[moving]], until_ms)
            ground.read_again(self._gateway, ground.tuning.settle_s)
        self._record(rows[still], level[still], now_ms)
        if due is None:
            return
        obeys = still & following.follows(rows, level, due.level[rows])
        following.obeyed(rows[obeys])
        seen = obeys & ~following.lamp_failure[rows]
        ground.signs.lamps_followed(rows[still], seen[still], due.level[rows[still]], now_ms)
        by_day = (level > 0) & (due.level[rows] == 0) & ~due.night[rows] & still
        by_day &= ~ground.is_left_alone(rows, due.level[rows])
        following.lit_by_day[rows] = np.where(by_day, np.minimum(following.lit_by_day[rows] + 1, 250), 0)

    def _record(self, rows: Rows, level: Levels, now_ms: int) -> None:
        """Settled levels go into the history; a failed lamp is dark whatever its gear drives."""
        following = self._ground.following
        told = following.told[rows]
        confirmed = following.follows(rows, level, told) & (told != NOTHING_TOLD)
        shown = np.where(following.lamp_failure[rows], 0, level).astype(np.int16)
        self._ground.recorder.observed(rows, shown, confirmed, now_ms)

    # --- writing --------------------------------------------------------------------------------------------------

    async def _write(self, link: Link, active: Rows) -> None:
        ground, due = self._ground, self._ground.due
        if due is None or not ground.may_write(due):
            return
        following = ground.following
        asked = due.level[active]
        allowed = (asked >= 0) & ~ground.is_left_alone(active, asked)
        if not link.may_write:
            allowed &= due.under_test[active]
        actual = ground.state.lamps.actual[active]
        needs = allowed & following.needs(active, actual, asked, ground.now_ms, ground.monotonic())
        if not needs.any():
            return
        if link.gateway.can_fade and link.may_write:
            await self._set_fades(link, active[needs], due)
            if not ground.may_write(due):
                return
        requests, groups = self._requests(link, active, asked, allowed, needs)
        results = await link.write(requests, test=not link.may_write)
        if not ground.retired:
            self._note(link, groups, due, results)

    def _requests(
        self, link: Link, active: Rows, asked: Levels, allowed: Flags, needs: Flags
    ) -> tuple[list[WriteRequest], list[Rows]]:
        """Commands, and the luminaires that each is for."""
        requests: list[WriteRequest] = []
        groups: list[Rows] = []
        lines = line_of(self._ground.columns.address[active])
        rest = needs.copy()
        if link.gateway.can_broadcast and self._is_alone and link.may_write:
            for line in np.unique(lines[needs]).tolist():
                mine = lines == line
                if self._is_uniform(line, asked[mine], allowed[mine], needs[mine]):
                    level = float(asked[mine][0])
                    requests.append(WriteRequest(PointAddress("broadcast_level_command", line), level))
                    groups.append(active[mine])
                    rest &= ~mine
        for row, level in zip(active[rest].tolist(), asked[rest].tolist(), strict=True):
            address = PointAddress("level_command", int(self._ground.columns.address[row]))
            requests.append(WriteRequest(address, float(level)))
            groups.append(np.array([row], dtype=np.intp))
        return requests, groups

    def _is_uniform(self, line: int, asked: Levels, allowed: Flags, needs: Flags) -> bool:
        """Whether one broadcast says what every lamp of a line is due to do, and saves something.

        Lamps without supply count, too: a locked-out one would hear the broadcast if its feeder were energised by hand.
        """
        enough = max(self._ground.tuning.broadcast_from, needs.size // 2)
        if int(needs.sum()) < enough or not bool(allowed.all()) or not bool((asked == asked[0]).all()):
            return False
        due = self._ground.due
        if due is None:
            return False
        everyone = self._rows[line_of(self._ground.columns.address[self._rows]) == line]
        return not bool((due.level[everyone] < 0).any())

    def _note(self, link: Link, groups: list[Rows], due: Due, results: list[WriteResult]) -> None:
        """Takes the outcomes: what was acknowledged counts from this moment."""
        ground = self._ground
        at_ms, monotonic = ground.now_ms, ground.monotonic()
        for outcome in WriteOutcome:
            count = sum(result.outcome is outcome for result in results)
            if count:
                WRITES.labels("lamp", str(outcome)).inc(count)
        sent = np.concatenate(groups)
        COMMANDED.inc(sent.size)
        ground.following.sent(sent, due.level[sent], monotonic)
        taken = [rows for rows, result in zip(groups, results, strict=True) if result.succeeded]
        if taken:
            rows = np.concatenate(taken)
            fade_s = np.nan_to_num(ground.following.fade_s[rows], nan=0.0)
            longest_s = max(ground.tuning.settle_s, float(fade_s.max(initial=0.0)) + 1.0)
            ground.following.acknowledged(rows, due.level[rows], at_ms + round(longest_s * 1000))
            ground.recorder.told(rows, due.level[rows], at_ms)
            lamps = ground.state.lamps
            lamps.quality[rows] = Quality.UNCERTAIN
            if link.over_budget or ground.reads_too_late(self._gateway, longest_s):
                self._trust(link, rows, due)
            ground.read_again(self._gateway, longest_s)

    def _trust(self, link: Link, rows: Rows, due: Due) -> None:
        """Nobody will look in time: the acknowledgement stands in, or the same would be told again and again. Not of
        lamps that did not follow before: these are told again after the next reading."""
        ground, following = self._ground, self._ground.following
        stubborn = following.misses[rows] > 0
        ground.state.lamps.actual[rows[~stubborn]] = link.gateway.expected[due.level[rows[~stubborn]]]
        again = max(float(ground.earliest[self._gateway]), ground.monotonic() + LONGEST_REST_S)
        following.rest_until[rows[stubborn]] = again

    async def _set_fades(self, link: Link, rows: Rows, due: Due) -> None:
        """Where the plan gives a ramp, the gear itself fades; a fade that was set so is taken back afterwards.

        The register wears, so it is written only where it must change.
        """
        following = self._ground.following
        ramp_s = np.minimum(due.ramp_s[rows].astype(np.float64), _MOST_FADE_S)
        known = following.fade_s[rows]
        wanted = np.where(ramp_s > 0, ramp_s, np.where(known > _LONG_FADE_S, _USUAL_FADE_S, known))
        change = ~np.isnan(wanted) & (wanted != known)
        if not change.any():
            return
        targets, seconds = rows[change], wanted[change]
        addresses = self._ground.columns.address[targets].tolist()
        results = await link.write(
            [WriteRequest(PointAddress("fade_time", a), s) for a, s in zip(addresses, seconds.tolist(), strict=True)]
        )
        for outcome in WriteOutcome:
            count = sum(result.outcome is outcome for result in results)
            if count:
                WRITES.labels("fade", str(outcome)).inc(count)
        done = np.array([result.succeeded for result in results], dtype=np.bool_)
        following.fade_s[targets[done]] = seconds[done]
