"""Whoever gets round the database's guards and changes the book is found, on the server and offline, with the leaf."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session

from lichtbuch.ledger.v1 import ledger_pb2 as pb
from services.ledger.merkle import leaf_hash
from services.ledger.verify import VerificationReport, verify_bundle
from tests.services.ledger.ledger import NIGHTS, RunningLedger
from tests.support.running import HERSFELD

Tamper = Callable[[Session], None]


async def booked(ledger: RunningLedger) -> list[str]:
    """A log of five leaves: three nights, a reversal, a replacement. Answers a sound bundle of it."""
    await ledger.metered_town()
    entries = [await ledger.post(night) for night in NIGHTS]
    await ledger.reverse(entries[1])
    await ledger.post(NIGHTS[1])
    bundle = await ledger.bundle()
    assert verify_bundle(bundle, ledger.public_key).valid
    assert (await ledger.verify()).valid
    return bundle


async def tamper(ledger: RunningLedger, *statements: str, **values: Any) -> None:
    """Changes the tables as their owner can: without the triggers and without the constraints between them."""

    def change(session: Session) -> None:
        connection = session.connection()
        if ledger.database.dialect == "postgresql":
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        else:
            triggers = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars()
            for trigger in list(triggers):
                connection.execute(text(f"DROP TRIGGER {trigger}"))
        for statement in statements:
            connection.execute(text(statement), values)

    await ledger.database.run(change)


async def read(ledger: RunningLedger, statement: str) -> Any:
    return await ledger.database.read(lambda session: session.connection().execute(text(statement)).scalar())


async def judged(ledger: RunningLedger) -> tuple[pb.VerifyLogResponse, VerificationReport]:
    """What the server finds, and what the offline verifier finds in an export."""
    on_server = await ledger.verify()
    offline = verify_bundle(await ledger.bundle(), ledger.public_key)
    assert not on_server.valid
    return on_server, offline


def names(problems: Any, leaf: int) -> bool:
    """True if a problem names the leaf."""
    return any(f"leaf {leaf}:" in p or f"leaf {leaf} " in p for p in problems)


async def test_one_byte_of_a_stored_leaf(any_ledger: RunningLedger) -> None:
    leaf = 2
    await booked(any_ledger)
    data = bytes(await read(any_ledger, f"SELECT data FROM leaf WHERE leaf_index = {leaf}"))
    at = data.index(b'"saved_wh":') + 12
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    await tamper(any_ledger, f"UPDATE leaf SET data = :data WHERE leaf_index = {leaf}", data=changed)
    on_server, offline = await judged(any_ledger)
    assert names(on_server.problems, leaf)
    assert not offline.valid
    assert names(offline.problems, leaf)


async def test_a_stored_leaf_with_a_hash_that_was_made_to_fit(any_ledger: RunningLedger) -> None:
    await booked(any_ledger)
    data = bytes(await read(any_ledger, "SELECT data FROM leaf WHERE leaf_index = 2"))
    changed = data.replace(b'"posted_by":"admin"', b'"posted_by":"nobod"')
    await tamper(
        any_ledger,
        "UPDATE leaf SET data = :data, hash = :hash WHERE leaf_index = 2",
        data=changed,
        hash=leaf_hash(changed),
    )
    on_server, offline = await judged(any_ledger)
    assert any("leaf 2 was changed, exchanged or put in" in problem for problem in on_server.problems)
    assert any("leaf 2 was changed, exchanged or put in" in problem for problem in offline.problems)


async def test_one_byte_of_stored_evidence(any_ledger: RunningLedger) -> None:
    await booked(any_ledger)
    digest = await read(any_ledger, "SELECT hash FROM evidence WHERE label = 'consumption' ORDER BY hash LIMIT 1")
    data = bytes(await read(any_ledger, f"SELECT data FROM evidence WHERE hash = '{digest}'"))
    changed = data.replace(b"100", b"900", 1)
    assert changed != data
    await tamper(any_ledger, f"UPDATE evidence SET data = :data WHERE hash = '{digest}'", data=changed)
    on_server, offline = await judged(any_ledger)
    for problems in (on_server.problems, offline.problems):
        assert any(
            problem.startswith("leaf ") and f"consumption:{digest} was changed" in problem for problem in problems
        )


async def test_evidence_that_was_deleted(ledger: RunningLedger) -> None:
    await booked(ledger)
    digest = await read(ledger, "SELECT hash FROM evidence WHERE label = 'readings' ORDER BY hash LIMIT 1")
    await tamper(ledger, f"DELETE FROM evidence WHERE hash = '{digest}'")
    on_server, offline = await judged(ledger)
    for problems in (on_server.problems, offline.problems):
        assert any(problem.startswith("leaf ") and f"readings:{digest} is missing" in problem for problem in problems)


@pytest.mark.parametrize("column", ["root_hash", "signature", "public_key", "note"])
async def test_a_stored_checkpoint(ledger: RunningLedger, column: str) -> None:
    await booked(ledger)
    value = await read(ledger, f"SELECT {column} FROM checkpoint WHERE tree_size = 3")
    changed = f"x{value}" if isinstance(value, str) else bytes([bytes(value)[0] ^ 1]) + bytes(value)[1:]
    await tamper(ledger, f"UPDATE checkpoint SET {column} = :value WHERE tree_size = 3", value=changed)
    on_server, offline = await judged(ledger)
    assert any(problem.startswith("checkpoint of 3 leaves (database)") for problem in on_server.problems)
    assert any(problem.startswith("checkpoint of 3 leaves") for problem in offline.problems)


async def test_a_leaf_that_was_removed(ledger: RunningLedger) -> None:
    await booked(ledger)
    await tamper(ledger, "DELETE FROM leaf WHERE leaf_index = 1")
    on_server, offline = await judged(ledger)
    assert "leaf 1 is missing" in on_server.problems
    assert "leaf 1 is missing" in offline.problems


async def test_the_last_leaf_removed_with_all_that_the_database_knows_of_it(any_ledger: RunningLedger) -> None:
    before = await booked(any_ledger)
    await tamper(
        any_ledger,
        "DELETE FROM entry WHERE leaf_index = 4",
        "DELETE FROM leaf WHERE leaf_index = 4",
        "DELETE FROM checkpoint WHERE tree_size = 5",
        "UPDATE log SET tree_size = 4",
    )
    on_server = await any_ledger.verify()
    # The database alone is consistent again; the file outside of it is not.
    assert any("(file)" in problem and "leaf 4 is missing" in problem for problem in on_server.problems)
    after = await any_ledger.bundle()
    assert verify_bundle(after, any_ledger.public_key).valid
    kept = verify_bundle(before, any_ledger.public_key)
    assert kept.leaves == 5


async def test_leaves_that_changed_places(any_ledger: RunningLedger) -> None:
    await booked(any_ledger)
    await tamper(
        any_ledger,
        "UPDATE leaf SET leaf_index = 1000 WHERE leaf_index = 0",
        "UPDATE leaf SET leaf_index = 0 WHERE leaf_index = 2",
        "UPDATE leaf SET leaf_index = 2 WHERE leaf_index = 1000",
    )
    on_server, offline = await judged(any_ledger)
    for problems in (on_server.problems, offline.problems):
        assert any("leaf 0 was changed, exchanged or put in" in problem for problem in problems)


async def test_the_index_and_the_nodes_beside_the_leaves(any_ledger: RunningLedger) -> None:
    await booked(any_ledger)
    await tamper(
        any_ledger,
        "UPDATE entry SET end_at = start_at WHERE leaf_index = 2",
        "UPDATE node SET hash = :hash WHERE level = 1 AND node_index = 0",
        hash=bytes(32),
    )
    on_server = await any_ledger.verify()
    assert any("leaf 2 " in problem and "the index of entries shows it as something else" in problem
               for problem in on_server.problems)  # fmt: skip
    assert "the stored node over the leaves 0 to 1 is not what they give" in on_server.problems
    # Neither is part of what an auditor takes along.
    assert verify_bundle(await any_ledger.bundle(), any_ledger.public_key).valid


async def test_an_entry_that_was_never_appended(ledger: RunningLedger) -> None:
    await booked(ledger)
    await tamper(ledger, "DELETE FROM entry WHERE leaf_index = 4")
    on_server = await ledger.verify()
    assert "leaf 4: the index of entries does not know it" in on_server.problems


async def test_the_checkpoint_file(ledger: RunningLedger) -> None:
    await booked(ledger)
    path = ledger.heads.files.path_of(HERSFELD.uid)
    lines = path.read_text().splitlines(keepends=True)
    assert len(lines) == 5
    path.write_text("".join([lines[0], lines[1].replace('"tree_size":2', '"tree_size":3'), "spoilt\n", *lines[3:]]))
    on_server = await ledger.verify()
    assert any(problem.startswith("checkpoint of 3 leaves (file): its note says") for problem in on_server.problems)
    assert any(problem.startswith("checkpoint file, line 3") for problem in on_server.problems)


async def test_a_whole_log_that_was_swapped_for_another_sound_one(ledger: RunningLedger) -> None:
    """Somebody with the database and the key, but not with a copy of the checkpoint file."""
    before = await booked(ledger)
    first_lines = ledger.heads.files.path_of(HERSFELD.uid).read_text()
    await tamper(
        ledger,
        *(f"DELETE FROM {table}" for table in ("checkpoint", "entry", "node", "leaf", "evidence", "log", "measure")),
    )
    ledger.heads.files.path_of(HERSFELD.uid).unlink()
    ledger.neighbours.lighting.cabinets.clear()
    ledger.neighbours.lighting.luminaires.clear()
    await ledger.metered_town()
    await ledger.post()
    assert (await ledger.verify()).valid
    # The copy of the file that was taken away earlier shows it.
    ledger.heads.files.path_of(HERSFELD.uid).write_text(first_lines)
    assert any("(file)" in problem for problem in (await ledger.verify()).problems)
    assert verify_bundle(before, ledger.public_key).valid
