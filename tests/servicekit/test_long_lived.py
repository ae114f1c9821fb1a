"""What lives long is set apart from garbage collection: once per state, when all is calm, and not for ever."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from servicekit.long_lived import LongLived


class Town:
    """A state that refers to itself, as towns and their workers do: only the collector can free it."""

    def __init__(self) -> None:
        self.itself = self


class Seconds:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def long_lived(seconds: Seconds) -> Iterator[LongLived]:
    yield LongLived(2.0, seconds)
    gc.unfreeze()


def test_a_state_is_set_apart_once_when_it_has_stood_and_nothing_urgent_is_done(
    long_lived: LongLived, seconds: Seconds
) -> None:
    town = Town()
    assert not long_lived.look(town, idle=True)
    seconds.now = 2.0
    assert not long_lived.look(town, idle=False)
    assert long_lived.look(town, idle=True)
    assert not any(thing is town for thing in gc.get_objects())
    assert not long_lived.look(town, idle=True)


def test_without_a_state_nothing_is_set_apart(long_lived: LongLived, seconds: Seconds) -> None:
    before = gc.get_freeze_count()
    seconds.now = 10.0
    assert not long_lived.look(None, idle=True)
    assert gc.get_freeze_count() == before


def test_what_a_state_leaves_behind_is_collected_with_the_next(long_lived: LongLived, seconds: Seconds) -> None:
    town: Town | None = Town()
    gone = weakref.ref(town)
    long_lived.look(town, idle=True)
    seconds.now = 2.0
    assert long_lived.look(town, idle=True)
    another, town = Town(), None
    long_lived.look(another, idle=True)
    gc.collect()
    assert gone() is not None, "it was not set apart"
    seconds.now = 4.0
    assert long_lived.look(another, idle=True)
    assert gone() is None
