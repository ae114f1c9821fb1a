"""What an exchange makes of a register and of values that were stored for it, without any database."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput, OutOfLimits
from services.metering.life import Change, Exchange, Origin, RegisterLife, reread, split
from services.metering.reading import VALUE_MAX

LIFE = RegisterLife(1, "uid", "meter", "old", None, None, 0, 0, Origin.CREATED, None, 4_000_000, 40, 1)
VALUES = st.lists(st.integers(0, 10**9), min_size=1, max_size=20)


@given(VALUES, st.integers(-6, 6), st.integers(-6, 6))
def test_another_scale_keeps_the_quantity_to_the_count(values: list[int], old: int, new: int) -> None:
    before, after = replace(LIFE, scale_exponent=old), replace(LIFE, scale_exponent=new)
    found = reread(np.array(values, np.int64), before, after).tolist()
    for value, now in zip(values, found, strict=True):
        if now <= VALUE_MAX:
            # In the finest scale of both: never more than it was, and less by less than one count.
            was, is_ = value * 10 ** (old + 6), now * 10 ** (new + 6)
            assert is_ <= was < is_ + 10 ** (new + 6)


@given(VALUES, st.integers(1, 5_000), st.integers(1, 5_000))
def test_what_was_multiplied_is_brought_to_the_new_ratio_and_nothing_else(shown: list[int], old: int, new: int) -> None:
    before, after = replace(LIFE, transformer_ratio=old), replace(LIFE, transformer_ratio=new)
    stored = np.array([number * old for number in shown], np.int64)
    multiplied = np.arange(len(shown)) % 2 == 0
    found = reread(stored, before, after, multiplied).tolist()
    for place, number in enumerate(shown):
        assert found[place] == number * (new if multiplied[place] else old)


def test_a_rollover_that_nobody_states_keeps_its_digits() -> None:
    assert Change(transformer_ratio=50).of(LIFE).rollover == 5_000_000
    assert Change(scale_exponent=3).of(LIFE).rollover == 4_000
    assert Change(scale_exponent=-1, transformer_ratio=1).of(LIFE).rollover == 1_000_000
    assert Change(rollover=0).of(LIFE).rollover == 0
    with pytest.raises(InvalidInput, match="state it"):
        Change(scale_exponent=6).of(replace(LIFE, rollover=1_000_040))
    with pytest.raises(InvalidInput, match="multiple"):
        Change(rollover=1_000_001).of(LIFE)


def test_each_reading_of_an_exchange_is_held_against_its_own_register() -> None:
    smaller = Change(rollover=400_000)
    ended, begun = split([LIFE], Exchange(1_000, 3_999_960, 399_960, Origin.EXCHANGE, "new", smaller), "next")
    assert (ended.final_reading, ended.rollover, begun.first_reading, begun.rollover) == (
        3_999_960,
        4_000_000,
        399_960,
        400_000,
    )
    with pytest.raises(InvalidInput, match="first_reading"):
        split([LIFE], Exchange(1_000, 0, 400_000, Origin.EXCHANGE, "new", smaller), "next")
    with pytest.raises(InvalidInput, match="final_reading"):
        split([LIFE], Exchange(1_000, 4_000_000, 0, Origin.EXCHANGE, "new", smaller), "next")
    with pytest.raises(OutOfLimits, match="final_reading"):
        split([LIFE], Exchange(1_000, -1, 0, Origin.EXCHANGE, "new"), "next")
