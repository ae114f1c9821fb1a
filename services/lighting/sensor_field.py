"""Sensors at field endpoints: read with each regular pass, at the pace that their link bears.

Not here: what a value leads to (sensors.py), and sensors whose values other systems send (api/sensors.py).
"""

from __future__ import annotations

import numpy as np

from fieldbus.values import PointAddress
from fieldbus.values import Quality as FieldQuality
from services.lighting.field import Link
from services.lighting.ground import Ground
from services.lighting.metrics import SENSOR_VALUES
from services.lighting.records import EndpointRecord, Inventory, SensorRecord
from services.lighting.sensors import LARGEST_VALUE, SensorBoard, SensorValue, milli_of

_FAILURE = PointAddress("sensor_failure")


class SensorWorker:
    """Reads the sensors of one endpoint."""

    def __init__(
        self, ground: Ground, board: SensorBoard, endpoint: EndpointRecord, sensors: tuple[SensorRecord, ...]
    ) -> None:
        self._ground, self._board, self._endpoint, self._sensors = ground, board, endpoint, sensors
        self._points: tuple[PointAddress, ...] = ()
        self._next_poll = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is time to read."""
        return self._ground.monotonic() >= self._next_poll

    async def step(self) -> None:
        """Reads once, where the link bears it."""
        ground, link = self._ground, self._ground.devices.link(self._endpoint)
        self._next_poll = ground.monotonic() + ground.poll_real_s()
        if link is None:
            return
        pace = link.pace(f"sensors of {self._endpoint.uid}")
        if not pace.may_ask(ground.monotonic()):
            return
        points = self._points_of(link)
        if not points:
            return
        pace.asked_at = ground.monotonic()
        pace.least_s = link.least_interval_s(points)
        batch = await link.read(points)
        self._next_poll = max(self._next_poll, pace.asked_at + pace.least_s)
        if batch is None or ground.retired:
            return
        found = batch.as_dict()
        if found.get(_FAILURE, 0.0) != 0.0:
            SENSOR_VALUES.labels("failed").inc(len(self._sensors))
            return
        stamps = dict(zip(batch.points, batch.observed_at.tolist(), strict=True))
        taken = []
        for sensor in self._sensors:
            address = PointAddress(sensor.point)
            value = found.get(address)
            if value is None or not np.isfinite(value) or not 0 <= value <= LARGEST_VALUE:
                missing = address in stamps and batch.quality_of(address) == FieldQuality.MISSING
                SENSOR_VALUES.labels("no_answer" if missing else "unusable").inc()
                continue
            taken.append(SensorValue(sensor.uid, milli_of(value), int(stamps[address])))
        SENSOR_VALUES.labels("read").inc(len(taken))
        self._board.take(taken, ground.now_ms)

    def _points_of(self, link: Link) -> tuple[PointAddress, ...]:
        """What is read: the same tuple each time, since the driver keeps its plan by it."""
        if not self._points:
            names = dict.fromkeys(s.point for s in self._sensors if link.profile.readable(s.point))
            if names and link.profile.readable(_FAILURE.point):
                names[_FAILURE.point] = None
            self._points = tuple(PointAddress(name) for name in names)
        return self._points


def sensor_workers(ground: Ground, board: SensorBoard, inventory: Inventory) -> list[SensorWorker]:
    """A worker for each endpoint that has sensors."""
    endpoints = {endpoint.uid: endpoint for endpoint in inventory.endpoints}
    by_endpoint: dict[str, list[SensorRecord]] = {}
    for sensor in inventory.sensors:
        if sensor.endpoint_uid in endpoints:
            by_endpoint.setdefault(sensor.endpoint_uid, []).append(sensor)
    return [SensorWorker(ground, board, endpoints[uid], tuple(found)) for uid, found in by_endpoint.items()]
