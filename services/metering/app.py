"""The one place where metering's settings become store, field, loops and server.

It starts without its database and without the registry: then it polls what its local snapshot knows, into the spool.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from domain.errors import Exhausted
from fieldbus.client import Fieldbus
from fieldbus.device import Limits
from fieldbus.security import load_security
from lichtbuch.metering.v1 import metering_pb2_grpc
from servicekit.client import ServiceChannel
from servicekit.clock import Clock, SystemClock
from servicekit.database import Database
from servicekit.lease import Lease, lease_for
from servicekit.server import Server
from servicekit.wiring import make_server
from services.metering.acquisition.asked import Asked
from services.metering.acquisition.book import TargetBook
from services.metering.acquisition.catch_up import PATIENCE_S as CATCH_UP_PATIENCE_S
from services.metering.acquisition.catch_up import CatchUp
from services.metering.acquisition.devices import Devices, Opener
from services.metering.acquisition.polling import LEAST_REAL_S, Poller
from services.metering.acquisition.recorder import DRAIN_PATIENCE_S, PATIENCE_S, Recorder
from services.metering.acquisition.resets import StoredResets
from services.metering.acquisition.spool import Spool
from services.metering.api import MeteringServicer
from services.metering.endpoints import REFRESH_EVERY_S, EndpointReplica
from services.metering.housekeeping import keep_partitions
from services.metering.retention import Retention
from services.metering.rolling import EVERY_S as ROLL_EVERY_S
from services.metering.rolling import LEASE as ROLLUP_LEASE
from services.metering.rolling import RollupKeeper
from services.metering.settings import MeteringSettings
from services.metering.slot import tolerance_ms
from services.metering.validation.parameters import load as load_parameters
from services.metering.waste.keeper import EVERY_S as WASTE_EVERY_S
from services.metering.waste.keeper import LEASE as WASTE_LEASE
from services.metering.waste.keeper import WasteKeeper
from services.metering.waste.parameters import load as load_waste_rules
from services.metering.watch import Bell

MIGRATIONS: Final = Path(__file__).parent / "migrations"
LEASE: Final = "metering.polling"


async def build(settings: MeteringSettings) -> Server:
    """Metering, ready to start. Raises Unavailable where its own disk fails, InvalidInput for a wrong file."""
    server = await make_server(settings, migrations=MIGRATIONS, needs_database=False)
    if server.registry_channel is None:
        raise RuntimeError("metering has a registry to ask")
    assemble(server, settings, server.registry_channel)
    return server


@dataclass(frozen=True, slots=True)
class Polling:
    """The parts that read the field, for whoever has to look at them."""

    poller: Poller
    recorder: Recorder
    spool: Spool
    book: TargetBook
    lease: Lease


def assemble(
    server: Server, settings: MeteringSettings, registry: ServiceChannel, *, opener: Opener | None = None
) -> Polling | None:
    """Adds everything that metering does to a server; None where it does not poll. `opener` opens devices in place of
    the field layer. Raises as `build`."""
    database, clock = server.database, server.clock
    if database is None:
        raise RuntimeError("metering has a database")
    bell = Bell()
    parameters = load_parameters(settings.validation_rules)
    ready = server.database_ready.is_set
    spool = Spool(settings.resolved_spool_dir, settings.spool_max_bytes)
    book = TargetBook(database, settings.own_dir / "meters.json", spool, clock, ready=ready, parameters=parameters)
    endpoints = EndpointReplica(registry, database, server.tenants, clock, changed=book.touch)
    servicer = MeteringServicer(database, clock, endpoints, bell, changed=book.touch, parameters=parameters)
    server.add_servicer(metering_pb2_grpc.add_MeteringServiceServicer_to_server, servicer)
    server.add_loop("endpoints", endpoints.keep_fresh, max_silence_s=6 * REFRESH_EVERY_S)
    server.add_loop("partitions", lambda beat: keep_partitions(database, clock, beat, ready=ready), max_silence_s=300)
    _add_rollups(server, settings, database)
    _add_waste_watch(server, settings, database)
    if not settings.polling:
        return None
    spool.open()
    recorder = Recorder(database, spool, clock, stored=bell.ring, ready=ready, parameters=parameters)
    fieldbus = field_of(clock, settings)
    devices = Devices(opener or fieldbus)
    lease = lease_for(LEASE, database, settings.own_dir, holder=settings.resolved_holder, clock=clock)
    poller = Poller(
        clock=clock,
        devices=devices,
        book=book,
        keeper=recorder,
        resets=StoredResets(database, clock, parameters),
        may_poll=lease.holds,
        tolerance_s=settings.poll_tolerance_s,
    )

    async def room_in_spool() -> None:
        if recorder.problem is not None:
            raise Exhausted(f"readings wait in memory, neither database nor disk takes them: {recorder.problem}")
        if spool.is_full:
            raise Exhausted(f"the spool is full: {spool.size_bytes} bytes in {spool.depth} records")

    async def end() -> None:
        await recorder.settle_within(PATIENCE_S)
        spool.close()  # before the lease: who takes that finds what waits here
        await lease.release()
        await devices.close()
        await fieldbus.close()

    server.add_loop("lease", lease.keep, max_silence_s=60)
    server.add_loop("polling", poller.run, max_silence_s=60 + settings.poll_tolerance_s)
    server.add_loop("recorder", recorder.keep, max_silence_s=30 + PATIENCE_S)
    catch_up = CatchUp(
        clock=clock,
        database=database,
        devices=devices,
        book=book,
        asked=Asked(settings.own_dir / "caught-up.json"),
        polled_ms=lambda: poller.polled_ms,
        may_work=lambda: lease.holds() and recorder.is_settled and ready(),
        settle=recorder.settle,
        stored=bell.ring,
        parameters=parameters,
    )
    server.add_loop("catch-up", catch_up.run, max_silence_s=60 + CATCH_UP_PATIENCE_S)
    server.add_loop("drain", recorder.drain, max_silence_s=30 + DRAIN_PATIENCE_S)
    server.add_check("spool", room_in_spool)
    server.on_stop(end)
    return Polling(poller, recorder, spool, book, lease)


def _add_rollups(server: Server, settings: MeteringSettings, database: Database) -> None:
    lease = lease_for(ROLLUP_LEASE, database, settings.own_dir, holder=settings.resolved_holder, clock=server.clock)
    retention = Retention(database, server.tenants, server.clock, settings.retention)
    keeper = RollupKeeper(
        database,
        server.tenants,
        server.clock,
        lease,
        ready=server.database_ready.is_set,
        retention=retention,
        media=settings.rolled_up,
    )
    server.add_loop("rollup lease", lease.keep, max_silence_s=60)
    server.add_loop("rollups", keeper.keep, max_silence_s=2 * ROLL_EVERY_S)
    server.on_stop(lease.release)


def _add_waste_watch(server: Server, settings: MeteringSettings, database: Database) -> None:
    lease = lease_for(WASTE_LEASE, database, settings.own_dir, holder=settings.resolved_holder, clock=server.clock)
    keeper = WasteKeeper(
        database, server.tenants, server.clock, lease,
        ready=server.database_ready.is_set, rules=load_waste_rules(settings.waste_rules),
        memory=settings.own_dir / "waste-watched.json",
    )  # fmt: skip
    server.add_loop("waste lease", lease.keep, max_silence_s=60)
    server.add_loop("waste", keeper.keep, max_silence_s=2 * WASTE_EVERY_S)
    server.on_stop(lease.release)


def field_of(clock: Clock, settings: MeteringSettings) -> Fieldbus:
    """What opens devices, as the settings say. Raises InvalidInput for a wrong security file."""
    return Fieldbus(
        now=clock.now,
        now_ms=clock.now_ms if isinstance(clock, SystemClock) else None,
        require_simulator=clock.speed != 1,
        limits=limits_for(clock, settings),
        security=load_security(settings.field_security) if settings.field_security else None,
        machine=settings.field_machine,
    )


def limits_for(clock: Clock, settings: MeteringSettings) -> Limits:
    """What a device may cost: in a time-lapse a read that takes longer than the tolerance is of no use."""
    plain = Limits()
    if not math.isfinite(clock.speed):
        return plain  # time stands until it is advanced
    tolerance_s = tolerance_ms(settings.poll_tolerance_s, LEAST_REAL_S, clock.speed) / 1000 / clock.speed
    if tolerance_s >= plain.read_deadline_s:
        return plain
    return Limits(
        connect_timeout_s=min(plain.connect_timeout_s, tolerance_s),
        request_timeout_s=min(plain.request_timeout_s, tolerance_s),
        read_deadline_s=tolerance_s,
        backoff_initial_s=min(plain.backoff_initial_s, tolerance_s / 4),
        backoff_max_s=min(plain.backoff_max_s, max(1.0, 4 * tolerance_s)),
    )
