"""Links that are slow or paid by the byte: read at their pace, commanded always, and nobody cries wolf."""

import asyncio
from dataclasses import replace
from itertools import pairwise

from services.lighting.field import OVER_BUDGET
from services.lighting.records import Inventory
from services.lighting.state import Quality, Switch
from tests.services.lighting.bench import Bench

NIGHT = ((0, 0), (5, 1000), (10, 500), (17, 1000), (19.2, 0))
LEAST_S = 1800.0
PACED_S = LEAST_S * 1.25  # a fifth of the bytes is left for commands


def slow_town() -> Bench:
    """A cabinet behind a link that bears a reading every half hour."""
    bench = Bench(cabinets=1)
    for device in bench.town.devices.values():
        device.least_s = LEAST_S
    bench.plan(*NIGHT)
    return bench


async def test_a_slow_link_is_read_at_its_pace_and_written_in_time():
    bench = slow_town()
    for hours, level in ((5.1, 1000), (10.1, 500), (17.1, 1000), (19.5, 0)):
        await bench.at(hours, step_s=60.0)
        assert bench.all_at(level), hours
    for device in bench.town.devices.values():
        gaps = [b - a for a, b in pairwise(device.read_at)]
        assert min(gaps) >= PACED_S
        assert max(gaps) <= PACED_S + 120 or device is bench.town.gateway(0)
    assert not bench.state.lamps.faults.any()


async def test_over_a_slow_link_nothing_is_told_twice_while_nobody_can_look():
    bench = slow_town()
    await bench.at(9.9, step_s=60.0)
    bench.forget_writes()
    await bench.at(10.4, step_s=60.0)
    told = [write for write in bench.town.gateway(0).writes if write[0] != "fade_time"]
    assert len(told) == 1  # the broadcast of 500
    await bench.at(11, step_s=60.0)
    assert set(bench.state.lamps.quality.tolist()) == {Quality.GOOD}


async def test_a_lamp_that_does_not_follow_over_a_slow_link_is_found_when_it_is_read():
    bench = slow_town()
    await bench.at(9.9, step_s=60.0)
    bench.town.lamp(0, 3).stuck = True
    await bench.at(13, step_s=60.0)
    assert bench.state.lamps.actual[3] == 1000
    assert [row for row, fault in enumerate(bench.state.lamps.faults.tolist()) if fault] == [3]


async def test_a_change_of_the_inventory_is_no_reason_to_read_a_slow_link_anew():
    bench = slow_town()
    await bench.at(6, step_s=60.0)
    gateway = bench.town.gateway(0)
    reads = gateway.reads
    for _ in range(10):
        bench.stock()
        await bench.passes(2)
    assert gateway.reads <= reads + 1
    bench.override(700, 6, 8)
    await bench.passes(3)
    assert bench.all_at(700)


async def test_endpoints_on_one_connection_share_what_it_bears():
    bench = slow_town()
    known = bench.knowledge.known
    there: Inventory = known.inventory
    same_host = tuple(
        replace(e, url=f"fake://box/{e.uid}", profile="generic-level-status" if "eg" in e.uid else "cabinet-plc")
        for e in there.endpoints
    )
    for endpoint in same_host:
        bench.town.devices[endpoint.url] = bench.town.devices[f"fake://{endpoint.uid[1:]}"]
    bench.stock(endpoints=same_host)
    await bench.at(9, step_s=60.0)
    seen = bench.town.controller(0).read_at
    gaps = [b - a for a, b in pairwise(seen)][1:]
    assert min(gaps) >= 2 * PACED_S


async def test_without_bytes_lamps_are_told_what_is_due_and_their_levels_become_uncertain():
    bench = slow_town()
    await bench.at(9.9, step_s=60.0)
    controller, gateway = bench.town.controller(0), bench.town.gateway(0)
    controller.out_of_bytes = gateway.out_of_bytes = True
    for hours, level in ((10.1, 500), (17.1, 1000), (19.4, 0)):
        await bench.at(hours, step_s=60.0)
        assert bench.all_at(level), hours
        lamps = bench.state.lamps
        assert set(lamps.actual.tolist()) == {level}, hours
        assert not lamps.faults.any(), hours
    switched = bench.state.lamps.quality[:8]  # the others are on the permanent feeder
    assert bench.state.cabinets["c0"].switch is Switch.AUTO
    assert bench.state.cabinets["c0"].quality is Quality.UNCERTAIN
    assert Quality.MISSING not in switched.tolist()
    counts = bench.control._devices.health(bench.knowledge.known.inventory.endpoints)
    assert counts[OVER_BUDGET] == 2
    told = len(gateway.writes)
    await bench.at(22, step_s=60.0)
    assert len(gateway.writes) == told
    controller.out_of_bytes = gateway.out_of_bytes = False
    await bench.at(29.1, step_s=60.0)
    assert set(bench.state.lamps.quality.tolist()) == {Quality.GOOD}
    assert bench.control._devices.health(bench.knowledge.known.inventory.endpoints)[OVER_BUDGET] == 0


async def test_without_bytes_and_without_acknowledgement_it_is_silence_after_all():
    bench = slow_town()
    await bench.at(9.9, step_s=60.0)
    bench.town.gateway(0).dead = True
    await bench.at(13, step_s=60.0)
    assert set(bench.state.lamps.actual.tolist()) == {-1}


async def test_without_bytes_a_lock_out_holds():
    bench = slow_town()
    await bench.at(9.9, step_s=60.0)
    bench.town.controller(0).out_of_bytes = bench.town.gateway(0).out_of_bytes = True
    bench.lock_out("f0.0")
    bench.forget_writes()
    await bench.at(11, step_s=60.0)
    assert bench.levels()[0][:4] == [1000] * 4
    assert bench.levels()[0][4:] == [500] * 8
    assert 0 not in {index for index, _ in bench.writes("fake://c0", "contactor_command")}


async def test_devices_that_hang_take_no_places_from_those_that_answer():
    bench = Bench(cabinets=4, concurrency=2, patience_real_s=0.3)
    bench.plan(*NIGHT)
    await bench.at(9.9)
    never = asyncio.Event()
    for number in (0, 1, 2):
        bench.town.gateway(number).hangs = never
        bench.town.controller(number).hangs = never
    await bench.at(10)
    await bench.passes(6)
    assert set(bench.levels()[3]) == {500}
    never.set()
    await bench.control.close()
