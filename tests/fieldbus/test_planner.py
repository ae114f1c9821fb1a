"""Plans of block reads: everything asked is covered, nothing illegal is touched, and no legal plan is shorter."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InvalidInput
from fieldbus.format.toml_source import TomlSource
from fieldbus.modbus.planner import Memory, Span, plan_reads, split_block
from fieldbus.profile import ModbusLimits, Profile, Table
from fieldbus.profile_loader import load_profile, profile_from_toml
from fieldbus.values import PointAddress, Quality

LEVELS = load_profile("generic-level-status")
INTESIS = load_profile("intesis-dali")


def profile_of(addresses: list[int], modbus: str = "") -> Profile:
    """A profile whose phases and totals stand at the given addresses, one register each."""
    names = list(load_profile("eastron-sdm630").points)[: len(addresses)]
    points = "\n".join(
        f'[points.{name}]\naddress = {address}\ntype = "uint16"' for name, address in zip(names, addresses, strict=True)
    )
    head = '[profile]\nname = "t"\nkind = "meter"\nvendor = "t"\nproduct = "t"\nprotocol = "modbus"\nsource = "t"'
    return profile_from_toml(TomlSource("t.toml", f"{head}\n[modbus]\n{modbus}\n{points}\n"))


def blocks_of(profile: Profile, memory: Memory | None = None) -> list[tuple[int, int]]:
    plan = plan_reads(profile, [PointAddress(name) for name in profile.points], memory)
    return [(block.start, block.count) for block in plan.blocks]


def test_near_points_share_a_request_and_far_ones_do_not() -> None:
    assert blocks_of(profile_of([10, 11, 20, 100], "max_gap = 8")) == [(10, 11), (100, 1)]
    assert blocks_of(profile_of([10, 11, 20, 100], "max_gap = 7")) == [(10, 2), (20, 1), (100, 1)]


def test_a_block_never_exceeds_what_the_product_takes() -> None:
    assert blocks_of(profile_of([0, 10, 20, 30], "max_read_registers = 21")) == [(0, 21), (30, 1)]


def test_registers_that_must_not_be_touched_are_not_bridged() -> None:
    assert blocks_of(profile_of([0, 10], 'illegal = [["holding", 5, 5]]')) == [(0, 1), (10, 1)]
    assert blocks_of(profile_of([0, 10], 'illegal = [["input", 5, 5]]')) == [(0, 11)]


def test_what_the_device_refused_is_not_crossed_again() -> None:
    memory = Memory()
    memory.cuts[Table.HOLDING].add(10)
    assert blocks_of(profile_of([0, 10, 12]), memory) == [(0, 1), (10, 3)]


def test_refused_points_are_left_out_until_their_time_has_come() -> None:
    memory = Memory()
    profile = profile_of([0, 10])
    memory.refuse([Span(Table.HOLDING, 10, 1)], 40.0, 60.0, 900.0)
    plan = plan_reads(profile, [PointAddress(name) for name in profile.points], memory)
    assert [(block.start, block.count) for block in plan.blocks] == [(0, 1)]
    assert plan.refused_rows.tolist() == [1]
    assert not memory.forgive(99.9)
    assert memory.forgive(100.0)
    assert blocks_of(profile, memory) == [(0, 11)]


def test_points_refused_again_and_again_are_asked_for_less_and_less() -> None:
    memory, span = Memory(), Span(Table.HOLDING, 10, 1)
    waits = []
    for _ in range(6):
        memory.refuse([span], 0.0, 60.0, 900.0)
        waits.append(memory.refused[span])
    assert waits == [60, 120, 240, 480, 900, 900]
    memory.grant([span])
    memory.refuse([span], 0.0, 60.0, 900.0)
    assert memory.refused[span] == 60


def test_a_refused_block_is_cut_at_its_widest_gap_then_in_the_middle() -> None:
    spans = [Span(Table.HOLDING, address, 1) for address in (0, 1, 2, 50, 51, 53)]
    cut, left, right = split_block(spans) or (0, [], [])
    assert (cut, len(left), len(right)) == (50, 3, 3)
    tight = [Span(Table.HOLDING, address, 1) for address in range(6)]
    cut, left, right = split_block(tight) or (0, [], [])
    assert (cut, len(left), len(right)) == (3, 3, 3)
    assert split_block(spans[:1]) is None


def test_status_bits_of_one_register_are_read_once() -> None:
    points = [PointAddress(name, 0) for name in ("gear_failure", "lamp_failure", "lamp_on", "fade_running")]
    plan = plan_reads(INTESIS, points)
    assert [(block.start, block.count) for block in plan.blocks] == [(5, 1)]


def test_a_point_that_can_only_be_written_cannot_be_planned() -> None:
    profile = profile_from_toml(
        TomlSource(
            "t.toml",
            '[profile]\nname = "t"\nkind = "lamps"\nvendor = "t"\nproduct = "t"\nprotocol = "modbus"\nsource = "t"\n'
            '[modbus]\n[points.level_command]\naccess = "write"\naddress = "gear"\ntype = "uint16"\n',
        )
    )
    with pytest.raises(InvalidInput, match="only written"):
        plan_reads(profile, [PointAddress("level_command", 0)])
    assert profile.writable("level_command")
    assert not profile.readable("level_command")


def fewest_blocks(addresses: list[int], limits: ModbusLimits) -> int:
    """The shortest legal plan by trying all ways to cut the sorted addresses (dynamic programming)."""
    ordered = sorted(set(addresses))
    best = [0] + [10**9] * len(ordered)
    for end in range(1, len(ordered) + 1):
        for start in range(end):
            part = ordered[start:end]
            fits = part[-1] - part[0] + 1 <= limits.max_read_registers
            bridged = all(after - before - 1 <= limits.max_gap for before, after in pairwise(part))
            if fits and bridged:
                best[end] = min(best[end], best[start] + 1)
    return best[-1]


@settings(max_examples=200)
@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=24, unique=True),
    st.integers(1, 125),
    st.integers(0, 124),
)
def test_no_legal_plan_is_shorter(addresses: list[int], maximum: int, gap: int) -> None:
    profile = profile_of(addresses, f"max_read_registers = {maximum}\nmax_gap = {gap}")
    blocks = blocks_of(profile)
    covered = {address for start, count in blocks for address in range(start, start + count)}
    assert set(addresses) <= covered
    assert all(count <= maximum for _, count in blocks)
    assert len(blocks) == fewest_blocks(addresses, profile.modbus)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 63), st.integers(0, 1000)), min_size=1, max_size=64, unique_by=lambda x: x[0]))
def test_each_row_gets_its_own_bytes_whatever_the_order(wanted: list[tuple[int, int]]) -> None:
    plan = plan_reads(LEVELS, [PointAddress("level_command", gear) for gear, _ in wanted])
    buffer = np.zeros(plan.buffer_size, dtype=np.uint8)
    for block in plan.blocks:
        for gear, level in wanted:
            if block.start <= gear < block.start + block.count:
                at = block.offset + 2 * (gear - block.start)
                buffer[at : at + 2] = list(level.to_bytes(2, "big"))
    values, quality = plan.decode(buffer, np.full(len(wanted), Quality.GOOD, dtype=np.uint8))
    assert values.tolist() == [level for _, level in wanted]
    assert set(quality.tolist()) == {Quality.GOOD}
