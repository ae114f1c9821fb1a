"""What is shown of lamps: light for people, and by commands who follows."""

from zoneinfo import ZoneInfo

import pytest

from cli.commands.lamps import follows, state_rows
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
