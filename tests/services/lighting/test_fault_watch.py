"""What goes wrong in a town stands in the book of faults once, on what is to blame, for as long as it lasts."""

from dataclasses import replace
from datetime import timedelta

import pytest

from domain.level import PowerCurve
from services.lighting.fault_kinds import FaultEnd, FaultKind, FaultLimits
from services.lighting.records import EndpointState, SwitchingOwner
from tests.services.lighting.bench import HOUR, NOON, Bench
from tests.services.lighting.fake_town import AUTO, HAND, OFF

NIGHT = ((0, 0), (5, 1000), (10, 500), (17, 1000), (19.2, 0))


def uid(cabinet: int, feeder: int, lamp: int) -> str:
    return f"{cabinet:016x}{feeder:08x}{lamp:08x}"


@pytest.fixture
async def bench() -> Bench:
    made = Bench(faults=FaultLimits(power_every_s=10.0))
    made.plan(*NIGHT)
    return made


async def test_a_quiet_night_has_no_faults(bench: Bench):
    await bench.at(24)
    assert bench.faults() == []
    assert len(bench.book) == 0


async def test_a_dark_lamp_is_raised_once_seen_again_and_cleared_when_it_is_lit(bench: Bench):
    await bench.at(6)
    bench.town.lamp(0, 0).lamp_failure = True
    await bench.passes(2)
    assert bench.faults() == []  # one reading may be wrong
    await bench.passes(6)
    assert bench.faults() == [("lamp_failure", uid(0, 0, 0))]
    raised = next(iter(bench.book.standing.values()))
    await bench.at(9)
    again = next(iter(bench.book.standing.values()))
    assert (again.uid, again.raised_ms) == (raised.uid, raised.raised_ms)
    assert again.last_seen_ms > raised.raised_ms + HOUR.total_seconds() * 1000
    bench.town.lamp(0, 0).lamp_failure = False
    await bench.passes(2)
    assert bench.faults() == [("lamp_failure", uid(0, 0, 0))]
    await bench.passes(10)
    assert bench.faults() == []
    ended = bench.book.waiting(10)
    assert [(e.uid, e.end) for e in ended] == [(raised.uid, FaultEnd.SEEN_GOOD)]
    assert ended[0].cleared_ms > ended[0].raised_ms


async def test_a_lamp_that_failed_by_night_stays_failed_while_its_feeder_is_off_by_day(bench: Bench):
    await bench.at(6)
    bench.town.lamp(0, 0).lamp_failure = True
    await bench.at(23)
    assert bench.faults() == [("lamp_failure", uid(0, 0, 0))]


async def test_dead_gear_is_one_fault_and_no_silence_beside_it(bench: Bench):
    await bench.at(6)
    bench.town.lamp(1, 2).gear_failure = True
    await bench.passes(12)
    assert bench.faults() == [("gear_failure", uid(1, 0, 2))]
    bench.town.lamp(1, 2).gear_failure = False
    await bench.passes(12)
    assert bench.faults() == []


async def test_a_lamp_that_does_not_follow_is_a_dimming_failure_until_it_follows_there(bench: Bench):
    await bench.at(6)
    bench.town.lamp(0, 1).stuck = True
    await bench.at(10.5)
    assert bench.faults() == [("dimming_failure", uid(0, 0, 1))]
    entry = next(iter(bench.book.standing.values()))
    assert (entry.measured, entry.expected) == (1000, 500)
    await bench.at(17.5)  # full light again: that proves nothing
    assert bench.faults() == [("dimming_failure", uid(0, 0, 1))]
    bench.town.lamp(0, 1).stuck = False
    bench.override(500, 17.6, 19)
    await bench.at(18)
    assert bench.faults() == []


async def test_a_lamp_that_burns_by_day_is_a_day_burner_and_nothing_else(bench: Bench):
    await bench.at(20)
    lamp = bench.town.lamp(0, 8)  # on the permanent feeder
    lamp.put(1000, bench.town.seconds)
    lamp.stuck = True
    await bench.at(21)
    assert bench.faults() == [("day_burner", uid(0, 2, 0))]
    lamp.stuck = False
    await bench.at(22)
    assert bench.faults() == []


async def test_power_is_held_against_the_models_curve_at_the_level_that_is_read(bench: Bench):
    curve = PowerCurve(((100, 100), (1000, 1000)), 20.0, 0.3)
    bench.curves = {uid(0, 0, n): curve for n in range(4)}
    await bench.at(6)
    assert bench.faults() == []
    bench.town.lamp(0, 0).rated_w = 60.0
    bench.town.lamp(0, 1).rated_w = 4.0
    await bench.passes(8)
    assert bench.faults() == [("power_too_high", uid(0, 0, 0)), ("power_too_low", uid(0, 0, 1))]
    high = next(e for k, e in bench.book.standing.items() if k.kind == FaultKind.POWER_TOO_HIGH)
    assert (high.measured, high.expected) == (60.0, 20.0)
    assert bench.state.lamps.faults.tolist()[:2] == [32, 64]
    bench.town.lamp(0, 0).rated_w = bench.town.lamp(0, 1).rated_w = 22.0
    await bench.passes(8)
    assert bench.faults() == []


async def test_a_small_difference_of_power_and_a_lamp_without_a_model_are_no_faults(bench: Bench):
    bench.curves = {uid(0, 0, 0): PowerCurve(((100, 100), (1000, 1000)), 20.0, 0.3)}
    await bench.at(6)
    bench.town.lamp(0, 0).rated_w = 24.0
    bench.town.lamp(0, 1).rated_w = 400.0
    await bench.passes(12)
    assert bench.faults() == []


async def test_a_lamp_that_goes_dark_by_itself_again_and_again_is_cycling(bench: Bench):
    await bench.at(6)
    lamp = bench.town.lamp(0, 3)
    for _ in range(6):
        lamp.put(0, bench.town.seconds)
        await bench.passes(12)
    assert bench.faults() == [("cycling", uid(0, 0, 3))]
    await bench.at(9)
    assert bench.faults() == []


async def test_a_change_of_what_is_due_is_no_cycle(bench: Bench):
    await bench.at(6)
    for n in range(12):
        bench.override(400 if n % 2 else 900, 6.1 + n / 10, 6.2 + n / 10)
    await bench.at(8, step_s=30.0)
    assert bench.faults() == []


async def test_a_silent_gateway_is_one_fault_and_its_lamps_have_none(bench: Bench):
    await bench.at(6)
    bench.town.gateway(0).dead = True
    await bench.passes(30)
    assert bench.faults() == [("communication_loss", "w0")]
    assert (bench.state.lamps.faults[:8] == 16).all()  # of each lamp it is known that nothing is known
    bench.town.gateway(0).dead = False
    await bench.passes(12)
    assert bench.faults() == []


async def test_a_dead_cabinet_is_one_fault_and_not_one_for_each_lamp(bench: Bench):
    await bench.at(6)
    bench.town.gateway(0).dead = bench.town.controller(0).dead = True
    await bench.at(8)
    assert bench.faults() == [("communication_loss", "c0")]
    bench.town.gateway(0).dead = bench.town.controller(0).dead = False
    await bench.passes(30)
    assert bench.faults() == []
    assert [e.kind for e in bench.book.waiting(100)] == [FaultKind.COMMUNICATION_LOSS]


async def test_a_gateway_whose_cabinet_turns_out_to_be_dead_gives_its_fault_up_to_it(bench: Bench):
    await bench.at(6)
    bench.town.gateway(0).dead = True
    await bench.passes(30)
    bench.town.controller(0).dead = True
    await bench.passes(30)
    assert bench.faults() == [("communication_loss", "c0")]
    assert bench.book.waiting(1)[0].end == FaultEnd.PART_OF_ANOTHER


async def test_lamps_of_a_gateway_that_answers_are_watched_though_the_controller_is_silent(bench: Bench):
    await bench.at(6)
    bench.town.controller(0).dead = True
    bench.town.lamp(0, 0).lamp_failure = True
    await bench.passes(30)
    assert bench.faults() == [("communication_loss", "c0"), ("lamp_failure", uid(0, 0, 0))]


async def test_a_cabinet_that_says_it_has_no_supply_is_one_fault(bench: Bench):
    await bench.at(6)
    bench.town.controller(0).cabinet.supply = False
    await bench.passes(20)
    assert bench.faults() == [("supply_loss", "c0")]
    bench.town.controller(0).cabinet.supply = True
    await bench.passes(20)
    assert bench.faults() == []
    assert bench.all_at(1000)


async def test_a_feeder_that_is_closed_and_whose_gear_is_out_has_lost_its_supply(bench: Bench):
    await bench.at(6)
    for address in range(4):
        bench.town.lamp(0, address).gear_failure = True
    await bench.passes(12)
    assert bench.faults() == [("supply_loss", "f0.0")]
    for address in range(4):
        bench.town.lamp(0, address).gear_failure = False
    await bench.passes(12)
    assert bench.faults() == []


async def test_a_feeder_that_is_off_by_day_is_no_fault_and_levels_follow_when_it_is_energised(bench: Bench):
    await bench.at(30)
    assert bench.faults() == []
    assert len(bench.book) == 0
    await bench.at(29.2 + 5)
    assert bench.faults() == []


@pytest.mark.parametrize(("welded_open", "kind"), [(True, "stuck open"), (False, "welded")])
async def test_a_contactor_that_is_not_as_commanded_is_a_relay_failure(bench: Bench, welded_open: bool, kind: str):
    await bench.at(3 if welded_open else 18)
    cabinet = bench.town.controller(0).cabinet
    (cabinet.welded_open if welded_open else cabinet.welded_closed).add(0)
    await bench.at(6 if welded_open else 20)
    assert bench.faults() == [("relay_failure", "f0.0")], kind
    entry = next(iter(bench.book.standing.values()))
    assert (entry.measured, entry.expected) == ((0, 1) if welded_open else (1, 0))
    cabinet.welded_open.clear()
    cabinet.welded_closed.clear()
    await bench.passes(30)
    assert bench.faults() == []


@pytest.mark.parametrize("switch", [HAND, OFF])
async def test_hand_and_0_are_no_faults(bench: Bench, switch: int):
    await bench.at(2)
    bench.town.controller(0).cabinet.switch = switch
    await bench.at(22)
    assert bench.faults() == []
    bench.town.controller(0).cabinet.switch = AUTO
    await bench.at(23)
    assert bench.faults() == []


async def test_an_open_door_is_a_fault_only_after_a_while(bench: Bench):
    await bench.at(1)
    bench.town.controller(1).cabinet.door_open = True
    await bench.passes(60)
    assert bench.faults() == []
    await bench.passes(40)
    assert bench.faults() == [("door_open", "c1")]
    bench.town.controller(1).cabinet.door_open = False
    await bench.passes(3)
    assert bench.faults() == []


async def test_what_people_work_on_behind_a_lock_out_is_not_raised(bench: Bench):
    await bench.at(6)
    bench.lock_out("f0.0")
    for address in range(4):
        bench.town.lamp(0, address).gear_failure = True
    await bench.passes(30)
    assert bench.faults() == []


async def test_what_is_not_watched_any_more_stands_no_more(bench: Bench):
    await bench.at(6)
    bench.town.lamp(0, 0).lamp_failure = True
    bench.town.lamp(0, 1).lamp_failure = True
    await bench.passes(12)
    lamps = bench.knowledge.known.inventory.luminaires
    bench.stock(luminaires=tuple(lamp for lamp in lamps if lamp.uid != uid(0, 0, 1)))
    await bench.passes(2)
    assert bench.faults() == [("lamp_failure", uid(0, 0, 0))]
    bench.endpoint_state("eg0", EndpointState.PLANNED)
    await bench.passes(2)
    assert bench.faults() == []
    assert {e.end for e in bench.book.waiting(10)} == {FaultEnd.NOT_WATCHED}


async def test_who_takes_the_field_over_goes_on_with_the_faults_that_stand(bench: Bench):
    await bench.at(6)
    bench.town.lamp(0, 0).lamp_failure = True
    bench.town.lamp(0, 1).lamp_failure = True
    await bench.passes(12)
    booked = list(bench.book.standing.values())
    other = Bench()
    other.plan(*NIGHT)
    other.town.lamp(0, 0).lamp_failure = True
    await other.at(5.5)
    mine = next(iter(other.book.standing.values()))
    other.book.adopt(booked)
    await other.passes(12)
    stands = list(other.book.standing.values())
    assert [e.uid for e in stands] == [e.uid for e in booked if e.subject_uid == uid(0, 0, 0)]
    assert stands[0].uid != mine.uid
    assert [(e.subject_uid, e.end) for e in other.book.waiting(9) if e.cleared_ms] == [
        (uid(0, 0, 1), FaultEnd.SEEN_GOOD)
    ]


async def test_two_hundred_lamps_and_a_blink_of_the_line_are_no_faults():
    bench = Bench(cabinets=1, lamps_per_feeder=20)
    bench.plan(*NIGHT)
    await bench.at(6)
    for _ in range(5):
        bench.town.gateway(0).dead = True
        await bench.passes(3)
        bench.town.gateway(0).dead = False
        await bench.passes(2)
    await bench.at((bench.clock.now() - NOON + timedelta(minutes=10)) / HOUR)
    assert bench.faults() == []


def reduced_by_others(bench: Bench, *lamps: str) -> None:
    """No command reduces these."""
    inventory = bench.knowledge.known.inventory
    bench.stock(luminaires=tuple(replace(x, commanded=x.uid not in lamps) for x in inventory.luminaires))


async def test_a_lamp_that_no_command_reduces_is_a_day_burner_like_any_other(bench: Bench):
    reduced_by_others(bench, uid(0, 2, 0))
    await bench.at(20)
    assert bench.faults() == []
    bench.town.lamp(0, 8).put(1000, bench.town.seconds)  # on the permanent feeder
    await bench.at(21)
    assert bench.faults() == [("day_burner", uid(0, 2, 0))]
    bench.town.lamp(0, 8).put(0, bench.town.seconds)
    await bench.at(22)
    assert bench.faults() == []


async def test_where_somebody_else_switches_the_morning_may_come_later(bench: Bench):
    inventory = bench.knowledge.known.inventory
    astro = replace(inventory.cabinets[0], switching_owner=SwitchingOwner.ASTRO_CLOCK)
    bench.stock(cabinets=(astro, *inventory.cabinets[1:]))
    reduced_by_others(bench, uid(0, 2, 0))
    await bench.at(18)
    bench.town.lamp(0, 8).put(1000, bench.town.seconds)
    await bench.at(20, step_s=60.0)
    seen = [e for e in bench.book.standing.values() if e.kind == FaultKind.DAY_BURNER]
    # Sunrise is at 6:31 UTC, 19.5 h after noon: half an hour later it is none of somebody's clock any more.
    assert seen == []
    await bench.at(20.5, step_s=60.0)
    assert ("day_burner", uid(0, 2, 0)) in bench.faults()


def behind_contactors_only(bench: Bench) -> None:
    """Lamps of permanent feeders are not there."""
    inventory = bench.knowledge.known.inventory
    bench.stock(luminaires=tuple(x for x in inventory.luminaires if not x.feeder_uid.endswith(".2")))


async def test_a_gateway_that_dies_by_day_is_told_by_day_where_it_has_a_supply_of_its_own(bench: Bench):
    behind_contactors_only(bench)
    await bench.at(22)  # by day; it has been asked now and then, and has answered
    assert bench.faults() == []
    bench.town.gateway(0).dead = True
    await bench.at(22.2, step_s=60.0)
    assert bench.faults() == []  # for some minutes it may be a blink
    await bench.at(23)
    assert bench.faults() == [("communication_loss", "w0")]
    bench.town.gateway(0).dead = False
    await bench.at(23.5)
    assert bench.faults() == []


async def test_a_gateway_behind_the_contactor_is_silent_by_day_and_no_fault(bench: Bench):
    behind_contactors_only(bench)
    bench.town.gateway(0).dead = True
    await bench.at(4.9)
    bench.town.gateway(0).dead = False  # its contactor closes in the evening
    await bench.at(19.2, step_s=300.0)
    bench.town.gateway(0).dead = True  # and opens in the morning
    await bench.at(28)
    assert bench.faults() == []
