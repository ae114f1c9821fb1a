"""Lamps in columns: what each looks like, how many do what, and which changed."""

import pytest

from lichtbuch.lighting.v1 import control_pb2
from lichtbuch.type.v1 import types_pb2
from services.admin.lamps import Fault, Lamp, LampTable, Look

GOOD, BAD, MISSING = types_pb2.QUALITY_GOOD, types_pb2.QUALITY_BAD, types_pb2.QUALITY_MISSING


def lamps(count: int) -> tuple[Lamp, ...]:
    return tuple(Lamp(f"municipalities/m/luminaires/L-{number}", 50.0, 9.0) for number in range(count))


def states(*rows: int, **columns: list[int]) -> control_pb2.LuminaireStateColumns:
    """States of some rows; columns that are not given are those of a lamp that does what it should at full light."""
    count = len(rows)
    given = {
        "due_permille": [1000] * count,
        "actual_permille": [1000] * count,
        "due_sources": [control_pb2.DUE_SOURCE_PLAN] * count,
        "qualities": [GOOD] * count,
        "powered": [True] * count,
        "faults": [0] * count,
        "in_control": [True] * count,
        **columns,
    }
    return control_pb2.LuminaireStateColumns(names=[f"municipalities/m/luminaires/L-{row}" for row in rows], **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("columns", "look"),
    [
        ({}, Look.LIT),
        ({"actual_permille": [996]}, Look.LIT),
        ({"actual_permille": [350]}, Look.DIMMED),
        ({"actual_permille": [0]}, Look.OFF),
        ({"actual_permille": [-1]}, Look.UNKNOWN),
        ({"qualities": [MISSING]}, Look.UNKNOWN),
        ({"qualities": [BAD]}, Look.UNKNOWN),
        ({"faults": [int(Fault.LAMP)]}, Look.FAULT),
        ({"faults": [int(Fault.LAMP)], "qualities": [BAD]}, Look.FAULT),
        ({"faults": [int(Fault.DAY_BURNER)]}, Look.FAULT),
        ({"faults": [int(Fault.COMMUNICATION)], "actual_permille": [-1]}, Look.UNKNOWN),
        ({"faults": [int(Fault.COMMUNICATION | Fault.GEAR)], "actual_permille": [-1]}, Look.UNKNOWN),
        ({"powered": [False], "actual_permille": [-1], "qualities": [MISSING]}, Look.UNPOWERED),
    ],
)
def test_a_lamp_looks_like_what_it_does(columns: dict[str, list[int]], look: Look) -> None:
    table = LampTable(lamps(1))
    table.take(states(0, **columns))
    assert table.state(0).look is look


def test_a_lamp_nobody_has_spoken_of_is_unknown_not_dark() -> None:
    assert LampTable(lamps(1)).state(0).look is Look.UNKNOWN


def test_every_lamp_is_counted_once_and_faults_beside_that() -> None:
    table = LampTable(lamps(7))
    table.take(
        states(
            *range(6),
            actual_permille=[1000, 500, 0, -1, 0, 1000],
            faults=[0, 0, 0, int(Fault.COMMUNICATION), int(Fault.LAMP), int(Fault.DIMMING)],
            in_control=[True, True, True, True, True, False],
        )
    )
    counts = table.counts()
    assert (counts.lit, counts.dimmed, counts.off, counts.unknown, counts.unpowered) == (2, 1, 2, 2, 0)
    assert counts.total == 7 == counts.lit + counts.dimmed + counts.off + counts.unknown + counts.unpowered
    assert (counts.faults, counts.not_following, counts.shadow) == (3, 1, 1)


def test_only_what_differs_counts_as_changed() -> None:
    table = LampTable(lamps(4))
    table.take(states(0, 1, 2, 3))
    seen = table.revision
    table.take(states(1, 2, actual_permille=[1000, 400]))
    assert table.since(seen).tolist() == [2]
    assert table.since(table.revision).size == 0


def test_being_read_again_with_the_same_outcome_is_no_change_but_is_remembered() -> None:
    table = LampTable(lamps(1))
    table.take(states(0, observed_at_unix_ms=[1_000]))
    seen = table.revision
    table.take(states(0, observed_at_unix_ms=[2_000]))
    assert table.since(seen).size == 0
    assert table.state(0).observed_at_unix_ms == 2_000


def test_many_changes_between_two_looks_are_one_change_to_the_newest_state() -> None:
    table = LampTable(lamps(3))
    table.take(states(0, 1, 2))
    seen = table.revision
    for level in (100, 200, 300):
        table.take(states(0, 1, actual_permille=[level, level]))
    columns = table.columns(table.since(seen))
    assert columns["rows"] == [0, 1]
    assert columns["actual"] == [300, 300]
    assert {len(column) for column in columns.values()} == {2}


def test_lamps_that_are_not_in_the_inventory_are_told_not_stored() -> None:
    table = LampTable(lamps(1))
    assert table.take(states(0, 5, 6)) == 2
    assert table.state(0).look is Look.LIT


def test_a_sender_that_leaves_a_column_shorter_does_no_harm() -> None:
    table = LampTable(lamps(2))
    assert table.take(states(0, 1, faults=[], in_control=[True])) == 0
    assert table.state(1).faults == Fault(0)
    assert table.state(1).in_control is False


def test_what_gear_is_told_is_known_where_lighting_says_so():
    table = LampTable(lamps(2))
    table.take(states(0, written_permille=[800]))
    table.take(states(1))
    assert [table.state(row).written_permille for row in range(2)] == [800, -1]
