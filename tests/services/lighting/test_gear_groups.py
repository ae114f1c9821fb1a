"""Groups in the gear: one command for all that are due the same, not heard by others, not believed without proof."""

from dataclasses import replace

import pytest

from tests.services.lighting.bench import Bench

GROUP = (5, (1, 2, 3, 4, 5))
"""All but a crossing at address 0."""


def street(groups: tuple[tuple[int, tuple[int, ...]], ...] = (GROUP,), in_gear: tuple[int, ...] = GROUP[1]) -> Bench:
    """One gateway with six lamps that always have supply; the first lights a crossing. Lit at noon by a plan."""
    bench = Bench(cabinets=1, lamps_per_feeder=6, switched=0, profile="intesis-dali")
    bench.town.gateway(0).groups[GROUP[0]] = list(in_gear)
    inventory = bench.knowledge.known.inventory
    bench.stock(
        gateways=tuple(replace(g, gear_groups=groups) for g in inventory.gateways),
        luminaires=tuple(replace(x, conflict_area=x.gateway_address == 0) for x in inventory.luminaires),
    )
    bench.plan((0, 1000), (1, 700), (2, 600), (3, 500))
    return bench


def told(bench: Bench) -> dict[str, list[tuple[int, float]]]:
    """Commands by kind since the last time."""
    kinds = ("broadcast_level_command", "group_level_command", "level_command")
    found = {kind: bench.writes("fake://g0", kind) for kind in kinds}
    bench.forget_writes()
    return {kind: writes for kind, writes in found.items() if writes}


async def test_a_group_that_is_due_one_level_is_told_by_one_command():
    bench = street()
    await bench.at(0.5)
    told(bench)
    await bench.at(1.1)
    assert told(bench) == {"group_level_command": [(5, 700.0)]}
    assert bench.levels() == [[1000, 700, 700, 700, 700, 700]]
    assert (bench.state.lamps.quality == 1).all()


async def test_a_line_of_one_level_is_told_by_broadcast_all_the_same():
    bench = street()
    await bench.at(0.5)
    assert told(bench) == {"broadcast_level_command": [(0, 1000.0)]}


@pytest.mark.parametrize(
    "groups", [((5, (1, 2, 3, 4, 5, 6)),), ((99, (1, 2, 3, 4, 5)),), ((5, (0, 1, 2, 3, 4, 5)),), ()],
    ids=["gear that nobody knows", "no such group", "members due other levels", "none"],
)  # fmt: skip
async def test_a_group_that_others_would_hear_is_not_used(groups: tuple[tuple[int, tuple[int, ...]], ...]):
    bench = street(groups)
    await bench.at(0.5)
    told(bench)
    await bench.at(1.1)
    assert told(bench) == {"level_command": [(address, 700.0) for address in GROUP[1]]}


async def test_nothing_goes_to_a_group_on_a_line_with_a_locked_out_lamp():
    bench = Bench(cabinets=1, lamps_per_feeder=3, switched=1, profile="intesis-dali")
    bench.town.gateway(0).groups[5] = [0, 1, 2, 3, 4, 5]
    inventory = bench.knowledge.known.inventory
    bench.stock(gateways=tuple(replace(g, gear_groups=((5, (3, 4, 5)),)) for g in inventory.gateways))
    bench.lock_out("f0.0")
    bench.plan((0, 0), (1, 1000))
    await bench.at(1.1)
    assert told(bench) == {"level_command": [(3, 1000.0), (4, 1000.0), (5, 1000.0)]}


async def test_a_lamp_that_is_not_in_its_group_is_told_alone_and_the_group_is_not_believed_any_more():
    bench = street(in_gear=(1, 2, 3, 4))
    await bench.at(0.5)
    told(bench)
    await bench.at(1.1)
    assert told(bench) == {"group_level_command": [(5, 700.0)], "level_command": [(5, 700.0)]}
    assert bench.levels() == [[1000, 700, 700, 700, 700, 700]]
    await bench.at(2.1)
    assert told(bench) == {"level_command": [(address, 600.0) for address in GROUP[1]]}
    assert not bench.state.lamps.faults.any()


async def test_gear_that_hears_a_group_which_it_is_not_in_by_the_inventory_is_set_right():
    bench = street(in_gear=(0, 1, 2, 3, 4, 5))
    await bench.at(0.5)
    told(bench)
    await bench.at(1.1)
    assert told(bench) == {"group_level_command": [(5, 700.0)], "level_command": [(0, 1000.0)]}
    assert bench.levels() == [[1000, 700, 700, 700, 700, 700]]


async def test_a_group_without_an_answer_is_told_again_and_stays_believed():
    bench = street()
    await bench.at(0.5)
    gateway = bench.town.gateway(0)
    gateway.dead = True
    await bench.at(1.1)
    gateway.dead = False
    told(bench)
    await bench.passes(6)
    assert bench.levels() == [[1000, 700, 700, 700, 700, 700]]
    assert told(bench) == {"group_level_command": [(5, 700.0)]}
