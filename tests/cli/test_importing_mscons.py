"""MSCONS: load profiles and counter readings are taken, and every defect is named with the number of its segment."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.importing.readings.declared import Declared, Series
from cli.importing.readings.known import Directory, Kind, KnownMeter, Status, Step
from cli.importing.readings.reader import ReadingsFile, open_readings
from domain.errors import InvalidInput

MELO = "DE0001234567800000000000000012345"
PROFILE = KnownMeter("municipalities/t/meters/lp", kind=Kind.INTERVAL, obis="1-1:1.29.0", aliases=(MELO,))
FEED_IN = KnownMeter("municipalities/t/meters/fi", kind=Kind.INTERVAL, obis="1-1:2.29.0", aliases=(MELO,))
COUNTER = KnownMeter("municipalities/t/meters/z", obis="1-1:1.8.0", aliases=("51238696781", "1EMH0012345678"))
GAS = KnownMeter("municipalities/t/meters/g", "L", obis="7-10:3.0.0", aliases=("DE-GAS",), step=Step.MONTH)
GAS_ENERGY = KnownMeter("municipalities/t/meters/e", obis="7-10:33.3.0", aliases=("DE-HEAT",))
TOWN = Directory([PROFILE, FEED_IN, COUNTER, GAS, GAS_ENERGY])
HEADER = ["BGM+7+DOC1+9", "DTM+137:202601021200?+00:303", "RFF+Z13:13002", "NAD+MS+9900000000001::293", "UNS+D"]


def interval(value: str, begin: str, end: str, qualifier: str = "220", zone: str = "?+00") -> list[str]:
    return [f"QTY+{qualifier}:{value}:KWH", f"DTM+163:{begin}{zone}:303", f"DTM+164:{end}{zone}:303"]


def location(name: str = MELO, obis: str = "1-1?:1.29.0", more: tuple[str, ...] = ()) -> list[str]:
    return ["NAD+DP", f"LOC+172+{name}", *more, "LIN+1", f"PIA+5+{obis}:SRW"]


def message(body: list[str], reference: str = "1", *, count: int = 0) -> list[str]:
    segments = [f"UNH+{reference}+MSCONS:D:04B:UN:2.4c", *HEADER, *body]
    return [*segments, f"UNT+{count or len(segments) + 1}+{reference}"]


def interchange(*messages: list[str], count: int = 0, una: str = "UNA:+.? '", line: str = "\r\n") -> str:
    segments = ["UNB+UNOC:3+SENDER:500+RECEIVER:500+260102:1200+REF1", *(one for each in messages for one in each)]
    segments.append(f"UNZ+{count or len(messages)}+REF1")
    return una + line + "".join(f"{segment}'{line}" for segment in segments)


def opened(tmp_path: Path, text: str, **declared: Any) -> ReadingsFile:
    file = tmp_path / "mscons.txt"
    file.write_bytes(text.encode("latin-1"))
    return open_readings(file, Declared().with_options(**declared), TOWN, time_zone="Europe/Berlin")


def taken(found: ReadingsFile) -> list[tuple[str, str, int, int]]:
    """(meter, UTC, value, status) of all readings."""
    return [
        (
            piece.meters[index].rsplit("/", 1)[-1],
            datetime.fromtimestamp(slot / 1000, UTC).strftime("%d %H:%M"),
            value,
            status,
        )
        for piece in found.pieces
        for index, slot, value, status in zip(piece.indexes, piece.slots, piece.values, piece.statuses, strict=True)
    ]


def defects(found: ReadingsFile) -> list[tuple[int, str, str]]:
    taken(found)
    return [(one.line, one.column, one.reason) for one in found.tally.refusals]


QUARTERS = [
    *interval("12.5", "202601012300", "202601012315"),
    "STS+Z34++Z83",
    *interval("7", "202601012315", "202601012330", "67"),
]


def test_a_load_profile_is_intervals_at_their_ends_with_their_quality(tmp_path: Path) -> None:
    found = opened(tmp_path, interchange(message([*location(), *QUARTERS])))
    assert found.layout == "mscons"
    assert taken(found) == [
        ("lp", "01 23:15", 12_500, Status.MEASURED),
        ("lp", "01 23:30", 7_000, Status.ESTIMATED),
    ]
    assert not found.tally.refusals


def test_registers_of_one_location_are_told_by_their_code(tmp_path: Path) -> None:
    body = [*location(), *QUARTERS[:3], "LIN+2", "PIA+5+1-1?:2.29.0:SRW", *QUARTERS[4:]]
    assert [one[0] for one in taken(opened(tmp_path, interchange(message(body))))] == ["lp", "fi"]


@pytest.mark.parametrize("zone", ["?+01", "?+0100", "MEZ"])
def test_the_zone_behind_the_digits_counts(tmp_path: Path, zone: str) -> None:
    body = [*location(), *interval("1", "202601020000", "202601020015", zone=zone)]
    assert taken(opened(tmp_path, interchange(message(body)))) == [("lp", "01 23:15", 1000, Status.MEASURED)]


def test_both_passes_of_the_doubled_hour_are_told_by_their_zone(tmp_path: Path) -> None:
    body = [*location()]
    for zone in ("?+02", "?+01"):
        body += interval("1", "202610250200", "202610250215", zone=zone)
    assert [one[1] for one in taken(opened(tmp_path, interchange(message(body))))] == ["25 00:15", "25 01:15"]


@pytest.mark.parametrize("form", ["7", "9"])
def test_counters_are_found_by_location_or_serial_number(tmp_path: Path, form: str) -> None:
    stamps = [f"DTM+{form}:202512312300?+00:303"]
    by_location = [*location("51238696781", "1-1?:1.8.0"), "QTY+220:7000.1:KWH", *stamps]
    by_number = [*location("", "1-1?:1.8.0", ("RFF+MG:1EMH0012345678",)), "QTY+220:7000.1", *stamps]
    for body in (by_location, by_number):
        assert taken(opened(tmp_path, interchange(message(body)))) == [("z", "31 23:00", 7_000_100, Status.MEASURED)]


def test_the_date_of_a_reading_may_stand_at_its_location(tmp_path: Path) -> None:
    body = [*location("", "1-1?:1.8.0", ("DTM+9:20260101:102", "RFF+MG:1EMH0012345678")), "QTY+220:7000"]
    assert taken(opened(tmp_path, interchange(message(body)))) == [("z", "31 23:00", 7_000_000, Status.MEASURED)]


def test_volume_of_gas_without_a_unit_is_cubic_metres_and_anything_else_has_to_be_said(tmp_path: Path) -> None:
    body = [*location("DE-GAS", "7-10?:3.0.0"), "QTY+220:12,5", "DTM+7:202601010500?+00:303"]
    assert taken(opened(tmp_path, interchange(message(body)))) == [("g", "01 05:00", 12_500, Status.MEASURED)]
    energy = [*location("DE-HEAT", "7-10?:33.3.0"), "QTY+220:12,5", "DTM+7:202601010500?+00:303"]
    assert "unit" in defects(opened(tmp_path, interchange(message(energy))))[0][2]
    assert taken(opened(tmp_path, interchange(message(energy)), unit="kWh"))[0][2] == 12_500


def test_several_messages_and_other_marks_are_read(tmp_path: Path) -> None:
    first = message([*location(), *interval("1", "202601012300", "202601012315", zone="UTC")])
    second = message([*location(), *interval("2", "202601012315", "202601012330", zone="UTC")], "2")
    text = interchange(first, second, line="")
    assert len(taken(opened(tmp_path, text))) == 2
    # With other marks a colon is no mark, and the code of the register is written as it is.
    other = text.removeprefix("UNA:+.? '").translate(str.maketrans(":+'?", "|;~!")).replace("1-1!|", "1-1:")
    assert len(taken(opened(tmp_path, "UNA|;,! ~" + other, layout=""))) == 2
    assert len(taken(opened(tmp_path, text.removeprefix("UNA:+.? '")))) == 2


def test_released_marks_are_plain_characters(tmp_path: Path) -> None:
    body = ["FTX+ACB+++it?'s 1?+1?: 2 ??", *location(), *QUARTERS[:3]]
    found = opened(tmp_path, interchange(message(body)))
    assert len(taken(found)) == 1
    assert not found.tally.refusals


def test_a_mapping_tells_whose_series_it_is_or_passes_over_it(tmp_path: Path) -> None:
    body = [*location("OTHER"), *QUARTERS[:3], *location("OTHER", "1-1?:5.29.0"), *QUARTERS[4:]]
    series = (Series(name="OTHER", obis="1-1:1.29.0", meter="lp"), Series(obis="1-1:5.29.0", skip=True))
    found = opened(tmp_path, interchange(message(body)), series=series)
    assert len(taken(found)) == 1
    assert (found.tally.skipped, found.tally.refused) == (1, 0)


@pytest.mark.parametrize("qualifier", ["20", "Z30"])
def test_a_value_that_may_not_be_used_is_a_gap(tmp_path: Path, qualifier: str) -> None:
    body = [*location(), *interval("0", "202601012300", "202601012315", qualifier)]
    assert taken(opened(tmp_path, interchange(message(body)))) == [("lp", "01 23:15", 0, Status.GAP)]


@pytest.mark.parametrize(
    ("body", "segment", "tag", "reason"),
    [
        ([*location("NOBODY"), *QUARTERS[:3]], 12, "QTY", "NOBODY is no meter of the town"),
        ([*location(obis="1-1?:9.9.9"), *QUARTERS[:3]], 12, "QTY", f"{MELO} is no meter of the town"),
        ([*location(), "QTY+999:1:KWH", *QUARTERS[1:3]], 12, "QTY", "has the qualifier 999"),
        ([*location(), "QTY+220:1x:KWH", *QUARTERS[1:3]], 12, "QTY", "is no number"),
        ([*location(), "QTY+220:-1:KWH", *QUARTERS[1:3]], 12, "QTY", "must be 0 or more"),
        ([*location(), "QTY+220:1:KWH", QUARTERS[1]], 12, "QTY", "DTM+163 or DTM+164 is missing"),
        ([*location(), *interval("1", "202601012300", "202601020000")], 12, "QTY", "interval of 60 minutes"),
        ([*location(), "QTY+220:1:KWH", "DTM+163:202601322300?+00:303"], 13, "DTM", "is no time that there is"),
        ([*location(), "QTY+220:1:KWH", "DTM+163:202601012300:303"], 13, "DTM", "has no zone"),
        ([*location(), "QTY+220:1:KWH", "DTM+163:2026:999"], 13, "DTM", "no time of format 999"),
        ([*location("", "1-1?:1.8.0"), "QTY+220:1"], 12, "QTY", "belongs to no location"),
        ([*location("51238696781", "1-1?:1.8.0"), "QTY+220:1"], 12, "QTY", "no state at an instant"),
        (["what is this"], 8, "", "is no segment"),
    ],
)
def test_a_defect_is_named_with_its_segment(
    tmp_path: Path, body: list[str], segment: int, tag: str, reason: str
) -> None:
    found = opened(tmp_path, interchange(message(body)))
    (only,) = defects(found)
    assert only[:2] == (segment, tag)
    assert reason in f"{only[2]} {found.tally.refusals[0].value}"


def test_a_wrong_number_of_segments_or_messages_is_named_and_the_readings_are_taken(tmp_path: Path) -> None:
    found = opened(tmp_path, interchange(message([*location(), *QUARTERS], count=99), count=3))
    assert defects(found) == [
        (19, "UNT", "counts 99 segments, the message has 18"),
        (20, "UNZ", "counts 3 messages, the file has 1"),
    ]
    assert found.tally.readings == 2


def test_a_file_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    text = interchange(message([*location(), *QUARTERS]), message([*location(), *QUARTERS], "2"))
    cut = text[: text.index("UNH+2")]
    assert defects(opened(tmp_path, cut)) == [(19, "UNZ", "the file ends without UNZ: it was broken off")]
    found = opened(tmp_path, cut + "UNH+2+MSC")
    assert defects(found) == [(20, "", "has no end: the file was broken off")]
    assert found.tally.readings == 2


def test_a_message_of_another_kind_is_passed_over_and_told(tmp_path: Path) -> None:
    invoice = message([*location(), *QUARTERS], "2")
    invoice[0] = "UNH+2+INVOIC:D:06A:UN:2.7"
    found = opened(tmp_path, interchange(message([*location(), *QUARTERS]), invoice))
    assert [reason for _, _, reason in defects(found)] == ["is no MSCONS; the message is passed over"]
    assert found.tally.readings == 2


def test_a_counter_for_a_meter_of_intervals_is_refused(tmp_path: Path) -> None:
    body = [*location(), "QTY+220:1:KWH", "DTM+7:202601012300?+00:303"]
    assert "is no interval" in defects(opened(tmp_path, interchange(message(body))))[0][2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("UNA::::::", "no EDIFACT"),
        ("UNB+UNOC:3'" + "X" * 20_000, "longer than"),
        ("UNA:+.? 'UNH+1+MSCONS'", "not UNB"),
        ("time;kWh\n", "neither UNA nor UNB"),
    ],
)
def test_what_is_no_interchange_is_refused_as_a_whole(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        taken(opened(tmp_path, text, layout="mscons"))


def test_how_far_an_interchange_of_a_single_line_has_been_read_is_told_in_bytes(tmp_path: Path) -> None:
    body = [*location(), *(segment for _ in range(3_000) for segment in QUARTERS)]
    file = tmp_path / "mscons.txt"
    file.write_text(interchange(message(body), line=""), encoding="latin-1")
    found = open_readings(file, Declared(), TOWN, time_zone="Europe/Berlin", size=1_000)
    told = [found.done() for _ in found.pieces]
    assert len(told) == 7
    assert told == sorted(told)
    assert 0 < told[0] < found.size == file.stat().st_size
    assert told[-1] <= found.size
