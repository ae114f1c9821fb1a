"""Inrush: contactors close one after the other, as set up for all, a cabinet or a feeder; lit lamps do not wait."""

from dataclasses import replace

from tests.services.lighting.bench import Bench


async def closed_at(bench: Bench, seconds: float) -> dict[tuple[int, int], float]:
    """When each contactor was seen commanded closed, by cabinet and channel, looking every half second."""
    found: dict[tuple[int, int], float] = {}
    looked = 0.0
    while looked < seconds:
        await bench.passes(1, 0.5)
        looked += 0.5
        for number in range(len(bench.town.devices) // 2):
            for channel, on in enumerate(bench.town.controller(number).cabinet.commands):
                if on:
                    found.setdefault((number, channel), looked)
    return found


async def dark(bench: Bench) -> None:
    """Noon: every feeder is off, and known to be."""
    await bench.passes(3)
    assert not any(any(bench.town.controller(c).cabinet.commands) for c in range(len(bench.town.devices) // 2))


async def test_all_on_from_dark_energises_one_feeder_after_the_other():
    bench = Bench(cabinets=3, switched=2, inrush_step_s=1.0, inrush_slots=2)
    await dark(bench)
    bench.override(1000, 0, 2)
    closed = await closed_at(bench, 6)
    waited = {key: at - closed[0, 0] for key, at in closed.items()}
    # The third cabinet begins anew: the slots bound the delay.
    assert waited == {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 2, (2, 0): 0, (2, 1): 1}


async def test_a_cabinet_and_a_feeder_may_have_an_inrush_of_their_own():
    bench = Bench(cabinets=2, switched=3, inrush_step_s=1.0, inrush_slots=1)
    inventory = bench.knowledge.known.inventory
    bench.stock(
        cabinets=tuple(replace(c, inrush_step_ms=2000) if c.uid == "c0" else c for c in inventory.cabinets),
        feeders=tuple(replace(f, inrush_step_ms=0) if f.uid in ("f0.1", "f1.0") else f for f in inventory.feeders),
    )
    await dark(bench)
    bench.override(1000, 0, 2)
    closed = await closed_at(bench, 8)
    waited = {key: at - closed[0, 0] for key, at in closed.items()}
    assert waited == {(0, 0): 0, (0, 1): 2, (0, 2): 2, (1, 0): 0, (1, 1): 0, (1, 2): 1}


async def test_a_feeder_due_off_opens_at_once():
    bench = Bench(cabinets=3, switched=2, inrush_step_s=5.0)
    await dark(bench)
    bench.override(1000, 0, 1)
    await closed_at(bench, 60)
    bench.override(0, 0, 1)
    await bench.passes(1, 1.0)
    assert not any(any(bench.town.controller(c).cabinet.commands) for c in range(3))


async def test_raising_lit_lamps_is_not_spread():
    bench = Bench(cabinets=3, switched=2, inrush_step_s=5.0)
    await dark(bench)
    bench.override(400, 0, 2)
    await closed_at(bench, 60)
    assert bench.all_at(400)
    bench.forget_writes()
    bench.override(1000, 0, 2)
    await bench.passes(1, 0.5)
    told = {url for url in bench.town.devices if bench.writes(url, "level_command")}
    told |= {url for url in bench.town.devices if bench.writes(url, "broadcast_level_command")}
    assert told == {"fake://g0", "fake://g1", "fake://g2"}
    await bench.passes(1, 5.0)
    assert bench.all_at(1000)
