"""Which recorded value stands for a slot that could not be read. Real servers are test_subscription.py's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fieldbus.values import PointAddress, Quality, TimeSource, ValueBatch
from services.metering.acquisition.asked import Asked
from services.metering.acquisition.catch_up import TOLERANCE_MS, Wanted, halves, recorded_at
from services.metering.reading import Readings
from services.metering.slot import SLOT_MS
from tests.services.metering.acquisition.test_target import target
from tests.services.metering.making import NOON_MS


def recorded(*values: tuple[int, float]) -> list[ValueBatch]:
    point = PointAddress("energy_active_import")
    return [
        ValueBatch(
            [point] * len(values),
            np.array([value for _, value in values]),
            np.full(len(values), Quality.GOOD, np.uint8),
            np.array([NOON_MS + offset for offset, _ in values], np.int64),
            np.full(len(values), TimeSource.DEVICE, np.uint8),
        )
    ]


def standing(*values: tuple[int, float], slots: int = 3) -> Readings:
    wanted = Wanted(target(), np.array([NOON_MS + n * SLOT_MS for n in range(slots)]))
    return recorded_at([wanted], recorded(*values), NOON_MS + 100 * SLOT_MS)


def test_the_recorded_value_nearest_before_a_slot_stands_for_it_within_the_tolerance() -> None:
    found = standing((-1, 10), (0, 11), (1, 12), (SLOT_MS - 1, 13), (SLOT_MS + 1, 14), slots=4)
    assert found.value.tolist() == [11, 13, 14]
    assert found.slot_ms.tolist() == [NOON_MS, NOON_MS + SLOT_MS, NOON_MS + 2 * SLOT_MS]
    assert standing((-TOLERANCE_MS, 10), slots=1).value.tolist() == [10]
    assert len(standing((-TOLERANCE_MS - 1, 10), (1, 11), slots=1)) == 0


def test_records_out_of_order_and_none_at_all() -> None:
    assert standing((SLOT_MS, 13), (0, 11), slots=2).value.tolist() == [11, 13]
    assert len(standing(slots=3)) == 0


def wanted(life_key: int, *slots: int) -> Wanted:
    return Wanted(target(life_key=life_key, life_uid=str(life_key)), NOON_MS + SLOT_MS * np.array(slots))


def told(parts: list[list[Wanted]]) -> list[dict[int, list[int]]]:
    return [{one.target.life_key: ((one.slots - NOON_MS) // SLOT_MS).tolist() for one in part} for part in parts]


def test_what_is_too_much_at_once_is_halved_by_time_and_at_one_slot_by_registers() -> None:
    assert told(halves([wanted(1, 0, 1, 2, 3), wanted(2, 2, 3), wanted(3, 0)])) == [
        {1: [0, 1], 3: [0]},
        {1: [2, 3], 2: [2, 3]},
    ]
    assert told(halves([wanted(1, 0, 1)])) == [{1: [0]}, {1: [1]}]
    assert told(halves([wanted(1, 0, 95)])) == [{1: [0]}, {1: [95]}]
    assert told(halves([wanted(1, 7), wanted(2, 7), wanted(3, 7)])) == [{1: [7]}, {2: [7], 3: [7]}]
    assert halves([wanted(1, 7)]) == []


@given(st.lists(st.sets(st.integers(0, 95), min_size=1), min_size=1, max_size=5))
def test_halving_ends_at_single_slots_of_single_registers_and_loses_none(slots: list[set[int]]) -> None:
    pieces, single = [[wanted(key, *sorted(some)) for key, some in enumerate(slots)]], []
    while pieces:
        piece = pieces.pop()
        if parts := halves(piece):
            assert all(parts)
            pieces += parts
        else:
            [one] = piece
            single.append((one.target.life_key, int(one.slots[0] - NOON_MS) // SLOT_MS))
    assert sorted(single) == sorted((key, slot) for key, some in enumerate(slots) for slot in some)


async def test_what_was_asked_for_is_remembered_until_it_is_gone(tmp_path: Path) -> None:
    asked = Asked(tmp_path / "caught-up.json")
    asked.note({"l": NOON_MS}, "e", "opc.tcp://here profile")
    assert asked.asked_until(target()) == NOON_MS
    await asked.save()
    again = Asked(tmp_path / "caught-up.json")
    assert again.asked_until(target()) == NOON_MS
    assert not again.has_history("e", "opc.tcp://here profile")
    assert again.has_history("e", "opc.tcp://elsewhere profile")
    again.keep_only([target(life_uid="next", endpoint_uid="other")])
    assert again.asked_until(target()) == 0
    assert again.has_history("e", "opc.tcp://here profile")
    (tmp_path / "broken.json").write_text("{}")
    assert Asked(tmp_path / "broken.json").asked_until(target()) == 0


async def test_a_disk_that_fails_costs_what_is_remembered_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    asked = Asked(tmp_path / "file" / "caught-up.json")
    asked.note({"l": NOON_MS})
    await asked.save()
    assert asked.asked_until(target()) == NOON_MS
