"""Which recorded value stands for a slot that could not be read. Real servers are test_subscription.py's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fieldbus.values import PointAddress, Quality, TimeSource, ValueBatch
from services.metering.acquisition.catch_up import TOLERANCE_MS, Memory, Wanted, recorded_at
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


def test_what_was_asked_for_is_remembered_until_it_is_gone(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "caught-up.json")
    memory.note({"l": NOON_MS}, "e", "opc.tcp://here profile")
    again = Memory(tmp_path / "caught-up.json")
    assert again.asked_until(target()) == NOON_MS
    assert not again.has_history("e", "opc.tcp://here profile")
    assert again.has_history("e", "opc.tcp://elsewhere profile")
    again.keep_only([target(life_uid="next", endpoint_uid="other")])
    assert again.asked_until(target()) == 0
    assert again.has_history("e", "opc.tcp://here profile")
    (tmp_path / "broken.json").write_text("{}")
    assert Memory(tmp_path / "broken.json").asked_until(target()) == 0
