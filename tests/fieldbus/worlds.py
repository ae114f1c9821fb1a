"""Worlds for the contract: the contiguous lamp map on any server of registers, lamp objects on any server of nodes.

A server of registers or nodes is set up in its own terms; our profiles and codec are only used by what is tested.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from fieldbus.profile import Profile
from fieldbus.profile_loader import load_profile
from fieldbus.security import FieldSecurity
from fieldbus.values import Identity, PointAddress
from tests.fieldbus.contract import FACTS, LAMPS
from tests.fieldbus.servers import NOON, LampServer, PymodbusServer
from tests.support.ports import free_port

Tables = dict[str, dict[int, list[int]]]


class RegisterServer(Protocol):
    """Somebody's Modbus server, holding units with the four tables. Bits are registers of 0 and 1."""

    identity: Identity  # what it says by function 0x2B/0x0E; empty where it does not know that

    @property
    def security(self) -> FieldSecurity | None:
        """What it takes to connect."""
        ...

    @property
    def url(self) -> str: ...
    @property
    def dead_url(self) -> str: ...
    async def start(self) -> None:
        """At a free address the first time, at the same afterwards."""
        ...

    async def stop(self) -> None:
        """Take no more connections and cut those that stand."""
        ...

    async def close(self) -> None:
        """For good."""
        ...

    async def put(self, unit: int, table: str, address: int, values: list[int]) -> None: ...
    async def get(self, unit: int, table: str, address: int, count: int) -> list[int]: ...
    async def refuse(self, function: int, code: int) -> None:
        """Answer a function with an exception code; 0 ends it."""
        ...


class PymodbusRegisters:
    """pymodbus' server as a `RegisterServer`."""

    security = None

    def __init__(self, units: dict[int, Tables]) -> None:
        self.identity = Identity("ACME", "Lamps", "2.1")
        self._server = PymodbusServer(units, ("ACME", "Lamps"))

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def dead_url(self) -> str:
        return f"modbus+tcp://127.0.0.1:{free_port()}"

    async def start(self) -> None:
        await self._server.start(self._server.port)

    async def stop(self) -> None:
        await self._server.stop()

    async def close(self) -> None:
        await self._server.stop()

    async def put(self, unit: int, table: str, address: int, values: list[int]) -> None:
        if table in ("coil", "discrete"):
            for offset, value in enumerate(values):
                self._server.set_bit(unit, table, address + offset, bool(value))
        else:
            self._server.set_registers(unit, table, address, values)

    async def get(self, unit: int, table: str, address: int, count: int) -> list[int]:
        if table in ("coil", "discrete"):
            return [int(self._server.bit(unit, table, address + offset)) for offset in range(count)]
        return self._server.registers(unit, table, address, count)

    async def refuse(self, function: int, code: int) -> None:
        self._server.refuse[function] = code


class RegisterWorld:
    """The contiguous level and status map on some Modbus server; a hole behind the last lamp."""

    profile: Profile = load_profile("generic-level-status")
    clocked = False
    stored_level = -1.0
    absent = PointAddress("level_command", LAMPS + 1)

    def __init__(self, make_server: Callable[[dict[int, Tables]], RegisterServer]) -> None:
        few = [0] * LAMPS
        holding = {0: few, 100: few, 200: few, 300: [0]}
        inputs = {0: few, 100: few, 200: few, 300: few * 2, 500: few * 2}
        # The lamp after next makes the missing one a hole within a block.
        holding[LAMPS + 2] = [0]
        self._server = make_server({1: {"holding": holding, "input": inputs}})
        self.identity = self._server.identity

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def security(self) -> FieldSecurity | None:
        return self._server.security

    @property
    def dead_url(self) -> str:
        return self._server.dead_url

    def now(self) -> datetime:
        return NOON

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.close()

    async def vanish(self) -> None:
        await self._server.stop()

    async def reappear(self) -> None:
        await self._server.start()

    def facts(self, lamp: int) -> dict[str, float]:
        return FACTS

    async def set_facts(self, lamp: int) -> None:
        await self._server.put(1, "holding", lamp, [500])
        await self._server.put(1, "holding", 100 + lamp, [1000])
        for address, value in ((lamp, 480), (100 + lamp, 0), (200 + lamp, 125)):
            await self._server.put(1, "input", address, [value])
        await self._server.put(1, "input", 300 + 2 * lamp, [0, 4321])
        await self._server.put(1, "input", 500 + 2 * lamp, [0, 7200])

    async def spoil(self, lamp: int) -> set[str]:
        await self._server.put(1, "input", 200 + lamp, [0xFFFE])  # 6553.4 W
        await self._server.put(1, "input", 300 + 2 * lamp, [0xFFFF, 0xFFFF])  # "not available"
        return {"lamp_power", "lamp_energy"}

    async def set_actual_level(self, lamp: int, percent: int) -> None:
        await self._server.put(1, "input", lamp, [10 * percent])

    async def commanded_percent(self, lamp: int) -> float:
        return (await self._server.get(1, "holding", lamp, 1))[0] / 10


class NodeServer(Protocol):
    """Somebody's OPC UA server with the generic lamp objects. Values are set with their source time."""

    identity: Identity

    @property
    def security(self) -> FieldSecurity | None: ...
    @property
    def url(self) -> str: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def close(self) -> None: ...
    async def put(
        self, lamp: int, variable: str, value: Any, *, status: int = 0, source_time: datetime | None = None
    ) -> None: ...
    async def get(self, lamp: int, variable: str) -> Any: ...


class AsyncuaNodes:
    """asyncua's server as a `NodeServer`."""

    security = None

    def __init__(self) -> None:
        self.identity = Identity("ACME", "Lamps", "3.2")
        self._server = LampServer(LAMPS)

    @property
    def url(self) -> str:
        return self._server.url

    async def start(self) -> None:
        await self._server.start(self._server.port or None)

    async def stop(self) -> None:
        await self._server.stop()

    async def close(self) -> None:
        await self._server.stop()

    async def put(
        self, lamp: int, variable: str, value: Any, *, status: int = 0, source_time: datetime | None = None
    ) -> None:
        await self._server.set(lamp, variable, value, status=status, source_time=source_time)

    async def get(self, lamp: int, variable: str) -> Any:
        return await self._server.get(lamp, variable)


BAD_SENSOR_FAILURE = 0x808C0000


class NodeWorld:
    """Lamp objects on some OPC UA server."""

    profile: Profile = load_profile("opcua-lamp")
    clocked = True
    stored_level = -1.0
    absent = PointAddress("level_command", LAMPS + 1)

    def __init__(self, make_server: Callable[[], NodeServer]) -> None:
        self._server = make_server()
        self.identity = self._server.identity

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def security(self) -> FieldSecurity | None:
        return self._server.security

    @property
    def dead_url(self) -> str:
        return f"opc.tcp://127.0.0.1:{free_port()}/lamps"

    def now(self) -> datetime:
        return NOON

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.close()

    async def vanish(self) -> None:
        await self._server.stop()

    async def reappear(self) -> None:
        await self._server.start()

    def facts(self, lamp: int) -> dict[str, float]:
        return FACTS

    async def set_facts(self, lamp: int) -> None:
        facts: tuple[tuple[str, Any], ...] = (
            ("Level", 50.0),
            ("ActualLevel", 48.0),
            ("LampFailure", False),
            ("Power", 12.5),
            ("Energy", 4321),
            ("BurningTime", 7200),
            ("PowerOnLevel", 100.0),
        )
        for variable, value in facts:
            await self._server.put(lamp, variable, value)

    async def spoil(self, lamp: int) -> set[str]:
        await self._server.put(lamp, "Power", 6553.4)
        await self._server.put(lamp, "ActualLevel", float("nan"))
        await self._server.put(lamp, "Energy", 4321, status=BAD_SENSOR_FAILURE)
        return {"lamp_power", "level_actual", "lamp_energy"}

    async def set_actual_level(self, lamp: int, percent: int) -> None:
        await self._server.put(lamp, "ActualLevel", float(percent))

    async def commanded_percent(self, lamp: int) -> float:
        return float(await self._server.get(lamp, "Level"))
