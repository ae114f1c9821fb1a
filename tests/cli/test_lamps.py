"""What is shown of lamps: light for people, and by commands who follows."""

from zoneinfo import ZoneInfo

import pytest

from cli.commands.lamps import follows, lamp_table, state_rows, summary_table
from lichtbuch.lighting.v1 import control_pb2
from lichtbuch.type.v1 import types_pb2


@pytest.mark.parametrize(
    ("written", "driven", "expected"), [(800, 800, True), (800, 790, True), (800, 1000, False), (10, 14, True)]
)
def test_a_lamp_follows_that_drives_what_was_written_but_for_half_a_step(written: int, driven: int, expected: bool):
    assert follows(written, driven) is expected


def test_a_lamp_with_an_output_of_its_own_shows_its_light_and_its_command():
    states = control_pb2.LuminaireStateColumns(
        names=["municipalities/m/luminaires/L-1"], due_permille=[1000], due_sources=[control_pb2.DUE_SOURCE_PLAN],
        actual_permille=[1000], qualities=[types_pb2.QUALITY_GOOD], observed_at_unix_ms=[0], powered=[True],
        faults=[0], in_control=[True], written_permille=[800], driven_permille=[803],
    )  # fmt: skip
    row = state_rows(states, ZoneInfo("Europe/Berlin"))[0]
    assert (row["due_permille"], row["actual_permille"]) == (1000, 1000)
    assert (row["written_permille"], row["driven_permille"]) == (800, 803)


def test_a_lamp_that_is_only_observed_says_so_in_the_table_and_in_the_summary():
    states = control_pb2.LuminaireStateColumns(
        names=[f"municipalities/m/luminaires/L-{n}" for n in range(3)], due_permille=[500] * 3,
        due_sources=[control_pb2.DUE_SOURCE_PLAN] * 3, actual_permille=[500] * 3,
        qualities=[types_pb2.QUALITY_GOOD] * 3, observed_at_unix_ms=[0] * 3, powered=[True] * 3, faults=[0] * 3,
        in_control=[True, False, True], written_permille=[500] * 3, driven_permille=[500] * 3,
    )  # fmt: skip
    rows = state_rows(states, ZoneInfo("Europe/Berlin"))
    assert [(row["lamp"], row["control"]) for row in lamp_table(rows)] == [
        ("L-0", ""), ("L-1", "only observed"), ("L-2", ""),
    ]  # fmt: skip
    assert summary_table(rows) == [
        {"due": "50 %", "due to": "plan", "actual": "50 %", "control": "", "lamps": 2},
        {"due": "50 %", "due to": "plan", "actual": "50 %", "control": "only observed", "lamps": 1},
    ]
