"""What pages ask and do about waivers, sensors, protections and profiles of one municipality. One call, one answer.

Raises errors of domain/errors.py. Not here: lamps, faults and savings (asking.py), how often it is asked (town.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

from domain.errors import NotAuthenticated, NotPermitted, PermanentError
from lichtbuch.lighting.v1 import commissioning_pb2, faults_pb2, sensors_pb2, waivers_pb2
from lichtbuch.scheduler.v1 import scheduler_pb2
from lichtbuch.type.v1 import types_pb2
from services.admin.clients import Clients, all_pages
from services.admin.protections import Unprotected, unprotected_from_proto
from services.admin.sensors import SensorNow, SensorUse, sensors_from_proto, uses_of
from services.admin.waivers import WaiverNow, waiver_from_proto

NOBODY: Final = "0~none"
"""Id of a resource that there is not, to find out what the server would let a person do."""
PREVIEW_DEADLINE_S: Final = 60.0


class Planning:
    """The questions about one municipality, by its name."""

    def __init__(self, name: str, clients: Clients) -> None:
        self.name, self._clients = name, clients

    # --- who may -------------------------------------------------------------------------------------------------

    async def may_identify(self) -> bool:
        """Whether the server would let this person make a lamp blink."""
        request = commissioning_pb2.IdentifyLuminaireRequest(name=f"{self.name}/luminaires/{NOBODY}")
        return await would(self._clients.lighting.IdentifyLuminaire(request))

    async def may_waive(self) -> bool:
        """Whether the server would let this person enter and release waivers."""
        request = waivers_pb2.ReleaseWaiverRequest(name=f"{self.name}/waivers/{NOBODY}")
        return await would(self._clients.lighting.ReleaseWaiver(request))

    async def may_edit_sensors(self) -> bool:
        """Whether the server would let this person create and change sensors."""
        sensor = sensors_pb2.Sensor(name=f"{self.name}/sensors/{NOBODY}", kind=types_pb2.SENSOR_KIND_RAIN, etag=NOBODY)
        return await would(self._clients.lighting.UpdateSensor(sensors_pb2.UpdateSensorRequest(sensor=sensor)))

    async def may_report(self) -> bool:
        """Whether the server would let this person enter values of sensors."""
        request = sensors_pb2.ReportSensorValuesRequest(
            parent=self.name, names=[f"{self.name}/sensors/{NOBODY}"], values=[0.0]
        )
        return await would(self._clients.lighting.ReportSensorValues(request))

    async def may_plan(self) -> bool:
        """Whether the server would let this person save profiles."""
        point = scheduler_pb2.SwitchPoint(anchor=scheduler_pb2.ANCHOR_SUNSET)
        profile = scheduler_pb2.Profile(name=f"{self.name}/profiles/{NOBODY}", points=[point], etag=NOBODY)
        return await would(self._clients.scheduler.UpdateProfile(scheduler_pb2.UpdateProfileRequest(profile=profile)))

    # --- waivers -------------------------------------------------------------------------------------------------

    async def waivers(self) -> tuple[WaiverNow, ...]:
        """All, those of the past too."""
        request = waivers_pb2.ListWaiversRequest(parent=self.name)
        return tuple(map(waiver_from_proto, await all_pages(self._clients.lighting.ListWaivers, request, "waivers")))

    async def create_waiver(self, waiver: waivers_pb2.Waiver, request_id: str) -> tuple[str, ...]:
        """Enters a waiver; the same request id again enters no second one. Returns the server's warnings."""
        request = waivers_pb2.CreateWaiverRequest(parent=self.name, waiver=waiver, request_id=request_id)
        return tuple((await self._clients.lighting.CreateWaiver(request)).warnings)

    async def release_waiver(self, name: str, reason: str) -> None:
        """Ends a waiver before its review."""
        await self._clients.lighting.ReleaseWaiver(waivers_pb2.ReleaseWaiverRequest(name=name, reason=reason))

    # --- sensors -------------------------------------------------------------------------------------------------

    async def sensors(self) -> tuple[SensorNow, ...]:
        """The sensors with what they said last."""
        stub, parent = self._clients.lighting, self.name
        sensors, states = await asyncio.gather(
            all_pages(stub.ListSensors, sensors_pb2.ListSensorsRequest(parent=parent), "sensors"),
            all_pages(stub.ListSensorStates, sensors_pb2.ListSensorStatesRequest(parent=parent), "states"),
        )
        return sensors_from_proto(sensors, states)

    async def sensor_uses(self) -> tuple[SensorUse, ...]:
        """Which rules of which profiles listen to sensors, and which groups follow these profiles."""
        stub, parent = self._clients.scheduler, self.name
        profiles, calendars, assignments = await asyncio.gather(
            all_pages(stub.ListProfiles, scheduler_pb2.ListProfilesRequest(parent=parent), "profiles"),
            all_pages(stub.ListCalendars, scheduler_pb2.ListCalendarsRequest(parent=parent), "calendars"),
            all_pages(stub.ListAssignments, scheduler_pb2.ListAssignmentsRequest(parent=parent), "assignments"),
        )
        return uses_of(profiles, calendars, assignments)

    async def save_sensor(self, sensor: sensors_pb2.Sensor, sensor_id: str, request_id: str) -> None:
        """Changes a sensor that has a name, else creates one."""
        if sensor.name:
            await self._clients.lighting.UpdateSensor(sensors_pb2.UpdateSensorRequest(sensor=sensor))
            return
        request = sensors_pb2.CreateSensorRequest(
            parent=self.name, sensor_id=sensor_id, sensor=sensor, request_id=request_id
        )
        await self._clients.lighting.CreateSensor(request)

    async def report_value(self, sensor: str, value: float) -> bool:
        """Enters a value of now. False where the sensor has a newer one."""
        request = sensors_pb2.ReportSensorValuesRequest(parent=self.name, names=[sensor], values=[value])
        return bool((await self._clients.lighting.ReportSensorValues(request)).accepted)

    # --- protections, faults -------------------------------------------------------------------------------------

    async def unprotected(self) -> tuple[Unprotected, ...]:
        """Lamps of which it is not assured what they do by themselves."""
        request = commissioning_pb2.ListLuminaireProtectionsRequest(parent=self.name, unprotected_only=True)
        found = await all_pages(self._clients.lighting.ListLuminaireProtections, request, "protections")
        return tuple(map(unprotected_from_proto, found))

    async def fault_messages(self) -> list[faults_pb2.Fault]:
        """Faults that stand, with all that the contract says of them, as a fitter drives."""
        request = faults_pb2.ListFaultsRequest(parent=self.name, open_only=True)
        found: list[faults_pb2.Fault] = await all_pages(self._clients.lighting.ListFaults, request, "faults")
        return found

    # --- profiles ------------------------------------------------------------------------------------------------

    async def profiles(self) -> tuple[scheduler_pb2.Profile, ...]:
        """The profiles by name."""
        request = scheduler_pb2.ListProfilesRequest(parent=self.name)
        return tuple(await all_pages(self._clients.scheduler.ListProfiles, request, "profiles"))

    async def preview(self, request: scheduler_pb2.PreviewProfileRequest) -> scheduler_pb2.PreviewProfileResponse:
        """What a profile would do; nothing is stored."""
        request.parent = self.name
        return await self._clients.scheduler.PreviewProfile(request, timeout=PREVIEW_DEADLINE_S)

    async def save_profile(
        self, profile: scheduler_pb2.Profile, profile_id: str, request_id: str
    ) -> scheduler_pb2.Profile:
        """Changes a profile that has a name, else creates one."""
        stub = self._clients.scheduler
        if profile.name:
            return await stub.UpdateProfile(scheduler_pb2.UpdateProfileRequest(profile=profile))
        request = scheduler_pb2.CreateProfileRequest(
            parent=self.name, profile_id=profile_id, profile=profile, request_id=request_id
        )
        return await stub.CreateProfile(request)


async def would(call: Awaitable[Any]) -> bool:
    """Whether a person may, by the answer to a request about what there is not: no method tells, and nothing changes.

    What the page hides or shows for it decides nothing.
    """
    try:
        await call
    except (NotPermitted, NotAuthenticated) as error:
        if isinstance(error, NotAuthenticated):
            raise
        return False
    except PermanentError:
        return True
    return True
