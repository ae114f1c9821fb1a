"""Methods about calendars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlmodel import Session

from domain.errors import InvalidInput
from domain.names import ResourceName, new_uid
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from servicekit import audit
from servicekit.context import current_tenant
from servicekit.convert import check_etag, mask_paths
from servicekit.idempotency import once
from services.scheduler.api.calls import Calls, Context, chosen_id
from services.scheduler.calendar import Calendar, validate
from services.scheduler.convert_calendar import calendar_etag, calendar_to_proto, profile_uid, rules_from_proto
from services.scheduler.records import StoredCalendar
from services.scheduler.refused_ahead import followers_of_calendar
from services.scheduler.store import calendars as store

_SETTABLE = ("display_name", "rules", "default_profile")
_OUTPUT_ONLY = ("name", "uid", "etag", "revision", "warnings")


class CalendarCalls(Calls):
    """Creates, shows, changes and deletes calendars."""

    async def CreateCalendar(self, request: pb.CreateCalendarRequest, context: Context) -> pb.Calendar:
        """A new calendar over profiles that exist."""
        tenant, given, at = current_tenant(), request.calendar, self.moment()
        uid, identifier = new_uid(), chosen_id(request.calendar_id)
        name = str(ResourceName.of(tenant.id, "calendars", identifier))

        def create(session: Session) -> pb.Calendar:
            def store_it() -> pb.Calendar:
                uids = store.profile_uids(session, tenant.uid)
                calendar = _calendar(given, uids, _SETTABLE, None)
                ids = {profile: known for known, profile in uids.items()}
                stored = StoredCalendar(uid, tenant.uid, identifier, given.display_name.strip(), calendar, ids)
                store.add_calendar(session, stored, name, at)
                answer = calendar_to_proto(tenant.id, stored)
                audit.record(session, "", name, uid, tenant.uid, after=answer)
                answer.warnings.extend(self.foresight(session, tenant).of_calendar(calendar))
                return answer

            return once(session, request, pb.Calendar, store_it, municipality_uid=tenant.uid, real=at.real)

        return await self.database.run(create)

    async def GetCalendar(self, request: pb.GetCalendarRequest, context: Context) -> pb.Calendar:
        """One calendar."""
        tenant, name = current_tenant(), ResourceName.parse(request.name, collection="calendars")

        def find(session: Session) -> pb.Calendar:
            stored = store.get_calendar(session, tenant.uid, name)
            warnings = self.foresight(session, tenant).of_calendar(stored.calendar)
            return calendar_to_proto(tenant.id, stored, warnings)

        return await self.database.read(find)

    async def ListCalendars(self, request: pb.ListCalendarsRequest, context: Context) -> pb.ListCalendarsResponse:
        """Calendars of a municipality, or of all that the caller may see."""
        found = await self.page_of(request, store.list_calendars)
        warnings = await self.warnings_of(found.items, lambda seen, stored: seen.of_calendar(stored.calendar))
        return pb.ListCalendarsResponse(
            calendars=[
                calendar_to_proto(tenant.id, stored, told)
                for (tenant, stored), told in zip(found.items, warnings, strict=True)
            ],
            next_page_token=found.next_page_token,
        )

    async def UpdateCalendar(self, request: pb.UpdateCalendarRequest, context: Context) -> pb.Calendar:
        """Changes what the mask names; the plan of every group that follows it is compiled anew at once. What would go
        wrong with it at these groups within a year is told."""
        tenant, given, at = current_tenant(), request.calendar, self.moment()
        name = ResourceName.parse(given.name, field="calendar.name", collection="calendars")
        paths = mask_paths(request.update_mask, _SETTABLE, fixed=_OUTPUT_ONLY)

        def update(session: Session) -> pb.Calendar:
            before = store.get_calendar(session, tenant.uid, name, lock=True)
            check_etag(given.etag, calendar_etag(before))
            calendar = _calendar(given, store.profile_uids(session, tenant.uid), paths, before.calendar)
            after = replace(
                before,
                display_name=given.display_name.strip() if "display_name" in paths else before.display_name,
                calendar=calendar,
            )
            was = calendar_to_proto(tenant.id, before)
            warnings = self.foresight(session, tenant).of_calendar(calendar)
            if after == before:
                was.warnings.extend(warnings)
                return was
            answer = calendar_to_proto(tenant.id, store.replace_calendar(session, after, at))
            audit.record(session, "", answer.name, after.uid, tenant.uid, before=was, after=answer)
            answer.warnings.extend(warnings)
            return answer

        answer = await self.database.run(update)
        self.synchroniser.changed(tenant)  # lamps do not wait for what is told
        answer.warnings.extend(await self.year_ahead(tenant, lambda town: followers_of_calendar(town, answer.uid)))
        return answer

    async def DeleteCalendar(self, request: pb.DeleteCalendarRequest, context: Context) -> pb.Calendar:
        """Deletes a calendar that no group follows; answers what was deleted."""
        tenant, at = current_tenant(), self.moment()
        name = ResourceName.parse(request.name, collection="calendars")

        def delete(session: Session) -> pb.Calendar:
            stored = store.get_calendar(session, tenant.uid, name, lock=True)
            store.remove_calendar(session, stored, at)
            answer = calendar_to_proto(tenant.id, stored)
            audit.record(session, "", answer.name, stored.uid, tenant.uid, before=answer, reason=request.reason)
            return answer

        return await self.database.run(delete)


def _calendar(given: pb.Calendar, uids: dict[str, str], paths: Sequence[str], before: Calendar | None) -> Calendar:
    """The calendar with what the paths name taken from the request. Raises InvalidInput under "calendar"."""
    try:
        rules = before.rules if before and "rules" not in paths else rules_from_proto(given.rules, uids)
        default = (
            before.default_profile
            if before and "default_profile" not in paths
            else profile_uid(given.default_profile, uids, "default_profile")
        )
        validate(rules)
    except InvalidInput as error:
        raise error.under("calendar") from error
    return Calendar(rules, default)
