"""The method that says what a profile or a calendar would bring, before it goes live. It stores nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from sqlmodel import Session

from domain.errors import InvalidInput, RetryableError
from domain.names import ResourceName
from domain.night import zone
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from servicekit.context import Tenant, current_tenant
from servicekit.convert import date_from_proto
from services.scheduler.api.calls import Calls, Context
from services.scheduler.cabinet_loads import CabinetLoad, foreign_hours
from services.scheduler.calendar import Calendar
from services.scheduler.calendar import validate as validate_calendar
from services.scheduler.compiling import is_whole
from services.scheduler.convert import profile_from_proto
from services.scheduler.convert_calendar import profile_uid, rules_from_proto
from services.scheduler.convert_preview import (
    DEFAULT_CO2_G_PER_KWH,
    DEFAULT_PRICE_EUR_PER_KWH,
    MOST_GROUP_NIGHTS,
    Factors,
    cabinet_to_proto,
    events_of,
    fill_preview,
)
from services.scheduler.loads import GroupLoad
from services.scheduler.nights import check_places
from services.scheduler.places import place_of_group, place_of_town
from services.scheduler.preview import CabinetShare, Period, PreviewedGroup, cabinet_shares, preview_groups
from services.scheduler.profile import NIGHTS_CHECKED, Place, Profile, validate_profile
from services.scheduler.records import Group, Town
from services.scheduler.sky import Nights
from services.scheduler.store.assignments import load_town
from services.scheduler.store.calendars import profile_uids
from services.scheduler.warnings import REFUSED, period_warnings

_PREVIEWED: Final = "previewed"
"""Key of the profile that is previewed; those of the town are uids."""


@dataclass(frozen=True)
class _Asked:
    """What is to be previewed, with every profile that it or any current calendar needs."""

    calendar: Calendar
    profiles: Mapping[str, Profile]
    town: Town
    field: str


class PreviewCalls(Calls):
    """Previews profiles and calendars."""

    async def PreviewProfile(self, request: pb.PreviewProfileRequest, context: Context) -> pb.PreviewProfileResponse:
        """Compiles a profile or a calendar for a place, groups and a period."""
        tenant = current_tenant()
        period = Period(date_from_proto(request.first_night, "first_night"), request.nights, zone(tenant.time_zone))
        if not request.omit_group_events and len(request.groups) * request.nights > MOST_GROUP_NIGHTS:
            raise InvalidInput.of(
                "omit_group_events",
                f"the switch events of {len(request.groups)} groups in {request.nights} nights are too many to be told",
            )
        factors = Factors(
            Decimal(request.price_eur_per_kwh or DEFAULT_PRICE_EUR_PER_KWH),
            request.co2_g_per_kwh if request.HasField("co2_g_per_kwh") else DEFAULT_CO2_G_PER_KWH,
        )
        asked = await self.database.read(lambda session: _asked(session, tenant, request))
        place = _place(request, tenant)
        groups, cabinets, unknown = await self._groups(request, tenant, asked.town, place, period)

        def work() -> pb.PreviewProfileResponse:
            return _answer(request, asked, place, groups, cabinets, unknown, period, factors)

        try:
            return await asyncio.to_thread(work)
        except InvalidInput as error:
            raise error.under(asked.field) from error

    async def _groups(
        self, request: pb.PreviewProfileRequest, tenant: Tenant, town: Town, place: Place, period: Period
    ) -> tuple[list[PreviewedGroup], list[CabinetLoad], str]:
        """The groups, their cabinets, and why their energy is not known; while lighting is away they lie at the
        municipality's place.

        Raises InvalidInput for a group that lighting does not have.
        """
        if not request.groups:
            return [], [], "no groups are asked for, so nobody knows their lamps"
        names = list(dict.fromkeys(request.groups))
        followed = {assignment.group_uid: assignment.calendar_uid for assignment in town.assignments}
        by_id = {assignment.id: assignment.calendar_uid for assignment in town.assignments}
        known: dict[str, Group] = {}
        loads: dict[str, GroupLoad] = {}
        cabinets: list[CabinetLoad] = []
        unknown = ""
        try:
            known = {group.name: group for group in await self.lighting.groups(tenant.name)}
            for index, name in enumerate(request.groups):
                if name not in known:
                    raise InvalidInput.of(f"groups[{index}]", f"{name} does not exist")
            loads, cabinets = await self.lighting.loads(tenant.name, names, *period.bounds)
        except RetryableError as error:
            unknown = f"lighting does not answer, so nobody knows the lamps: {error.message}"
        found = []
        for name in names:
            group = known.get(name)
            uid = by_id.get(ResourceName.parse(name).id) if group is None else followed.get(group.uid)
            current = town.calendars.get(uid) if uid is not None and is_whole(town, uid) else None
            found.append(
                PreviewedGroup(
                    name,
                    place if group is None else place_of_group(group, tenant),
                    loads.get(name),
                    current.calendar if current is not None else None,
                )
            )
        return found, cabinets, unknown


def _asked(session: Session, tenant: Tenant, request: pb.PreviewProfileRequest) -> _Asked:
    """Raises InvalidInput for what is no profile or calendar, under its field."""
    has_profile, has_calendar = request.HasField("profile"), request.HasField("calendar")
    if has_profile == has_calendar:
        raise InvalidInput.of(
            "profile", "stands beside a calendar: one of the two is previewed" if has_profile else "is required"
        )
    town = load_town(session, tenant.uid)
    profiles = {uid: stored.profile for uid, stored in town.profiles.items()}
    if has_profile:
        try:
            profile = profile_from_proto(request.profile)
            validate_profile(profile)
        except InvalidInput as error:
            raise error.under("profile") from error
        return _Asked(Calendar((), _PREVIEWED), {**profiles, _PREVIEWED: profile}, town, "profile")
    try:
        uids = profile_uids(session, tenant.uid)
        rules = rules_from_proto(request.calendar.rules, uids)
        validate_calendar(rules)
        default = profile_uid(request.calendar.default_profile, uids, "default_profile")
    except InvalidInput as error:
        raise error.under("calendar") from error
    return _Asked(Calendar(rules, default), profiles, town, "calendar")


def _place(request: pb.PreviewProfileRequest, tenant: Tenant) -> Place:
    if not request.HasField("position"):
        return place_of_town(tenant)
    return Place(request.position.latitude_deg, request.position.longitude_deg, zone(tenant.time_zone))


def _answer(
    request: pb.PreviewProfileRequest,
    asked: _Asked,
    place: Place,
    groups: list[PreviewedGroup],
    cabinets: list[CabinetLoad],
    energy_unknown: str,
    period: Period,
    factors: Factors,
) -> pb.PreviewProfileResponse:
    """Raises InvalidInput with the first night that goes wrong at the place itself."""
    days = asked.town.days
    at_place = preview_groups(
        [PreviewedGroup("", place)], asked.calendar, asked.profiles, period, days, with_courses=True
    )
    [whole] = at_place.groups
    if whole.error is not None:
        raise whole.error
    answer = pb.PreviewProfileResponse(
        **events_of(whole.course, place.tz),
        energy_unknown=energy_unknown,
        price_eur_per_kwh=str(factors.price_eur_per_kwh),
        co2_g_per_kwh=factors.co2_g_per_kwh,
    )
    if whole.previewed is not None:
        answer.lit_seconds = round(sum(whole.previewed.lit_s))
        answer.full_light_equivalent_seconds = int(sum(whole.previewed.full_light_equivalent_s) + 1e-3)
    nights = Nights(place.tz, period.first_night, period.nights)
    # What lighting would refuse is said of each group, by its own floor and waivers.
    of_place = [warning for warning in whole.warnings if not groups or REFUSED not in warning]
    answer.warnings.extend([*of_place, *period_warnings(asked.calendar, nights, days)])
    if asked.field == "profile":
        places = [place, *(group.place for group in groups)]
        try:
            names = ["", *(group.name for group in groups)]
            check_places(asked.profiles[_PREVIEWED], places, period.first_night, NIGHTS_CHECKED, names)
        except InvalidInput as error:
            answer.warnings.append(f"the profile cannot be saved: {error.message}")
    seen = at_place
    if groups:
        seen = preview_groups(
            groups, asked.calendar, asked.profiles, period, days, with_courses=not request.omit_group_events
        )
    calendars = {stored.calendar: stored.id for stored in asked.town.calendars.values()}
    fill_preview(answer, seen if groups else at_place, factors, calendars if groups else None)
    shares = cabinet_shares(seen)
    for cabinet in cabinets:
        share = shares.get(cabinet.name, CabinetShare())
        answer.cabinets.append(cabinet_to_proto(cabinet, share, foreign_hours(cabinet, place, period)))
    return answer
