"""A soak from its first slot to its last: who dies when, what is recorded and imported late, and the reckoning.

The process runs the real service; here is everything around it: the field, the registry, the database's outages,
people.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text

from domain.errors import RetryableError
from lichtbuch.metering.v1 import metering_pb2 as pb
from lichtbuch.metering.v1 import metering_pb2_grpc
from lichtbuch.registry.v1 import registry_pb2_grpc
from servicekit.client import connect
from servicekit.convert import timestamp_to_proto
from servicekit.database import Database
from servicekit.tokens import StaticToken
from services.metering.acquisition.spool import Record
from services.metering.reading import Readings, Status
from services.metering.slot import SLOT_MS, from_ms
from services.metering.store.bulk import fetch_columns
from services.metering.store.lives import lives_of
from services.metering.store.readings import fetch_lives
from tests.services.metering.running import PARENT, Registry
from tests.services.metering.soak.process import Process
from tests.services.metering.soak.station import Station
from tests.services.metering.soak.truth import LOAD_W, POINTS, REGISTERS, ROLLOVER, Change, Truth
from tests.support.issuer import Issuer
from tests.support.running import ADMIN, running_service, settings_for

Mask = NDArray[np.bool_]
TOGETHER = 8
"""Devices whose meters are entered at once."""


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL in a slot: when a point is passed (see worker.py), or with "" at a random moment. `down` slots follow in
    which nobody polls."""

    slot: int
    point: str = ""
    count: int = 1
    down: int = 0


@dataclass(slots=True)
class Plan:
    """What a soak goes through."""

    truth: Truth
    kills: list[Kill]
    outages: list[range]
    """Slots in which the database is away."""
    imports: list[int]
    """Slots in which somebody brings what was missed until then."""


@dataclass(slots=True)
class Tally:
    """What a soak came to."""

    seconds: float = 0.0
    kills: int = 0
    died_at: Counter[str] = field(default_factory=Counter)
    """Those of the kills that came when a point was passed, by point."""
    requests: int = 0
    expected_requests: int = 0
    readings: int = 0
    gaps: int = 0
    imported: int = 0
    most_spooled: int = 0
    wrong: list[str] = field(default_factory=list)
    by_slot_s: list[float] = field(default_factory=list)
    phases_s: dict[str, float] = field(default_factory=dict)
    """Seconds by what they went to; what is left is kills, the database's outages and the field."""

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Counts the time of something as that of a phase."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.phases_s[phase] = self.phases_s.get(phase, 0.0) + time.monotonic() - began

    def told(self, truth: Truth) -> str:
        """For people."""
        middle, worst = np.percentile(self.by_slot_s, [50, 99])
        exchanges = sum(change.is_exchange for change in truth.changes)
        return "\n".join(
            [
                f"{truth.registers} registers of {truth.devices} meters, {truth.slots} quarter hours:"
                f" {self.seconds / 60:.1f} min, a slot {middle * 1000:.0f} ms (99 %: {worst * 1000:.0f} ms)",
                f"{self.kills} kills, {exchanges} exchanges, {len(truth.changes) - exchanges} resets,"
                f" {len(truth.silences)} silent meters, at most {self.most_spooled} records in the spool",
                "killed at: " + ", ".join(f"{point} {count}" for point, count in sorted(self.died_at.items())),
                f"{self.readings} slots stored, {self.gaps} of them gaps, {self.imported} brought late,"
                f" {self.requests} requests for {self.expected_requests} readings of a meter",
                "time: " + ", ".join(f"{phase} {seconds:.0f} s" for phase, seconds in self.phases_s.items()),
                f"wrong: {len(self.wrong)}",
                *self.wrong[:40],
            ]
        )


class Soak:
    """One soak."""

    def __init__(self, plan: Plan, folder: Path, database_url: str, issuer: Issuer, cut: Callable[[bool], None] | None):
        """`cut` takes the database away (True) and gives it back; without it the process does so itself."""
        self.plan, self.truth = plan, plan.truth
        self.folder, self.database_url, self.issuer, self._cut = folder, database_url, issuer, cut
        self.station = Station(plan.truth)
        self.process = Process(folder, database_url, issuer)
        self.tally = Tally()
        self.chance = np.random.default_rng(1)
        self.database = Database(database_url, "metering", pool_size=2)
        shape = (self.truth.registers, self.truth.slots)
        self.missed: Mask = np.zeros(shape, np.bool_)
        """Slots that nobody could read, unless it was acknowledged before a kill."""
        self.imported: Mask = np.zeros(shape, np.bool_)
        self._untold = sorted((c for c in self.truth.changes if c.is_exchange), key=lambda change: change.told_at)
        self._keys: dict[int, int] = {}

    async def run(self) -> Tally:
        """Goes through all of it, and reckons."""
        await self.station.start()
        began = time.monotonic()
        try:
            async with self._registry() as registry:
                self.process.registry = registry
                with self.tally.during("meters"):
                    await self.process.start(self.truth.slot_ms(0) - SLOT_MS)
                    await self._make_meters()
                await self._go_through()
                await self._end()
                with self.tally.during("reckoning"):
                    await self._reckon()
                await self.process.stop()
        finally:
            await self.process.close()
            await self.station.stop()
            await self.database.close()
        self.tally.seconds = time.monotonic() - began
        self.tally.requests, self.tally.kills = self.station.requests, self.process.kills
        self.tally.died_at = self.process.died_at
        return self.tally

    # --- the time ---------------------------------------------------------------------------------------------------

    async def _go_through(self) -> None:
        kills = {kill.slot: kill for kill in self.plan.kills}
        away = {slot for outage in self.plan.outages for slot in outage}
        slot, is_away = 0, False
        while slot < self.truth.slots:
            if (slot in away) != is_away:
                is_away = not is_away
                await self._take_database(is_away)
            await self.station.show(slot)
            kill = kills.get(slot)
            began = time.monotonic()
            if kill is not None:
                now_ms = self.truth.slot_ms(slot) + 3_000
                await self._die(kill)
                if kill.down:
                    await self._stay_down(kill)
                    slot += kill.down
                    await self.station.show(slot - 1)
                    now_ms = self.truth.slot_ms(slot - 1) + 800_000
                with self.tally.during("starts"):
                    await self.process.start(now_ms, away=is_away and self._cut is None)
                if kill.down:
                    continue
            with self.tally.during("slots"):
                state = await self.process.ask(go=self.truth.slot_ms(slot))
            if state["polled_ms"] != self.truth.slot_ms(slot):
                self.tally.wrong.append(f"slot {slot} was not polled")
            self.tally.by_slot_s.append(time.monotonic() - began)
            self.tally.most_spooled = max(self.tally.most_spooled, state["spooled"])
            self.missed[:, slot] = np.repeat(self.truth.silent[:, slot], REGISTERS)
            self.tally.expected_requests += int((~self.truth.silent[:, slot]).sum())
            if not is_away:
                with self.tally.during("people"):
                    await self._tell_exchanges(slot)
                    if slot in self.plan.imports:
                        await self._import_missed(slot)
            slot += 1

    async def _take_database(self, away: bool) -> None:
        if self._cut is not None:
            self._cut(away)
        else:
            await self.process.ask(away=away)

    async def _die(self, kill: Kill) -> None:
        command: dict[str, Any] = {"go": self.truth.slot_ms(kill.slot)}
        usual_s = float(np.median(self.tally.by_slot_s[-50:])) if self.tally.by_slot_s else 0.5
        if kill.point:
            # It passes the point by itself, or (nothing was left to drain) is killed at the end of the slot.
            await self.process.killed_during({**command, "die_at": kill.point, "count": kill.count}, 60.0)
        else:
            await self.process.killed_during(command, float(self.chance.random()) * usual_s * 1.2)

    async def _stay_down(self, kill: Kill) -> None:
        """Nobody polls for some slots. What was acknowledged before has to be there all the same."""
        acknowledged = await self._acknowledged(kill.slot)
        self.missed[:, kill.slot] = ~acknowledged
        self.missed[:, kill.slot + 1 : kill.slot + kill.down] = True

    async def _acknowledged(self, slot: int) -> Mask:
        """The registers whose reading of a slot is committed, or whole in the spool."""
        found = np.zeros(self.truth.registers, np.bool_)
        slot_ms = self.truth.slot_ms(slot)
        by_uid: dict[str, int] = {}
        lives = await self.database.read(lambda s: lives_of(s, self._uids))
        for number, uid in enumerate(self._uids):
            by_uid.update({life.uid: number for life in lives[uid]})
        by_key = {life.key: number for number, uid in enumerate(self._uids) for life in lives[uid]}
        where = "reading r WHERE r.slot_ms = ?"
        stored = await self.database.read(lambda s: fetch_columns(s, where, (slot_ms,)))
        for key in stored.register[~stored.is_gap].tolist():
            found[by_key[key]] = True
        for path in (self.folder / "metering" / "spool").glob("*/*.rec"):
            record = Record.decode(path.read_bytes())
            mine = record.readings.take((record.readings.slot_ms == slot_ms) & ~record.readings.is_gap)
            for key in mine.register.tolist():
                found[by_uid[record.lives[key]]] = True
        return found

    async def _end(self) -> None:
        """Until nothing is left in the spool."""
        last = self.truth.slot_ms(self.truth.slots - 1)
        async with asyncio.timeout(300):
            while (await self.process.ask(go=last))["spooled"]:  # noqa: ASYNC110 - another process drains
                await asyncio.sleep(0.2)
        await self._tell_exchanges(self.truth.slots)

    # --- people -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _registry(self) -> AsyncIterator[str]:
        registry = Registry()  # type: ignore[abstract]  # as far as endpoints go
        for device in range(self.truth.devices):
            name = registry.add(f"D-{device:03d}", profile="soak-ten-registers")
            registry.endpoints[name].url = self.station.url(device)
        add = registry_pb2_grpc.add_RegistryServiceServicer_to_server
        settings = settings_for("registry")
        async with running_service(self.issuer, lambda s: s.add_servicer(add, registry), settings=settings) as running:
            yield running.target

    @asynccontextmanager
    async def _people(self) -> AsyncIterator[Any]:
        target = f"127.0.0.1:{self.process.port}"
        channel = connect(target, identity=StaticToken(self.issuer.token(ADMIN)), deadline_s=120)
        async with channel:
            yield metering_pb2_grpc.MeteringServiceStub(channel)

    async def _make_meters(self) -> None:
        async with self._people() as stub:
            for begin in range(0, self.truth.devices, TOGETHER):
                devices = range(begin, min(self.truth.devices, begin + TOGETHER))
                await asyncio.gather(*(_make_device(stub, device) for device in devices))
        rows = await self.database.read(lambda s: s.connection().execute(text("SELECT meter_id, uid FROM meter")).all())
        uids = {str(row[0]): str(row[1]) for row in rows}
        self._uids = [uids[meter_id(number)] for number in range(self.truth.registers)]
        # A worker looks at the list before the first slot.
        await self.process.stop()
        await self.process.start(self.truth.slot_ms(0) - SLOT_MS + 800_000)

    async def _tell_exchanges(self, slot: int) -> None:
        while self._untold and self._untold[0].told_at <= slot:
            await self._tell(self._untold.pop(0))

    async def _tell(self, change: Change) -> None:
        at = from_ms(self.truth.slot_ms(change.at - 1) + change.minute * 60_000)
        names = [f"{PARENT}/meters/{meter_id(change.device * REGISTERS + number)}" for number in range(REGISTERS)]
        counters = zip(names, change.final.tolist(), change.first.tolist(), strict=True)
        (name, final, first), *others = counters
        request = pb.ExchangeMeterRequest(
            name=name,
            exchanged_at=timestamp_to_proto(at),
            final_reading=final,
            first_reading=first,
            serial_number=f"S-{change.device:03d}-{change.at}",
            reason="calibration is due",
            registers=[
                pb.RegisterExchange(meter=one, final_reading=last, first_reading=new) for one, last, new in others
            ],
            request_id=f"exchange-{change.device}",
        )
        async with self._people() as stub:
            await patiently(lambda: stub.ExchangeMeter(request))

    async def _import_missed(self, slot: int) -> None:
        """Half of what was missed is brought from elsewhere, with some of what is there already."""
        changed = {change.device for change in self.truth.changes}
        device = np.repeat(np.arange(self.truth.devices), REGISTERS)
        mine = self.missed & ~self.imported & ~np.isin(device, list(changed))[:, None] & (device % 2 == 0)[:, None]
        mine[:, slot - 1 :] = False
        again = np.roll(mine, -1, axis=1) & ~self.missed
        again[:, slot - 1 :] = False
        registers, slots = np.nonzero(mine | again)
        if not len(registers):
            return
        used = np.unique(registers)
        columns = pb.ReadingColumns(
            meters=[f"{PARENT}/meters/{meter_id(number)}" for number in used.tolist()],
            meter_indexes=np.searchsorted(used, registers).tolist(),
            slots_unix_ms=(self.truth.start_ms + slots * SLOT_MS).tolist(),
            values=self.truth.shown[registers, slots].tolist(),
        )
        request = pb.IngestReadingsRequest(parent=PARENT, readings=columns, source="import:late.csv")
        async with self._people() as stub:
            answer = await patiently(lambda: stub.IngestReadings(request))
        if answer.refused or answer.stored < mine.sum():
            self.tally.wrong.append(
                f"late import at {slot}: {answer.stored} stored of {mine.sum()}, {answer.refusals[:3]}"
            )
        self.imported |= mine
        self.tally.imported += int(mine.sum())

    # --- the reckoning ----------------------------------------------------------------------------------------------

    async def _reckon(self) -> None:
        truth, wrong = self.truth, self.tally.wrong
        for what, count in self.process.refused.items():
            if count:
                wrong.append(f"{what}: {count} readings")
        is_gap = self.missed & ~self.imported
        all_slots = truth.start_ms + np.arange(truth.slots, dtype=np.int64) * SLOT_MS
        for begin in range(0, truth.registers, 50):
            numbers = range(begin, min(truth.registers, begin + 50))
            found = await self.database.read(lambda s, numbers=numbers: _stored(s, [self._uids[n] for n in numbers]))  # type: ignore[misc]
            for number, (readings, repeated) in zip(numbers, found, strict=True):
                name = meter_id(number)
                self.tally.readings += len(readings)
                gaps = readings.is_gap
                self.tally.gaps += int(gaps.sum())
                if repeated:
                    wrong.append(f"{name}: {repeated} keys are stored twice")
                if not np.array_equal(readings.slot_ms, all_slots):
                    lacking = np.setdiff1d(all_slots, readings.slot_ms)
                    where = ((lacking - truth.start_ms) // SLOT_MS)[:5].tolist()
                    wrong.append(f"{name}: {len(readings)} slots instead of {truth.slots}, lacking {where}")
                    continue
                for what, rows in (
                    ("lost", gaps & ~is_gap[number]),
                    ("not flagged", ~gaps & is_gap[number]),
                    ("not the truth", ~gaps & (readings.value != truth.shown[number])),
                    ("in doubt", readings.status == Status.DOUBTFUL),
                ):
                    if rows.any():
                        wrong.append(
                            f"{name}: {int(rows.sum())} slots are {what}, first {np.flatnonzero(rows)[:5].tolist()}"
                        )
        await self._reckon_consumption(is_gap)

    async def _reckon_consumption(self, is_gap: Mask) -> None:
        """Each local day and the whole time, of every register, to the watt hour: between the days' ends that were
        read."""
        truth, wrong = self.truth, self.tally.wrong
        first, last = truth.start_ms, truth.slot_ms(truth.slots - 1)
        counted = np.cumsum(truth.energy, axis=1)
        async with self._people() as stub:
            for begin in range(0, truth.registers, 100):
                numbers = list(range(begin, min(truth.registers, begin + 100)))
                answer = await stub.QueryConsumption(
                    pb.QueryConsumptionRequest(
                        parent=PARENT,
                        meters=[f"{PARENT}/meters/{meter_id(number)}" for number in numbers],
                        start_time=timestamp_to_proto(from_ms(first)),
                        end_time=timestamp_to_proto(from_ms(last)),
                        step=pb.STEP_LOCAL_DAY,
                        without_evidence=True,
                    )
                )
                index = np.array(answer.meter_indexes)
                ends = (np.array(answer.ends_unix_ms) - first) // SLOT_MS
                amounts = np.array(answer.amounts)
                for place, number in enumerate(numbers):
                    end, sums = ends[index == place], np.cumsum(amounts[index == place])
                    good = ~is_gap[number, end]
                    off = sums[good] - counted[number, end[good]]
                    if off.any():
                        wrong.append(f"{meter_id(number)}: consumption is off by {off[off != 0][:5].tolist()} Wh")


async def _make_device(stub: Any, device: int) -> None:
    """A housing, and the other registers in it."""
    housing, *others = [device * REGISTERS + number for number in range(REGISTERS)]
    endpoint = f"{PARENT}/endpoints/D-{device:03d}"
    await stub.CreateMeter(_creation(housing, endpoint=endpoint, serial_number=f"S-{device:03d}"))
    for one in others:
        await stub.CreateMeter(_creation(one, device=f"{PARENT}/meters/{meter_id(housing)}"))


def _creation(register: int, **more: str) -> pb.CreateMeterRequest:
    meter = pb.Meter(
        medium=pb.MEDIUM_ELECTRICITY,
        unit=pb.UNIT_WH,
        rollover=ROLLOVER,
        connected_load_w=LOAD_W,
        point=POINTS[register % REGISTERS],
        **more,  # type: ignore[arg-type]
    )
    return pb.CreateMeterRequest(parent=PARENT, meter_id=meter_id(register), meter=meter)


def meter_id(register: int) -> str:
    """Name of a register's meter."""
    return f"M-{register // REGISTERS:03d}-{register % REGISTERS}"


async def patiently(call: Callable[[], Awaitable[Any]]) -> Any:
    """A person who tries again while the database is away."""
    for _ in range(60):
        try:
            return await call()
        except RetryableError:
            await asyncio.sleep(0.5)
    return await call()


def _stored(session: Any, uids: list[str]) -> list[tuple[Readings, int]]:
    """Current readings of meters in order of slot, and how many keys occur twice in what is stored of them."""
    lives = lives_of(session, uids)
    result = []
    for uid in uids:
        current = fetch_lives(session, lives[uid], 0, 2**62)
        keys = ",".join(str(life.key) for life in lives[uid])
        every = fetch_columns(session, f"reading r WHERE r.life_key IN ({keys})", ())
        whole = np.stack([every.register, every.slot_ms, every.revision])
        repeated = whole.shape[1] - np.unique(whole, axis=1).shape[1]
        result.append((current.take(np.argsort(current.slot_ms, kind="stable")), repeated))
    return result
