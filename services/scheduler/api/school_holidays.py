"""Methods about school holidays: a municipality is given those of a federal state, whole, in place of what it had."""

from __future__ import annotations

from dataclasses import replace

from sqlmodel import Session

from domain.errors import InvalidInput, NotFound
from domain.names import ResourceName, new_uid
from lichtbuch.scheduler.v1 import holidays_pb2 as pb
from servicekit import audit
from servicekit.context import current_tenant
from servicekit.convert import check_etag
from services.scheduler.api.calls import Calls, Context
from services.scheduler.convert_calendar import (
    school_holidays_etag,
    school_holidays_from_proto,
    school_holidays_to_proto,
)
from services.scheduler.days import is_known_subdivision, validate
from services.scheduler.records import StoredSchoolHolidays
from services.scheduler.store import school_holidays as store

_COLLECTION = "schoolHolidays"


class SchoolHolidayCalls(Calls):
    """Takes, shows and deletes school holidays."""

    async def PutSchoolHolidays(self, request: pb.PutSchoolHolidaysRequest, context: Context) -> pb.SchoolHolidays:
        """Stores the list in place of the one before; every calendar that asks for it follows at once. The same list
        again changes nothing."""
        tenant, given, at = current_tenant(), request.school_holidays, self.moment()
        name = ResourceName.parse(given.name, field="school_holidays.name", collection=_COLLECTION)
        try:
            if not is_known_subdivision(name.id):
                raise InvalidInput.of("name", f"{name.id!r} is no ISO 3166-2 code like DE-HE")
            content = school_holidays_from_proto(given)
            validate(content)
        except InvalidInput as error:
            raise error.under("school_holidays") from error

        def put(session: Session) -> pb.SchoolHolidays:
            try:
                before = store.get_school_holidays(session, tenant.uid, name, lock=True)
            except NotFound:
                check_etag(given.etag, "")
                made = StoredSchoolHolidays(new_uid(), tenant.uid, name.id, content)
                store.add_school_holidays(session, made, str(name), at)
                answer = school_holidays_to_proto(tenant.id, made)
                audit.record(session, "", answer.name, made.uid, tenant.uid, after=answer)
                return answer
            check_etag(given.etag, school_holidays_etag(before))
            was = school_holidays_to_proto(tenant.id, before)
            if before.content == content:
                return was
            after = store.replace_school_holidays(session, replace(before, content=content), at)
            answer = school_holidays_to_proto(tenant.id, after)
            audit.record(session, "", answer.name, after.uid, tenant.uid, before=was, after=answer)
            return answer

        answer = await self.database.run(put)
        self.synchroniser.changed(tenant)
        return answer

    async def GetSchoolHolidays(self, request: pb.GetSchoolHolidaysRequest, context: Context) -> pb.SchoolHolidays:
        """Those of one federal state."""
        tenant, name = current_tenant(), ResourceName.parse(request.name, collection=_COLLECTION)
        found = await self.database.read(lambda session: store.get_school_holidays(session, tenant.uid, name))
        return school_holidays_to_proto(tenant.id, found)

    async def ListSchoolHolidays(
        self, request: pb.ListSchoolHolidaysRequest, context: Context
    ) -> pb.ListSchoolHolidaysResponse:
        """Those of a municipality, or of all that the caller may see."""
        found = await self.page_of(request, store.list_school_holidays)
        return pb.ListSchoolHolidaysResponse(
            school_holidays=[school_holidays_to_proto(tenant.id, stored) for tenant, stored in found.items],
            next_page_token=found.next_page_token,
        )

    async def DeleteSchoolHolidays(
        self, request: pb.DeleteSchoolHolidaysRequest, context: Context
    ) -> pb.SchoolHolidays:
        """Forgets them; what the library knows holds again. Answers what was deleted."""
        tenant, at = current_tenant(), self.moment()
        name = ResourceName.parse(request.name, collection=_COLLECTION)

        def delete(session: Session) -> pb.SchoolHolidays:
            stored = store.get_school_holidays(session, tenant.uid, name, lock=True)
            store.remove_school_holidays(session, stored, at)
            answer = school_holidays_to_proto(tenant.id, stored)
            audit.record(session, "", answer.name, stored.uid, tenant.uid, before=answer, reason=request.reason)
            return answer

        answer = await self.database.run(delete)
        self.synchroniser.changed(tenant)
        return answer
