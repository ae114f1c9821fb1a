"""Methods about sensors: what there is, what other systems measured, and what was said last."""

from __future__ import annotations

from math import isfinite
from typing import Final

from sqlmodel import Session

from domain.errors import InvalidInput, Unavailable, Violation
from domain.names import ResourceName
from lichtbuch.lighting.v1 import sensors_pb2 as pb
from servicekit.context import Tenant, current_tenant, current_tenants
from servicekit.convert import timestamp_to_proto
from servicekit.paging import page
from services.lighting import metrics
from services.lighting.api.calls import LARGEST_PAGE, Context
from services.lighting.api.convert_sensors import sensor_to_proto, sensor_values, state_to_proto
from services.lighting.api.inventory import InventoryCalls, Resource, shown
from services.lighting.records import SensorRecord
from services.lighting.sensors import LARGEST_VALUE, SensorValue, milli_of
from services.lighting.store.inventory import GROUPS, SENSORS, list_rows

SENSOR: Final = Resource(
    SENSORS, pb.Sensor, ("display_name", "kind", "groups", "endpoint", "point", "max_age_s"),
    sensor_values, shown(sensor_to_proto, "groups", "endpoints"),
)  # fmt: skip

AHEAD_MS: Final = 300_000
"""How far a value's instant may lie ahead of our clock: other systems have clocks of their own."""
_MOST_VIOLATIONS: Final = 20


class SensorCalls(InventoryCalls):
    """Sensors and their values."""

    async def CreateSensor(self, request: pb.CreateSensorRequest, context: Context) -> pb.Sensor:
        """A new sensor."""
        await self._know_endpoint(request.sensor)
        answer = await self._create(SENSOR, request, request.sensor, request.sensor_id)
        await self.parts.memory.refresh()
        return answer

    async def GetSensor(self, request: pb.GetSensorRequest, context: Context) -> pb.Sensor:
        """A sensor."""
        return await self._get(SENSOR, request.name)

    async def ListSensors(self, request: pb.ListSensorsRequest, context: Context) -> pb.ListSensorsResponse:
        """Sensors by name."""
        found, token = await self._list(SENSOR, request)
        return pb.ListSensorsResponse(sensors=found, next_page_token=token)

    async def UpdateSensor(self, request: pb.UpdateSensorRequest, context: Context) -> pb.Sensor:
        """Changes a sensor."""
        await self._know_endpoint(request.sensor)
        answer = await self._update(SENSOR, request.sensor, request)
        await self.parts.memory.refresh()
        return answer

    async def DeleteSensor(self, request: pb.DeleteSensorRequest, context: Context) -> pb.Sensor:
        """Deletes a sensor."""
        answer = await self._delete(SENSOR, request.name, request.reason)
        await self.parts.memory.refresh()
        return answer

    async def ReportSensorValues(
        self, request: pb.ReportSensorValuesRequest, context: Context
    ) -> pb.ReportSensorValuesResponse:
        """Takes values: all of them, or none where one is wrong. Light does not wait for the database to hear them."""
        values = _values_from_proto(request, await self._sent(current_tenant(), request), self.now_ms)
        news = self.parts.control.sensors.take(values, self.now_ms)
        metrics.SENSOR_VALUES.labels("reported").inc(len(news))
        metrics.SENSOR_VALUES.labels("outdated").inc(len(values) - len(news))
        try:
            await self.parts.sensors.put(news)
        except Unavailable:
            if not self.parts.control.holds_field:
                raise  # nobody would ever hear of it
        return pb.ReportSensorValuesResponse(accepted=len(news), outdated=len(values) - len(news))

    async def ListSensorStates(
        self, request: pb.ListSensorStatesRequest, context: Context
    ) -> pb.ListSensorStatesResponse:
        """What sensors said last, by name."""
        tenants, now = current_tenants(), self.clock.now()
        now_ms, views, active = self.now_ms, self.parts.control.sensors.views, self.parts.control.active_groups()

        def find(session: Session) -> pb.ListSensorStatesResponse:
            found = page(
                request,
                lambda after, limit: list_rows(session, SENSORS, tenants, after, limit),
                lambda pair: (pair[0].id, pair[1].id),
                largest=LARGEST_PAGE,
            )
            states = []
            for tenant, row in found.items:
                groups = [GROUPS.name(tenant.id, group.id) for group in active.get(row.uid, ())]
                states.append(state_to_proto(row, tenant, views.get(row.uid), groups, now_ms))
            return pb.ListSensorStatesResponse(
                states=states, next_page_token=found.next_page_token, at=timestamp_to_proto(now)
            )

        return await self.database.read(find)

    async def _know_endpoint(self, sensor: pb.Sensor) -> None:
        if sensor.endpoint:
            await self.parts.endpoints.uid_of(current_tenant(), sensor.endpoint, "sensor.endpoint")

    async def _sent(self, tenant: Tenant, request: pb.ReportSensorValuesRequest) -> dict[str, SensorRecord]:
        """The municipality's sensors by id, as this process knows them; looked up again where one is unknown."""
        wanted = {ResourceName.parse(name, collection="sensors").id for name in request.names}
        for attempt in (1, 2):
            sensors = self.parts.memory.known.inventory.sensors
            known = {sensor.id: sensor for sensor in sensors if sensor.municipality_uid == tenant.uid}
            if attempt == 2 or wanted <= known.keys():
                break
            await self.parts.memory.refresh()
        self.parts.control.sensors.watch(self.parts.memory.known)
        return known


def _values_from_proto(
    request: pb.ReportSensorValuesRequest, sensors: dict[str, SensorRecord], now_ms: int
) -> list[SensorValue]:
    """The values. Raises InvalidInput with what is wrong with them."""
    names, values, instants = list(request.names), list(request.values), list(request.observed_at_unix_ms)
    if len(values) != len(names):
        raise InvalidInput.of("values", f"{len(values)} values for {len(names)} names")
    if instants and len(instants) != len(names):
        raise InvalidInput.of("observed_at_unix_ms", f"{len(instants)} instants for {len(names)} names")
    found: list[Violation] = []
    taken = []
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        sensor = sensors.get(ResourceName.parse(name, collection="sensors").id)
        at_ms = (instants[i] if instants else 0) or now_ms
        if sensor is None:
            found.append(Violation(f"names[{i}]", f"{name} does not exist"))
        elif sensor.endpoint_uid:
            found.append(Violation(f"names[{i}]", f"{name} is read at its endpoint, values are not sent to it"))
        elif not isfinite(value) or not 0 <= value <= LARGEST_VALUE:
            found.append(Violation(f"values[{i}]", f"{value} is not between 0 and {LARGEST_VALUE}"))
        elif not 0 < at_ms <= now_ms + AHEAD_MS:
            found.append(Violation(f"observed_at_unix_ms[{i}]", f"{at_ms} is no instant, or one that is still to come"))
        else:
            taken.append(SensorValue(sensor.uid, milli_of(value), at_ms))
    if found:
        raise InvalidInput("", found[:_MOST_VIOLATIONS])
    return taken
