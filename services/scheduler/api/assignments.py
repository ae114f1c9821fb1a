"""Methods about assignments: which group follows which calendar. Whether a group exists is asked of lighting."""

from __future__ import annotations

from sqlmodel import Session

from domain.errors import InvalidInput, NotFound, RetryableError, Unavailable, Violation
from domain.names import ResourceName, new_uid
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from servicekit import audit
from servicekit.context import Tenant, current_tenant
from servicekit.convert import check_etag, mask_paths
from servicekit.idempotency import once
from services.scheduler.api.calls import Calls, Context
from services.scheduler.convert import assignment_etag, assignment_to_proto
from services.scheduler.known_sensors import names_sensors, not_checked, sensor_violations
from services.scheduler.profile import Profile
from services.scheduler.records import Assignment, Group
from services.scheduler.refused_ahead import follower
from services.scheduler.store import assignments as store
from services.scheduler.store.calendars import calendar_uids, list_calendars
from services.scheduler.store.profiles import list_profiles

_SETTABLE = ("calendar",)
_OUTPUT_ONLY = ("name", "uid", "etag", "group", "planned_until", "refusal", "warnings")


class AssignmentCalls(Calls):
    """Creates, shows, changes and deletes assignments."""

    async def CreateAssignment(self, request: pb.CreateAssignmentRequest, context: Context) -> pb.Assignment:
        """Lets a group follow a calendar; its plan is put at once. The id is the group's. What would go wrong with the
        calendar at the group within a year is told."""
        tenant, given, at = current_tenant(), request.assignment, self.moment()
        identifier = ResourceName.parse(given.group, field="assignment.group", collection="groups").id
        if request.assignment_id not in ("", identifier):
            raise InvalidInput.of("assignment_id", f"must be the id of the group, {identifier!r}, or empty")
        group = await self._group(given.group)
        warnings = await self._check_sensors_of_calendar(tenant, given.calendar)

        def create(session: Session) -> pb.Assignment:
            def store_it() -> pb.Assignment:
                calendar_uid, calendar_id = _calendar(session, tenant.uid, given.calendar)
                assignment = Assignment(new_uid(), tenant.uid, identifier, group.uid, calendar_uid, calendar_id)
                answer = assignment_to_proto(tenant.id, assignment)
                store.add_assignment(session, assignment, answer.name)
                audit.record(session, "", answer.name, assignment.uid, tenant.uid, after=answer)
                answer.warnings.extend([*self.foresight(session, tenant).of_assignment(assignment), *warnings])
                return answer

            return once(session, request, pb.Assignment, store_it, municipality_uid=tenant.uid, real=at.real)

        answer = await self.database.run(create)
        self.synchroniser.changed(tenant)  # lamps do not wait for what is told
        answer.warnings.extend(await self.year_ahead(tenant, lambda town: follower(town, answer.uid)))
        return answer

    async def GetAssignment(self, request: pb.GetAssignmentRequest, context: Context) -> pb.Assignment:
        """One assignment, with what became of its plan."""
        tenant, name = current_tenant(), ResourceName.parse(request.name, collection="assignments")

        def find(session: Session) -> pb.Assignment:
            found = store.get_assignment(session, tenant.uid, name)
            return assignment_to_proto(tenant.id, found, self.foresight(session, tenant).of_assignment(found))

        return await self.database.read(find)

    async def ListAssignments(self, request: pb.ListAssignmentsRequest, context: Context) -> pb.ListAssignmentsResponse:
        """Assignments of a municipality, or of all that the caller may see."""
        found = await self.page_of(request, store.list_assignments)
        warnings = await self.warnings_of(found.items, lambda seen, assignment: seen.of_assignment(assignment))
        return pb.ListAssignmentsResponse(
            assignments=[
                assignment_to_proto(tenant.id, assignment, told)
                for (tenant, assignment), told in zip(found.items, warnings, strict=True)
            ],
            next_page_token=found.next_page_token,
        )

    async def UpdateAssignment(self, request: pb.UpdateAssignmentRequest, context: Context) -> pb.Assignment:
        """Lets a group follow another calendar; its plan is put at once. The group itself cannot be changed. Warnings
        as when it is created."""
        tenant, given = current_tenant(), request.assignment
        name = ResourceName.parse(given.name, field="assignment.name", collection="assignments")
        paths = mask_paths(request.update_mask, _SETTABLE, fixed=_OUTPUT_ONLY)
        if given.group and ResourceName.parse(given.group, collection="groups").id != name.id:
            raise InvalidInput.of("assignment.group", "an assignment stays with its group: create another one")
        warnings = await self._check_sensors_of_calendar(tenant, given.calendar) if "calendar" in paths else []

        def update(session: Session) -> pb.Assignment:
            before = store.get_assignment(session, tenant.uid, name, lock=True)
            check_etag(given.etag, assignment_etag(before))
            was = assignment_to_proto(tenant.id, before)
            calendar_uid = before.calendar_uid
            if "calendar" in paths:
                calendar_uid, calendar_id = _calendar(session, tenant.uid, given.calendar)
            if calendar_uid == before.calendar_uid:
                was.warnings.extend(self.foresight(session, tenant).of_assignment(before))
                return was
            after = store.follow(session, before, calendar_uid, calendar_id)
            answer = assignment_to_proto(tenant.id, after)
            audit.record(session, "", answer.name, after.uid, tenant.uid, before=was, after=answer)
            answer.warnings.extend([*self.foresight(session, tenant).of_assignment(after), *warnings])
            return answer

        answer = await self.database.run(update)
        self.synchroniser.changed(tenant)  # lamps do not wait for what is told
        answer.warnings.extend(await self.year_ahead(tenant, lambda town: follower(town, answer.uid)))
        return answer

    async def DeleteAssignment(self, request: pb.DeleteAssignmentRequest, context: Context) -> pb.Assignment:
        """Leaves a group to the default light. Nothing is put: the plan that lighting holds runs out by itself."""
        tenant, name = current_tenant(), ResourceName.parse(request.name, collection="assignments")

        def delete(session: Session) -> pb.Assignment:
            found = store.get_assignment(session, tenant.uid, name, lock=True)
            store.remove_assignment(session, found)
            answer = assignment_to_proto(tenant.id, found)
            audit.record(session, "", answer.name, found.uid, tenant.uid, before=answer, reason=request.reason)
            return answer

        answer = await self.database.run(delete)
        self.synchroniser.changed(tenant)
        return answer

    async def _check_sensors_of_calendar(self, tenant: Tenant, calendar: str) -> list[str]:
        """What is to be told where lighting does not answer. Raises InvalidInput where a profile of the calendar names
        a sensor that is not there or measures something else."""
        profiles = await self.database.read(lambda session: _profiles_of(session, tenant.uid, calendar))
        if not names_sensors(profiles.values()):
            return []
        try:
            sensors = await self.lighting.sensors(tenant.name)
        except RetryableError as error:
            return [not_checked(error.message)]
        violations = [
            Violation("assignment.calendar", f"its profile {identifier}, {violation}")
            for identifier, profile in profiles.items()
            for violation in sensor_violations(profile, sensors)
        ]
        if violations:
            raise InvalidInput("", violations)
        return []

    async def _group(self, name: str) -> Group:
        try:
            return await self.lighting.group(name)
        except NotFound as error:
            raise InvalidInput.of("assignment.group", f"{name} does not exist") from error
        except RetryableError as error:
            raise Unavailable(f"lighting cannot be asked whether {name} exists: {error}", 2.0) from error


def _profiles_of(session: Session, municipality_uid: str, name: str) -> dict[str, Profile]:
    """The profiles of a calendar by id. Raises InvalidInput where there is no such calendar."""
    uid, _ = _calendar(session, municipality_uid, name)
    calendar = next(each for each in list_calendars(session, municipality_uid) if each.uid == uid)
    used = calendar.calendar.profiles()
    return {each.id: each.profile for each in list_profiles(session, municipality_uid) if each.uid in used}


def _calendar(session: Session, municipality_uid: str, name: str) -> tuple[str, str]:
    """Uid and id of a calendar by its name. Raises InvalidInput where there is none."""
    identifier = ResourceName.parse(name, field="assignment.calendar", collection="calendars").id
    uid = calendar_uids(session, municipality_uid).get(identifier)
    if uid is None:
        raise InvalidInput.of("assignment.calendar", f"{name} does not exist")
    return uid, identifier
