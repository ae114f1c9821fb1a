"""Waivers, sensors, protections and profiles of the small town of tests: what the contracts say, with all in memory.

Previews are worked out by the scheduler's own rules, with lamps of 24 W.
"""

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from domain.errors import AlreadyExists, InvalidInput, NotFound
from domain.level import PowerCurve
from domain.night import zone
from lichtbuch.lighting.v1 import commissioning_pb2, sensors_pb2, waivers_pb2
from lichtbuch.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from lichtbuch.type.v1 import types_pb2
from servicekit.context import current_caller, current_tenant
from servicekit.convert import date_from_proto, date_to_proto, timestamp_to_proto
from services.admin.profile_text import profile_from_text
from services.scheduler.calendar import Calendar
from services.scheduler.convert import profile_from_proto
from services.scheduler.convert_preview import Factors, events_of, fill_preview
from services.scheduler.loads import load_of
from services.scheduler.preview import Period, PreviewedGroup, preview_groups
from services.scheduler.profile import Place, validate_profile

if TYPE_CHECKING:
    from tests.services.admin.town_services import Town

LAMP_W = 24.0


class PlanningCalls:
    """What LightingService says of waivers, sensors and protections."""

    _town: "Town"

    async def ListWaivers(
        self, request: waivers_pb2.ListWaiversRequest, context: Any
    ) -> waivers_pb2.ListWaiversResponse:
        """All."""
        return waivers_pb2.ListWaiversResponse(waivers=_here(self._town.waivers.values()))

    async def CreateWaiver(self, request: waivers_pb2.CreateWaiverRequest, context: Any) -> waivers_pb2.Waiver:
        """Takes one that is not over yet; warns of dark poles without a sign."""
        town, now = self._town, self._town.clock.now()
        if request.waiver.review_time.ToDatetime(tzinfo=UTC) <= now:
            raise InvalidInput.of("waiver.review_time", f"is over already: it is {now:%Y-%m-%d} now")
        waiver = waivers_pb2.Waiver()
        waiver.CopyFrom(request.waiver)
        waiver.name = f"{request.parent}/waivers/w-{len(town.waivers) + 1}"
        waiver.author = current_caller().subject
        if not waiver.HasField("start_time"):
            waiver.start_time.CopyFrom(timestamp_to_proto(now))
        town.waivers[waiver.name] = waiver
        town.calls.append(f"CreateWaiver {current_caller().subject}")
        answer = waivers_pb2.Waiver()
        answer.CopyFrom(waiver)
        if not waiver.sign_at_pole:
            answer.warnings.append("lamps that do not burn all night carry a sign at the pole; none is stated")
        return answer

    async def ReleaseWaiver(self, request: waivers_pb2.ReleaseWaiverRequest, context: Any) -> waivers_pb2.Waiver:
        """Ends one."""
        waiver: waivers_pb2.Waiver = _known(self._town.waivers, request.name)
        waiver.released_at.CopyFrom(timestamp_to_proto(self._town.clock.now()))
        self._town.calls.append(f"ReleaseWaiver {current_caller().subject}")
        return waiver

    async def ListSensors(
        self, request: sensors_pb2.ListSensorsRequest, context: Any
    ) -> sensors_pb2.ListSensorsResponse:
        """All."""
        return sensors_pb2.ListSensorsResponse(sensors=_here(self._town.sensors.values()))

    async def ListSensorStates(
        self, request: sensors_pb2.ListSensorStatesRequest, context: Any
    ) -> sensors_pb2.ListSensorStatesResponse:
        """What they said last; fresh by their own limit."""
        now, states = self._town.clock.now(), []
        for sensor in _here(self._town.sensors.values()):
            state = sensors_pb2.SensorState(name=sensor.name, kind=sensor.kind)
            if sensor.name in self._town.sensor_values:
                value, at = self._town.sensor_values[sensor.name]
                state.value = value
                state.observed_at.CopyFrom(timestamp_to_proto(at))
                state.age_s = int((now - at).total_seconds())
                state.fresh = state.age_s <= sensor.max_age_s
            states.append(state)
        return sensors_pb2.ListSensorStatesResponse(states=states)

    async def CreateSensor(self, request: sensors_pb2.CreateSensorRequest, context: Any) -> sensors_pb2.Sensor:
        """Takes one; there are no endpoints in this town."""
        name = f"{request.parent}/sensors/{request.sensor_id}"
        if name in self._town.sensors:
            raise AlreadyExists(name)
        return self._put(name, request.sensor)

    async def UpdateSensor(self, request: sensors_pb2.UpdateSensorRequest, context: Any) -> sensors_pb2.Sensor:
        """Changes one."""
        _known(self._town.sensors, request.sensor.name)
        return self._put(request.sensor.name, request.sensor)

    def _put(self, name: str, given: sensors_pb2.Sensor) -> sensors_pb2.Sensor:
        if given.endpoint:
            raise InvalidInput.of("sensor.endpoint", f"{given.endpoint} is not an endpoint of lighting")
        sensor = sensors_pb2.Sensor()
        sensor.CopyFrom(given)
        sensor.name = name
        self._town.sensors[name] = sensor
        self._town.calls.append(f"PutSensor {current_caller().subject}")
        return sensor

    async def ReportSensorValues(
        self, request: sensors_pb2.ReportSensorValuesRequest, context: Any
    ) -> sensors_pb2.ReportSensorValuesResponse:
        """Values of now."""
        for name, value in zip(request.names, request.values, strict=True):
            if name not in self._town.sensors:
                raise InvalidInput.of("names[0]", f"{name} does not exist")
            if value > 1e6:
                raise InvalidInput.of("values[0]", f"{value} is not between 0 and 1000000")
            self._town.sensor_values[name] = (value, self._town.clock.now())
        self._town.calls.append(f"ReportSensorValues {current_caller().subject}")
        return sensors_pb2.ReportSensorValuesResponse(accepted=len(request.names))

    async def ListLuminaireProtections(
        self, request: commissioning_pb2.ListLuminaireProtectionsRequest, context: Any
    ) -> commissioning_pb2.ListLuminaireProtectionsResponse:
        """Those that are not protected."""
        found = [each for each in self._town.protections if each.luminaire.startswith(f"{current_tenant().name}/")]
        return commissioning_pb2.ListLuminaireProtectionsResponse(protections=found)


class Scheduler(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Profiles, calendars, assignments; previews."""

    def __init__(self, town: "Town") -> None:
        self._town = town

    async def ListProfiles(
        self, request: scheduler_pb2.ListProfilesRequest, context: Any
    ) -> scheduler_pb2.ListProfilesResponse:
        """All."""
        return scheduler_pb2.ListProfilesResponse(profiles=_here(self._town.profiles.values()))

    async def ListCalendars(
        self, request: scheduler_pb2.ListCalendarsRequest, context: Any
    ) -> scheduler_pb2.ListCalendarsResponse:
        """All."""
        return scheduler_pb2.ListCalendarsResponse(calendars=_here(self._town.calendars))

    async def ListAssignments(
        self, request: scheduler_pb2.ListAssignmentsRequest, context: Any
    ) -> scheduler_pb2.ListAssignmentsResponse:
        """All."""
        return scheduler_pb2.ListAssignmentsResponse(assignments=_here(self._town.assignments))

    async def UpdateProfile(self, request: scheduler_pb2.UpdateProfileRequest, context: Any) -> scheduler_pb2.Profile:
        """Changes one."""
        before = _known(self._town.profiles, request.profile.name)
        return self._put(request.profile.name, request.profile, before.revision)

    async def CreateProfile(self, request: scheduler_pb2.CreateProfileRequest, context: Any) -> scheduler_pb2.Profile:
        """Takes one."""
        return self._put(f"{request.parent}/profiles/{request.profile_id}", request.profile, 0)

    def _put(self, name: str, given: scheduler_pb2.Profile, revision: int) -> scheduler_pb2.Profile:
        profile = scheduler_pb2.Profile()
        profile.CopyFrom(given)
        profile.name, profile.revision = name, revision + 1
        self._town.profiles[name] = profile
        self._town.calls.append(f"PutProfile {current_caller().subject}")
        return profile

    async def PreviewProfile(
        self, request: scheduler_pb2.PreviewProfileRequest, context: Any
    ) -> scheduler_pb2.PreviewProfileResponse:
        """By the scheduler's own rules, beside the first stored profile."""
        try:
            profile = profile_from_proto(request.profile)
            validate_profile(profile)
        except InvalidInput as error:
            raise error.under("profile") from error
        tenant = current_tenant()
        place = Place(tenant.latitude_deg, tenant.longitude_deg, zone(tenant.time_zone))
        followed = profile_from_proto(next(iter(self._town.profiles.values()), request.profile))
        current, load = Calendar((), "current"), load_of(
            PowerCurve.typical_led(LAMP_W, 0.0), len(self._town.luminaires), place.latitude_deg, place.longitude_deg
        )  # fmt: skip
        groups = [PreviewedGroup(name, place, load, current) for name in request.groups]
        seen = preview_groups(
            groups or [PreviewedGroup("", place)],
            Calendar((), "previewed"),
            {"previewed": profile, "current": followed},
            Period(date_from_proto(request.first_night), request.nights, place.tz),
            with_courses=True,
        )
        answer = scheduler_pb2.PreviewProfileResponse(
            **events_of(seen.groups[0].course, place.tz),
            energy_unknown="" if groups else "no groups are asked for, so nobody knows their lamps",
            price_eur_per_kwh=request.price_eur_per_kwh or "0.30",
            co2_g_per_kwh=request.co2_g_per_kwh or 363,
            warnings=self._town.preview_warnings,
        )
        for cabinet in self._town.cabinets if groups else ():
            answer.cabinets.add(
                cabinet=cabinet.name, luminaire_count=3, previewed_wh=8_000, total_wh=9_500, foreign_wh=1_500
            )
        fill_preview(answer, seen, Factors(), {current: "current"} if groups else None)
        return answer


def _here(items: Any) -> list[Any]:
    return [item for item in items if item.name.startswith(f"{current_tenant().name}/")]


def _known(items: dict[str, Any], name: str) -> Any:
    if name not in items:
        raise NotFound(name)
    return items[name]


RESIDENTIAL = """name = "Wohngebiete nachts"

[[points]]
anchor = "sunset"
level = 100

[[points]]
anchor = "clock"
time = "22:30"
level = 50
ramp_s = 600

[[points]]
anchor = "clock"
time = "05:00"
level = 100

[[points]]
anchor = "sunrise"
level = 0

[[rules]]
kind = "traffic"
operation = "max"
value = 100
on = 60
off = 40
hold_s = 300
"""


def plan(town: "Town") -> None:
    """Gives a town waivers, sensors, a profile that a group follows, and lamps that nobody protected."""
    from tests.services.admin.town_services import PARENT, name

    def waiver(identity: str, floor: int, start: str, review: str, **changes: Any) -> None:
        found = waivers_pb2.Waiver(
            name=name("waivers", identity),
            targets=[name("groups", "residential")],
            floor_permille=floor,
            decision_reference=f"StVV {identity}",
            decided_on=date_to_proto(date(2024, 5, 2)),
            start_time=timestamp_to_proto(datetime.fromisoformat(f"{start}T12:00+00:00")),
            review_time=timestamp_to_proto(datetime.fromisoformat(f"{review}T12:00+00:00")),
            reason="Weg wird nachts nicht benutzt",
            author="u-27d6f0a9",
        )
        found.MergeFrom(waivers_pb2.Waiver(**changes))
        town.waivers[found.name] = found

    today = town.clock.now().date()
    past, soon, later = (str(today + timedelta(days=days)) for days in (-40, 30, 400))
    waiver("2023-7", 100, "2024-06-01", past)
    waiver("2024-9", 0, "2024-06-01", soon, sign_at_pole=True)
    waiver("2026-1", 200, soon, later)
    town.waivers[name("waivers", "2023-7")].targets[:] = [name("luminaires", "L-0003")]

    for identity, kind, value, age_s in (
        ("sternweg", types_pb2.SENSOR_KIND_TRAFFIC, 72.0, 20),
        ("dach", types_pb2.SENSOR_KIND_ILLUMINANCE, 18.5, 4000),
    ):
        town.sensors[name("sensors", identity)] = sensors_pb2.Sensor(
            name=name("sensors", identity), display_name=identity.title(), kind=kind, max_age_s=600,
            groups=[name("groups", "residential")] if identity == "sternweg" else [],
        )  # fmt: skip
        at = town.clock.now() - timedelta(seconds=age_s)
        town.sensor_values[name("sensors", identity)] = (value, at)

    profile = profile_from_text(RESIDENTIAL, PARENT)
    profile.name, profile.revision = name("profiles", "residential"), 3
    town.profiles[profile.name] = profile
    calendar = scheduler_pb2.Calendar(name=name("calendars", "all"), default_profile=profile.name)
    town.calendars.append(calendar)
    group = name("groups", "residential")
    town.assignments.append(
        scheduler_pb2.Assignment(name=name("assignments", "residential"), group=group, calendar=calendar.name)
    )
    town.preview_warnings.append("the nights of 2026-12-24 and later are decided without known school holidays")
    for number, state in enumerate((2, 2, 3, 5), start=1):
        town.protections.append(
            commissioning_pb2.LuminaireProtection(
                luminaire=name("luminaires", f"L-000{number}"),
                gateway=name("gateways", "G-001"),
                state=commissioning_pb2.ProtectionState.ValueType(state),
                power_on_permille=1000 if state > 2 else None,
                read_power_on_permille=-1 if state == 5 else None,
            )
        )
