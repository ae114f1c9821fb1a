"""The vocabulary is complete in itself, and batches keep their columns together."""

from __future__ import annotations

import numpy as np
import pytest

from domain.errors import InvalidInput
from fieldbus.values import PointAddress, Quality, TimeSource, ValueBatch, unix_ms
from fieldbus.vocabulary import COUNTER_MAX, TRADES, VOCABULARY, HandOffAuto, Point, PointType, point_named
from tests.fieldbus.servers import NOON

_ELECTRIC, _OTHERS = "V A W var VA Hz Wh varh VAh", "s lx degC K permille percent ppm deg mL L dB L/h mm/h 1/h 1"
UNITS = frozenset(("", *_ELECTRIC.split(), *_OTHERS.split()))


@pytest.mark.parametrize("point", VOCABULARY.values(), ids=lambda point: point.name)
def test_every_point_has_a_unit_limits_and_a_meaning(point: Point) -> None:
    assert point.unit in UNITS
    assert point.minimum <= point.maximum
    assert point.meaning
    assert (point.unit == "") == (point.type in (PointType.BOOLEAN, PointType.ENUM, PointType.TEXT))
    if point.type is PointType.COUNTER:
        assert (point.minimum, point.maximum) == (0, COUNTER_MAX)


def test_counters_stay_exact_as_floats() -> None:
    assert float(COUNTER_MAX) == COUNTER_MAX
    assert float(COUNTER_MAX + 2) == COUNTER_MAX + 1


def test_no_name_is_given_twice() -> None:
    names = [point.name for points in TRADES.values() for point in points]
    assert sorted(names) == sorted(VOCABULARY)


def test_texts_are_no_commands_and_have_no_limits() -> None:
    texts = [point for point in VOCABULARY.values() if point.type is PointType.TEXT]
    assert {"serial_number", "product_name", "firmware_version"} <= {point.name for point in texts}
    assert all(not point.direction.writable and point.minimum == point.maximum == 0 for point in texts)


def test_switch_positions_have_words() -> None:
    switch = point_named("hand_off_auto")
    assert [switch.label(value) for value in (HandOffAuto.HAND, HandOffAuto.OFF, HandOffAuto.AUTO)] == [
        "hand",
        "off",
        "auto",
    ]
    assert point_named("door_open").label(1) == "yes"
    assert point_named("voltage_l1").label(230.5) == "230.5"


def test_an_unknown_point_is_named_in_the_error() -> None:
    with pytest.raises(InvalidInput, match="'volts'"):
        point_named("volts")


def test_a_batch_refuses_columns_of_different_length() -> None:
    with pytest.raises(InvalidInput):
        ValueBatch(
            [PointAddress("door_open")],
            np.zeros(2),
            np.zeros(2, np.uint8),
            np.zeros(2, np.int64),
            np.zeros(2, np.uint8),
        )


def test_missing_values_carry_the_instant_of_asking() -> None:
    batch = ValueBatch.missing([PointAddress("door_open"), PointAddress("level_actual", 3)], NOON)
    assert batch.quality.tolist() == [Quality.MISSING] * 2
    assert np.isnan(batch.values).all()
    assert batch.observed_at.tolist() == [unix_ms(NOON)] * 2
    assert batch.time_source.tolist() == [TimeSource.OURS] * 2
    assert batch.as_dict() == {}
    assert not batch.complete


def test_batches_are_joined_in_order() -> None:
    first = ValueBatch.missing([PointAddress("door_open")], NOON)
    second = ValueBatch.missing([PointAddress("supply_present")], NOON)
    joined = ValueBatch.concatenate([first, second])
    assert list(joined.points) == [PointAddress("door_open"), PointAddress("supply_present")]
    assert len(ValueBatch.concatenate([])) == 0


def test_a_point_that_is_not_in_the_batch_is_said_by_name() -> None:
    with pytest.raises(InvalidInput, match=r"level_actual\[3\]"):
        ValueBatch.missing([], NOON).value(PointAddress("level_actual", 3))


def test_instants_without_a_time_zone_are_refused() -> None:
    with pytest.raises(InvalidInput):
        unix_ms(NOON.replace(tzinfo=None))
