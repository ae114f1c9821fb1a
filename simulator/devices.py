"""All device servers of a town: which units stand behind which port, their URLs, and how to disturb them.

One TCP port per cabinet (controller as unit 1, Modbus gateway as unit 2), per meter and per sensor; one OPC UA
server per gateway of that kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from domain.errors import NotFound
from simulator.field import Field
from simulator.modbus.arlight import ArlightGateway
from simulator.modbus.generic import GenericGateway
from simulator.modbus.intesis import IntesisGateway
from simulator.modbus.meters import AbbB23, EastronSdm630, JanitzaUmg96, MeterUnit
from simulator.modbus.plc import CabinetController
from simulator.modbus.sensor import LightSensorUnit, RoadSensorUnit, SensorUnit
from simulator.modbus.server import HOST, Disturbance, ModbusPort
from simulator.modbus.unit import Unit
from simulator.modbus.wago import WagoController
from simulator.opcua.server import OpcUaGateway
from simulator.town import PROFILE_CABINET_WITH_SCHEDULE, Town

CONTROLLER_UNIT, GATEWAY_UNIT, ONLY_UNIT = 1, 2, 1

_METERS: dict[str, type[MeterUnit]] = {
    "eastron-sdm630": EastronSdm630,
    "abb-b23": AbbB23,
    "janitza-umg96": JanitzaUmg96,
}


class Devices:
    """The servers. `before` moves the town's time to now and is called ahead of every request."""

    def __init__(self, field: Field, before: Callable[[], None], modbus_port: int = 0, opcua_port: int = 0) -> None:
        self.sensors: dict[str, SensorUnit] = {}
        self._field = field
        self._before = before
        self._ports: list[ModbusPort] = []
        self._modbus: dict[str, tuple[ModbusPort, int]] = {}
        self._opcua: dict[str, OpcUaGateway] = {}
        self._first_modbus, self._first_opcua = modbus_port, opcua_port
        self._build(field.world.town)

    async def start(self) -> None:
        """Bind all ports."""
        for port in self._ports:
            await port.start()
        for gateway in self._opcua.values():
            await gateway.start()

    async def stop(self) -> None:
        """Close everything."""
        for port in self._ports:
            await port.stop()
        for gateway in self._opcua.values():
            await gateway.stop()

    def urls(self) -> dict[str, str]:
        """URL of every endpoint, once bound."""
        urls = {e: f"modbus+tcp://{HOST}:{port.port}?unit={unit}" for e, (port, unit) in self._modbus.items()}
        return urls | {e: f"opc.tcp://{HOST}:{gateway.port}/" for e, gateway in self._opcua.items()}

    def traffic(self) -> list[dict[str, Any]]:
        """Requests and exception answers per endpoint, connections per port."""
        rows: list[dict[str, Any]] = []
        for endpoint, (port, unit) in self._modbus.items():
            rows.append({
                "endpoint": endpoint, "requests": port.requests[unit], "exceptions": port.exceptions[unit],
                "connections_open": len(port.connections), "connections_accepted": port.accepted,
            })  # fmt: skip
        for endpoint, gateway in self._opcua.items():
            rows.append({"endpoint": endpoint, "reads": gateway.reads, "writes": gateway.writes})
        return rows

    async def disturb(self, endpoint: str, disturbance: Disturbance | None) -> None:
        """Set or end what is wrong with an endpoint. Refusing connections takes the whole port along."""
        if endpoint in self._opcua:
            await self._opcua[endpoint].disturb(disturbance)
        elif endpoint in self._modbus:
            port, unit = self._modbus[endpoint]
            await port.disturb(unit, disturbance)
        else:
            raise NotFound(f"endpoints/{endpoint}")

    def _build(self, town: Town) -> None:
        world = self._field.world
        profiles = {e.id: e.profile for e in town.endpoints}
        for cabinet in town.cabinets:
            keeps_schedule = profiles[cabinet.controller] == PROFILE_CABINET_WITH_SCHEDULE
            controller = WagoController if keeps_schedule else CabinetController
            units: dict[int, Unit] = {CONTROLLER_UNIT: controller(self._field, cabinet.id)}
            gateway, profile = world.gateways[cabinet.gateway], profiles[cabinet.gateway]
            if profile == "intesis-dali":
                units[GATEWAY_UNIT] = IntesisGateway(self._field, gateway)
            elif profile == "arlight-dali":
                units[GATEWAY_UNIT] = ArlightGateway(self._field, gateway)
            elif profile == "generic-level-status":
                units[GATEWAY_UNIT] = GenericGateway(self._field, gateway)
            else:
                number = self._first_opcua + len(self._opcua) if self._first_opcua else 0
                self._opcua[cabinet.gateway] = OpcUaGateway(self._field, gateway, self._before, number)
            port = self._port(cabinet.id, units)
            self._modbus[cabinet.controller] = (port, CONTROLLER_UNIT)
            if GATEWAY_UNIT in units:
                self._modbus[cabinet.gateway] = (port, GATEWAY_UNIT)
        for meter in town.meters:
            unit = _METERS[profiles[meter.endpoint]](world, world.meters[meter.id])
            self._modbus[meter.endpoint] = (self._port(meter.id, {ONLY_UNIT: unit}), ONLY_UNIT)
        for sensor in town.light_sensors:
            self._sensor(sensor.id, sensor.endpoint, LightSensorUnit(world, sensor))
        for road_sensor in town.road_sensors:
            self._sensor(road_sensor.id, road_sensor.endpoint, RoadSensorUnit(world, road_sensor))

    def _sensor(self, identifier: str, endpoint: str, unit: SensorUnit) -> None:
        self.sensors[identifier] = unit
        self._modbus[endpoint] = (self._port(identifier, {ONLY_UNIT: unit}), ONLY_UNIT)

    def _port(self, name: str, units: dict[int, Unit]) -> ModbusPort:
        number = self._first_modbus + len(self._ports) if self._first_modbus else 0
        port = ModbusPort(name, units, self._before, number)
        self._ports.append(port)
        return port
