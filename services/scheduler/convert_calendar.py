"""Between calendars and school holidays as the scheduler has them and as the contract does. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, time

from domain.errors import InvalidInput
from domain.names import ResourceName
from lichtbuch.scheduler.v1 import holidays_pb2
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from servicekit.convert import date_from_proto, date_to_proto, etag_of
from services.scheduler.calendar import Calendar, Hours, MonthDay, Rule
from services.scheduler.days import DEFAULT_SUBDIVISION, DayKind, Period, SchoolHolidays
from services.scheduler.moment import parse_clock
from services.scheduler.records import StoredCalendar, StoredSchoolHolidays

_DAY_KINDS = frozenset(int(kind) for kind in DayKind)


def rules_from_proto(rules: Sequence[pb.CalendarRule], uids: Mapping[str, str]) -> tuple[Rule, ...]:
    """Calendar rules; `uids` gives those of the municipality's profiles by id.

    Raises InvalidInput with "rules[i]...." for an unknown profile and for what is no date or clock time.
    """
    return tuple(_rule_from_proto(rule, f"rules[{index}]", uids) for index, rule in enumerate(rules))


def _rule_from_proto(rule: pb.CalendarRule, prefix: str, uids: Mapping[str, str]) -> Rule:
    if int(rule.days) not in _DAY_KINDS:
        raise InvalidInput.of(f"{prefix}.days", f"{rule.days} is not a kind of day")
    return Rule(
        profile=profile_uid(rule.profile, uids, f"{prefix}.profile") if rule.profile else "",
        first_night=_optional_date(rule, "first_night", prefix),
        last_night=_optional_date(rule, "last_night", prefix),
        weekdays=frozenset(rule.weekdays),
        nights=frozenset(date_from_proto(night, f"{prefix}.nights[{i}]") for i, night in enumerate(rule.nights)),
        yearly=_yearly(rule, prefix),
        days=DayKind(rule.days),
        subdivision=rule.subdivision or DEFAULT_SUBDIVISION,
        hours=_hours(rule, prefix),
        level_permille=rule.level_permille if rule.HasField("level_permille") else None,
        display_name=rule.display_name.strip(),
    )


def profile_uid(name: str, uids: Mapping[str, str], field: str) -> str:
    """The uid of a profile by its name. Raises InvalidInput where there is none."""
    identifier = ResourceName.parse(name, field=field, collection="profiles").id
    if identifier not in uids:
        raise InvalidInput.of(field, f"{name} does not exist")
    return uids[identifier]


def _optional_date(rule: pb.CalendarRule, field: str, prefix: str) -> date | None:
    return date_from_proto(getattr(rule, field), f"{prefix}.{field}") if rule.HasField(field) else None  # type: ignore[arg-type]


def _yearly(rule: pb.CalendarRule, prefix: str) -> tuple[MonthDay, MonthDay] | None:
    first, last = rule.yearly_first_night, rule.yearly_last_night
    if not first and not last:
        return None
    return month_day(first, f"{prefix}.yearly_first_night"), month_day(last, f"{prefix}.yearly_last_night")


def month_day(text: str, field: str) -> MonthDay:
    """Month and day of "MM-DD". Raises InvalidInput for what no year has."""
    try:
        # 2000 was a leap year.
        found = date.fromisoformat(f"2000-{text}")
    except ValueError as error:
        raise InvalidInput.of(field, f"{text!r} is no day of a year, MM-DD") from error
    return found.month, found.day


def _hours(rule: pb.CalendarRule, prefix: str) -> Hours | None:
    if not rule.from_time and not rule.until_time:
        return None
    return _clock(rule.from_time, f"{prefix}.from_time"), _clock(rule.until_time, f"{prefix}.until_time")


def _clock(text: str, field: str) -> time:
    found = parse_clock(text, field)
    if found is None:
        raise InvalidInput.of(field, "from_time and until_time go together")
    return found


def calendar_to_proto(municipality_id: str, stored: StoredCalendar, warnings: Sequence[str] = ()) -> pb.Calendar:
    """A calendar. warnings: `Calendar.warnings`, where they are asked for."""

    def profile_name(uid: str) -> str:
        return str(ResourceName.of(municipality_id, "profiles", stored.profile_ids[uid])) if uid else ""

    calendar: Calendar = stored.calendar
    return pb.Calendar(
        name=str(ResourceName.of(municipality_id, "calendars", stored.id)),
        uid=stored.uid,
        display_name=stored.display_name,
        rules=[rule_to_proto(rule, profile_name(rule.profile)) for rule in calendar.rules],
        default_profile=profile_name(calendar.default_profile),
        revision=stored.revision,
        etag=calendar_etag(stored),
        warnings=warnings,
    )


def rule_to_proto(rule: Rule, profile_name: str) -> pb.CalendarRule:
    """A calendar rule, its profile by name."""
    first, last = rule.yearly or (None, None)
    return pb.CalendarRule(
        first_night=date_to_proto(rule.first_night) if rule.first_night else None,
        last_night=date_to_proto(rule.last_night) if rule.last_night else None,
        weekdays=sorted(rule.weekdays),
        profile=profile_name,
        nights=[date_to_proto(night) for night in sorted(rule.nights)],
        yearly_first_night="{:02}-{:02}".format(*first) if first else "",
        yearly_last_night="{:02}-{:02}".format(*last) if last else "",
        days=pb.DayKind.ValueType(rule.days),
        subdivision=rule.subdivision if rule.days is not DayKind.ANY else "",
        from_time=f"{rule.hours[0]:%H:%M}" if rule.hours else "",
        until_time=f"{rule.hours[1]:%H:%M}" if rule.hours else "",
        level_permille=rule.level_permille,
        display_name=rule.display_name,
    )


def calendar_etag(stored: StoredCalendar) -> str:
    """Names the version of a calendar."""
    return etag_of(stored.uid, stored.revision)


def school_holidays_from_proto(given: holidays_pb2.SchoolHolidays) -> SchoolHolidays:
    """School holidays; not validated. Raises InvalidInput with the field of what is no date."""
    periods = tuple(
        Period(
            date_from_proto(period.first_day, f"periods[{index}].first_day"),
            date_from_proto(period.last_day, f"periods[{index}].last_day"),
            period.display_name.strip(),
        )
        for index, period in enumerate(given.periods)
    )
    if not periods:
        raise InvalidInput.of("periods", "there are no school holidays in it")
    return SchoolHolidays(
        periods,
        date_from_proto(given.covered_from, "covered_from") if given.HasField("covered_from") else periods[0].first_day,
        date_from_proto(given.covered_until, "covered_until")
        if given.HasField("covered_until")
        else periods[-1].last_day,
        given.source.strip(),
    )


def school_holidays_to_proto(municipality_id: str, stored: StoredSchoolHolidays) -> holidays_pb2.SchoolHolidays:
    """School holidays."""
    content = stored.content
    return holidays_pb2.SchoolHolidays(
        name=str(ResourceName.of(municipality_id, "schoolHolidays", stored.id)),
        uid=stored.uid,
        source=content.source,
        periods=[
            holidays_pb2.SchoolHolidayPeriod(
                display_name=period.display_name,
                first_day=date_to_proto(period.first_day),
                last_day=date_to_proto(period.last_day),
            )
            for period in content.periods
        ],
        covered_from=date_to_proto(content.covered_from),
        covered_until=date_to_proto(content.covered_until),
        revision=stored.revision,
        etag=school_holidays_etag(stored),
    )


def school_holidays_etag(stored: StoredSchoolHolidays) -> str:
    """Names the version of school holidays."""
    return etag_of(stored.uid, stored.revision)
