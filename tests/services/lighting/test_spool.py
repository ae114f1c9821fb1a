"""The spool gives back what it took, in order, whatever happens to the process in between."""

import resource

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import Exhausted
from services.lighting.history import Change
from services.lighting.spool import RECORD_BYTES, LevelSpool


def change(number: int) -> Change:
    return Change(f"{number:032x}", number * 1000, number % 1001, number % 2 == 0)


def test_what_was_appended_comes_out_in_order_and_unharmed(tmp_path):
    spool = LevelSpool(tmp_path / "levels", 10_000)
    spool.append([change(n) for n in range(5)])
    spool.append([Change("f" * 32, 2**45, -1, False)])
    assert spool.peek(3) == [change(0), change(1), change(2)]
    spool.drop(3)
    assert spool.peek(10) == [change(3), change(4), Change("f" * 32, 2**45, -1, False)]


def test_a_killed_process_loses_at_most_the_record_it_was_writing(tmp_path):
    spool = LevelSpool(tmp_path / "levels", 10_000)
    spool.append([change(1), change(2)])
    with open(tmp_path / "levels", "ab") as file:
        file.write(b"half a rec")
    again = LevelSpool(tmp_path / "levels", 10_000)
    assert again.peek(10) == [change(1), change(2)]
    again.append([change(3)])
    assert LevelSpool(tmp_path / "levels", 10_000).peek(10) == [change(1), change(2), change(3)]


def test_it_is_bounded_and_says_so(tmp_path):
    spool = LevelSpool(tmp_path / "levels", 10 * RECORD_BYTES)
    spool.append([change(n) for n in range(10)])
    with pytest.raises(Exhausted):
        spool.append([change(10)])
    spool.drop(4)
    spool.append([change(n) for n in range(10, 14)])
    assert spool.peek(20) == [change(n) for n in range(4, 14)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=20))
def test_it_is_a_queue(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("spool") / "levels"
    spool = LevelSpool(path, 100_000)
    model: list[Change] = []
    number = 0
    for add, drop, reopen in steps:
        new = [change(number + n) for n in range(add)]
        number += add
        spool.append(new)
        model += new
        if reopen:
            spool.close()
            spool = LevelSpool(path, 100_000)
        spool.drop(drop)
        model = model[drop:]
        assert len(spool) == len(model)
        assert spool.peek(1000) == model


def test_a_disk_that_takes_only_a_part_leaves_nothing_out_of_step(tmp_path):
    spool = LevelSpool(tmp_path / "levels.spool", 1_000_000)
    first, lost, later = (
        [Change(f"{n:032x}", n, 500, True) for n in range(start, start + 10)] for start in (1, 100, 200)
    )
    spool.append(first)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (RECORD_BYTES * 13 + 5, hard))
    try:
        with pytest.raises(OSError, match=r"."):
            spool.append(lost)
        with pytest.raises(OSError, match=r"."):
            spool.append(lost)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    spool.append(later)
    assert spool.peek(100) == [*first, *later]
    assert LevelSpool(tmp_path / "levels.spool", 1_000_000).peek(100) == [*first, *later]
