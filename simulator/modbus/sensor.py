"""Sensors along the road, each on a port of its own: daylight, traffic, rain. Input registers, the last one the status.

Light: registers 0-1 illuminance in lx (float32, big-endian), 2 status. Traffic: 0 vehicles an hour, 1 status. Rain: 0
intensity in hundredths of mm/h, 1 status. Status 0 is good.
"""

from __future__ import annotations

from simulator.daylight import illuminance_lx
from simulator.modbus.unit import RegisterImage, Unit, float32, read_images, registers
from simulator.roadside import RAIN, rain_intensity, traffic_flow
from simulator.town import LightSensor, RoadSensor
from simulator.world import World

STATUS_GOOD, STATUS_FAILED = 0, 1


class SensorUnit(Unit):
    """Unit 1 on the sensor's own port. A failed sensor says so and shows 0, as a torn cable would."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.failed = False

    def read_input(self, address: int, count: int) -> bytes:
        """Value and status."""
        value = self._value()
        data = (bytes(len(value)) if self.failed else value) + registers(
            [STATUS_FAILED if self.failed else STATUS_GOOD]
        )
        image = RegisterImage(0, len(data) // 2)
        image.put(0, data)
        return read_images([image], address, count)

    def _value(self) -> bytes:
        """What it measures now, as registers."""
        return b""


class LightSensorUnit(SensorUnit):
    """Daylight outdoors."""

    model = "light sensor"

    def __init__(self, world: World, sensor: LightSensor) -> None:
        super().__init__(world)
        self._sensor = sensor

    def _value(self) -> bytes:
        return float32(illuminance_lx(self._sensor.latitude, self._sensor.longitude, self._world.now))


class RoadSensorUnit(SensorUnit):
    """Traffic or rain, as the town's seed has it."""

    def __init__(self, world: World, sensor: RoadSensor) -> None:
        super().__init__(world)
        self._sensor = sensor
        self.model = f"{sensor.kind} sensor"

    def _value(self) -> bytes:
        town, now = self._world.town, self._world.now
        if self._sensor.kind == RAIN:
            return registers([round(rain_intensity(town.seed, self._sensor.id, now) * 100)])
        return registers([traffic_flow(town.seed, self._sensor.id, town.time_zone, now)])
