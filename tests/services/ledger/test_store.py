"""What the ledger stores, on SQLite and PostgreSQL alike: it only ever grows."""

from datetime import UTC, date, datetime
from functools import partial

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from domain.errors import AlreadyExists, Corrupted, NotFound, Unavailable
from domain.names import ResourceName, new_uid
from servicekit.database import Database
from services.ledger import evidence, merkle
from services.ledger.entry import Entry, Posting, reversal_of
from services.ledger.evidence import Blob
from services.ledger.heads import Heads
from services.ledger.store import entries, log, measures
from services.ledger.store.measures import StoredMeasure
from services.ledger.store.tables import LedgerTable
from services.ledger.terms import Method, Terms, terms_bytes
from tests.services.ledger.helpers import POSTED_AT, TOWN, TOWN_UID, entry_for, metered, night_of, terms

NOW = datetime(2026, 3, 5, 8, 0, tzinfo=UTC)


def frozen(name: str = "led") -> Terms:
    return terms(Method.OPTION_B, measure_uid=new_uid(), measure=f"{TOWN}/measures/{name}")


def execute(statement: str, session: Session) -> None:
    session.connection().execute(text(statement))


async def stored(database: Database, measure: Terms) -> StoredMeasure:
    blob = Blob(evidence.TERMS, terms_bytes(measure))
    row = StoredMeasure(
        measure.measure_uid, TOWN_UID, measure.measure.rsplit("/")[-1], blob.hash, b"definition", True, NOW
    )
    await database.run(lambda session: measures.add_measure(session, row, blob, measure.measure))
    return row


async def posted(database: Database, measure: Terms, day: int) -> Entry:
    start, end = night_of(date(2026, 3, day))
    inputs = metered(measure, start, end)

    def append(session: Session) -> Entry:
        log.lock_log(session, TOWN_UID)
        entry = entry_for(measure, entries.next_number(session, measure.measure_uid), start, end, inputs)
        log.append(session, entry, inputs.blobs())
        return entry

    return await database.run(append)


async def reversed_entry(database: Database, entry: Entry) -> Entry:
    def append(session: Session) -> Entry:
        found = entries.get_entry(session, TOWN_UID, ResourceName.parse(entry.name))
        number = entries.next_number(session, entry.measure_uid)
        posting = Posting(f"{entry.name.rsplit('/', 1)[0]}/{number}", new_uid(), number, "x", POSTED_AT)
        mirror = reversal_of(entry, found.leaf_hash, posting, "why not")
        log.append(session, mirror, [])
        return mirror

    return await database.run(append)


async def test_the_tables_are_those_of_the_migrations(database: Database) -> None:
    def look(session: Session) -> None:
        inspector = inspect(session.connection())
        for table in LedgerTable.metadata.sorted_tables:
            columns = {column["name"]: column["nullable"] for column in inspector.get_columns(table.name)}
            assert columns == {column.name: column.nullable for column in table.columns}

    await database.read(look)


async def test_a_measure_is_found_by_name_with_its_terms(database: Database) -> None:
    terms_ = frozen()
    row = await stored(database, terms_)
    name = ResourceName.parse(f"{TOWN}/measures/led")
    assert await database.read(lambda session: measures.get_measure(session, TOWN_UID, name)) == row
    assert await database.read(lambda session: measures.terms_of(session, row)) == terms_
    assert await database.read(lambda session: measures.measures_to_post(session, TOWN_UID)) == [row]
    with pytest.raises(AlreadyExists):
        await stored(database, frozen())
    with pytest.raises(NotFound):
        await database.read(lambda session: measures.get_measure(session, "f" * 32, name))


async def test_the_log_grows_by_leaves_nodes_and_index(database: Database) -> None:
    measure = frozen()
    await stored(database, measure)
    for day in range(1, 8):
        await posted(database, measure, day)

    def look(session: Session) -> None:
        leaves = list(log.leaves(session, TOWN_UID))
        assert [leaf.index for leaf in leaves] == list(range(7))
        frontier = merkle.Frontier()
        for leaf in leaves:
            assert merkle.leaf_hash(leaf.data) == leaf.hash
            frontier.append(leaf.hash)
            assert log.root_of(session, TOWN_UID, frontier.size) == frontier.root()
        assert log.log_size(session, TOWN_UID) == 7
        assert [leaf.index for leaf in log.leaves(session, TOWN_UID, 2, 3)] == [2, 3, 4]
        assert set(log.nodes(session, TOWN_UID)) == {(1, 0), (1, 1), (1, 2), (2, 0)}
        assert [row.leaf_index for row in entries.index_rows(session, TOWN_UID)] == list(range(7))

    await database.read(look)


async def test_only_what_counts_is_in_the_way_of_a_period(database: Database) -> None:
    measure = frozen()
    await stored(database, measure)
    first = await posted(database, measure, 1)
    start = night_of(date(2026, 3, 1))[0]
    two = (start, night_of(date(2026, 3, 2))[1])

    def look(session: Session) -> tuple[list[str], int]:
        others = entries.overlapping(session, measure.measure_uid, *two)
        taken = entries.posted_periods(session, measure.measure_uid, start)
        return [other.entry.uid for other in others], len(taken)

    assert await database.read(look) == ([first.uid], 1)
    reversal = await reversed_entry(database, first)
    # A reversed saving is out of the way, and still known to have been posted.
    assert await database.read(look) == ([], 1)
    again = await posted(database, measure, 1)
    assert again.number == 3
    listed = await database.read(lambda session: entries.list_entries(session, TOWN_UID))
    assert [(item.entry.uid, item.reversed_by) for item in listed] == [
        (first.uid, reversal.name),
        (reversal.uid, ""),
        (again.uid, ""),
    ]


async def test_entries_are_listed_by_measure_and_period(database: Database) -> None:
    one, two = frozen("one"), frozen("two")
    await stored(database, one)
    await stored(database, two)
    for day in (1, 2, 3):
        await posted(database, one, day)
        await posted(database, two, day)
    start, end = night_of(date(2026, 3, 2))

    def numbers(session: Session) -> tuple[list[int], list[int], list[int]]:
        of_two = entries.list_entries(session, TOWN_UID, measure_uids=[two.measure_uid])
        within = entries.list_entries(session, TOWN_UID, start=start, end=end)
        later = entries.list_entries(session, TOWN_UID, after_leaf=1, limit=2)
        return ([e.leaf_index for e in of_two], [e.leaf_index for e in within], [e.leaf_index for e in later])

    assert await database.read(numbers) == ([1, 3, 5], [2, 3], [2, 3])


async def test_the_database_itself_refuses_to_change_or_delete(database: Database, heads: Heads) -> None:
    measure = frozen()
    await stored(database, measure)
    await posted(database, measure, 1)
    await posted(database, measure, 2)
    await database.run(lambda session: heads.sign_newest(session, TOWN_UID))
    for table in ("leaf", "node", "entry", "evidence", "checkpoint"):
        statements = [f"UPDATE {table} SET municipality_uid = municipality_uid", f"DELETE FROM {table}"]
        if database.dialect == "postgresql":
            statements.append(f"TRUNCATE {table} CASCADE")
        for statement in statements:
            with pytest.raises((DBAPIError, Corrupted), match="can only be added to"):
                await database.run(partial(execute, statement))


async def test_the_same_evidence_is_kept_once(database: Database) -> None:
    blob = Blob(evidence.READINGS, b"{}")

    def add_twice(session: Session) -> int:
        log.add_evidence(session, TOWN_UID, [blob, blob])
        log.add_evidence(session, TOWN_UID, [blob])
        return int(session.connection().execute(text("SELECT count(*) FROM evidence")).scalar() or 0)

    assert await database.run(add_twice) == 1
    assert await database.read(lambda session: log.evidence_bytes(session, TOWN_UID, blob.hash)) == b"{}"
    assert await database.read(lambda session: log.evidence_bytes(session, "f" * 32, blob.hash)) is None


async def test_a_head_is_signed_once_per_size_and_reaches_the_file(database: Database, heads: Heads) -> None:
    measure = frozen()
    await stored(database, measure)
    await posted(database, measure, 1)
    first = await heads.newest(TOWN_UID)
    assert await heads.newest(TOWN_UID) == first
    await posted(database, measure, 2)
    second = await heads.newest(TOWN_UID)
    assert heads.files.read(TOWN_UID) == ([first, second], [])
    # A file that was lost is written anew from what the database holds.
    heads.files.path_of(TOWN_UID).unlink()
    await heads.write(TOWN_UID)
    assert heads.files.read(TOWN_UID) == ([first, second], [])


async def test_a_disk_that_fails_is_told_and_does_not_lose_the_entry(database: Database, heads: Heads) -> None:
    measure = frozen()
    await stored(database, measure)
    await posted(database, measure, 1)
    heads.files.folder.parent.mkdir(parents=True, exist_ok=True)
    heads.files.folder.write_text("a file where the folder should be")
    head = await heads.newest(TOWN_UID)
    assert head.tree_size == 1
    with pytest.raises(Unavailable, match="checkpoints cannot be written"):
        await heads.check()
    heads.files.folder.unlink()
    await heads.write(TOWN_UID)
    await heads.check()
    assert heads.files.read(TOWN_UID)[0] == [head]


async def test_a_leaf_that_is_gone_is_told_and_not_passed_over(database: Database) -> None:
    measure = frozen()
    await stored(database, measure)
    await posted(database, measure, 1)

    def look(session: Session) -> bytes:
        return log.node_at(session, TOWN_UID, 1, 0)

    with pytest.raises(Corrupted, match="level 1, index 0 is gone"):
        await database.read(look)
