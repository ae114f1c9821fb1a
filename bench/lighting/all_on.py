"""Part 4: all lamps of a town on at once, told and confirmed, beside one write per lamp through plain pymodbus.

Both command the same lamps of the same simulated town (real Modbus TCP, a process of its own) from the same dark, on
the same event loop (uvloop, as the services run), in turn. Counted is the time until the last lamp's write was
acknowledged. Ours is the whole reconcile loop: it takes an emergency order, works out what is due, goes on reading all
there is regularly, confirms every lamp by reading it back and keeps the history; the peer writes, and that is all.
Afterwards the simulator is asked what light the lamps really give.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import numpy as np
import uvloop
from pymodbus.client import AsyncModbusTcpClient

from bench.lighting.all_on_town import TOWN_UID, RunningTown, inventory_of, level_registers, running
from bench.report import Report
from bench.timing import Comparison
from domain.priority import Priority
from fieldbus.client import Fieldbus
from servicekit.clock import SystemClock
from servicekit.long_lived import LongLived
from services.lighting.columns import Flags
from services.lighting.control import Control
from services.lighting.field import Field
from services.lighting.ground import Tuning
from services.lighting.records import Known, Orders, OverrideRecord
from services.lighting.state import Quality, TownState

PART = "4"
LUMINAIRES, GATEWAYS, ROUNDS = 40_000, 1_000, 5
FULL, DARK = 1000, 0
PATIENCE_S = 180.0
LOOK_S = 0.01
FADES_S = 3.0
PERCENTILES = (50, 90, 99, 100)


def run(report: Report, quick: bool) -> None:
    """All-on by ours and by the peer in turn, and what became of it."""
    luminaires, gateways, rounds = (400, 10, 1) if quick else (LUMINAIRES, GATEWAYS, ROUNDS)
    _open_as_many_files_as_allowed()
    told: list[np.ndarray] = []
    confirmed: list[np.ndarray] = []
    peer_s: list[float] = []
    with running(luminaires, gateways) as town:
        for _ in range(rounds):
            before = town.writes()
            seen = uvloop.run(_ours(town))
            told.append(seen.told_s)
            confirmed.append(seen.confirmed_s)
            writes = town.writes() - before
            _check(report, town, "ours")
            peer_s.append(uvloop.run(_peer(town)))
            _check(report, town, "pymodbus")
    comparison = Comparison(
        f"all-on of {luminaires} luminaires on {gateways} gateways, wall time until all was acknowledged",
        "one write per lamp, pymodbus", luminaires, tuple(float(t.max()) for t in told), tuple(peer_s), luminaires,
    )  # fmt: skip
    report.compare(PART, comparison, 20)
    for name, rows in (("acknowledged", told), ("confirmed by reading back", confirmed)):
        columns = np.array([np.percentile(row, PERCENTILES) for row in rows])
        for label, column in zip(("half", "90 %", "99 %", "the last"), columns.T, strict=True):
            report.tell(PART, f"s until {label} of the lamps: {name}", float(np.median(column)))
    report.notes.append(f"part {PART}: {writes} writes of ours to off and on, {luminaires * 2} by the peer")


def _check(report: Report, town: RunningTown, whose: str) -> None:
    dark = int((town.lit() < FULL - 1).sum())
    if dark:
        report.failures.append(f"part {PART}: {dark} lamps are not fully lit after {whose}")


# --- ours ---------------------------------------------------------------------------------------------------------


class _Known:
    """What control rests on."""

    database_is_away = False

    def __init__(self, known: Known) -> None:
        self.known = known
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Adds a listener."""
        self._listeners.append(listener)

    def order(self, level: int) -> int:
        """An emergency order for the whole town. Returns the instant in Unix ms."""
        now_ms = round(time.time() * 1000)
        revision = self.known.orders.revision + 1
        override = OverrideRecord(
            f"o{revision}", TOWN_UID, Priority.EMERGENCY, level, now_ms, now_ms - 1, now_ms + 3_600_000, (TOWN_UID,)
        )
        self.known = Known(self.known.inventory, Orders(revision, overrides=(override,)))
        for listener in self._listeners:
            listener()
        return now_ms


@dataclass
class _Seen:
    """Seconds from the order until each lamp's command was acknowledged, and until it was read back."""

    told_s: np.ndarray
    confirmed_s: np.ndarray
    changes: dict[str, int] = field(default_factory=dict)


async def _ours(town: RunningTown) -> _Seen:
    clock, state = SystemClock(), TownState()
    inventory = inventory_of(town.town)
    knowledge = _Known(Known(inventory))
    knowledge.order(DARK)
    told_ms: dict[str, int] = {}
    long_lived, set_apart = LongLived(), asyncio.Event()

    def after_pass() -> None:
        if long_lived.look(control.inventory, idle=control.is_calm):  # as the service does
            set_apart.set()
        for change in control.recorder.take():
            if change.level_permille >= FULL - 1:
                told_ms.setdefault(change.uid, change.at_ms)

    control = Control(
        knowledge, state, Field(Fieldbus(now=clock.now, require_simulator=True)), clock,
        holds=lambda: True, tuning=Tuning(), after_pass=after_pass,
    )  # fmt: skip
    loop = asyncio.create_task(control.run(lambda: None))
    try:
        await _until(lambda: state.lamps.actual.size > 0 and bool(_shown(state, DARK).all()), loop)
        await asyncio.sleep(FADES_S)
        await _until(set_apart.is_set, loop)
        told_ms.clear()
        ordered_ms = knowledge.order(FULL)
        confirmed_ms = np.zeros(len(inventory.luminaires))

        def all_confirmed() -> bool:
            new = _shown(state, FULL) & (confirmed_ms == 0)
            confirmed_ms[new] = state.lamps.observed_at_ms[new]
            return bool((confirmed_ms > 0).all())

        await _until(all_confirmed, loop)
        await _until(lambda: len(told_ms) == len(inventory.luminaires), loop)
        told = np.array([told_ms[lamp.uid] for lamp in inventory.luminaires])
        return _Seen((told - ordered_ms) / 1000, (confirmed_ms - ordered_ms) / 1000)
    finally:
        loop.cancel()
        with suppress(asyncio.CancelledError):
            await loop
        await control.close()


def _shown(state: TownState, level: int) -> Flags:
    lamps = state.lamps
    at_level: Flags = (lamps.actual > FULL - 1) if level else (lamps.actual == DARK)
    shown: Flags = at_level & (lamps.quality == Quality.GOOD)
    return shown


async def _until(holds: Callable[[], bool], loop: asyncio.Task[None]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not holds():
        if loop.done():
            await loop
        if time.monotonic() > until:
            raise TimeoutError("lamps do not follow")
        await asyncio.sleep(LOOK_S)


# --- the peer -----------------------------------------------------------------------------------------------------


async def _peer(town: RunningTown) -> float:
    """Seconds until all lamps were acknowledged: each by a write of its own, gateways at once, one connection each."""
    gateways = []
    for url, registers, full in level_registers(town.town).values():
        place = urlsplit(url)
        client = AsyncModbusTcpClient(str(place.hostname), port=place.port or 502, timeout=60)
        gateways.append((client, int(parse_qs(place.query)["unit"][0]), registers, full))
    connected = await asyncio.gather(*(client.connect() for client, *_ in gateways))
    assert all(connected)

    async def tell(client: AsyncModbusTcpClient, unit: int, registers: list[int], level: int) -> None:
        for register in registers:
            answer = await client.write_register(register, level, device_id=unit)
            if answer.isError():
                raise RuntimeError(str(answer))

    async def all_at(lit: bool) -> None:
        work: list[Awaitable[None]] = [tell(c, unit, regs, full if lit else 0) for c, unit, regs, full in gateways]
        await asyncio.gather(*work)

    try:
        await all_at(False)
        await asyncio.sleep(FADES_S)
        began = time.perf_counter()
        await all_at(True)
        took_s = time.perf_counter() - began
        await asyncio.sleep(FADES_S)
        return took_s
    finally:
        for client, *_ in gateways:
            client.close()


def _open_as_many_files_as_allowed() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
