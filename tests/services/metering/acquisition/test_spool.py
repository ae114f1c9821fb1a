"""The spool: what it has taken survives its worker; full, it thins before it drops; damaged, it says so."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import REGISTRY

from domain.errors import Exhausted, Unavailable
from services.metering.acquisition.spool import Record, Spool
from services.metering.metrics import SPOOL_DROPPED, SPOOL_THINNED
from services.metering.reading import Readings
from services.metering.slot import SLOT_MS
from tests.services.metering.making import NOON_MS, series
from tests.support.disk import full_disk

LIVES = {1: "a" * 32, 2: "b" * 32}


def opened(root: Path, max_bytes: int = 1_000_000) -> Spool:
    spool = Spool(root, max_bytes)
    spool.open()
    return spool


def record(start_slot: int = 0, count: int = 3) -> Record:
    return Record(series(1, NOON_MS + start_slot * SLOT_MS, range(count)), LIVES)


def drained(spool: Spool) -> list[Record]:
    records = []
    while oldest := spool.oldest():
        for name, kept in oldest:
            records.append(kept)
            spool.remove(name)
    return records


def abandon(spool: Spool) -> None:
    """What a SIGKILL leaves: files, and a lock that nobody holds."""
    assert spool._lock is not None
    os.close(spool._lock)


def slots(records: list[Record]) -> list[int]:
    return [slot for one in records for slot in one.readings.slot_ms.tolist()]


def lost() -> tuple[float, float]:
    """How many readings full spools have given up between full hours, and how many beside."""
    found = [REGISTRY.get_sample_value(f"{counter._name}_total") for counter in (SPOOL_THINNED, SPOOL_DROPPED)]
    return found[0] or 0, found[1] or 0


def errors(caplog: pytest.LogCaptureFixture, pattern: str) -> int:
    """The sum of the numbers in the errors of a pattern that were logged; no other error was."""
    messages = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    found = [re.fullmatch(pattern, message) for message in messages]
    assert all(found), messages
    return sum(int(one[1]) for one in found if one)


def no_locks(*_: object) -> None:
    """As flock on a file system that knows none."""
    raise OSError(errno.ENOLCK, "No locks available")


def on_disk(spool: Spool) -> tuple[int, int]:
    """How many files lie there, whatever they are, and how much disk they take."""
    files = [path for path in spool._folder.iterdir() if path.name != "lock"]
    return len(files), sum(path.stat().st_size for path in files)


def test_records_come_out_whole_and_oldest_first(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    given = [record(0), record(3), record(6)]
    for one in given:
        spool.append(one)
    found = drained(spool)
    assert slots(found) == slots(given)
    assert found[0].lives == LIVES
    assert (spool.depth, spool.size_bytes) == (0, 0)


def test_what_a_killed_worker_left_is_taken_over_in_order(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.append(record(0))
    first.append(record(3))
    abandon(first)
    second = opened(tmp_path)
    second.append(record(6))
    assert slots(drained(second)) == [NOON_MS + n * SLOT_MS for n in range(9)]
    assert [folder for folder in tmp_path.iterdir() if folder != second._folder] == []


def test_the_spool_of_a_worker_that_lives_is_left_alone(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.append(record())
    second = opened(tmp_path)
    assert second.depth == 0
    assert first.depth == 1


def test_what_is_drained_while_it_is_held_is_still_found_and_gone_afterwards(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(record(0))
    spool.append(record(3))
    waiting = spool.hold()
    drained(spool)
    spool.append(record(6))
    assert spool.depth == 1  # held or not, it is drained
    assert slots(list(waiting)) == [NOON_MS + n * SLOT_MS for n in range(6)]
    spool.release()
    assert on_disk(spool)[0] == 1
    drained(spool)
    assert on_disk(spool) == (0, 0)


def test_what_two_hold_stays_until_both_have_released_it(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(record(0))
    first, second = spool.hold(), spool.hold()
    drained(spool)
    assert len(slots(list(first))) == 3
    spool.release()
    assert len(slots(list(second))) == 3
    spool.release()
    assert on_disk(spool) == (0, 0)


def test_a_spool_that_is_closed_while_it_is_held_leaves_nothing_behind(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(record(0))
    spool.hold()
    drained(spool)
    spool.close()
    assert not list(tmp_path.iterdir())


def test_what_is_drained_and_held_by_a_worker_that_is_killed_comes_again(tmp_path: Path) -> None:
    dead = opened(tmp_path)
    dead.append(record(0))
    dead.hold()
    drained(dead)
    abandon(dead)
    assert len(slots(drained(opened(tmp_path)))) == 3


def test_a_half_written_record_of_a_killed_worker_is_no_record(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.append(record())
    (first._folder / "x.rec.tmp").write_bytes(b"half")
    abandon(first)
    assert len(drained(opened(tmp_path))) == 1


def test_a_damaged_record_is_put_aside_and_the_others_go_on(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(record(0))
    spool.append(record(3))
    damaged = sorted(spool._folder.glob("*.rec"))[0]
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    assert slots(drained(spool)) == slots([record(3)])
    assert len(list(spool._folder.glob("*.bad"))) == 1


def test_where_no_lock_is_to_be_had_the_spool_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, dead = Spool(tmp_path), opened(tmp_path)
    dead.append(record())
    abandon(dead)
    with monkeypatch.context() as file_system:
        file_system.setattr(fcntl, "flock", no_locks)
        with pytest.raises(Unavailable, match="No locks available"):
            spool.open()
        assert not spool._folder.exists()
    spool.open()
    assert slots(drained(spool)) == slots([record()])


def test_a_file_system_that_ceases_to_know_locks_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead, spool = opened(tmp_path), opened(tmp_path)
    dead.append(record())
    abandon(dead)
    with monkeypatch.context() as file_system:
        file_system.setattr(fcntl, "flock", no_locks)
        with pytest.raises(Unavailable, match="No locks available"):
            spool.take_over()
    assert spool.take_over() == 1


def test_a_full_spool_thins_to_full_hours_before_it_drops_anything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    thinned, dropped = lost()
    day = [record(4 * hour, 4) for hour in range(24)]
    size = len(day[0].encode())
    spool = opened(tmp_path, max_bytes=18 * size)
    for one in day:
        spool.append(one)
    assert spool.size_bytes <= 18 * size
    found = slots(drained(spool))
    assert {slot for slot in found if slot % 3_600_000 == 0} == {NOON_MS + n * 4 * SLOT_MS for n in range(24)}
    assert len(found) < 96
    assert lost() == (thinned + 96 - len(found), dropped)
    assert errors(caplog, r"the spool is full: (\d+) readings between full hours are given up") == 96 - len(found)


def test_a_spool_full_of_full_hours_drops_its_oldest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    thinned, dropped = lost()
    hours = [Record(Readings.of([1], [NOON_MS + n * 4 * SLOT_MS], [n]), LIVES) for n in range(40)]
    spool = opened(tmp_path, max_bytes=10 * len(hours[0].encode()))
    for one in hours:
        spool.append(one)
    found = slots(drained(spool))
    assert found == slots(hours)[-len(found) :]
    assert len(found) >= 8
    assert lost() == (thinned, dropped + 40 - len(found))
    assert errors(caplog, r"the spool is full of full hours: its (\d+) oldest readings are lost") == 40 - len(found)


def test_gaps_in_a_full_spool_take_no_place(tmp_path: Path) -> None:
    gaps = Record(Readings.gaps(1, np.arange(NOON_MS, NOON_MS + 4 * SLOT_MS, SLOT_MS)), LIVES)
    spool = opened(tmp_path, max_bytes=3 * len(gaps.encode()))
    for _ in range(4):
        spool.append(gaps)
    assert spool.depth == 3  # the oldest made room


def test_a_record_larger_than_the_whole_spool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exhausted):
        opened(tmp_path, max_bytes=100).append(record())


def test_a_closed_spool_that_is_empty_leaves_nothing_behind(tmp_path: Path) -> None:
    opened(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_of_a_record_behind_and_the_count_right(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(record(0))
    before = on_disk(spool)
    with full_disk():
        for _ in range(3):
            with pytest.raises(Unavailable):
                spool.append(record(3))
    assert on_disk(spool) == before == (spool.depth, spool.size_bytes)
    spool.append(record(3))
    assert slots(drained(spool)) == slots([record(0), record(3)])


def test_a_disk_that_is_full_while_the_spool_thins_itself_costs_nothing(tmp_path: Path) -> None:
    day = [record(4 * hour, 4) for hour in range(6)]
    spool = opened(tmp_path, max_bytes=6 * len(day[0].encode()))
    for one in day:
        spool.append(one)
    before = on_disk(spool)
    with full_disk(), pytest.raises(Unavailable):
        spool.append(record(24, 4))
    assert on_disk(spool) == before == (spool.depth, spool.size_bytes)
    spool.append(record(24, 4))
    assert on_disk(spool) == (spool.depth, spool.size_bytes)
    assert len(slots(drained(spool))) > 6


def test_a_record_whose_worker_ended_while_it_was_thinned_comes_once(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.append(record(0, 4))
    (whole,) = first._folder.glob("*.rec")
    whole.with_name(whole.name.removesuffix(".rec") + "-h.rec").write_bytes(record(0, 1).encode())
    abandon(first)
    assert slots(drained(opened(tmp_path))) == slots([record(0, 4)])


def test_a_living_worker_takes_over_what_a_dead_one_left_in_order(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    first.append(record(0))
    second.append(record(3))
    first.append(record(6))
    assert second.take_over() == 0  # it lives
    abandon(first)
    assert second.take_over() == 2
    assert on_disk(second) == (second.depth, second.size_bytes)
    assert [folder for folder in tmp_path.iterdir() if folder != second._folder] == []
    assert slots(drained(second)) == [NOON_MS + n * SLOT_MS for n in range(9)]
    assert second.take_over() == 0


def test_a_worker_that_starts_while_another_looks_for_the_dead_keeps_its_folder(tmp_path: Path) -> None:
    living, ended = opened(tmp_path), threading.Event()

    def look() -> None:
        while not ended.is_set():
            living.take_over()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(100):
            spool = opened(tmp_path)
            spool.append(record())
            assert spool.depth == 1
            drained(spool)
            spool.close()
    finally:
        ended.set()
        looking.join()
    assert living.depth == 0


def test_a_folder_that_is_being_prepared_is_left_alone_and_one_long_abandoned_is_cleared_away(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    new, old = tmp_path / ".new", tmp_path / ".old"
    for folder in (new, old):
        folder.mkdir()
        (folder / "lock").touch()
    os.utime(old, (0, 0))
    spool.take_over()
    assert new.exists()
    assert not old.exists()
