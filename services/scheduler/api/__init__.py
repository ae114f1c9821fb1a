"""The scheduler's gRPC methods: request in, domain call in one transaction, answer out. A file per kind of resource."""

from lichtbuch.scheduler.v1 import scheduler_pb2_grpc
from services.scheduler.api.assignments import AssignmentCalls
from services.scheduler.api.calendars import CalendarCalls
from services.scheduler.api.plans import PlanCalls
from services.scheduler.api.previews import PreviewCalls
from services.scheduler.api.profiles import ProfileCalls
from services.scheduler.api.school_holidays import SchoolHolidayCalls


class SchedulerServicer(
    ProfileCalls,
    CalendarCalls,
    SchoolHolidayCalls,
    AssignmentCalls,
    PlanCalls,
    PreviewCalls,
    scheduler_pb2_grpc.SchedulerServiceServicer,
):
    """All methods of lichtbuch.scheduler.v1.SchedulerService."""
