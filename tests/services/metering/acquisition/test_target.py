"""What a device shows becomes the whole number that is stored: units, scales, ratios, what is below zero."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from domain.errors import Corrupted
from fieldbus.values import Quality, TimeSource, ValueBatch
from services.metering.acquisition.target import Snapshot, Target, sample_of
from services.metering.meter import Kind
from services.metering.vee import Point, RegisterRules, RegisterState
from tests.services.metering.making import NOON_MS


def target(point: str = "energy_active_import", ratio: int = 1, **changes: object) -> Target:
    fields: dict[str, object] = {
        "name": "M-1", "meter_uid": "m", "municipality_uid": "t", "life_key": 1, "life_uid": "l", "endpoint_uid": "e",
        "url": "test://", "profile": "p", "point": point, "rules": RegisterRules(transformer_ratio=ratio),
        "state": RegisterState(), **changes,
    }  # fmt: skip
    return Target(**fields)  # type: ignore[arg-type]


def shown(of: Target, value: float, quality: Quality = Quality.GOOD) -> int | None:
    batch = ValueBatch(
        (of.address,),
        np.array([value]),
        np.array([quality], np.uint8),
        np.array([NOON_MS], np.int64),
        np.array([TimeSource.OURS], np.uint8),
    )
    sample = sample_of(of, batch, 0, NOON_MS)
    return None if sample is None else sample.value


@pytest.mark.parametrize(
    ("of", "value", "stored"),
    [
        (target(), 1234.0, 1234),
        (target(ratio=40), 1234.0, 49_360),
        (target("volume_water"), 1999.0, 1),  # a litre that has not passed wholly does not count yet
        (target("volume_water", scale_exponent=-3), 1999.0, 1999),
        (target(scale_exponent=3), 1_234_567.0, 1234),
        (target(), -1.0, None),
        (target(), math.nan, None),
        (target("temperature_return", kind=Kind.INSTANT, scale_exponent=-1), -7.25, -72),
        (target("temperature_return", kind=Kind.INSTANT, scale_exponent=-2), 21.37, 2137),
        (target("illuminance", kind=Kind.INSTANT), 0.6, 1),
    ],
)
def test_a_value_is_stored_in_the_numbers_of_its_register(of: Target, value: float, stored: int | None) -> None:
    assert shown(of, value) == stored


def test_what_the_device_calls_bad_is_nothing() -> None:
    assert shown(target(), 1234.0, Quality.BAD) is None


def test_a_snapshot_tells_what_is_polled_and_where_it_stands(tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path / "meters.json")
    one, other = target(), target("illuminance", kind=Kind.INSTANT)
    snapshot.write([one, other])
    one.settled_ms, one.life_key, one.life_uid = NOON_MS, 7, "next"
    one.state = RegisterState(Point(NOON_MS, 3), None, Point(NOON_MS, 4), Point(NOON_MS - 1, 2))
    snapshot.write([one, other])
    assert Snapshot(tmp_path / "meters.json").read() == [one, other]
    text = (tmp_path / "meters.json").read_text()
    (tmp_path / "older.json").write_text(text.replace(f", [{NOON_MS - 1}, 2]]", "]").replace(", null]]}", "]]}"))
    older = Snapshot(tmp_path / "older.json").read()  # of a version that did not know what was before
    assert [one.state for one in older] == [RegisterState(Point(NOON_MS, 3), None, Point(NOON_MS, 4)), RegisterState()]
    assert Snapshot(tmp_path / "none.json").read() == []
    (tmp_path / "broken.json").write_text('{"schema": 2, "targets": [1], "standing": [[1]]}')
    with pytest.raises(Corrupted):
        Snapshot(tmp_path / "broken.json").read()
