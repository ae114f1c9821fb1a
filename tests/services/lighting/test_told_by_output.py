"""What is written is the light that is due by each luminaire's own output: told, shared, confirmed and shown so."""

from dataclasses import astuple, fields, replace

import numpy as np

from services.lighting.api.states import states_to_proto
from services.lighting.columns import build_columns
from services.lighting.due import DueCalculator
from services.lighting.records import Orders
from services.lighting.snapshot import SnapshotFiles
from tests.services.lighting.bench import NOON, Bench
from tests.services.lighting.test_gear_groups import told

YOUNG = 800
"""Constant light output of a new light source."""


def street(outputs: list[int], least: int = 0, profile: str = "intesis-dali") -> Bench:
    """One gateway with lamps that always have supply, of these outputs; dark from noon, then by the plan."""
    bench = Bench(cabinets=1, lamps_per_feeder=len(outputs), switched=0, profile=profile)
    luminaires = bench.knowledge.known.inventory.luminaires
    bench.stock(
        luminaires=tuple(
            replace(x, output_permille=output, least_permille=least)
            for x, output in zip(luminaires, outputs, strict=True)
        )
    )
    bench.plan((0, 0), (1, 1000), (2, 500), (3, 0))
    return bench


def shown(bench: Bench) -> dict[str, list[int]]:
    states = states_to_proto(bench.state, np.arange(bench.state.columns.count))
    return {
        "due": list(states.due_permille), "actual": list(states.actual_permille),
        "written": list(states.written_permille), "driven": list(states.driven_permille),
    }  # fmt: skip


async def test_a_line_of_one_output_is_told_by_one_broadcast_of_that_command():
    bench = street([YOUNG] * 6)
    await bench.at(0.5)
    told(bench)
    await bench.at(1.1)
    assert told(bench) == {"broadcast_level_command": [(0, 800.0)]}
    assert bench.levels() == [[800] * 6]
    assert bench.faults() == []
    assert shown(bench) == {"due": [1000] * 6, "actual": [1000] * 6, "written": [800] * 6, "driven": [800] * 6}


async def test_a_line_of_two_outputs_is_not_told_by_broadcast_nor_a_group_of_two_outputs_by_one_command():
    bench = street([1000, 1000, 1000, YOUNG, YOUNG, YOUNG])
    bench.town.gateway(0).groups |= {4: [0, 1, 2], 5: [2, 3, 4], 6: [3, 4, 5]}
    groups = ((4, (0, 1, 2)), (5, (2, 3, 4)), (6, (3, 4, 5)))
    bench.stock(gateways=tuple(replace(g, gear_groups=groups) for g in bench.knowledge.known.inventory.gateways))
    await bench.at(0.5)
    told(bench)
    await bench.at(1.1)
    assert told(bench) == {"group_level_command": [(4, 1000.0), (6, 800.0)]}
    assert bench.levels() == [[1000] * 3 + [800] * 3]
    await bench.at(3.1)
    assert told(bench) == {
        "group_level_command": [(4, 500.0), (6, 400.0)],
        "broadcast_level_command": [(0, 0.0)],
    }, "off is off for all of them"
    assert bench.levels() == [[0] * 6]
    assert bench.faults() == []


async def test_light_is_never_less_than_the_driver_can_hold_and_counts_as_followed():
    bench = street([YOUNG] * 4, least=450)
    await bench.at(2.1)
    assert bench.levels() == [[450] * 4]
    told(bench)
    await bench.at(2.5)
    assert told(bench) == {}, "nothing is told twice"
    assert bench.faults() == []
    assert shown(bench)["written"] == [450] * 4


async def test_a_light_source_that_has_aged_is_driven_harder_from_then_on():
    bench = street([YOUNG] * 4)
    await bench.at(1.5)
    told(bench)
    luminaires = bench.knowledge.known.inventory.luminaires
    bench.stock(luminaires=tuple(replace(x, output_permille=850) for x in luminaires))
    await bench.passes(6)
    assert told(bench) == {"broadcast_level_command": [(0, 850.0)]}
    assert bench.levels() == [[850] * 4]
    assert shown(bench)["actual"] == [1000] * 4


async def test_what_is_recorded_is_the_command_so_that_energy_is_that_of_the_driver():
    bench = street([YOUNG] * 4)
    await bench.at(2.1)
    levels = {change.level_permille for change in bench.control.recorder.take()}
    assert levels == {0, 800, 400}


async def test_gear_that_drives_all_it_can_though_told_less_shows_full_light_and_does_not_follow():
    bench = street([YOUNG] * 4)
    await bench.at(1.1)
    lamp = bench.town.lamp(0, 2)
    lamp.stuck = True
    lamp.put(1000, bench.town.seconds)
    await bench.passes(4)
    assert shown(bench)["actual"][2] == 1000
    assert shown(bench)["driven"][2] == 1000
    await bench.passes(60)
    assert bench.faults() == [("dimming_failure", bench.state.columns.uids[2])]


async def test_lamps_that_no_command_reaches_are_at_what_their_feeder_gives():
    bench = street([YOUNG] * 4)
    luminaires = bench.knowledge.known.inventory.luminaires
    bench.stock(luminaires=tuple(replace(x, gateway_uid="") for x in luminaires[:1]) + luminaires[1:])
    await bench.at(1.1)
    assert shown(bench)["written"] == [1000, 800, 800, 800]
    assert bench.state.columns.is_plain is False


def test_a_restart_without_the_database_writes_the_same_and_an_older_snapshot_tells_what_is_due(tmp_path):
    inventory = street([YOUNG, 1000], least=50).knowledge.known.inventory
    files = SnapshotFiles(tmp_path)
    files.save_orders(Orders())
    files.save_inventory(inventory)
    assert files.load().inventory.luminaires == inventory.luminaires
    luminaire = inventory.luminaires[0]
    known_then = [field.name for field in fields(luminaire)].index("output_permille")
    older = type(luminaire)(*astuple(luminaire)[:known_then])
    assert (older.output_permille, older.least_permille, older.ages, older.inner_permille) == (1000, 0, False, 1000)


def test_a_town_without_outputs_costs_nothing_more():
    columns = build_columns(street([1000, 1000]).knowledge.known.inventory)
    due = DueCalculator(columns, Orders()).at(NOON)
    assert columns.is_plain
    assert due.written is due.level
