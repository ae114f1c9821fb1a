"""docs/points.md says what the vocabulary says."""

from __future__ import annotations

from fieldbus.vocabulary import VOCABULARY, point_named
from tools import points_table


def test_the_document_agrees_with_the_vocabulary() -> None:
    document = points_table.DOCUMENT.read_text(encoding="utf-8")
    assert points_table.renewed(document) == document, "run python tools/points_table.py"


def test_every_point_has_its_line() -> None:
    text = points_table.text()
    assert [name for name in VOCABULARY if f"| `{name}` |" not in text] == []


def test_ranges_are_written_as_people_read_them() -> None:
    assert points_table.range_of(point_named("energy_active_import")) == "0 to 2^53 - 1"
    assert points_table.range_of(point_named("power_active_total")) == "-30 000 000 to 30 000 000"
    assert points_table.range_of(point_named("hand_off_auto")) == "0 hand, 1 off, 2 auto"
    assert points_table.range_of(point_named("door_open")) == ""
