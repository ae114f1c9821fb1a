"""The outdoor light sensor: input registers 0-1 illuminance in lx (float32, big-endian), 2 status (0 is good)."""

from __future__ import annotations

from simulator.daylight import illuminance_lx
from simulator.modbus.unit import RegisterImage, Unit, float32, read_images, registers
from simulator.town import LightSensor
from simulator.world import World

STATUS_GOOD, STATUS_FAILED = 0, 1


class LightSensorUnit(Unit):
    """Unit 1 on the sensor's own port. A failed sensor says so and shows 0 lx, as a torn cable would."""

    model = "light sensor"

    def __init__(self, world: World, sensor: LightSensor) -> None:
        self._world = world
        self._sensor = sensor
        self.failed = False

    def read_input(self, address: int, count: int) -> bytes:
        """Illuminance and status."""
        image = RegisterImage(0, 3)
        lux = 0.0 if self.failed else illuminance_lx(self._sensor.latitude, self._sensor.longitude, self._world.now)
        image.put(0, float32(lux) + registers([STATUS_FAILED if self.failed else STATUS_GOOD]))
        return read_images([image], address, count)
