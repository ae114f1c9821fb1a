"""Methods about profiles. A profile is checked for every night of a year at the municipality's position, and a changed
one also where the groups are that follow it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from sqlmodel import Session

from domain.errors import InvalidInput, RetryableError
from domain.names import ResourceName, new_uid
from domain.night import lighting_night
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from servicekit import audit
from servicekit.context import Tenant, current_tenant
from servicekit.convert import check_etag, mask_paths
from servicekit.idempotency import once
from services.scheduler.api.calls import Calls, Context, chosen_id
from services.scheduler.api.year_ahead import groups_following, look_ahead, not_looked_ahead
from services.scheduler.convert import profile_etag, profile_from_proto, profile_to_proto
from services.scheduler.daylight import by_day_of_profile
from services.scheduler.known_sensors import check_sensors, names_sensors, not_checked
from services.scheduler.nights import check_places
from services.scheduler.places import place_of_group, place_of_town
from services.scheduler.profile import NIGHTS_CHECKED, Profile, check_year, validate_profile
from services.scheduler.records import StoredProfile
from services.scheduler.refused_ahead import followers
from services.scheduler.store import profiles as store
from services.scheduler.store.assignments import load_town

_CONTENT = ("points", "rules")
_SETTABLE = ("display_name", *_CONTENT)
_OUTPUT_ONLY = ("name", "uid", "etag", "revision", "warnings")


class ProfileCalls(Calls):
    """Creates, shows, changes and deletes profiles."""

    async def CreateProfile(self, request: pb.CreateProfileRequest, context: Context) -> pb.Profile:
        """A new profile, once it is known to keep its order on every night of a year."""
        tenant, given, at = current_tenant(), request.profile, self.moment()
        profile, warnings = await self._checked(given, tenant)
        stored = StoredProfile(
            new_uid(), tenant.uid, chosen_id(request.profile_id), given.display_name.strip(), profile
        )
        answer = profile_to_proto(tenant.id, stored)

        def create(session: Session) -> pb.Profile:
            def store_it() -> pb.Profile:
                store.add_profile(session, stored, answer.name, at)
                audit.record(session, "", answer.name, stored.uid, tenant.uid, after=answer)
                answer.warnings.extend(warnings)
                return answer

            return once(session, request, pb.Profile, store_it, municipality_uid=tenant.uid, real=at.real)

        return await self.database.run(create)

    async def GetProfile(self, request: pb.GetProfileRequest, context: Context) -> pb.Profile:
        """One profile."""
        tenant, name = current_tenant(), ResourceName.parse(request.name, collection="profiles")
        stored = await self.database.read(lambda session: store.get_profile(session, tenant.uid, name))
        return profile_to_proto(tenant.id, stored)

    async def ListProfiles(self, request: pb.ListProfilesRequest, context: Context) -> pb.ListProfilesResponse:
        """Profiles of a municipality, or of all that the caller may see."""
        found = await self.page_of(request, store.list_profiles)
        return pb.ListProfilesResponse(
            profiles=[profile_to_proto(tenant.id, stored) for tenant, stored in found.items],
            next_page_token=found.next_page_token,
        )

    async def UpdateProfile(self, request: pb.UpdateProfileRequest, context: Context) -> pb.Profile:
        """Changes what the mask names; every plan that uses the profile follows at once. No change, no new revision."""
        tenant, given, at = current_tenant(), request.profile, self.moment()
        name = ResourceName.parse(given.name, field="profile.name", collection="profiles")
        paths = mask_paths(request.update_mask, _SETTABLE, fixed=_OUTPUT_ONLY)
        named = [path for path in paths if path in _CONTENT]
        profile: Profile | None = None
        warnings: list[str] = []
        if named:
            stands = await self.database.read(lambda session: store.get_profile(session, tenant.uid, name))
            profile, warnings = await self._checked(given, tenant, stands, named)

        def update(session: Session) -> pb.Profile:
            before = store.get_profile(session, tenant.uid, name, lock=True)
            check_etag(given.etag, profile_etag(before))
            after = replace(
                before,
                display_name=given.display_name.strip() if "display_name" in paths else before.display_name,
                profile=_changed(before.profile, profile, named) if profile else before.profile,
            )
            was = profile_to_proto(tenant.id, before)
            if after == before:
                was.warnings.extend(warnings)
                return was
            answer = profile_to_proto(tenant.id, store.replace_profile(session, after, at))
            audit.record(session, "", answer.name, after.uid, tenant.uid, before=was, after=answer)
            answer.warnings.extend(warnings)
            return answer

        answer = await self.database.run(update)
        self.synchroniser.changed(tenant)
        return answer

    async def DeleteProfile(self, request: pb.DeleteProfileRequest, context: Context) -> pb.Profile:
        """Deletes a profile that no calendar uses; answers what was deleted."""
        tenant, at = current_tenant(), self.moment()
        name = ResourceName.parse(request.name, collection="profiles")

        def delete(session: Session) -> pb.Profile:
            stored = store.get_profile(session, tenant.uid, name, lock=True)
            store.remove_profile(session, stored, at)
            answer = profile_to_proto(tenant.id, stored)
            audit.record(session, "", answer.name, stored.uid, tenant.uid, before=answer, reason=request.reason)
            return answer

        return await self.database.run(delete)

    async def _checked(
        self, given: pb.Profile, tenant: Tenant, stands: StoredProfile | None = None, named: Sequence[str] = _CONTENT
    ) -> tuple[Profile, list[str]]:
        """The profile, if it holds here and where groups follow it, with what a planner should look at and what could
        not be checked; what is not named is as it stands.

        Raises InvalidInput with the first night that goes wrong or the sensor that is not there, FailedPrecondition.
        """
        warnings: list[str] = []
        try:
            profile = profile_from_proto(given)
            if stands is not None:
                profile = _changed(stands.profile, profile, named)
            validate_profile(profile)
            place = place_of_town(tenant)
            first_night = lighting_night(self.clock.now(), place.tz)
            await asyncio.to_thread(check_year, profile, place, first_night)
            warnings = await asyncio.to_thread(by_day_of_profile, profile, place, first_night)
            if stands is not None and profile == stands.profile:
                uid = stands.uid
                warnings += await self.year_ahead(tenant, lambda town: followers(town, uid))
            elif stands is not None:
                warnings += await self._check_where_followed(stands.uid, profile, tenant, first_night)
            if stands is None or profile.rules != stands.profile.rules:
                warnings += await self._check_sensors_of_profile(profile, tenant)
        except InvalidInput as error:
            raise error.under("profile") from error
        return profile, warnings

    async def _check_sensors_of_profile(self, profile: Profile, tenant: Tenant) -> list[str]:
        """What is to be told where lighting does not answer: light must not wait for that, and a rule whose sensor is
        not there does nothing. Raises InvalidInput for a sensor that is not there or of another kind."""
        if not names_sensors([profile]):
            return []
        try:
            check_sensors(profile, await self.lighting.sensors(tenant.name))
        except RetryableError as error:
            return [not_checked(error.message)]
        return []

    async def _check_where_followed(self, uid: str, profile: Profile, tenant: Tenant, first_night: date) -> list[str]:
        """What lighting would refuse of it within a year at the groups whose calendars use the profile; that nobody
        looked, while lighting does not answer. Then what goes wrong at a group's place stands on its assignment, as for
        a group that moves there later.

        Raises InvalidInput with the first night on which it goes wrong at a group's place.
        """
        town = await self.database.read(lambda session: load_town(session, tenant.uid))
        following = followers(town, uid)
        if not following:
            return []
        try:
            groups = await groups_following(self.lighting, tenant, following)
        except RetryableError as error:
            return [not_looked_ahead(error)]
        places = [place_of_group(group, tenant) for group in groups]
        names = [group.name for group in groups]
        await asyncio.to_thread(check_places, profile, places, first_night, NIGHTS_CHECKED, names)
        with_calendars = [(group, following[group.uid]) for group in groups]
        return await look_ahead(self.lighting, tenant, town, with_calendars, first_night, {uid: profile})


def _changed(before: Profile, given: Profile, named: Sequence[str]) -> Profile:
    """A profile with what is named taken from another one. Points and rules are right or wrong by themselves."""
    return replace(before, **{name: getattr(given, name) for name in named})
