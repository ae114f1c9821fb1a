"""The benchmark of the field layer works: every contender that is there reads, and all arrive at the same values.

How fast they are is nothing for a test; `make bench-field` says it.
"""

from __future__ import annotations

import os
import struct

import pytest

from bench.field import modbus_parts, opcua_parts
from bench.field.__main__ import prepared
from bench.field.duel import Contender, Failed, Ratio, Result, device_server, duel
from bench.field.modbus_parts import Bench
from bench.field.profile import points_of, profile_of
from bench.field.report import Report, Verdict
from bench.field.tags import LISTS, Tag, TagList, checksum, register
from fieldbus.modbus.planner import plan_reads


@pytest.fixture
def bench() -> Bench:
    found = prepared(quick=True)
    if found is None:
        reason = "no C compiler here, and the devices of the benchmark are a C program"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.mark.parametrize("part", modbus_parts.PARTS)
def test_all_contenders_on_modbus_do_the_same_work(bench: Bench, part: str) -> None:
    modbus_parts.PARTS[part](bench)
    assert bench.report.figures
    assert all(row.points_per_s > 0 for row in bench.report.figures)


def test_all_contenders_on_opcua_do_the_same_work_and_miss_no_notification(bench: Bench) -> None:
    opcua_parts.opcua(bench)
    assert len(bench.report.figures) == 4
    assert all(row.points_per_s > 0 for row in bench.report.figures)


def test_who_has_other_values_ends_the_benchmark(bench: Bench) -> None:
    with device_server(bench.device_server, bench.cores, 1) as (ports, requests):
        contender: Contender = modbus_parts.bare("pymodbus", bench.task("ten", ports))
        with pytest.raises(Failed, match="other values"):
            duel([contender], bench.cores, 1, bench.expected("ten", 1) + 1)
        assert requests() > 1


@pytest.mark.parametrize("name", LISTS)
def test_the_plan_by_hand_holds_every_tag_and_ours_needs_no_more_requests(name: str) -> None:
    tags = LISTS[name]
    taken = sum(len(block.scales) for block in tags.blocks)
    assert taken == len(tags.tags)
    assert len(plan_reads(profile_of(name), points_of(name)).blocks) <= len(tags.hand_plan)


def test_values_follow_from_registers_types_and_scales() -> None:
    tags = TagList("t", (Tag("frequency", None, 7, scale=0.5), Tag("voltage_l1", None, 30_000, "float32")), ((7, 1),))
    number, exact = tags.expected(3, 9)
    assert number == register(3, 9, 7) * 0.5
    assert struct.pack(">f", exact) == struct.pack(">HH", register(3, 9, 30_000), register(3, 9, 30_001))


def test_a_checksum_sees_values_that_changed_places() -> None:
    assert checksum([[1.0, 2.0], [3.0, 4.0]]) != checksum([[2.0, 1.0], [3.0, 4.0]])
    assert checksum([[1.0, 2.0], [3.0, 4.0]]) != checksum([[3.0, 4.0], [1.0, 2.0]])


def test_a_ratio_is_taken_round_by_round_and_judged_by_its_median() -> None:
    ours = Result(
        "ours", ({"points": 40.0, "wall_s": 1.0}, {"points": 10.0, "wall_s": 1.0}, {"points": 9.0, "wall_s": 1.0})
    )
    other = Result(
        "other", ({"points": 10.0, "wall_s": 1.0}, {"points": 2.0, "wall_s": 1.0}, {"points": 1.0, "wall_s": 1.0})
    )
    ratio = Ratio.of(ours.each("points", "wall_s"), other.each("points", "wall_s"))
    assert (ratio.low, ratio.value, ratio.high) == (4.0, 5.0, 9.0)
    assert Verdict.ratio("part", "claim", ratio, 5.0).met
    assert not Verdict.ratio("part", "claim", ratio, 4.9, at_least=False).met
    assert Verdict.ratio("part", "claim", ratio, None).met is None


def test_a_report_is_printed_and_written(tmp_path, capsys) -> None:
    report = Report(verdicts=[Verdict.one("1 crowd", "a promise", 0.5, 1.0)], left_out=["somebody"])
    report.print()
    report.write(tmp_path / "results" / "field.json")
    printed = capsys.readouterr().out
    assert "NOT KEPT" in printed
    assert "left out: somebody" in printed
    assert '"met": false' in (tmp_path / "results" / "field.json").read_text()
