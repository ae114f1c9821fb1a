"""The one place where settings become a town, its devices, its clock and its control interface."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import uvicorn

from domain.errors import InvalidInput
from simulator.clock import Clock
from simulator.consumption import HourlySource, RecordedSource
from simulator.control import Control
from simulator.demo import DemoSize, demo_town
from simulator.devices import Devices
from simulator.faults import FaultDesk
from simulator.field import Field
from simulator.inventory_town import InventoryOptions, town_from_inventory
from simulator.modbus.server import HOST
from simulator.settings import SimulatorSettings
from simulator.town import Town
from simulator.town_check import load_town
from simulator.world import World

TICK_S = 0.2


def town_of(settings: SimulatorSettings) -> Town:
    """The town file, the town around an inventory, or the generated town."""
    if settings.simulator_inventory is not None:
        return town_from_inventory(settings.simulator_inventory, _inventory_options(settings))
    if settings.simulator_town is not None:
        return load_town(settings.simulator_town)
    return demo_town(
        DemoSize(
            luminaires=settings.simulator_luminaires,
            cabinets=settings.simulator_cabinets,
            monitored=min(settings.simulator_monitored, settings.simulator_cabinets),
            seed=settings.simulator_seed,
            buildings=settings.simulator_buildings,
        )
    )


def _inventory_options(settings: SimulatorSettings) -> InventoryOptions:
    """Meters and buildings only as asked for: their usual numbers are the generated town's."""
    given = settings.model_fields_set
    return InventoryOptions(
        monitored=settings.simulator_monitored if "simulator_monitored" in given else None,
        buildings=settings.simulator_buildings if "simulator_buildings" in given else 0,
        time_zone=settings.simulator_time_zone,
        seed=settings.simulator_seed,
    )


def sources_of(settings: SimulatorSettings, town: Town) -> dict[str, HourlySource]:
    """Recorded consumption by building."""
    known = {building.id for building in town.buildings}
    sources: dict[str, HourlySource] = {}
    for building, path in settings.simulator_consumption.items():
        if building not in known:
            raise InvalidInput.of(
                "consumption", f"{building!r} is not among {', '.join(sorted(known)) or 'no buildings'}"
            )
        sources[building] = RecordedSource.from_csv(Path(path))
    return sources


class Simulator:
    """A town with its servers. In tests it is used without the HTTP server, through its parts."""

    def __init__(
        self,
        town: Town,
        clock: Clock,
        sources: dict[str, HourlySource] | None = None,
        modbus_port: int = 0,
        opcua_port: int = 0,
    ) -> None:
        self.clock = clock
        self.world = World(town, clock.start_s, sources)
        self.field = Field(self.world)
        self.devices = Devices(self.field, self.catch_up, modbus_port, opcua_port)
        self.faults = FaultDesk(self.world, self.devices)
        self.town = town
        self._ticking: asyncio.Task[None] | None = None

    def catch_up(self) -> None:
        """Move the town's time to now."""
        self.world.advance(self.clock.now_s())

    async def start(self) -> None:
        """Bind all device ports; from then on `town` holds their URLs and time goes on by itself."""
        await self.devices.start()
        self.town = self.town.with_urls(self.devices.urls())
        self._ticking = asyncio.create_task(self._tick(), name="simulator tick")

    async def stop(self) -> None:
        """Close all ports."""
        if self._ticking is not None:
            self._ticking.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticking
        await self.devices.stop()

    def control(self) -> Control:
        """The handlers of the control interface; after start."""
        return Control(self.town, self.field, self.devices, self.faults, self.clock, self.catch_up)

    async def _tick(self) -> None:
        """Quarter hours and watchdogs come due even while nobody asks."""
        while True:
            self.catch_up()
            await asyncio.sleep(TICK_S)


async def run(settings: SimulatorSettings) -> None:
    """Run until the process is told to end; prints one line when everything is ready."""
    town = town_of(settings)
    simulator = Simulator(
        town,
        settings.clock(),
        sources_of(settings, town),
        settings.simulator_modbus_port,
        settings.simulator_opcua_port,
    )
    # The control port first: a second simulator must fail before it has bound a hundred others.
    listener = _listen(settings.simulator_port)
    try:
        await simulator.start()
        config = uvicorn.Config(
            simulator.control().application(), log_level="warning", access_log=False, lifespan="off"
        )
        server = uvicorn.Server(config)
        number = listener.getsockname()[1]
        print(f"simulator ready: {town.name}, {len(town.luminaires)} luminaires, {len(town.endpoints)} endpoints, "
              f"control http://{HOST}:{number}", flush=True)  # fmt: skip
        await server.serve(sockets=[listener])
    finally:
        await simulator.stop()
        listener.close()


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise InvalidInput.of("simulator_port", f"{HOST}:{port} cannot be bound: {error.strerror}") from error
    # From here on callers queue: whoever reads the ready line may connect.
    listener.listen(128)
    return listener
