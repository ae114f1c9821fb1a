"""Methods about plans: what a profile would do, and comparing with lighting now."""

from __future__ import annotations

import asyncio
from datetime import date

from domain.errors import InvalidInput
from domain.night import instant_from_unix_ms, zone
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from servicekit.context import Tenant, current_tenant
from servicekit.convert import date_from_proto
from services.scheduler.api.calls import Calls, Context
from services.scheduler.convert import points_from_proto
from services.scheduler.places import place_of_town
from services.scheduler.planning import Preview, preview
from services.scheduler.profile import Place, Profile, check_year, validate


class PlanCalls(Calls):
    """Previews profiles and synchronises plans."""

    async def PreviewProfile(self, request: pb.PreviewProfileRequest, context: Context) -> pb.PreviewProfileResponse:
        """Compiles a profile for a place and a period; stores nothing."""
        first_night = date_from_proto(request.first_night, "first_night")
        place = _place(request, current_tenant())
        try:
            profile = Profile(points_from_proto(request.profile.points))
            validate(profile.points)
            seen, warnings = await asyncio.to_thread(_preview, profile, place, first_night, request.nights)
        except InvalidInput as error:
            raise error.under("profile") from error
        course = seen.plan
        local_times = [
            instant_from_unix_ms(instant).astimezone(place.tz).isoformat(timespec="seconds")
            for instant in course.instants_ms
        ]
        return pb.PreviewProfileResponse(
            instants_unix_ms=course.instants_ms,
            levels_permille=course.levels_permille,
            local_times=local_times,
            lit_seconds=seen.lit_seconds,
            full_light_equivalent_seconds=seen.full_light_equivalent_seconds,
            warnings=warnings,
        )

    async def SynchronisePlans(
        self, request: pb.SynchronisePlansRequest, context: Context
    ) -> pb.SynchronisePlansResponse:
        """A pass over the municipality now; what lighting refused before is put again."""
        report = await self.synchroniser.synchronise(current_tenant(), retry_refused=True)
        return pb.SynchronisePlansResponse(
            equal=report.equal,
            put=report.put,
            refused=[f"{name}: {reason}" for name, reason in sorted(report.refused.items())],
        )


def _place(request: pb.PreviewProfileRequest, tenant: Tenant) -> Place:
    if not request.HasField("position"):
        return place_of_town(tenant)
    return Place(request.position.latitude_deg, request.position.longitude_deg, zone(tenant.time_zone))


def _preview(profile: Profile, place: Place, first_night: date, nights: int) -> tuple[Preview, list[str]]:
    """The preview and its warnings: also of a night beyond the period that would keep the profile from being saved."""
    seen = preview(profile, place, first_night, nights)
    warnings = list(seen.warnings)
    try:
        check_year(profile, place, first_night)
    except InvalidInput as error:
        warnings.append(f"the profile cannot be saved: {error.message}")
    return seen, warnings
