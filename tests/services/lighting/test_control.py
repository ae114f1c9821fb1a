"""Every lamp comes to the level that is due, through dead gateways, hand switches and lock-outs."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from domain.plan import to_unix_ms
from domain.priority import Priority
from servicekit.clock import SystemClock
from services.lighting.due import DueSource
from services.lighting.faults import Fault
from services.lighting.history import Change
from services.lighting.records import EndpointState, SwitchingOwner
from services.lighting.state import Power, Quality, Switch
from tests.services.lighting.bench import HOUR, NOON, Bench
from tests.services.lighting.fake_town import HAND, OFF
from tests.support.ending import ends_beside_news
from tests.support.waiting import eventually

NIGHT = ((0, 0), (5, 1000), (10, 500), (17, 1000), (19.2, 0))


async def test_a_night_follows_its_plan_at_every_switch_point_and_is_read_back():
    bench = Bench()
    bench.plan(*NIGHT)
    for hours, level in ((1, 0), (5.1, 1000), (9.9, 1000), (10.1, 500), (16.9, 500), (17.1, 1000), (19.3, 0)):
        await bench.at(hours)
        assert bench.all_at(level), hours
        lamps = bench.state.lamps
        assert set(lamps.due.tolist()) == {level}
        assert set(lamps.actual.tolist()) == {level}
        assert set(lamps.source.tolist()) == {DueSource.PLAN}
        assert set(lamps.quality.tolist()) == {Quality.GOOD}
        assert not lamps.faults.any()


@pytest.mark.parametrize("profile", ["generic-level-status", "intesis-dali"])
async def test_a_small_step_is_told_though_the_level_before_reads_back_nearly_the_same(profile: str):
    bench = Bench(cabinets=1, profile=profile)
    bench.plan((0, 0), (5, 790), (8, 810), (19, 0))
    await bench.at(7.9)
    assert {round(level, -1) for levels in bench.levels() for level in levels} == {790}
    await bench.at(9)
    assert {round(level, -1) for levels in bench.levels() for level in levels} == {810}


async def test_without_scheduler_the_town_is_lit_from_sunset_to_sunrise():
    bench = Bench()
    await bench.at(4.5)
    assert bench.all_at(0)
    await bench.at(4.9)
    assert bench.all_at(1000)
    await bench.at(19.4)
    assert bench.all_at(1000)
    await bench.at(19.7)
    assert bench.all_at(0)


async def test_a_plan_that_has_run_out_leaves_the_default():
    bench = Bench()
    bench.plan(*NIGHT, days=1)
    await bench.at(34)
    assert bench.all_at(1000)
    assert set(bench.state.lamps.source.tolist()) == {DueSource.DEFAULT}


async def test_an_override_comes_holds_and_ends_by_itself():
    bench = Bench()
    bench.plan(*NIGHT)
    await bench.at(10.5)
    bench.override(800, 11, 12, targets=["c0"])
    await bench.at(10.9)
    assert bench.all_at(500)
    await bench.at(11.2)
    assert set(bench.levels()[0]) == {800}
    assert set(bench.levels()[1]) == {500}
    await bench.at(12.2)
    assert bench.all_at(500)


async def test_by_day_feeders_are_dead_and_their_gear_is_unpowered_which_is_no_fault():
    bench = Bench()
    await bench.at(1)
    lamps, columns = bench.state.lamps, bench.state.columns
    switched = columns.feeder_switched[columns.feeder]
    assert (lamps.powered[switched] == Power.OFF).all()
    assert (lamps.powered[~switched] == Power.ON).all()
    assert not lamps.faults.any()
    bench.town.gateway(0).reads = 0
    asked = len(bench.town.gateway(0).writes)
    await bench.passes(3)
    assert bench.town.gateway(0).reads == 3  # for the permanent feeder's lamps only
    assert len(bench.town.gateway(0).writes) == asked


async def test_only_differences_are_written_and_a_whole_line_by_one_broadcast():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    await bench.at(5.1)
    bench.forget_writes()
    await bench.passes(5)
    assert bench.writes("fake://g0", "level_command") == []
    await bench.at(10.1)
    assert bench.writes("fake://g0", "broadcast_level_command") == [(0, 500.0)]
    assert bench.writes("fake://g0", "level_command") == []


async def test_a_locked_out_feeder_is_never_written_neither_contactor_nor_gear():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    bench.lock_out("f0.0")
    await bench.at(20)
    assert (0, 1.0) not in bench.writes("fake://c0", "contactor_command")
    assert (1, 1.0) in bench.writes("fake://c0", "contactor_command")
    assert bench.writes("fake://g0", "broadcast_level_command") == []
    assert not any(index < 4 for index, _ in bench.writes("fake://g0", "level_command"))
    assert set(bench.state.lamps.due[:4].tolist()) == {-1}
    assert set(bench.state.lamps.source[:4].tolist()) == {DueSource.LOCKOUT}


async def test_a_feeder_locked_out_while_lit_stays_as_it_is_until_the_release():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    await bench.at(6)
    bench.lock_out("f0.0")
    bench.forget_writes()
    await bench.at(20)
    assert bench.levels()[0][:4] == [1000] * 4
    bench.lock_out()
    await bench.passes(5)
    assert bench.levels()[0][:4] == [0] * 4


async def test_orders_that_change_while_a_device_is_slow_stop_the_write():
    bench = Bench(cabinets=1, patience_real_s=0.3)
    await bench.at(1)
    gateway = bench.town.gateway(0)
    bench.override(1000, 1.1, 3)
    await bench.clock.advance(timedelta(minutes=30))
    gateway.hangs = asyncio.Event()
    bench.forget_writes()
    await bench.control.once()  # the step now hangs in its reading
    bench.lock_out("f0.2")
    gateway.hangs.set()
    gateway.hangs = None
    await bench.control.quiet("f0.2")
    assert not any(index >= 8 for index, _ in bench.writes("fake://g0", "level_command"))
    await bench.passes(3)
    assert not any(index >= 8 for index, _ in bench.writes("fake://g0", "level_command"))
    assert bench.writes("fake://g0", "broadcast_level_command") == []


async def test_a_hand_switch_is_read_shown_and_its_contactors_are_left_alone():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    await bench.at(6)
    bench.town.controller(0).cabinet.switch = HAND
    bench.forget_writes()
    await bench.at(11)
    assert bench.all_at(500)  # gear goes on following while it is lit by hand
    await bench.at(21)
    assert bench.writes("fake://c0", "contactor_command") == []
    assert bench.all_at(1000)  # by day it stays lit: somebody wanted it so
    assert bench.state.cabinets["c0"].switch == Switch.HAND
    assert not bench.state.lamps.faults.any()


async def test_in_hand_a_person_may_still_command_off():
    bench = Bench(cabinets=1)
    bench.town.controller(0).cabinet.switch = HAND
    bench.override(0, 1, 2, priority=Priority.MAINTENANCE)
    await bench.at(1.2)
    assert bench.all_at(0)


async def test_a_switch_in_0_means_that_nothing_is_written():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    bench.town.controller(0).cabinet.switch = OFF
    await bench.at(8)
    assert bench.writes("fake://c0", "contactor_command") == []
    assert bench.town.gateway(0).writes == []
    assert bench.state.cabinets["c0"].switch == Switch.OFF


async def test_a_dead_gateway_does_not_stall_the_others_and_its_lamps_are_unknown():
    bench = Bench(cabinets=3, patience_real_s=0.3)
    bench.plan(*NIGHT)
    await bench.at(1)
    bench.town.gateway(0).hangs = hanging = asyncio.Event()
    bench.town.gateway(1).dead = True
    await bench.at(6)
    assert set(bench.levels()[2]) == {1000}
    lamps = bench.state.lamps
    dead = bench.state.columns.rows_by_gateway[1]
    assert set(lamps.actual[dead].tolist()) == {-1}
    assert set(lamps.quality[dead].tolist()) == {Quality.MISSING}
    assert set(lamps.faults[dead].tolist()) == {Fault.COMMUNICATION_LOSS}
    hanging.set()
    bench.town.gateway(0).hangs = None
    bench.town.gateway(1).dead = False
    await bench.at(10.1)
    assert bench.all_at(500)
    assert not lamps.faults.any()


async def test_nothing_is_written_to_a_gateway_whose_reading_failed():
    bench = Bench(cabinets=1, stale_real_s=0.0)
    bench.plan(*NIGHT)
    await bench.at(9.9)
    gateway = bench.town.gateway(0)
    gateway.dead = True
    gateway.attempts = 0
    await bench.at(11)
    assert gateway.attempts == 0


async def test_a_dead_controller_leaves_contactors_as_they_are_and_gear_goes_on_following():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    await bench.at(6)
    bench.town.controller(0).dead = True
    await bench.at(11)
    assert bench.all_at(500)
    live = bench.state.cabinets["c0"]
    assert live.quality == Quality.MISSING
    bench.town.controller(0).dead = False
    await bench.at(20)
    assert bench.all_at(0)
    assert bench.state.cabinets["c0"].observed_at_ms == to_unix_ms(bench.clock.now())


async def test_a_lamp_that_does_not_follow_becomes_a_fault_and_does_not_slow_the_others():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    await bench.at(6)
    stuck = bench.town.lamp(0, 2)
    stuck.stuck = True
    await bench.at(12)
    assert bench.levels()[0][2] == 1000
    assert set(bench.levels()[0][:2] + bench.levels()[0][3:]) == {500}
    assert bench.state.lamps.faults[2] == Fault.DIMMING_FAILURE
    tries = [value for index, value in bench.writes("fake://g0", "level_command") if index == 2]
    assert 3 <= len(tries) <= 40  # it is given a rest that doubles, up to a minute
    stuck.stuck = False
    await bench.passes(15)
    assert bench.all_at(500)
    assert not bench.state.lamps.faults.any()


async def test_failed_lamps_and_gear_are_told_apart():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    await bench.at(6)
    bench.town.lamp(0, 0).lamp_failure = True
    bench.town.lamp(0, 1).gear_failure = True
    await bench.passes(6)
    assert bench.state.lamps.faults[:3].tolist() == [Fault.LAMP_FAILURE, Fault.GEAR_FAILURE, 0]
    await bench.at(10.2)
    assert set(bench.levels()[0][2:]) == {500}


async def test_a_lamp_lit_by_day_against_orders_is_a_day_burner():
    bench = Bench(cabinets=1)
    await bench.at(1)
    lamp = bench.town.lamp(0, 8)
    lamp.put(1000, bench.town.seconds)
    lamp.stuck = True
    await bench.passes(12)
    assert bench.state.lamps.faults[8] & Fault.DAY_BURNER


async def test_after_a_power_cut_the_levels_follow_as_soon_as_the_gear_has_booted():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    await bench.at(11)
    cabinet = bench.town.controller(0).cabinet
    cabinet.supply = False
    await bench.passes(3)
    assert (bench.state.lamps.powered == Power.OFF).all()
    assert not bench.state.lamps.faults.any()
    cabinet.supply = True
    await bench.passes(4)
    assert bench.all_at(500)


async def test_in_shadow_mode_due_stands_beside_actual_and_nothing_is_written():
    bench = Bench(cabinets=2)
    bench.plan(*NIGHT)
    for state in (EndpointState.OBSERVED, EndpointState.TESTED):
        bench.endpoint_state("eg0", state)
        bench.endpoint_state("ec0", state)
        await bench.at(6 if state == EndpointState.OBSERVED else 7)
        assert bench.town.gateway(0).writes == []
        assert bench.town.controller(0).writes == []
        rows = bench.state.columns.rows_by_gateway[0]
        assert set(bench.state.lamps.due[rows].tolist()) == {1000}
        assert set(bench.state.lamps.actual[rows].tolist()) == {0}
        assert not bench.state.lamps.in_control[rows].any()
        assert set(bench.levels()[1]) == {1000}
    bench.endpoint_state("eg0", EndpointState.IN_CONTROL)
    bench.endpoint_state("ec0", EndpointState.IN_CONTROL)
    await bench.at(8)
    assert bench.all_at(1000)


async def test_a_planned_endpoint_is_not_even_opened():
    bench = Bench(cabinets=1)
    bench.endpoint_state("eg0", EndpointState.PLANNED)
    await bench.at(6)
    assert bench.town.opened == ["fake://c0"]
    bench.endpoint_state("eg0", EndpointState.IN_CONTROL)
    await bench.at(7)
    assert bench.all_at(1000)
    bench.endpoint_state("eg0", EndpointState.PLANNED)
    await bench.at(8)
    assert bench.town.gateway(0).closed


async def test_contactors_that_a_clock_switches_are_only_observed():
    bench = Bench(cabinets=1)
    cabinet = replace(bench.knowledge.known.inventory.cabinets[0], switching_owner=SwitchingOwner.ASTRO_CLOCK)
    bench.stock(cabinets=(cabinet,))
    bench.plan(*NIGHT)
    bench.town.controller(0).cabinet.commands[:] = [True, True]
    await bench.at(11)
    assert bench.town.controller(0).writes == []
    assert bench.all_at(500)


async def test_contactors_close_one_after_the_other_and_open_at_once():
    bench = Bench(cabinets=3, inrush_step_s=60.0, inrush_slots=2)
    bench.plan(*NIGHT)
    await bench.at(4.98)
    lit: list[tuple[bool, ...]] = []
    for _ in range(40):
        await bench.clock.advance(timedelta(seconds=10))
        await bench.control.once()
        closed = tuple(bench.town.controller(c).cabinet.commands[f] for c in range(3) for f in range(2))
        if not lit or lit[-1] != closed:
            lit.append(closed)
    # Offsets in steps: cabinet 0: 0, 1; cabinet 1: 1, 2; cabinet 2 begins anew: 0, 1.
    assert lit == [
        (False,) * 6,
        (True, False, False, False, True, False),
        (True, True, True, False, True, True),
        (True,) * 6,
    ]
    await bench.at(19.19)
    await bench.clock.advance(timedelta(minutes=2))
    await bench.control.once()
    assert not any(bench.town.controller(c).cabinet.commands[f] for c in range(3) for f in range(2))


async def test_an_endpoint_that_is_not_the_simulator_is_neither_read_nor_written_in_a_time_lapse():
    bench = Bench(cabinets=2)
    bench.plan(*NIGHT)
    bench.town.gateway(0).not_the_simulator = True
    await bench.at(6)
    assert bench.town.gateway(0).writes == []
    assert set(bench.levels()[1]) == {1000}


async def test_who_does_not_hold_the_field_touches_nothing():
    bench = Bench()
    bench.holds = False
    bench.plan(*NIGHT)
    await bench.at(6)
    assert bench.town.opened == []
    bench.holds = True
    await bench.passes(4)
    assert bench.all_at(1000)


async def test_a_clock_that_jumps_an_hour_either_way_is_right_within_a_pass_or_two():
    bench = Bench()
    bench.plan(*NIGHT)
    await bench.at(9.5)
    await bench.clock.advance(HOUR)
    await bench.passes(2)
    assert bench.all_at(500)


async def test_lamps_that_join_while_it_runs_are_brought_in_line_and_the_others_are_left_alone():
    bench = Bench(cabinets=2)
    bench.plan(*NIGHT)
    full = bench.knowledge.known.inventory
    bench.stock(luminaires=tuple(lamp for lamp in full.luminaires if lamp.gateway_uid == "w0"))
    await bench.at(10.2)
    assert set(bench.levels()[0]) == {500}
    assert set(bench.levels()[1]) == {1000, 0}  # switched by the default, dimmed by nobody
    bench.forget_writes()
    bench.stock(luminaires=full.luminaires)
    await bench.passes(5)
    assert bench.all_at(500)
    assert bench.town.gateway(0).writes == []


async def test_a_lamp_without_communication_burns_with_its_feeder():
    bench = Bench(cabinets=1)
    lamps = bench.knowledge.known.inventory.luminaires
    bench.stock(luminaires=(replace(lamps[0], gateway_uid=""), *lamps[1:]))
    bench.plan(*NIGHT)
    await bench.at(11)
    assert bench.state.lamps.actual[0] == 1000
    assert bench.state.lamps.quality[0] == Quality.UNCERTAIN
    await bench.at(21)
    assert bench.state.lamps.actual[0] == 0


async def test_what_was_told_is_in_the_history_from_the_moment_it_was_acknowledged():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    await bench.at(1)
    bench.control.recorder.take()
    bench.control.settled_until_ms = 0
    await bench.at(20, step_s=60)
    uid = bench.state.columns.uids[0]
    changes = [c for c in bench.control.recorder.take() if c.uid == uid]
    at = [(round((c.at_ms - to_unix_ms(NOON)) / 3_600_000, 2), c.level_permille, c.powered) for c in changes]
    assert at == [(5.0, 1000, True), (10.0, 500, True), (17.0, 1000, True), (19.2, 0, False)]


async def test_states_that_did_not_change_are_no_news():
    bench = Bench()
    await bench.at(1)
    revision = bench.state.revision
    await bench.passes(5)
    assert bench.state.revision == revision
    await bench.at(6)
    assert bench.state.revision > revision
    assert (bench.state.changed > revision).all()


async def test_the_loop_wakes_for_the_instant_at_which_a_plan_switches():
    bench = Bench(cabinets=1, interval_s=3600.0)
    bench.plan(*NIGHT)
    beats: list[float] = []
    task = asyncio.create_task(
        bench.control.run(lambda: beats.append((bench.clock.now() - NOON).total_seconds() / 3600))
    )
    await eventually(lambda: bench.clock.sleeping > 0)
    await bench.clock.advance(6 * HOUR)
    assert 5.0 in beats
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_orders_that_change_in_the_middle_of_a_pass_are_obeyed_at_the_instant_at_which_they_changed():
    bench = Bench(cabinets=2, interval_s=3600.0, patience_real_s=20.0)
    bench.plan(*NIGHT)
    task = asyncio.create_task(bench.control.run(lambda: None))
    await eventually(lambda: bench.clock.sleeping > 0)
    await bench.clock.advance(timedelta(hours=9.9))
    controller = bench.town.controller(0)
    reads, controller.hangs = controller.reads, asyncio.Event()
    to_ten = asyncio.create_task(bench.clock.advance(timedelta(hours=0.1)))
    await eventually(lambda: controller.reads > reads)
    bench.order()  # the same orders, loaded anew while the pass of 10 o'clock waits for a cabinet
    controller.hangs.set()
    await to_ten
    lamps = [lamp for number in range(2) for lamp in (bench.town.gateway(number).lamps or {}).values()]
    assert {lamp.target for lamp in lamps} == {500}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_large_town_is_worked_through_quickly():
    bench = Bench(cabinets=20, lamps_per_feeder=18)
    bench.plan(*NIGHT)
    await bench.at(5.1, step_s=3600)
    assert bench.all_at(1000)
    assert np.count_nonzero(bench.state.lamps.faults) == 0


async def test_who_loses_the_field_lets_go_of_it_and_knows_nothing_of_it():
    bench = Bench()
    bench.plan(*NIGHT)
    await bench.at(6)
    bench.holds = False
    await bench.passes(1)
    await eventually(lambda: all(device.closed for device in bench.town.devices.values()))
    assert set(bench.state.lamps.actual.tolist()) == {-1}
    assert set(bench.state.lamps.quality.tolist()) == {Quality.MISSING}
    assert set(bench.state.lamps.due.tolist()) == {1000}
    bench.forget_writes()
    await bench.at(11)
    assert not any(device.writes for device in bench.town.devices.values())


async def test_who_takes_the_field_over_goes_on_with_the_history_of_the_one_before():
    bench = Bench(cabinets=1)
    uid = bench.knowledge.known.inventory.luminaires[8].uid
    asked = []

    async def last_known():
        asked.append(bench.clock.now())
        return {uid: Change(uid, to_unix_ms(NOON), 0, True)}, to_unix_ms(NOON + HOUR)

    bench.control._last_known = last_known
    bench.holds = False
    await bench.at(2)
    assert asked == []
    bench.holds = True
    await bench.passes(3)
    assert len(asked) == 1
    assert [c for c in bench.control.recorder.take() if c.uid == uid] == []  # still off: nothing changed


async def test_a_ramp_of_the_plan_is_left_to_gear_that_can_fade_and_is_taken_back_for_commands():
    bench = Bench(cabinets=1, profile="intesis-dali")
    bench.plan(*NIGHT, ramp_s=60)
    await bench.at(9.98, step_s=120)
    await bench.clock.advance(NOON + 10 * HOUR - bench.clock.now())
    await bench.control.once()
    await bench.clock.advance(timedelta(seconds=30))
    await bench.control.once()
    assert all(700 < level < 800 for level in bench.levels()[0])  # half-way
    await bench.passes(6)
    assert bench.all_at(500)
    fades = bench.writes("fake://g0", "fade_time")
    assert sorted(fades) == [(address, 60.0) for address in range(12)]  # the register wears: only on change
    assert not bench.state.lamps.faults.any()
    bench.override(1000, 10, 12)
    await bench.passes(3)
    assert bench.all_at(1000)
    assert {lamp.fade_s for lamp in (bench.town.gateway(0).lamps or {}).values()} == {2.0}


async def test_a_gateway_that_only_remembers_its_commands_is_told_anew_after_every_loss_of_supply():
    bench = Bench(cabinets=1, profile="arlight-dali")
    bench.plan(*NIGHT)
    await bench.at(11)
    assert bench.all_at(500)
    cabinet = bench.town.controller(0).cabinet
    cabinet.supply = False
    await bench.passes(2)
    for lamp in cabinet.lamps:
        lamp.power_on = 1000
    cabinet.supply = True
    await bench.passes(4)
    assert bench.all_at(500)


async def test_a_lock_out_ends_a_write_that_is_stuck_in_a_slow_device():
    bench = Bench(cabinets=1, patience_real_s=0.3)
    await bench.at(1)
    gateway = bench.town.gateway(0)
    bench.override(1000, 1.1, 3)
    await bench.clock.advance(timedelta(minutes=30))
    gateway.hangs = asyncio.Event()
    await bench.control.once()
    bench.lock_out("f0.2")
    bench.forget_writes()
    await bench.control.quiet("f0.2")
    gateway.hangs.set()
    gateway.hangs = None
    await bench.passes(3)
    assert bench.writes("fake://g0", "level_command") == []
    assert bench.writes("fake://g0", "broadcast_level_command") == []


async def test_the_loop_ends_though_other_orders_come_at_that_moment():
    control = Bench().control
    control._clock = SystemClock()

    async def rest() -> None:
        control._wake.clear()
        await control._rest(control._monotonic())

    await ends_beside_news(rest, lambda: bool(control._wake._waiters), control.look_up)
