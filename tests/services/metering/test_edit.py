"""What may be edited: the rules that need no database."""

from __future__ import annotations

import numpy as np
import pytest

from domain.errors import FailedPrecondition, InvalidInput
from services.metering.edit import Edit, checked
from services.metering.life import Origin, RegisterLife
from services.metering.meter import Kind, Unit
from services.metering.reading import Status
from services.metering.slot import SLOT_MS
from tests.services.metering.making import NOON_MS


def life(begin_ms: int | None, end_ms: int | None) -> RegisterLife:
    return RegisterLife(
        1, "L1", "M1", "", begin_ms, end_ms, 0, 0, Origin.CREATED, None, rollover=0, transformer_ratio=1, unit=Unit.WH
    )


def edit(slots: list[int], values: list[int], status: Status = Status.EDITED) -> Edit:
    nothing = np.empty(0, np.int64)
    return Edit(np.array(slots, np.int64), np.array(values, np.int64), status, nothing)


def test_a_slot_outside_of_every_life_is_refused_by_its_index() -> None:
    removed = life(NOON_MS - 4 * SLOT_MS, NOON_MS)
    with pytest.raises(InvalidInput) as caught:
        checked(edit([NOON_MS - SLOT_MS, NOON_MS - 5 * SLOT_MS, NOON_MS], [1, 2, 3]), Kind.COUNTER, [removed], NOON_MS)
    told = [(one.field, one.reason) for one in caught.value.violations]
    assert told == [("slots_unix_ms[1]", "no register lived then"), ("slots_unix_ms[2]", "no register lived then")]


def test_a_person_reads_at_any_minute_and_a_sensor_may_be_below_zero() -> None:
    at = NOON_MS - 60_000
    assert checked(edit([at], [-5]), Kind.INSTANT, [life(None, None)], NOON_MS).tolist() == [1]
    with pytest.raises(InvalidInput, match="negative"):
        checked(edit([at], [-5]), Kind.COUNTER, [life(None, None)], NOON_MS)


def test_a_virtual_meter_has_nothing_to_edit_and_an_edit_has_a_status_of_its_own() -> None:
    with pytest.raises(FailedPrecondition, match="virtual"):
        checked(edit([NOON_MS], [1]), Kind.VIRTUAL, [life(None, None)], NOON_MS)
    for status in (Status.MEASURED, Status.ESTIMATED, Status.DOUBTFUL, Status.HAND):
        with pytest.raises(InvalidInput, match="status"):
            checked(edit([NOON_MS], [1], status), Kind.COUNTER, [life(None, None)], NOON_MS)
    with pytest.raises(InvalidInput, match="nothing to edit"):
        checked(edit([], []), Kind.COUNTER, [life(None, None)], NOON_MS)
