"""All-on of many gateways at once: what is sick does not slow the others, nor does what is only read."""

import asyncio
from dataclasses import dataclass

import numpy as np

from tests.services.lighting.bench import Bench

GATEWAYS, LAMPS = 200, 10
STUBBORN = range(0, GATEWAYS * LAMPS, 100)
"""One lamp in a hundred answers and stays dark."""
DEAD = (17, 117)
SLOW = 42


@dataclass
class AllOn:
    """What it took until all healthy lamps had been confirmed."""

    passes: int
    reads: int
    writes: int


async def all_on(*, sick: bool) -> AllOn:
    bench = Bench(cabinets=GATEWAYS, lamps_per_feeder=LAMPS, switched=0, profile="intesis-dali", patience_real_s=0.5)
    await bench.passes(3)
    stubborn = set(STUBBORN) if sick else set()
    never: set[int] = {*DEAD, SLOW} if sick else set()
    for number in stubborn:
        bench.town.lamp(number // LAMPS, number % LAMPS).stuck = True
    for gateway in never:
        bench.town.gateway(gateway).dead = True
    if sick:
        bench.town.gateway(SLOW).hangs = asyncio.Event()
    others = [
        g
        for g in range(GATEWAYS)
        if g not in {*DEAD, SLOW} and not set(range(g * LAMPS, (g + 1) * LAMPS)) & set(STUBBORN)
    ]
    columns = bench.state.columns
    rows = np.flatnonzero(np.isin(columns.gateway, others))
    devices = [bench.town.gateway(g) for g in others]
    before = sum(device.reads for device in devices)
    bench.forget_writes()
    bench.override(1000, 0, 1)
    passes = 0
    while not ((bench.state.lamps.actual[rows] == 1000) & (bench.state.lamps.quality[rows] == 1)).all():
        await bench.passes(1, 1.0)
        passes += 1
        assert passes < 100
    found = AllOn(passes, sum(d.reads for d in devices) - before, sum(len(d.writes) for d in devices))
    if sick:
        shown = [bench.town.levels(g) for g in others]
        assert all(level == 1000 for levels in shown for level in levels)
        # The lamps beside a stubborn one follow, and it becomes a fault.
        await bench.passes(40, 10.0)
        beside = np.setdiff1d(np.flatnonzero(~np.isin(columns.gateway, list(never))), rows)
        lit = bench.state.lamps.actual[beside] == 1000
        assert lit.sum() == beside.size - sum(1 for n in stubborn if n // LAMPS not in never)
        assert (bench.state.lamps.faults[beside][~lit] != 0).all()
        hanging = bench.town.gateway(SLOW).hangs
        assert hanging is not None
        hanging.set()
    await bench.control.close()
    return found


async def test_one_in_a_hundred_stubborn_or_dead_and_one_slow_cost_the_others_nothing():
    healthy, sick = await all_on(sick=False), await all_on(sick=True)
    assert healthy.writes == sick.writes  # one broadcast each
    assert sick.passes <= 1.05 * healthy.passes
    assert sick.reads <= 1.05 * healthy.reads


async def test_a_command_does_not_wait_for_a_reading_that_is_due():
    bench = Bench(cabinets=3, lamps_per_feeder=4, switched=0, profile="intesis-dali")
    await bench.passes(3)
    devices = [bench.town.gateway(g) for g in range(3)]
    for device in devices:
        device.writes.clear()
    read = [device.reads for device in devices]
    bench.override(1000, 0, 1)
    await bench.passes(1, 10.0)  # all is due to be read, too
    assert [[name for name, *_ in device.writes] for device in devices] == [["broadcast_level_command"]] * 3
    assert [device.reads for device in devices] == read
    await bench.passes(1, 10.0)
    assert all(device.reads > count for device, count in zip(devices, read, strict=True))
    assert (bench.state.lamps.quality == 1).all()
    assert bench.all_at(1000)


async def test_a_command_goes_out_while_a_reading_is_under_way():
    bench = Bench(cabinets=1, lamps_per_feeder=4, switched=0, profile="intesis-dali", patience_real_s=0.5)
    await bench.passes(3)
    gateway = bench.town.gateway(0)
    gateway.writes.clear()
    gateway.reads_hang = asyncio.Event()
    await bench.passes(1, 10.0)  # begins to read, and does not come to an end
    bench.override(1000, 0, 1)
    await bench.passes(1, 1.0)
    assert [name for name, *_ in gateway.writes] == ["broadcast_level_command"]
    gateway.reads_hang.set()
    gateway.reads_hang = None
    await bench.passes(2, 10.0)
    assert (bench.state.lamps.quality == 1).all()
    assert [name for name, *_ in gateway.writes] == ["broadcast_level_command"]
