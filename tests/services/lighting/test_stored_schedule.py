"""A controller that keeps a schedule of its own holds what our plans come to, for a time when it hears nothing."""

from datetime import timedelta

import pytest

from domain.plan import Plan, to_unix_ms
from services.lighting.columns import build_columns
from services.lighting.records import WaiverRecord
from services.lighting.stored_schedule import HalfNight, schedule_of
from tests.services.lighting.bench import NOON, TOWN, Bench

H = timedelta(hours=1)
SUNSET_S, SUNRISE_S = 15.71 * 3600, 6.52 * 3600
"""UTC at the bench's place that night, within a minute or two; local time is an hour ahead."""


def bench_of(**kwargs: object) -> Bench:
    return Bench(cabinets=1, switched=2, controller="cabinet-logo8", **kwargs)  # type: ignore[arg-type]


def minutes(bench: Bench, name: str, channel: int | None = None) -> float:
    """A setting of the controller that is in seconds, in minutes."""
    return bench.town.controller(0).cabinet.settings[name, channel] / 60


async def test_without_a_plan_the_clock_of_the_controller_lights_the_street_from_sunset_to_sunrise():
    bench = bench_of()
    await bench.passes(3)
    settings = bench.town.controller(0).cabinet.settings
    assert (settings["astro_on_offset", None], settings["astro_off_offset", None]) == (0, 0)
    assert settings["astro_enabled", None] == 1
    assert [settings["half_night_enabled", channel] for channel in (0, 1)] == [0, 0]


async def test_a_plan_becomes_offsets_to_sunset_and_sunrise_of_the_coming_night_and_follows_the_sun():
    bench = bench_of()
    on, off = 4.5, 19.0  # 15:30 and 06:00 UTC
    instants = [NOON + h * H for h in (0, on, off, 24 + on, 24 + off)]
    bench.order(plans={"g0": Plan.of(NOON, NOON + 48 * H, instants, [0, 1000, 0, 1000, 0])})
    await bench.passes(3)
    assert minutes(bench, "astro_on_offset") == pytest.approx(15.5 * 60 - SUNSET_S / 60, abs=2)
    # The floor holds until civil dawn, which is near 05:56.
    assert minutes(bench, "astro_off_offset") == pytest.approx(6.0 * 60 - SUNRISE_S / 60, abs=2)
    first = minutes(bench, "astro_on_offset")
    await bench.at(24.2)
    assert 1 <= minutes(bench, "astro_on_offset") - first <= 2


async def test_it_is_written_on_change_only():
    bench = bench_of()
    await bench.passes(3)
    controller = bench.town.controller(0)
    controller.writes.clear()
    await bench.at(3)
    assert [name for name, *_ in controller.writes if name.startswith(("astro", "half"))] == []


async def test_a_feeder_that_is_dark_after_midnight_is_a_half_night_feeder():
    bench = bench_of()
    start, end = to_unix_ms(NOON), to_unix_ms(NOON + 30 * H)
    waiver = WaiverRecord("w1", "t1", 0, start, end, ("t1",))
    columns = bench.knowledge.known.inventory
    groups = {lamp.feeder_uid: lamp.group_uid for lamp in columns.luminaires}
    assert set(groups.values()) == {"g0"}
    halves = Plan.of(NOON, NOON + 30 * H, [NOON + h * H for h in (0, 5, 12, 17, 20)], [0, 1000, 0, 1000, 0])
    bench.order(plans={"g0": halves}, waivers=(waiver,))
    await bench.passes(3)
    settings = bench.town.controller(0).cabinet.settings
    for channel in (0, 1):
        assert settings["half_night_enabled", channel] == 1
        assert settings["half_night_off", channel] == 0  # 23:00 UTC is midnight
        assert settings["half_night_on", channel] == 5 * 3600
    # Without the waiver the floor holds, and no plan makes the street dark.
    bench.order(waivers=())
    await bench.passes(2)
    assert [settings["half_night_enabled", channel] for channel in (0, 1)] == [0, 0]


async def test_while_a_feeder_is_locked_out_the_controller_switches_nothing_by_itself():
    bench = bench_of()
    await bench.passes(3)
    settings = bench.town.controller(0).cabinet.settings
    bench.lock_out("f0.1")
    await bench.passes(2)
    assert settings["astro_enabled", None] == 0
    bench.lock_out()
    await bench.passes(2)
    assert settings["astro_enabled", None] == 1


async def test_what_the_controller_does_not_take_is_tried_again():
    bench = bench_of()
    bench.town.controller(0).refuses = {"astro_enabled"}
    await bench.passes(3)
    settings = bench.town.controller(0).cabinet.settings
    assert ("astro_enabled", None) not in settings
    bench.town.controller(0).refuses = set()
    await bench.at(0.3, step_s=60)
    assert settings["astro_enabled", None] == 1


async def test_a_cabinet_that_others_switch_or_that_keeps_no_schedule_is_not_written():
    for bench in (Bench(cabinets=1, controller="cabinet-plc"),):
        await bench.passes(3)
        assert not bench.town.controller(0).cabinet.settings


def test_only_one_dark_span_fits_and_the_longest_is_taken():
    bench = bench_of()
    steps = [(0, 0), (5, 1000), (9, 0), (10, 1000), (13, 0), (16, 1000), (20, 0)]
    plan = Plan.of(NOON, NOON + 30 * H, [NOON + h * H for h, _ in steps], [level for _, level in steps])
    waiver = WaiverRecord("w1", "t1", 0, to_unix_ms(NOON), to_unix_ms(NOON + 30 * H), (TOWN.uid,))
    bench.order(plans={"g0": plan}, waivers=(waiver,))
    known = bench.knowledge.known
    schedule = schedule_of(build_columns(known.inventory), 0, known.orders, NOON)
    assert schedule is not None
    assert dict(schedule.half_nights) == {0: HalfNight(3600, 4 * 3600), 1: HalfNight(3600, 4 * 3600)}


def test_a_street_that_is_dark_all_night_by_decision_leaves_the_controller_as_it_is():
    bench = bench_of()
    plan = Plan.of(NOON, NOON + 30 * H, [NOON], [0])
    waiver = WaiverRecord("w1", "t1", 0, to_unix_ms(NOON), to_unix_ms(NOON + 30 * H), (TOWN.uid,))
    bench.order(plans={"g0": plan}, waivers=(waiver,))
    known = bench.knowledge.known
    assert schedule_of(build_columns(known.inventory), 0, known.orders, NOON) is None
