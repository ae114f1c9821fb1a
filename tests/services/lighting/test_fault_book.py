"""The book of faults in memory and in the database: nothing twice, nothing lost, whoever holds the field."""

from __future__ import annotations

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import Session, col, select

from servicekit.clock import SteppedClock
from servicekit.context import Tenant
from servicekit.database import Database
from services.lighting.fault_book import FaultBook
from services.lighting.fault_clerk import FaultClerk
from services.lighting.fault_kinds import FaultEnd, FaultKey, FaultKind, SubjectKind
from services.lighting.fault_route import route_of
from services.lighting.store.faults import get_fault, standing_counts, standing_faults
from services.lighting.store.tables import FaultRow
from tests.services.lighting.bench import NOON
from tests.support.running import HERSFELD

LAMP = FaultKey(FaultKind.LAMP_FAILURE, "a" * 32)
OTHER = FaultKey(FaultKind.LAMP_FAILURE, "b" * 32)


def raise_(book: FaultBook, key: FaultKey = LAMP, at_ms: int = 1000, measured: float = nan) -> None:
    book.raise_(key.kind, SubjectKind.LUMINAIRE, key.subject_uid, HERSFELD.uid, at_ms, measured, nan)


class Holder:
    """A process that holds the field, or does not, and its book."""

    def __init__(self, database: Database) -> None:
        self.holds, self.ready = True, True
        self.book = FaultBook()
        self.clerk = FaultClerk(
            database, self.book, SteppedClock(NOON), holds=lambda: self.holds, inventory_revision=lambda: 1,
            ready=lambda: self.ready,
        )  # fmt: skip


async def rows(database: Database) -> list[FaultRow]:
    def find(session: Session) -> list[FaultRow]:
        found = list(session.exec(select(FaultRow).order_by(col(FaultRow.raised_ms))))
        session.expunge_all()
        return found

    return await database.read(find)


async def test_a_fault_is_stored_once_and_cleared_in_its_place(database: Database):
    one = Holder(database)
    raise_(one.book, measured=60.0)
    raise_(one.book, at_ms=2000)
    await one.clerk.turn()
    await one.clerk.turn()
    stored = await rows(database)
    assert [(r.raised_ms, r.cleared_ms, r.measured) for r in stored] == [(1000, 0, 60.0)]
    one.book.clear(LAMP, 9000, FaultEnd.SEEN_GOOD)
    await one.clerk.turn()
    stored = await rows(database)
    assert [(r.raised_ms, r.cleared_ms, r.end_reason) for r in stored] == [(1000, 9000, 1)]
    assert len(one.book) == 0


async def test_a_fault_that_comes_back_is_another_one(database: Database):
    one = Holder(database)
    raise_(one.book)
    one.book.clear(LAMP, 2000, FaultEnd.SEEN_GOOD)
    raise_(one.book, at_ms=3000)
    await one.clerk.turn()
    assert [(r.raised_ms, r.cleared_ms) for r in await rows(database)] == [(1000, 2000), (3000, 0)]


async def test_the_next_holder_goes_on_with_what_stands_and_loses_no_acknowledgement(database: Database):
    one, two = Holder(database), Holder(database)
    raise_(one.book)
    await one.clerk.turn()
    uid = (await rows(database))[0].uid
    tenant = Tenant(HERSFELD.uid, HERSFELD.id, "", "Europe/Berlin", 0, 0)

    def acknowledge(session: Session) -> None:
        row = get_fault(session, tenant, uid, lock=True)
        row.acknowledged_ms, row.acknowledged_by, row.note = 1500, "person", "a spare part is ordered"

    await database.run(acknowledge)
    one.holds = False
    await one.clerk.turn()
    assert one.book.standing == {}
    raise_(two.book, at_ms=5000)  # it sees the same before it has asked the database
    raise_(two.book, OTHER, at_ms=5000)
    await two.clerk.turn()
    stored = await rows(database)
    assert [(r.uid == uid, r.raised_ms, r.acknowledged_by, r.note) for r in stored] == [
        (True, 1000, "person", "a spare part is ordered"), (False, 5000, "", ""),
    ]  # fmt: skip
    assert two.book.standing[LAMP].uid == uid
    assert await database.read(standing_counts) == {FaultKind.LAMP_FAILURE: (2, 1)}
    two.book.clear(LAMP, 7000, FaultEnd.SEEN_GOOD)
    await two.clerk.turn()
    assert [e.key for e in await database.read(standing_faults)] == [OTHER]


async def test_two_who_both_think_that_they_hold_the_field_double_nothing(database: Database):
    one, two = Holder(database), Holder(database)
    await one.clerk.turn()
    await two.clerk.turn()
    raise_(one.book)
    raise_(two.book, at_ms=1100)
    await one.clerk.turn()
    await two.clerk.turn()
    assert [r.raised_ms for r in await rows(database)] == [1000]
    assert one.book.standing[LAMP].uid == two.book.standing[LAMP].uid


async def test_what_came_and_went_while_the_database_was_away_is_told_once_when_it_is_back(database: Database):
    before, one = Holder(database), Holder(database)
    raise_(before.book)
    await before.clerk.turn()
    one.ready = False
    for at_ms in (2000, 3000, 4000):
        raise_(one.book, at_ms=at_ms)
    one.book.clear(LAMP, 5000, FaultEnd.SEEN_GOOD)
    raise_(one.book, OTHER, at_ms=6000)
    one.ready = True
    await one.clerk.turn()
    await one.clerk.turn()
    assert [(r.raised_ms, r.cleared_ms) for r in await rows(database)] == [(1000, 5000), (6000, 0)]
    assert list(one.book.standing) == [OTHER]


async def test_what_is_told_late_does_not_bring_back_what_has_ended(database: Database):
    one, two = Holder(database), Holder(database)
    raise_(one.book)
    await one.clerk.turn()
    await two.clerk.turn()
    two.book.clear(LAMP, 4000, FaultEnd.SEEN_GOOD)
    await two.clerk.turn()
    one.book.see(LAMP, 3_000_000, nan, nan)
    await one.clerk.turn()
    assert [r.cleared_ms for r in await rows(database)] == [4000]


def test_what_waits_is_bounded_and_what_stands_is_never_given_up():
    book = FaultBook(most_waiting=10)
    for number in range(100):
        key = FaultKey(FaultKind.CYCLING, f"{number:032x}")
        raise_(book, key, at_ms=number)
        if number % 2:
            book.clear(key, number, FaultEnd.SEEN_GOOD)
    assert len(book.standing) == 50
    assert len(book) == 60
    assert book.given_up == 40
    waiting = book.waiting(1000)
    assert {e.key for e in waiting if not e.cleared_ms} == set(book.standing)


def test_that_a_fault_is_seen_again_is_stored_only_now_and_then():
    book = FaultBook()
    raise_(book)
    book.stored(book.waiting(10))
    book.see(LAMP, 100_000, nan, nan)
    assert len(book) == 0
    book.see(LAMP, 700_000, nan, nan)
    assert [e.last_seen_ms for e in book.waiting(10)] == [700_000]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("Am Markt", "2", "L-2"), ("Am Markt", "10", "L-1")),
        (("Ährenweg", "9", "L-9"), ("Bachstraße", "1", "L-1")),
        (("am markt", "1", "L-1"), ("Am Markt", "2", "L-2")),
        (("Zeisigweg", "1", "L-1"), ("", "1", "L-1")),
        (("Am Markt", "7", "L-1"), ("Am Markt 2", "1", "L-2")),
        (("Am Markt", "", "C-1"), ("Am Markt", "1", "L-1")),
        (("Straße 9", "1", "L-1"), ("Straße 10", "1", "L-1")),
    ],
)
def test_a_fitter_drives_street_by_street_and_pole_by_pole(first: tuple[str, ...], second: tuple[str, ...]):
    assert route_of(*first) < route_of(*second)


@given(st.text(max_size=400), st.text(max_size=400), st.text(max_size=100))
def test_whatever_stands_on_a_pole_has_a_place_in_the_order(street: str, pole: str, identifier: str):
    route = route_of(street, pole, identifier)
    assert 0 < len(route) <= 300
    assert "\0" not in route
