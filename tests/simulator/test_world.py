"""The town in motion: feeders, watchdogs, quarter hours, meters and history."""

import dataclasses
import math
from datetime import UTC, datetime

import numpy as np
import pytest

from domain.errors import InvalidInput
from simulator.daylight import illuminance_lx, is_night
from simulator.demo import DemoSize, demo_town
from simulator.history import LevelHistory
from simulator.town import SWITCHED, Town
from simulator.world import World

NOON = datetime(2026, 11, 22, 11, 0, tzinfo=UTC).timestamp()
MIDNIGHT = datetime(2026, 11, 22, 23, 0, tzinfo=UTC).timestamp()
QUARTER = 900.0


@pytest.fixture
def world(town: Town) -> World:
    return World(town, NOON)


def closed(world: World, cabinet: str = "C-001") -> bool:
    """Whether the contactor of the first channel is closed."""
    return world.cabinets[cabinet].closed[0]


def lamps_of(world: World, feeder: str) -> np.ndarray:
    return np.array([i for i, lamp in enumerate(world.town.luminaires) if lamp.feeder == feeder], dtype=np.intp)


def test_by_day_the_town_begins_dark_with_its_switched_feeders_dead(world: World) -> None:
    switched = {f.id for f in world.town.feeders if f.supply == SWITCHED}
    energised = {lamp.feeder for lamp, on in zip(world.town.luminaires, world.lamps.energised, strict=True) if on}
    assert not energised & switched
    assert world.lamps.light_level(NOON).sum() == 0.0


def test_by_night_it_begins_fully_lit(town: Town) -> None:
    world = World(town, MIDNIGHT)
    assert (world.lamps.light_level(MIDNIGHT) == 1000.0).all()


def test_a_contactor_brings_its_feeder_up_at_the_power_on_level_and_counts_its_operations(world: World) -> None:
    lamps = lamps_of(world, "C-001-F2")
    world.advance(NOON + 10)
    world.command_contactor("C-001", 0, True)
    assert (world.lamps.light_level(world.now, lamps) == 1000.0).all()
    world.advance(NOON + 20)
    world.command_contactor("C-001", 0, False)
    assert (world.lamps.light_level(world.now, lamps) == 0.0).all()
    assert world.cabinets["C-001"].operations[0] == 2


def test_the_hand_switch_wins_over_commands_and_gives_them_back(world: World) -> None:
    world.set_hand_switch("C-001", "hand")
    assert closed(world)
    world.command_contactor("C-001", 0, True)
    world.set_hand_switch("C-001", "off")
    assert not closed(world)
    world.set_hand_switch("C-001", "auto")
    assert closed(world)


def test_every_quarter_hour_is_logged_at_its_own_instant_however_far_time_jumps(world: World) -> None:
    lamps = lamps_of(world, "C-001-F1")
    world.advance(NOON + 100)
    world.command_level(lamps, 800)
    world.advance(NOON + 6 * QUARTER + 1)
    before = world.meter_wh(NOON + 2 * QUARTER)
    after = world.meter_wh(NOON + 3 * QUARTER)
    watts = world.lamps.power_w(world.now, lamps).sum()
    assert after[0] - before[0] == pytest.approx(watts * 0.25, rel=1e-9)
    with pytest.raises(InvalidInput):
        world.meter_wh(NOON + 450)


def test_a_cabinet_meter_counts_exactly_its_lamps_and_its_foreign_load(town: Town) -> None:
    cabinets = tuple(dataclasses.replace(c, foreign_load_w=40.0 if c.id == "C-001" else 0.0) for c in town.cabinets)
    world = World(dataclasses.replace(town, cabinets=cabinets), NOON)
    own = [i for i, lamp in enumerate(town.luminaires) if lamp.cabinet == "C-001"]
    start_meter, start_lamps = world.meters["M-001"].total_wh(NOON), world.lamps.energy_wh(NOON)[own].sum()
    world.command_contactor("C-001", 0, True)
    world.advance(NOON + 10_000)
    used = world.lamps.energy_wh(world.now)[own].sum() - start_lamps
    assert world.meters["M-001"].total_wh(world.now) - start_meter == pytest.approx(used + 40.0 * 10_000 / 3600)


def test_a_reset_and_an_exchange_begin_new_lives_and_conserve_what_is_used_afterwards(world: World) -> None:
    meter = world.meters["M-001"]
    world.set_hand_switch("C-001", "hand")
    world.advance(NOON + 3600)
    meter.reset(world.now)
    assert meter.total_wh(world.now) == 0.0
    world.advance(NOON + 7200)
    hour = meter.total_wh(world.now)
    assert hour > 0
    meter.exchange(world.now, "NEW-1", 5_000_000.0)
    world.advance(NOON + 10_800)
    assert meter.total_wh(world.now) == pytest.approx(5_000_000.0 + hour)
    assert (meter.serial, meter.life) == ("NEW-1", 2)


def test_gear_takes_its_system_failure_level_when_its_gateway_is_not_polled_any_more() -> None:
    town = demo_town(DemoSize(luminaires=4, cabinets=1, monitored=0))
    cabinets = tuple(dataclasses.replace(c, communication_loss_s=600) for c in town.cabinets)
    lamps = tuple(dataclasses.replace(lamp, system_failure_permille=700) for lamp in town.luminaires)
    world = World(dataclasses.replace(town, cabinets=cabinets, luminaires=lamps), MIDNIGHT)
    gateway = world.gateways["C-001-gw"]
    world.advance(MIDNIGHT + 500)
    world.polled(gateway)
    world.command_level(gateway.lamps, 300)
    world.advance(MIDNIGHT + 1_099)
    assert (world.lamps.light_level(world.now) == 300.0).all()
    world.advance(MIDNIGHT + 5_000)
    assert (world.lamps.light_level(world.now) == 700.0).all()
    # It happened at its own instant, not when time was moved.
    assert (world.history.levels_at(MIDNIGHT + 1_099) == 300.0).all()
    assert (world.history.levels_at(MIDNIGHT + 1_101) == 700.0).all()


def test_a_controller_without_heartbeat_follows_its_own_astronomical_clock_until_the_next_beat() -> None:
    town = demo_town(DemoSize(luminaires=4, cabinets=1, monitored=0))
    world = World(town, NOON)
    world.set_heartbeat_timeout("C-001", 600)
    world.advance(NOON + 1_000)
    assert not closed(world)
    world.advance(MIDNIGHT)
    assert closed(world)
    world.beat("C-001", 1)
    assert not closed(world)
    world.advance(MIDNIGHT + 599)
    assert not closed(world)
    world.advance(MIDNIGHT + 700)
    assert closed(world)


def test_levels_of_the_past_can_be_asked_for_also_within_a_fade(world: World) -> None:
    lamps = lamps_of(world, "C-001-F1")
    world.advance(NOON + 100)
    world.command_level(lamps, 1000)
    world.advance(NOON + 500)
    world.command_level(lamps, 0)
    world.advance(NOON + 900)
    assert (world.history.levels_at(NOON + 99)[lamps] == 0.0).all()
    assert world.history.levels_at(NOON + 101)[lamps] == pytest.approx([500.0] * lamps.size)
    assert (world.history.levels_at(NOON + 499)[lamps] == 1000.0).all()
    assert (world.history.levels_at(NOON + 899)[lamps] == 0.0).all()


def test_a_long_history_is_merged_without_losing_the_recent_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.history.LEVEL_CHANGES_KEPT", 50)
    history = LevelHistory(3)
    index = np.arange(3, dtype=np.intp)
    for t in range(100):
        level = np.full(3, float(t))
        history.record(float(t), index, level, level, np.full(3, float(t)))
    assert history.levels_at(99.5).tolist() == [99.0] * 3
    assert history.levels_at(95.0).tolist() == [95.0] * 3
    assert math.isnan(history.levels_at(5.0)[0])


def test_time_never_goes_back(world: World) -> None:
    world.advance(NOON + 100)
    world.advance(NOON)
    assert world.now == NOON + 100


def test_the_light_sensor_sees_a_twilight_switch_close_between_sunset_and_the_end_of_civil_twilight() -> None:
    place = (50.868, 9.707)
    instants = [NOON + 60.0 * i for i in range(24 * 60)]
    lux = [illuminance_lx(*place, t) for t in instants]
    dusk = next(t for t, x in zip(instants, lux, strict=True) if x < 25.0)
    assert not is_night(*place, dusk - 3600)
    assert is_night(*place, dusk)
    # Sunset is at about 15:20 UTC, civil twilight ends at about 15:56.
    assert datetime(2026, 11, 22, 15, 30, tzinfo=UTC).timestamp() < dusk
    assert dusk < datetime(2026, 11, 22, 15, 56, tzinfo=UTC).timestamp()
    assert max(lux) > 5_000
    assert min(lux) < 0.01
