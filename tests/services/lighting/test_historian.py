"""The history reaches the database once, whatever happens on the way."""

import asyncio

import pytest
from sqlmodel import func, select

from domain.errors import Unavailable
from servicekit.clock import SteppedClock
from servicekit.database import Database
from services.lighting.historian import Historian
from services.lighting.history import Change, LevelRecorder
from services.lighting.spool import LastLevels, LevelSpool
from services.lighting.store.history import changes_of, last_changes, watched_until
from services.lighting.store.tables import LevelChangeRow
from tests.services.lighting.bench import NOON


def change(lamp: int, at_ms: int, level: int = 500) -> Change:
    return Change(f"{lamp:032x}", at_ms, level, True)


class Given(LevelRecorder):
    """A recorder that gives what the test says."""

    def __init__(self) -> None:
        super().__init__(())
        self.waiting: list[Change] = []

    def take(self) -> list[Change]:
        taken, self.waiting = self.waiting, []
        return taken


def historian(database, tmp_path, recorder: Given, watched: int = 0, **options) -> Historian:
    memory = LastLevels(tmp_path / "levels.last")
    return Historian(
        database,
        lambda: LevelSpool(tmp_path / "levels.spool", 1_000_000),
        SteppedClock(NOON),
        recorder=lambda: recorder,
        watched=lambda: watched,
        memory=memory,
        **options,
    )


async def stored(database) -> int:
    count: int = await database.read(
        lambda session: session.exec(select(func.count()).select_from(LevelChangeRow)).one()
    )
    return count


async def test_everything_arrives_once_even_when_several_hand_it_over_at_the_same_time(database, tmp_path):
    recorder = Given()
    keeper = historian(database, tmp_path, recorder, watched=9_000)
    fed = asyncio.Event()

    async def feed() -> None:
        for round_ in range(20):
            recorder.waiting = [change(lamp, round_ * 10 + 1) for lamp in range(50)]
            keeper.collect()
            await asyncio.sleep(0.005)
        fed.set()

    async def hand_over() -> None:
        while not fed.is_set():
            await keeper.drain()
            await asyncio.sleep(0.001)
        await keeper.drain()

    await asyncio.gather(feed(), *(hand_over() for _ in range(4)))
    assert await stored(database) == 1000
    assert await database.read(watched_until) == 9_000
    last = await database.read(last_changes)
    assert last[f"{7:032x}"] == change(7, 191)


async def test_handing_over_again_after_a_crash_doubles_nothing(database, tmp_path):
    recorder = Given()
    keeper = historian(database, tmp_path, recorder)
    recorder.waiting = [change(1, 1), change(1, 5, 0)]
    keeper.collect()
    before = (tmp_path / "levels.spool").read_bytes()
    await keeper.drain()
    # The process died after the commit, before it could drop what it had stored.
    (tmp_path / "levels.spool").write_bytes(before)
    again = historian(database, tmp_path, recorder)
    await again.drain()
    assert await stored(database) == 2


async def test_what_was_last_known_is_the_newer_of_database_and_spool_and_of_the_file_without_a_database(
    database, tmp_path
):
    recorder = Given()
    keeper = historian(database, tmp_path, recorder, watched=7)
    recorder.waiting = [change(1, 1), change(2, 2)]
    keeper.collect()
    await keeper.drain()
    recorder.waiting = [change(1, 5, 0)]
    keeper.collect()
    last, until = await keeper.last_known()
    assert (last[f"{1:032x}"], last[f"{2:032x}"], until) == (change(1, 5, 0), change(2, 2), 7)
    await keeper._save()
    cut_off = historian(database, tmp_path, recorder, ready=lambda: False)
    last, until = await cut_off.last_known()
    assert (last[f"{1:032x}"], last[f"{2:032x}"], until) == (change(1, 5, 0), change(2, 2), 7)
    try:
        await cut_off.drain()
    except Unavailable:
        assert await stored(database) == 2


async def test_what_is_drained_while_the_database_is_asked_is_known(database, tmp_path, monkeypatch):
    recorder = Given()
    keeper = historian(database, tmp_path, recorder)
    recorder.waiting = [change(1, 1)]
    keeper.collect()
    read = Database.read

    async def read_and_drain(self, work):
        found = await read(self, work)
        await keeper.drain()
        return found

    monkeypatch.setattr(Database, "read", read_and_drain)
    last, until = await keeper.last_known()
    assert await stored(database) == 1
    assert (last, until) == ({f"{1:032x}": change(1, 1)}, 1)


async def test_what_a_process_has_that_is_still_there_is_left_alone_and_taken_as_that_left_it(database, tmp_path):
    recorder = Given()
    first = historian(database, tmp_path, recorder)
    recorder.waiting = [change(1, 1), change(2, 2)]
    first.collect()
    is_alone = False
    second = historian(database, tmp_path, Given(), watched=9_000, alone=lambda: is_alone)
    await second.drain()
    assert await stored(database) == 0
    recorder.waiting = [change(3, 3)]
    await first.close()  # hands over all it has, and empties the file
    is_alone = True
    async with asyncio.timeout(30):
        await second.drain()
    assert await stored(database) == 3
    assert await database.read(watched_until) == 9_000


async def test_a_spool_that_cannot_be_opened_never_stops_the_light_and_is_tried_again(database, tmp_path, caplog):
    recorder = Given()
    keeper = historian(database, tmp_path, recorder)
    (tmp_path / "levels.spool").mkdir()
    assert await keeper.last_known() == ({}, 0)
    recorder.waiting = [change(1, 1)]
    keeper.collect()
    assert "levels.spool" in caplog.text
    with pytest.raises(Unavailable, match="cannot be opened"):
        await keeper.drain()
    (tmp_path / "levels.spool").rmdir()
    recorder.waiting = [change(1, 2)]
    keeper.collect()
    await keeper.drain()
    assert await stored(database) == 1


async def test_a_full_spool_loses_the_newest_and_never_stops_the_light(database, tmp_path):
    recorder = Given()
    spool = LevelSpool(tmp_path / "small", 10 * 32)
    keeper = Historian(database, lambda: spool, SteppedClock(NOON), recorder=lambda: recorder, watched=lambda: 0)
    recorder.waiting = [change(1, n) for n in range(1, 9)]
    keeper.collect()
    recorder.waiting = [change(1, n) for n in range(9, 20)]
    keeper.collect()
    await keeper.drain()
    assert await stored(database) == 8
    recorder.waiting = [change(1, 30)]
    keeper.collect()
    await keeper.drain()
    assert await stored(database) == 9


async def test_a_period_begins_with_what_held_then(database, tmp_path):
    recorder = Given()
    keeper = historian(database, tmp_path, recorder)
    recorder.waiting = [change(1, 10, 0), change(1, 20, 700), change(1, 30, 0), change(2, 25, 300)]
    keeper.collect()
    await keeper.drain()
    uids = [f"{2:032x}", f"{1:032x}", f"{3:032x}"]
    found = await database.read(lambda session: changes_of(session, uids, 22, 30))
    assert list(zip(found.row.tolist(), found.at_ms.tolist(), found.level.tolist(), strict=True)) == [
        (0, 25, 300), (1, 20, 700),
    ]  # fmt: skip
    exact = await database.read(lambda session: changes_of(session, uids, 20, 31))
    assert list(zip(exact.row.tolist(), exact.at_ms.tolist(), exact.level.tolist(), strict=True)) == [
        (0, 25, 300), (1, 20, 700), (1, 30, 0),
    ]  # fmt: skip
