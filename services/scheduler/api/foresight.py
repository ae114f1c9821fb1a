"""The warnings that calendars and assignments are shown with: which nights ahead nobody can decide yet."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property

from sqlmodel import Session

from domain.night import lighting_night, zone
from servicekit.context import Tenant
from services.scheduler.calendar import Calendar
from services.scheduler.days import Days
from services.scheduler.records import Assignment, StoredCalendar
from services.scheduler.store.calendars import list_calendars
from services.scheduler.store.school_holidays import load_days


class Foresight:
    """What can be foreseen in a municipality at a domain instant. Reads what it needs when it needs it."""

    def __init__(self, session: Session, tenant: Tenant, now: datetime) -> None:
        self._session, self._tenant = session, tenant
        self._first_night = lighting_night(now, zone(tenant.time_zone))
        self._found: dict[str, list[str]] = {}

    def of_calendar(self, calendar: Calendar) -> list[str]:
        """Warnings of a calendar."""
        if not calendar.asks_for_holidays:
            return []
        return calendar.warnings(self._first_night, days=self._days)

    def of_assignment(self, assignment: Assignment) -> list[str]:
        """Warnings of the calendar that a group follows."""
        uid = assignment.calendar_uid
        if uid not in self._found:
            stored = self._calendars.get(uid)
            self._found[uid] = self.of_calendar(stored.calendar) if stored else []
        return self._found[uid]

    @cached_property
    def _days(self) -> Days:
        return load_days(self._session, self._tenant.uid)

    @cached_property
    def _calendars(self) -> dict[str, StoredCalendar]:
        return {calendar.uid: calendar for calendar in list_calendars(self._session, self._tenant.uid)}
