"""Sensors as lighting knows them: values from anywhere, in any order, and what the reconcile loop makes of them."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from domain.plan import Plan, to_unix_ms
from domain.plan_rule import PlanRule, SensorKind, SensorOperation
from domain.sensing import Condition, Thresholds
from fieldbus.values import Quality
from services.lighting.due import DueSource
from services.lighting.records import (
    EndpointRecord,
    EndpointState,
    GroupRecord,
    Inventory,
    Known,
    Orders,
    SensorRecord,
    TownRecord,
)
from services.lighting.sensor_keeper import SensorFile
from services.lighting.sensors import SensorBoard, SensorValue, milli_of
from tests.services.lighting.bench import NOON, Bench
from tests.services.lighting.fake_town import FakeCabinet, FakeDevice

START = to_unix_ms(NOON)
MINUTE = 60_000
BUSY = PlanRule(
    START, START + 24 * 3_600_000, SensorKind.TRAFFIC, SensorOperation.SET, 1000, 120_000, 60_000, hold_s=300
)  # fmt: skip
DUSK = PlanRule(
    START, START + 24 * 3_600_000, SensorKind.ILLUMINANCE, SensorOperation.SET, 1000, 35_000, 45_000
)  # fmt: skip


def known(*rules: PlanRule, sensors: tuple[SensorRecord, ...] = ()) -> Known:
    plan = Plan(START, START + 24 * 3_600_000, (START,), (500,), (), rules)
    inventory = Inventory(
        1, (TownRecord("t1", "bad-hersfeld", 50.868, 9.707),), groups=(GroupRecord("g0", "t1", "default"),),
        sensors=sensors or (SensorRecord("s", "t1", "S-1", SensorKind.TRAFFIC),),
    )  # fmt: skip
    return Known(inventory, Orders(1, {"g0": plan}))


def value(minutes: float, vehicles: float, uid: str = "s") -> SensorValue:
    return SensorValue(uid, milli_of(vehicles), START + round(minutes * MINUTE))


def board(*rules: PlanRule) -> SensorBoard:
    made = SensorBoard()
    made.watch(known(*(rules or (BUSY,))))
    return made


def holds(made: SensorBoard) -> Condition:
    return made.views["s"].condition(Thresholds.of(BUSY))


# --- the board ------------------------------------------------------------------------------------------------------


def test_values_become_conditions_with_hysteresis():
    made = board()
    seen = []
    for minute, vehicles in enumerate([10, 130, 80, 61, 59, 100]):
        made.take([value(minute, vehicles)], START + minute * MINUTE)
        seen.append(holds(made).holds)
    assert seen == [False, True, True, True, False, False]
    assert holds(made).ended_ms == START + 4 * MINUTE


def test_a_value_that_is_older_than_what_is_known_changes_nothing_and_neither_does_one_that_comes_twice():
    made = board()
    assert made.take([value(5, 130)], START + 5 * MINUTE) == [value(5, 130)]
    views = made.views
    assert made.take([value(4, 0), value(5, 130)], START + 6 * MINUTE) == []
    assert made.views is views


def test_after_a_clock_jumped_back_a_value_of_now_takes_the_place_of_one_from_the_future():
    made = board()
    made.take([value(60, 130)], START + 60 * MINUTE)
    assert made.take([value(1, 10)], START + MINUTE) == [value(1, 10)]


def test_a_value_from_the_future_counts_as_one_of_now():
    made = board()
    assert made.take([value(2, 130)], START + MINUTE) == [value(1, 130)]


def test_values_handed_over_one_by_one_or_at_once_come_to_the_same():
    many = [value(minute, random.Random(minute).choice([0, 70, 200])) for minute in range(40)]
    one_by_one, at_once = board(), board()
    for each in many:
        one_by_one.take([each], each.at_ms)
    at_once.take(many, START + 40 * MINUTE)
    assert one_by_one.views == at_once.views


def test_only_a_condition_that_begins_or_ends_or_a_sensor_that_speaks_again_is_news():
    made, news = board(), []
    made.on_news(lambda: news.append(1))
    for minute, vehicles in enumerate([10, 20, 130, 100, 50, 20]):
        made.take([value(minute, vehicles)], START + minute * MINUTE)
    assert len(news) == 3  # the first word, it begins, it ends
    made.take([value(60, 20)], START + 60 * MINUTE)
    assert len(news) == 4  # it had been silent for too long


def test_a_plan_with_other_thresholds_is_judged_by_the_value_at_hand_and_keeps_what_was_watched():
    made = board()
    made.take([value(0, 130)], START)
    made.take([value(1, 100)], START + MINUTE)
    other = PlanRule(*(BUSY.from_ms, BUSY.until_ms, BUSY.kind, BUSY.operation, 1000, 110_000, 90_000))
    made.watch(known(BUSY, other))
    assert holds(made).holds is True
    assert made.views["s"].condition(Thresholds.of(other)).holds is False
    made.watch(known(other))
    assert set(made.views["s"].conditions) == {Thresholds.of(other)}


def test_a_sensor_that_is_gone_or_became_another_is_forgotten():
    made = board()
    made.take([value(0, 130)], START)
    made.watch(known(BUSY, sensors=(SensorRecord("s", "t1", "S-1", SensorKind.RAIN),)))
    assert dict(made.views) == {}
    assert made.counts(START) == {"fresh": 0, "stale": 0, "never": 1}


def test_values_of_a_sensor_that_the_inventory_does_not_have_yet_are_kept_for_it():
    made = SensorBoard()
    made.take([value(0, 130)], START)
    made.watch(known(BUSY))
    assert made.views["s"].value_milli == 130_000


def test_fresh_stale_and_silent_sensors_are_counted():
    made = SensorBoard()
    sensors = tuple(SensorRecord(uid, "t1", uid, SensorKind.TRAFFIC) for uid in ("s", "old", "never"))
    made.watch(known(BUSY, sensors=sensors))
    made.take([value(0, 1, "old")], START)
    made.take([value(15, 1)], START + 15 * MINUTE)
    assert made.counts(START + 15 * MINUTE) == {"fresh": 1, "stale": 1, "never": 1}


# --- the file -------------------------------------------------------------------------------------------------------


def test_a_restart_remembers_from_which_side_a_value_came(tmp_path: Path):
    made, file = board(), SensorFile(tmp_path / "sensors.json")
    made.take([value(0, 130)], START)
    made.take([value(1, 100)], START + MINUTE)
    file.save(made.views)
    again = SensorBoard()
    values, conditions = file.load()
    again.remember(conditions)
    again.take(values, START + 2 * MINUTE)
    again.watch(known(BUSY))
    assert again.views == made.views
    assert holds(again).holds is True
    again.take([value(3, 100)], START + 3 * MINUTE)
    assert holds(again).holds is True


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "other"}', '{"schema": "lichtbuch-lighting-sensors/1"}'])
def test_a_file_that_cannot_be_read_is_no_reason_not_to_start(tmp_path: Path, text: str):
    path = tmp_path / "sensors.json"
    assert SensorFile(path).load() == ([], {})
    path.write_text(text)
    assert SensorFile(path).load() == ([], {})


# --- at a field endpoint --------------------------------------------------------------------------------------------


class Eye(FakeDevice):
    """An outdoor light sensor on the wire."""

    lux = 10_000.0
    failed = False

    def _value(self, point):
        return (float(self.failed), Quality.GOOD) if point.point == "sensor_failure" else (self.lux, Quality.GOOD)


def eye_bench(**tuning: Any) -> tuple[Bench, Eye]:
    """A town whose plan is off all the time, but for a twilight switch."""
    bench = Bench(cabinets=1, lamps_per_feeder=2, **tuning)
    eye = Eye(bench.town, FakeCabinet(1), None)
    bench.town.devices["fake://eye"] = eye
    endpoint = EndpointRecord("ee", "t1", "E-eye", "fake://eye", "light-sensor", EndpointState.OBSERVED)
    sensor = SensorRecord("s", "t1", "EYE", SensorKind.ILLUMINANCE, (), "ee", "illuminance", max_age_s=120)
    bench.stock(
        endpoints=(*bench.knowledge.known.inventory.endpoints, endpoint), sensors=(sensor,)
    )  # fmt: skip
    bench.order(plans={"g0": Plan(START, START + 24 * 3_600_000, (START,), (0,), (), (DUSK,))})
    return bench, eye


async def test_a_twilight_switch_lights_the_street_when_a_thunderstorm_comes_and_darkens_it_after():
    bench, eye = eye_bench()
    await bench.passes(4)
    assert bench.all_at(0)
    eye.lux = 34.0
    await bench.passes(6)
    assert bench.all_at(1000)
    assert set(bench.state.lamps.source.tolist()) == {DueSource.SENSOR}
    assert bench.control.active_groups()["s"][0].id == "default"
    eye.lux = 44.0  # between the thresholds nothing changes
    await bench.passes(6)
    assert bench.all_at(1000)
    eye.lux = 46.0
    await bench.passes(6)
    assert bench.all_at(0)


async def test_a_photocell_that_died_leaves_the_street_to_the_sun():
    bench, eye = eye_bench()
    eye.lux = 10.0
    await bench.passes(6)
    assert bench.all_at(1000)
    eye.dead = True
    await bench.at(1)
    assert bench.all_at(0)  # by day
    assert bench.control.sensors.counts(to_unix_ms(bench.clock.now()))["stale"] == 1
    await bench.at(5.1)  # after sunset, before civil dusk: no floor holds yet
    assert bench.all_at(1000)
    assert set(bench.state.lamps.source.tolist()) == {DueSource.PLAN}


async def test_a_sensor_that_says_it_has_failed_is_not_believed():
    bench, eye = eye_bench()
    eye.lux, eye.failed = 10.0, True
    await bench.passes(6)
    assert bench.all_at(0)
    assert dict(bench.control.sensors.views) == {}


async def test_a_sensor_that_hangs_holds_up_no_lamp():
    bench, eye = eye_bench(patience_real_s=0.5)
    eye.hangs = asyncio.Event()
    bench.override(1000, 0, 2)
    await bench.passes(6)
    assert bench.all_at(1000)
    eye.hangs.set()


async def test_who_does_not_hold_the_field_reads_no_sensor():
    bench, eye = eye_bench()
    bench.holds = False
    await bench.passes(4)
    assert eye.reads == 0
