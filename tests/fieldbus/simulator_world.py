"""Our simulator as a world of the contract: its lamps obey physics, so facts are asked of its truth, never set."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from fieldbus.profile import Profile
from fieldbus.profile_loader import load_profile
from fieldbus.values import Identity, PointAddress
from simulator.app import Simulator
from simulator.clock import SteppedClock
from simulator.demo import DemoSize, demo_town
from simulator.world import Indices
from tests.fieldbus.contract import LAMPS
from tests.fieldbus.servers import NOON
from tests.support.ports import free_port

_FADED_S = 10.0


class SimulatorWorld:
    """The lamps behind one gateway of a small town, whose time the test steps."""

    clocked: bool
    absent: PointAddress
    stored_level: float
    power_digits: int  # how finely the gateway tells power, in W
    unknown_of_dead_gear: ClassVar[set[str]]  # the facts that the gateway cannot tell of gear that does not answer it
    identity = Identity("Lichtbuch", "Simulator")
    security = None

    def __init__(self, cabinets: int, gateway: str) -> None:
        """`gateway`: C-001-gw is an Intesis, C-003-gw speaks OPC UA."""
        town = demo_town(DemoSize(luminaires=8 * cabinets, cabinets=cabinets, monitored=1, buildings=1))
        self._simulator = Simulator(town, SteppedClock(NOON.timestamp()))
        self._gateway = gateway
        self._world = self._simulator.world
        profile = next(endpoint.profile for endpoint in town.endpoints if endpoint.id == gateway)
        self.profile: Profile = load_profile(profile)
        addresses = self._world.gateways[gateway].addresses
        self._places = [int(addresses[lamp]) for lamp in range(LAMPS)]
        self._names = {place: name for name, place in self._world.lamp_index.items()}

    @property
    def url(self) -> str:
        return self._simulator.devices.urls()[self._gateway]

    @property
    def dead_url(self) -> str:
        return f"{self.url.partition('://')[0]}://127.0.0.1:{free_port()}"

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._world.now, UTC)

    async def start(self) -> None:
        await self._simulator.start()
        cabinet = self._gateway.removesuffix("-gw")
        for feeder in self._world.town.feeders:
            if feeder.cabinet == cabinet and feeder.channel >= 0:
                self._world.command_contactor(cabinet, feeder.channel, True)
        self._step(_FADED_S)

    async def stop(self) -> None:
        await self._simulator.stop()

    async def vanish(self) -> None:
        await self._simulator.faults.inject({"kind": "dead_gateway", "endpoint": self._gateway, "mode": "refuse"})

    async def reappear(self) -> None:
        await self._simulator.faults.clear()

    async def set_facts(self, lamp: int) -> None:
        await self._simulator.faults.clear()
        index = self._index(lamp)
        self._world.store(self._world.lamps.power_on_level, index, 1000.0)
        self._world.command_level(index, 500.0)
        self._step(_FADED_S)

    def facts(self, lamp: int) -> dict[str, float]:
        lamps, now, place = self._world.lamps, self._world.now, self._places[lamp]
        power_w = float(lamps.power_w(now)[place])
        return {
            "level_command": float(lamps.target[place]),
            "level_actual": float(lamps.light_level(now)[place]),
            "lamp_failure": 0.0,
            "lamp_power": round(power_w, self.power_digits),
            "lamp_energy": float(int(lamps.energy_wh(now)[place])),
            "burning_hours": float(int(lamps.burning_s(now)[place])),
            "level_power_on": float(lamps.power_on_level[place]),
        }

    async def spoil(self, lamp: int) -> set[str]:
        name = self._names[self._places[lamp]]
        await self._simulator.faults.inject({"kind": "gear_failure", "luminaire": name})
        return self.unknown_of_dead_gear

    async def set_actual_level(self, lamp: int, percent: int) -> None:
        self._world.command_level(self._index(lamp), 10.0 * percent)
        self._step(_FADED_S)

    async def commanded_percent(self, lamp: int) -> float:
        return float(self._world.lamps.target[self._places[lamp]]) / 10

    def _index(self, lamp: int) -> Indices:
        return self._world.gateways[self._gateway].addresses[lamp : lamp + 1]

    def _step(self, seconds: float) -> None:
        self._simulator.clock.step(seconds)
        self._simulator.catch_up()


class IntesisWorld(SimulatorWorld):
    """Modbus: the map of an Intesis gateway with one line. It shows the level of dead gear as 0."""

    clocked = False
    absent = PointAddress("level_command", 64)
    stored_level = 800.0
    power_digits = 0
    unknown_of_dead_gear: ClassVar[set[str]] = {"lamp_power", "lamp_energy", "burning_hours"}

    def __init__(self) -> None:
        super().__init__(1, "C-001-gw")


class SimulatedNodesWorld(SimulatorWorld):
    """OPC UA: generic lamp objects."""

    clocked = True
    absent = PointAddress("level_command", 63)
    stored_level = -1.0
    power_digits = 12
    unknown_of_dead_gear: ClassVar[set[str]] = {
        "level_actual",
        "lamp_failure",
        "lamp_power",
        "lamp_energy",
        "burning_hours",
    }

    def __init__(self) -> None:
        super().__init__(3, "C-003-gw")
