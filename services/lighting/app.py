"""The one place where lighting's settings become store, field, loops and server.

It starts without its database and without the registry: then light goes on from the local snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from domain.errors import Unavailable
from fieldbus.client import Fieldbus
from fieldbus.device import Limits
from fieldbus.security import load_security
from lichtbuch.lighting.v1 import lighting_pb2_grpc
from servicekit.clock import Clock, SystemClock
from servicekit.database import Database
from servicekit.lease import DEFAULT_TTL_S, Lease, lease_for
from servicekit.long_lived import LongLived
from servicekit.server import Server
from servicekit.wiring import make_server
from services.lighting.ageing import AgeingClerk
from services.lighting.api import LightingServicer, Parts
from services.lighting.commissioning import Protector
from services.lighting.control import Control
from services.lighting.endpoints import ASK_EVERY_S, Endpoints
from services.lighting.fault_book import FaultBook
from services.lighting.fault_clerk import FaultClerk
from services.lighting.fault_watch import FaultWatch
from services.lighting.field import Field, Opener
from services.lighting.gear_board import GearBoard
from services.lighting.gear_keeper import GearKeeper
from services.lighting.ground import Tuning
from services.lighting.historian import Historian
from services.lighting.memory import LOOK_EVERY_S, Memory
from services.lighting.sensor_keeper import SensorFile, SensorKeeper
from services.lighting.sensors import SensorBoard
from services.lighting.settings import LightingSettings
from services.lighting.snapshot import SnapshotFiles
from services.lighting.spool import LastLevels, LevelSpool
from services.lighting.state import TownState
from services.lighting.writers import Writers

MIGRATIONS: Final = Path(__file__).parent / "migrations"
LEASE: Final = "lighting.field"


async def build(settings: LightingSettings) -> Server:
    """Lighting, ready to start. Raises Unavailable where its own disk fails, InvalidInput for a wrong security file."""
    server = await make_server(settings, migrations=MIGRATIONS, needs_database=False)
    parts = await fill(server, settings, field_of(server.clock, settings))

    async def set_apart(beat: Callable[[], None]) -> None:
        town = LongLived()
        while True:
            town.look(parts.control.inventory, idle=parts.control.is_calm)
            beat()
            await server.clock.sleep_real(1.0)

    server.add_loop("long lived", set_apart, max_silence_s=60)
    return server


def field_of(clock: Clock, settings: LightingSettings) -> Fieldbus:
    """What opens devices, as the settings say. Raises InvalidInput for a wrong security file."""
    return Fieldbus(
        now=clock.now,
        now_ms=clock.now_ms if isinstance(clock, SystemClock) else None,
        require_simulator=clock.speed != 1,
        limits=limits_for(clock, settings),
        security=load_security(settings.field_security) if settings.field_security else None,
        machine=settings.field_machine,
    )


async def fill(
    server: Server,
    settings: LightingSettings,
    opener: Opener,
    tuning: Tuning | None = None,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    lease_ttl_s: float = DEFAULT_TTL_S,
) -> Parts:
    """Adds lighting to a server: its methods, and the loops that work on the field through `opener`.

    tuning, monotonic, lease_ttl_s: another pace than that of the settings, and another time that is never set back, for
    tests.
    """
    tuning = tuning or settings.tuning
    database, clock = server.database, server.clock
    if database is None:
        raise RuntimeError("lighting has a database, though it can do without it for a while")
    try:
        settings.own_dir.mkdir(parents=True, exist_ok=True)
        snapshot = SnapshotFiles(settings.own_dir) if settings.control else None
        memory = Memory(database, server.tenants, clock, snapshot, ready=server.database_ready.is_set)
        await memory.start()
    except OSError as error:
        raise Unavailable(f"{settings.own_dir} cannot be used: {error.strerror}", 5.0) from error
    endpoints = Endpoints(server.registry_channel, database, server.tenants, clock, ready=server.database_ready.is_set)
    board = SensorBoard()
    sensor_file = SensorFile(settings.own_dir / "sensors.json") if settings.control else None
    sensors = SensorKeeper(board, database, clock, sensor_file, ready=server.database_ready.is_set)
    await sensors.start()
    server.on_stop(sensors.store)
    holder = settings.resolved_holder
    writers = Writers(database, clock, holder, ready=server.database_ready.is_set)
    if settings.control:
        lease = lease_for(
            LEASE, database, settings.own_dir, holder=holder, ttl_s=lease_ttl_s, clock=clock,
            on_take=writers.announce, before_held=writers.announce_alone,
        )  # fmt: skip
        parts = await _with_field(
            server, settings, tuning, opener, memory, endpoints, database, sensors, monotonic, lease, writers
        )
    else:
        state = TownState()
        control = Control(memory, state, Field(opener), clock, holds=lambda: False, tuning=tuning, sensors=board)
        parts = Parts(database, clock, memory, state, control, endpoints, None, sensors, writers)
        server.on_stop(control.close)
    server.add_servicer(lighting_pb2_grpc.add_LightingServiceServicer_to_server, LightingServicer(parts))
    server.add_loop("memory", memory.keep_fresh, max_silence_s=30 * LOOK_EVERY_S)
    server.add_loop("sensors", sensors.keep, max_silence_s=60)
    server.add_loop("endpoints", endpoints.keep_fresh, max_silence_s=20 * ASK_EVERY_S)
    server.add_loop("control", parts.control.run, max_silence_s=60 + settings.pass_interval_s)
    return parts


async def _with_field(
    server: Server,
    settings: LightingSettings,
    tuning: Tuning,
    opener: Opener,
    memory: Memory,
    endpoints: Endpoints,
    database: Database,
    sensors: SensorKeeper,
    monotonic: Callable[[], float],
    lease: Lease,
    writers: Writers,
) -> Parts:
    clock, state = server.clock, TownState()
    control = Control(
        memory,
        state,
        Field(opener),
        clock,
        holds=lease.holds,
        tuning=tuning,
        monotonic=monotonic,
        after_pass=lambda: historian.collect(),
        watch_faults=lambda ground: watch.look(ground),
        last_known=lambda: historian.last_known(),
        sensors=sensors.board,
    )
    historian = Historian(
        database,
        lambda: LevelSpool(settings.own_dir / "levels.spool", settings.spool_max_bytes),
        clock,
        recorder=lambda: control.recorder,
        watched=lambda: control.settled_until_ms,
        memory=LastLevels(settings.own_dir / "levels.last"),
        ready=server.database_ready.is_set,
        alone=lambda: lease.is_only_process,
    )

    book = FaultBook()
    clerk = FaultClerk(
        database,
        book,
        clock,
        holds=lease.holds,
        inventory_revision=lambda: memory.known.inventory.revision,
        ready=server.database_ready.is_set,
    )
    gear_board = GearBoard()
    watch = FaultWatch(book, tuning.faults, lambda: clerk.curves, gear_board)

    ageing = AgeingClerk(
        database,
        clock,
        holds=lease.holds,
        inventory=lambda: memory.known.inventory,
        ready=server.database_ready.is_set,
    )
    protector = Protector(database, control, clock, ready=server.database_ready.is_set)
    gears = GearKeeper(
        database,
        control,
        clock,
        gear_board,
        book,
        inventory=lambda: memory.known.inventory,
        ready=server.database_ready.is_set,
    )

    writers.take_part(lease, known=lambda: memory.known, quiet=control.quiet, ended=control.ended)
    memory.on_change(writers.look)
    lease.on_held(control.look_up)  # who takes the field over does not rest first

    async def stop() -> None:
        await control.close()
        await writers.stop()
        await historian.close()
        await clerk.close()
        await lease.release()

    server.add_loop("lease", lease.keep, max_silence_s=60)
    server.add_loop("writers", writers.keep, max_silence_s=60)
    server.add_loop("history", historian.keep_draining, max_silence_s=60)
    server.add_loop("faults", clerk.keep, max_silence_s=60)
    server.add_loop("ageing", ageing.keep, max_silence_s=600)
    server.add_loop("protection", protector.keep, max_silence_s=600)
    server.add_loop("gears", gears.keep, max_silence_s=600)
    server.on_stop(stop)
    return Parts(database, clock, memory, state, control, endpoints, historian, sensors, writers)


def limits_for(clock: Clock, settings: LightingSettings) -> Limits:
    """What a device may cost. In a time-lapse a rest of a minute would be half a night, so rests are short there."""
    longest_s = settings.device_rest_real_s if clock.speed == 1 else min(settings.device_rest_real_s, 2.0)
    return Limits(backoff_initial_s=min(0.5, longest_s), backoff_max_s=longest_s, refused_points_retry_s=300.0)
