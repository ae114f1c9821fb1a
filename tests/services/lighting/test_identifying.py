"""A luminaire blinks so that a person at the pole sees which address it is, and nothing else is written for it."""

from datetime import timedelta

import pytest

from domain.plan import to_unix_ms
from domain.priority import Priority
from services.lighting.due import DueCalculator, DueSource
from services.lighting.identifying import LEAST_LOW_PERMILLE, PHASE_MS
from services.lighting.records import EndpointState, IdentificationRecord, Orders, WaiverRecord
from services.lighting.snapshot import SnapshotFiles
from tests.services.lighting.bench import FLOOR, HOUR, NOON, Bench
from tests.services.lighting.fake_town import HAND, OFF
from tests.services.lighting.test_control import NIGHT

LAMP = f"{0:016x}{0:08x}{1:08x}"  # address 1 of gateway 0, on a switched feeder
PERMANENT = f"{0:016x}{2:08x}{1:08x}"  # address 9, on the permanent feeder


def blink(bench: Bench, uid: str = LAMP, seconds: int = 30) -> None:
    now_ms = to_unix_ms(bench.clock.now())
    bench.order(identifications=(IdentificationRecord(uid, "t1", now_ms, now_ms + seconds * 1000),))


async def seen(bench: Bench, seconds: int, address: int = 1) -> list[int]:
    """What was told to a lamp within some seconds of the loop, a pass each."""
    bench.forget_writes()
    await bench.passes(seconds, 1.0)
    return [round(value) for index, value in bench.writes("fake://g0", "level_command") if index == address]


async def test_by_night_it_blinks_between_full_and_its_floor_and_gets_its_due_level_back():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    await bench.at(11, step_s=1800)
    blink(bench)
    told = await seen(bench, 32)
    assert told == [FLOOR, 1000] * 5 + [500]
    await bench.passes(6)
    assert bench.all_at(500)
    assert not bench.state.lamps.faults.any()


async def test_the_others_on_its_gateway_are_told_nothing_and_no_broadcast_is_sent():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    await bench.at(11, step_s=1800)
    blink(bench)
    await seen(bench, 35)
    assert {index for index, _ in bench.writes("fake://g0", "level_command")} == {1}
    assert bench.writes("fake://g0", "broadcast_level_command") == []


async def test_by_day_its_feeder_is_closed_once_for_the_whole_time_and_opened_again():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    await bench.at(1)
    bench.forget_writes()
    blink(bench)
    told = await seen(bench, 40)
    assert bench.writes("fake://c0", "contactor_command") == [(0, 1.0), (0, 0.0)]
    assert {0, 1000} <= set(told)
    await bench.passes(6)
    assert bench.all_at(0)
    assert not bench.state.lamps.faults.any()


async def test_a_waiver_does_not_make_it_dark_and_a_conflict_area_is_not_dimmed():
    bench = Bench(cabinets=1)
    known = bench.knowledge.known.inventory.luminaires
    crossing, waived = known[0].uid, known[1].uid
    bench.stock(
        luminaires=tuple(
            type(lamp)(**{f: getattr(lamp, f) for f in lamp.__slots__} | {"conflict_area": lamp.uid == crossing})
            for lamp in known
        )
    )
    await bench.at(11, step_s=1800)
    now_ms = to_unix_ms(bench.clock.now())
    orders = Orders(
        identifications=tuple(IdentificationRecord(uid, "t1", now_ms, now_ms + 30_000) for uid in (crossing, waived)),
        waivers=(WaiverRecord("v", "t1", 0, now_ms - 1, now_ms + 10**8, (waived,)),),
    )
    calculator = DueCalculator(bench.state.columns, orders)
    rows = bench.state.columns.row_of
    levels = [calculator.at(bench.clock.now() + timedelta(seconds=s)).level for s in range(30)]
    assert {int(level[rows[crossing]]) for level in levels} == {1000}
    assert {int(level[rows[waived]]) for level in levels} == {LEAST_LOW_PERMILLE, 1000}


async def test_a_tested_gateway_is_written_for_the_test_and_for_nothing_else():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    bench.endpoint_state("eg0", EndpointState.TESTED)
    await bench.at(11, step_s=1800)
    assert bench.writes("fake://g0", "level_command") == []
    blink(bench)
    told = await seen(bench, 40)
    assert told[:4] == [FLOOR, 1000, FLOOR, 1000]
    assert told[-1] == 500  # what is due, given back
    assert {index for index, _ in bench.writes("fake://g0", "level_command")} == {1}
    await bench.passes(20)
    bench.forget_writes()
    await bench.at(18)
    assert bench.writes("fake://g0", "level_command") == []


@pytest.mark.parametrize("state", [EndpointState.PLANNED, EndpointState.OBSERVED])
async def test_an_observed_gateway_is_not_written_whatever_is_asked(state: EndpointState):
    bench = Bench(cabinets=1)
    bench.endpoint_state("eg0", state)
    await bench.at(11, step_s=1800)
    blink(bench)
    assert await seen(bench, 40) == []


async def test_a_lock_out_that_comes_ends_it_at_once():
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    await bench.at(11, step_s=1800)
    blink(bench)
    await bench.passes(4, 1.0)
    bench.lock_out("f0.0")
    assert await seen(bench, 40) == []


@pytest.mark.parametrize("priority", [Priority.EMERGENCY, Priority.MAINTENANCE])
async def test_emergency_and_maintenance_stand_above_it(priority: Priority):
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    bench.override(900, 10.5, 20, priority=priority)
    await bench.at(11, step_s=1800)
    blink(bench)
    assert await seen(bench, 40) == []
    assert bench.all_at(900)


async def test_with_the_switch_in_0_nothing_is_written_and_in_hand_it_is_left_lit():
    bench = Bench(cabinets=1)
    bench.town.controller(0).cabinet.switch = OFF
    await bench.at(11, step_s=1800)
    blink(bench, PERMANENT)
    assert await seen(bench, 40, address=9) == []
    bench.town.controller(0).cabinet.switch = HAND
    await bench.at(21, step_s=1800)  # by day, lit by hand
    blink(bench, PERMANENT)
    assert {0, 1000} == set(await seen(bench, 28, address=9))
    await bench.passes(6)
    assert bench.levels()[0][9] == 1000


async def test_it_outlives_a_restart_without_a_database_and_ends_all_the_same(tmp_path):
    bench = Bench(cabinets=1)
    bench.plan(*NIGHT)
    await bench.at(11, step_s=1800)
    blink(bench, seconds=60)
    await bench.passes(4, 1.0)
    files = SnapshotFiles(tmp_path)
    files.save_orders(bench.knowledge.known.orders)
    files.save_inventory(bench.knowledge.known.inventory)
    again = Bench(cabinets=1)
    await again.clock.advance(bench.clock.now() - again.clock.now())
    again.knowledge.set(files.load())
    told = await seen(again, 70)
    assert told.count(1000) >= 8
    assert told.count(FLOOR) >= 8
    assert told[-1] == 500


async def test_the_calculator_names_every_turn_so_that_none_is_missed():
    bench = Bench(cabinets=1)
    await bench.at(11, step_s=1800)
    now = bench.clock.now()
    start_ms = to_unix_ms(now) + 1000
    record = IdentificationRecord(LAMP, "t1", start_ms, start_ms + 10_000)
    calculator = DueCalculator(bench.state.columns, Orders(identifications=(record,)))
    row = bench.state.columns.row_of[LAMP]
    assert calculator.at(now).source[row] == DueSource.DEFAULT
    turns, at_ms = [], to_unix_ms(now)
    while (change := calculator.next_change(NOON + timedelta(milliseconds=at_ms - to_unix_ms(NOON)))) is not None:
        turns.append(change - start_ms)
        at_ms = change
    end = 10_000
    assert turns == [0, end - 3 * PHASE_MS, end - 2 * PHASE_MS, end - PHASE_MS, end]
    assert calculator.next_change(now + HOUR) is None


async def test_what_does_not_blink_costs_nothing():
    bench = Bench(cabinets=1)
    await bench.at(11, step_s=1800)
    calculator = DueCalculator(bench.state.columns, Orders())
    assert not calculator.at(bench.clock.now()).under_test.any()
    assert calculator.next_change(bench.clock.now()) is None
