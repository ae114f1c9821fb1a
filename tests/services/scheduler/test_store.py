"""What the scheduler stores, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from sqlalchemy import inspect
from sqlmodel import Session, col, select

from domain.errors import AlreadyExists, FailedPrecondition, NotFound
from domain.names import ResourceName, new_uid
from servicekit.database import Database
from services.scheduler.calendar import Rule
from services.scheduler.days import DayKind, Period, SchoolHolidays
from services.scheduler.profile import Anchor, Profile, SwitchPoint
from services.scheduler.records import Assignment, StoredCalendar, StoredProfile, StoredSchoolHolidays
from services.scheduler.store import assignments, calendars, profiles, school_holidays
from services.scheduler.store.assignments import Outcome
from services.scheduler.store.shelf import Moment
from services.scheduler.store.tables import ProfileRevisionRow, SchedulerTable
from tests.services.scheduler.making import ALL_NIGHT, assigned, dimmed, stored_calendar, stored_profile

TOWN, OTHER = "1" * 32, "2" * 32
NOW = datetime(2026, 11, 22, 11, 0, tzinfo=UTC)
MOMENT = Moment(NOW, NOW + timedelta(days=100))


def later(hours: int) -> Moment:
    return Moment(NOW + timedelta(hours=hours), NOW + timedelta(days=100, hours=hours))


def name(collection: str, identifier: str) -> ResourceName:
    return ResourceName.of("bad-hersfeld", collection, identifier)


async def keep(database: Database, *things: StoredProfile | StoredCalendar | Assignment) -> None:
    def work(session: Session) -> None:
        for thing in things:
            if isinstance(thing, StoredProfile):
                profiles.add_profile(session, thing, str(name("profiles", thing.id)), MOMENT)
            elif isinstance(thing, StoredCalendar):
                calendars.add_calendar(session, thing, str(name("calendars", thing.id)), MOMENT)
            else:
                assignments.add_assignment(session, thing, str(name("assignments", thing.id)))

    await database.run(work)


async def test_the_migrations_make_the_tables_that_the_queries_use(either_database: Database) -> None:
    def columns(session: Session) -> dict[str, dict[str, bool]]:
        inspector = inspect(session.connection())
        return {
            table: {column["name"]: column["nullable"] for column in inspector.get_columns(table)}
            for table in SchedulerTable.metadata.tables
        }

    expected = {
        table: {column.name: bool(column.nullable) for column in definition.columns}
        for table, definition in SchedulerTable.metadata.tables.items()
    }
    assert await either_database.read(columns) == expected


async def test_what_is_stored_comes_back(either_database: Database) -> None:
    full = Profile(
        (
            SwitchPoint(Anchor.CIVIL_DUSK, 1000, -600, ramp_s=60, earliest=time(16, 30), latest=time(21)),
            SwitchPoint(Anchor.VIRTUAL_MIDNIGHT, 300, 3600),
            SwitchPoint(Anchor.CLOCK, 700, clock_time=time(4, 30, 15)),
            SwitchPoint(Anchor.CIVIL_DAWN, 0, 1200),
        )
    )
    profile, other = stored_profile(TOWN, "full", full), stored_profile(TOWN, "weekend")
    rule = Rule(other.uid, date(2026, 12, 24), None, frozenset({6, 7}))
    calendar = stored_calendar(profile, "all-days", (rule, other.id))
    assignment = assigned(calendar, "markt")
    await keep(either_database, profile, other, calendar, assignment)

    def read(session: Session) -> tuple[StoredProfile, StoredCalendar, Assignment]:
        return (
            profiles.get_profile(session, TOWN, name("profiles", "full")),
            calendars.get_calendar(session, TOWN, name("calendars", "all-days")),
            assignments.get_assignment(session, TOWN, name("assignments", "markt")),
        )

    found_profile, found_calendar, found_assignment = await either_database.read(read)
    assert (found_profile, found_calendar, found_assignment) == (profile, calendar, assignment)
    assert found_calendar.profile_ids == {profile.uid: "full", other.uid: "weekend"}


async def test_every_revision_is_kept_with_the_time_it_held_even_after_the_end(either_database: Database) -> None:
    first = stored_profile(TOWN)
    await keep(either_database, first)

    def change(session: Session) -> StoredProfile:
        before = profiles.get_profile(session, TOWN, name("profiles", "night-dim"), lock=True)
        return profiles.replace_profile(session, replace(before, profile=ALL_NIGHT), later(1))

    assert (await either_database.run(change)).revision == 2
    second = await either_database.read(lambda s: profiles.get_profile(s, TOWN, name("profiles", "night-dim")))
    await either_database.run(lambda session: profiles.remove_profile(session, second, later(2)))
    again = stored_profile(TOWN, profile=dimmed(700))
    await either_database.run(lambda session: profiles.add_profile(session, again, "night-dim", later(3)))

    history = await either_database.read(lambda session: profiles.profile_history(session, TOWN, "night-dim"))
    assert [(item.kept.uid, item.kept.revision) for item in history] == [
        (first.uid, 1),
        (first.uid, 2),
        (again.uid, 1),
    ]
    hours = [NOW + timedelta(hours=hours) for hours in range(4)]
    assert [(item.held_from, item.held_until) for item in history] == [
        (hours[0], hours[1]),
        (hours[1], hours[2]),
        (hours[3], None),
    ]
    assert [profiles.profile_of(item.kept).profile for item in history] == [dimmed(500), ALL_NIGHT, dimmed(700)]
    recorded = await either_database.read(
        lambda session: session.exec(select(col(ProfileRevisionRow.recorded_at)).order_by("recorded_at")).all()
    )
    assert list(recorded) == [MOMENT.real, later(1).real, later(3).real]


async def test_a_calendar_s_history_says_which_profiles_it_used(either_database: Database) -> None:
    usual, winter = stored_profile(TOWN, "usual"), stored_profile(TOWN, "winter")
    calendar = stored_calendar(usual)
    await keep(either_database, usual, winter, calendar)

    def change(session: Session) -> StoredCalendar:
        before = calendars.get_calendar(session, TOWN, name("calendars", "all-days"), lock=True)
        content = replace(before.calendar, default_profile=winter.uid)
        return calendars.replace_calendar(session, replace(before, calendar=content), later(1))

    changed = await either_database.run(change)
    assert (changed.revision, changed.profile_ids) == (2, {winter.uid: "winter"})
    # What it no longer uses may go; its history still names it.
    await either_database.run(lambda session: profiles.remove_profile(session, usual, later(2)))
    history = await either_database.read(lambda session: calendars.calendar_history(session, TOWN, "all-days"))
    assert [item.kept.content["default_profile"] for item in history] == [usual.uid, winter.uid]


async def test_what_is_used_cannot_be_deleted_and_says_by_whom(either_database: Database) -> None:
    profile = stored_profile(TOWN)
    calendar = stored_calendar(profile)
    assignment = assigned(calendar, "markt")
    await keep(either_database, profile, calendar, assignment)
    with pytest.raises(FailedPrecondition, match="used by calendars: all-days"):
        await either_database.run(lambda session: profiles.remove_profile(session, profile, later(1)))
    with pytest.raises(FailedPrecondition, match="groups follow the calendar: markt"):
        await either_database.run(lambda session: calendars.remove_calendar(session, calendar, later(1)))

    def remove_all(session: Session) -> None:
        assignments.remove_assignment(session, assignment)
        calendars.remove_calendar(session, calendar, later(1))
        profiles.remove_profile(session, profile, later(1))

    await either_database.run(remove_all)
    town = await either_database.read(lambda session: assignments.load_town(session, TOWN))
    assert (town.assignments, town.calendars, town.profiles) == ((), {}, {})


async def test_an_id_is_taken_once_per_municipality_and_a_group_assigned_once(either_database: Database) -> None:
    profile, elsewhere = stored_profile(TOWN), stored_profile(OTHER)
    calendar = stored_calendar(profile)
    assignment = assigned(calendar, "markt")
    await keep(either_database, profile, elsewhere, calendar, assignment)
    for again in (
        stored_profile(TOWN),
        stored_calendar(profile),
        assigned(calendar, "markt"),
        assigned(calendar, "ring", assignment.group_uid),
    ):
        with pytest.raises(AlreadyExists):
            await keep(either_database, again)


async def test_of_two_who_take_an_id_at_once_one_gets_it(either_database: Database) -> None:
    results = await asyncio.gather(
        *(keep(either_database, stored_profile(TOWN)) for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["AlreadyExists"] * 3 + ["NoneType"]


async def test_a_profile_that_a_calendar_takes_at_the_same_moment_stays_or_is_not_taken(
    either_database: Database,
) -> None:
    profile, other = stored_profile(TOWN), stored_profile(TOWN, "other")
    await keep(either_database, profile, other)
    await asyncio.gather(
        keep(either_database, stored_calendar(profile)),
        either_database.run(lambda session: profiles.remove_profile(session, profile, later(1))),
        return_exceptions=True,
    )
    town = await either_database.read(lambda session: assignments.load_town(session, TOWN))
    used = {uid for calendar in town.calendars.values() for uid in calendar.calendar.profiles()}
    assert used <= town.profiles.keys()


async def test_another_municipality_s_things_are_not_found(either_database: Database) -> None:
    await keep(either_database, stored_profile(OTHER))
    with pytest.raises(NotFound):
        await either_database.read(lambda s: profiles.get_profile(s, TOWN, name("profiles", "night-dim")))
    assert await either_database.read(lambda session: profiles.list_profiles(session, TOWN)) == []


async def test_lists_go_by_id_byte_by_byte_and_on_from_where_they_stopped(either_database: Database) -> None:
    ids = ["Z", "a", "b-1", "b.1", "b~1", "ba", "c"]
    await keep(either_database, *(stored_profile(TOWN, identifier) for identifier in reversed(ids)))
    found: list[str] = []

    def next_page(session: Session) -> list[str]:
        after = found[-1] if found else None
        return [profile.id for profile in profiles.list_profiles(session, TOWN, after_id=after, limit=3)]

    for _ in ids:
        found += await either_database.read(next_page)
    assert found == sorted(ids)


async def test_what_became_of_a_plan_is_noted_only_at_the_version_it_was_made_for(either_database: Database) -> None:
    profile = stored_profile(TOWN)
    calendar, second = stored_calendar(profile), stored_calendar(profile, "second")
    assignment = assigned(calendar, "markt")
    await keep(either_database, profile, calendar, second, assignment)
    until = NOW + timedelta(days=3)

    async def note(outcome: Outcome) -> Assignment:
        await either_database.run(lambda session: assignments.record_outcomes(session, [outcome]))
        return await either_database.read(
            lambda session: assignments.get_assignment(session, TOWN, name("assignments", "markt"))
        )

    noted = await note(Outcome(assignment.uid, 1, until, "too dark", "key"))
    assert (noted.planned_until, noted.refusal, noted.refused_key) == (until, "too dark", "key")
    # Somebody lets the group follow another calendar: what was refused counts no more, what lighting holds does.
    followed = await either_database.run(lambda s: assignments.follow(s, noted, second.uid, second.id))
    assert (followed.version, followed.planned_until, followed.refusal, followed.refused_key) == (2, until, "", "")
    late = await note(Outcome(assignment.uid, 1, None, "of the calendar before", "key"))
    assert late == followed


async def test_school_holidays_are_kept_with_every_revision_and_are_part_of_the_town(either_database: Database) -> None:
    def given(last: date) -> SchoolHolidays:
        return SchoolHolidays((Period(date(2030, 7, 22), last, "Sommerferien"),), date(2030, 7, 22), last, "ministry")

    hesse = StoredSchoolHolidays(new_uid(), TOWN, "DE-HE", given(date(2030, 8, 30)))
    await either_database.run(lambda session: school_holidays.add_school_holidays(session, hesse, "hesse", MOMENT))
    elsewhere = replace(hesse, uid=new_uid(), municipality_uid=OTHER)
    await either_database.run(lambda session: school_holidays.add_school_holidays(session, elsewhere, "x", MOMENT))
    with pytest.raises(AlreadyExists):
        again = replace(hesse, uid=new_uid())
        await either_database.run(lambda session: school_holidays.add_school_holidays(session, again, "x", MOMENT))

    def change(session: Session) -> StoredSchoolHolidays:
        found = school_holidays.get_school_holidays(session, TOWN, name("schoolHolidays", "DE-HE"), lock=True)
        after = replace(found, content=given(date(2030, 8, 31)))
        return school_holidays.replace_school_holidays(session, after, later(1))

    changed = await either_database.run(change)
    assert (changed.revision, changed.content) == (2, given(date(2030, 8, 31)))
    town = await either_database.read(lambda session: assignments.load_town(session, TOWN))
    assert town.school_holidays == (changed,)
    assert town.days.is_a(DayKind.SCHOOL_HOLIDAY, "DE-HE", date(2030, 8, 31)) is True
    history = await either_database.read(lambda session: school_holidays.SHELF.history(session, TOWN, "DE-HE"))
    assert [(revision.kept.revision, revision.held_from) for revision in history] == [
        (1, MOMENT.domain),
        (2, later(1).domain),
    ]
    await either_database.run(lambda session: school_holidays.remove_school_holidays(session, changed, later(2)))
    with pytest.raises(NotFound):
        await either_database.read(
            lambda session: school_holidays.get_school_holidays(session, TOWN, name("schoolHolidays", "DE-HE"))
        )
    assert len(await either_database.read(lambda session: school_holidays.list_school_holidays(session, OTHER))) == 1
