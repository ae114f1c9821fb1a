"""Bills in files: months and years that are none of the calendar end where the next one begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cli.importing.readings import bills
from cli.importing.readings.bills import ends_of
from cli.importing.readings.declared import Declared
from cli.importing.readings.known import Directory, Kind, KnownMeter, Step
from cli.importing.readings.reader import ReadingsFile, open_readings
from domain.errors import InvalidInput

BERLIN = ZoneInfo("Europe/Berlin")
MONTHLY = KnownMeter("municipalities/t/meters/gas", kind=Kind.INTERVAL, step=Step.MONTH)
YEARLY = KnownMeter("municipalities/t/meters/year", kind=Kind.INTERVAL, step=Step.YEAR)
LOCATION = "DE0001234567800000000000000012345"
BILLED = KnownMeter("municipalities/t/meters/b", kind=Kind.INTERVAL, step=Step.MONTH, aliases=(LOCATION,))


def opened(
    folder: Path, lines: str, meter: KnownMeter = MONTHLY, stamp: str = "start", missing: tuple[str, ...] = ()
) -> ReadingsFile:
    file = folder / "bills.csv"
    file.write_text(f"date;kWh\n{lines}", encoding="utf-8")
    declared = Declared(meter=meter.name.rsplit("/", 1)[-1], stamp=stamp, unit="kWh", missing=missing)
    return open_readings(file, declared, Directory([meter]), time_zone="Europe/Berlin")


def taken(found: ReadingsFile) -> list[tuple[str, int]]:
    """(local date of the end, Wh) of all readings."""
    return [
        (datetime.fromtimestamp(slot / 1000, UTC).astimezone(BERLIN).strftime("%Y-%m-%d %H:%M"), value)
        for piece in found.pieces
        for slot, value in zip(piece.slots, piece.values, strict=True)
    ]


def test_a_bill_ends_where_the_next_one_begins_and_the_line_that_ends_the_last_has_no_value(tmp_path: Path) -> None:
    found = opened(tmp_path, "2025-01-22;310\n2025-02-20;290\n2025-03-25;330\n2025-04-22;\n")
    assert taken(found) == [("2025-02-20 00:00", 310_000), ("2025-03-25 00:00", 290_000), ("2025-04-22 00:00", 330_000)]
    assert (found.tally.refused, found.tally.missing) == (0, 1)


def test_a_last_bill_that_nothing_ends_is_refused_and_the_others_are_taken(tmp_path: Path) -> None:
    found = opened(tmp_path, "2025-01-22;310\n2025-02-20;290\n2025-03-25;330\n")
    assert [end for end, _ in taken(found)] == ["2025-02-20 00:00", "2025-03-25 00:00"]
    [refused] = found.tally.refusals
    assert (refused.line, refused.column) == (4, "kWh")
    assert "no line says where it ends" in refused.reason


def test_months_from_the_22nd_to_the_21st_need_no_line_behind_the_last(tmp_path: Path) -> None:
    found = opened(tmp_path, "2025-01-22;1\n2025-02-22;2\n2025-03-22;3\n")
    assert [end for end, _ in taken(found)] == ["2025-02-22 00:00", "2025-03-22 00:00", "2025-04-22 00:00"]
    assert not found.tally.refusals


def test_lines_may_come_in_any_order(tmp_path: Path) -> None:
    found = opened(tmp_path, "2025-03-25;\n2025-02-20;290\n2025-01-22;310\n")
    assert taken(found) == [("2025-02-20 00:00", 310_000), ("2025-03-25 00:00", 290_000)]


def test_a_month_that_is_missing_makes_the_one_before_no_longer(tmp_path: Path) -> None:
    found = opened(tmp_path, "2025-01-01;1\n2025-03-01;3\n2025-04-01;4\n")
    assert [end for end, _ in taken(found)] == ["2025-02-01 00:00", "2025-04-01 00:00", "2025-05-01 00:00"]


def test_a_bill_of_ten_days_is_no_month(tmp_path: Path) -> None:
    found = opened(tmp_path, "2025-01-01;1\n2025-02-01;2\n2025-02-11;3\n2025-03-11;\n")
    assert [end for end, _ in taken(found)] == ["2025-02-01 00:00", "2025-03-11 00:00"]
    [refused] = found.tally.refusals
    assert (refused.line, refused.reason) == (3, "the next one begins after 10 days: is no interval of 1mo")


def test_the_31st_of_a_month_ends_with_the_next_line_or_with_none(tmp_path: Path) -> None:
    assert [end for end, _ in taken(opened(tmp_path, "2025-01-31;1\n2025-02-28;2\n"))] == ["2025-02-28 00:00"]
    found = opened(tmp_path, "2025-01-31;1\n")
    assert taken(found) == []
    assert "begins on a day that the month of its end has not" in found.tally.refusals[0].reason


def test_years_of_bills_are_some_days_more_or_less_too(tmp_path: Path) -> None:
    found = opened(tmp_path, "2022-11-15;1\n2023-11-20;2\n2024-11-12;\n", YEARLY)
    assert taken(found) == [("2023-11-20 00:00", 1_000), ("2024-11-12 00:00", 2_000)]


def test_stamps_at_the_end_are_the_ends(tmp_path: Path) -> None:
    found = opened(tmp_path, "2025-02-20;310\n2025-03-25;290\n", stamp="end")
    assert [end for end, _ in taken(found)] == ["2025-02-20 00:00", "2025-03-25 00:00"]


def test_a_file_in_winter_time_has_calendar_months_all_the_same() -> None:
    def utc(month: int) -> int:
        return round(datetime(2025, month, 1, tzinfo=UTC).timestamp() * 1000)

    begins = [utc(month) - 3_600_000 for month in range(1, 8)]
    local = [datetime(2025, month, 1, tzinfo=BERLIN) for month in range(2, 9)]
    # Summer's months begin at 01:00 local, and March ends where April does so: an hour that no month has would be lost,
    # and another one counted twice in autumn. The last one ends at the same time of day a calendar month later.
    found = ends_of(begins, Step.MONTH, BERLIN)
    hours = [(end - round(day.timestamp() * 1000)) / 3_600_000 for end, day in zip(found, local, strict=True)]  # type: ignore[operator]
    assert hours == [0, 0, 1, 1, 1, 1, 1]


def test_months_with_an_offset_leave_no_hour_between_them_nor_count_one_twice(tmp_path: Path) -> None:
    lines = "".join(f"2025-{month:02}-01T00:00:00+01:00;{month}\n" for month in range(1, 13))
    found = taken(opened(tmp_path, lines))
    winter = [(f"2025-{month:02}-01 00:00", month * 1000 - 1000) for month in (2, 3)]
    summer = [(f"2025-{month:02}-01 01:00", month * 1000 - 1000) for month in range(4, 11)]
    assert found == [*winter, *summer, *((f"2025-{month}-01 00:00", month * 1000 - 1000) for month in (11, 12)),
                     ("2026-01-01 00:00", 12_000)]  # fmt: skip


WINTER = timezone(timedelta(hours=1))


def begins_of(clock: tzinfo, first: int, hour: int = 0) -> list[int]:
    """Fourteen months' begins by a clock, Unix ms."""
    months = [(2025 + number // 12, number % 12 + 1) for number in range(first - 1, first + 13)]
    return [round(datetime(year, month, 1, hour, tzinfo=clock).timestamp() * 1000) for year, month in months]


@pytest.mark.parametrize(
    "begins",
    [
        begins_of(BERLIN, 1), begins_of(BERLIN, 7), begins_of(BERLIN, 1, 6), begins_of(BERLIN, 7, 6),
        begins_of(WINTER, 4), begins_of(WINTER, 7), begins_of(WINTER, 10),
        begins_of(UTC, 1), begins_of(UTC, 4), begins_of(UTC, 7), begins_of(UTC, 10),
    ],
    ids=[
        "local-1", "local-7", "gas-1", "gas-7", "winter-4", "winter-7", "winter-10", "utc-1", "utc-4", "utc-7",
        "utc-10",
    ],
)  # fmt: skip
def test_a_bill_ends_at_one_instant_however_many_lines_stand_behind_it(begins: list[int]) -> None:
    for count in range(1, len(begins)):
        assert ends_of(begins[:count], Step.MONTH, BERLIN)[-1] == begins[count]


def test_a_first_part_of_a_month_hides_not_the_clock_of_the_months_after_it() -> None:
    begins = begins_of(WINTER, 4)
    moved_in = [begins[0] + 5 * 86_400_000 + 37_800_000, *begins[1:]]
    for count in range(3, len(begins)):
        assert ends_of(moved_in[:count], Step.MONTH, BERLIN)[-1] == begins[count]


def test_winter_alone_does_not_tell_the_clock_and_the_zone_that_is_said_does() -> None:
    begins = begins_of(WINTER, 1)
    [*_, march] = ends_of(begins[:3], Step.MONTH, BERLIN)
    assert march == begins_of(BERLIN, 1)[3]
    assert ends_of(begins[:3], Step.MONTH, WINTER)[-1] == begins[3]
    for count in range(4, len(begins)):
        assert ends_of(begins[:count], Step.MONTH, BERLIN)[-1] == begins[count]


def test_a_column_in_utc_has_one_end_for_a_bill_whether_or_not_a_line_follows(tmp_path: Path) -> None:
    lines = [f"2025-{month:02}-01 00:00;{month}\n" for month in range(1, 13)]
    file = tmp_path / "utc.csv"
    ends = []
    for count in (3, 4, 10, 11):
        file.write_text("datetime_utc;kWh\n" + "".join(lines[:count]), encoding="utf-8")
        declared = Declared(meter="gas", stamp="start", unit="kWh")
        found = open_readings(file, declared, Directory([MONTHLY]), time_zone="Europe/Berlin")
        ends.append([end for end, _ in taken(found)])
    assert ends[0][-1] == ends[1][2] == "2025-04-01 02:00"
    assert ends[2][-1] == ends[3][9] == "2025-11-01 01:00"


@pytest.mark.parametrize("clock", ["00:00", "06:00", "08:15", "12:00"])
def test_a_first_part_of_a_month_ends_where_the_calendar_begins_at_any_time_of_the_morning(
    tmp_path: Path, clock: str
) -> None:
    lines = f"2025-01-06 10:30;310\n2025-02-01 {clock};290\n2025-03-01 {clock};291\n"
    found = opened(tmp_path, lines)
    assert [end for end, _ in taken(found)] == [f"2025-{month}-01 {clock}" for month in ("02", "03", "04")]
    assert not found.tally.refusals


def test_a_first_part_of_a_month_ends_on_the_evening_before_the_calendars_begin_but_not_on_the_day_before(
    tmp_path: Path,
) -> None:
    assert not opened_refusals(tmp_path, "2025-06-06 10:30;1\n2025-06-30 22:00;2\n2025-07-30 22:00;3\n")
    assert opened_refusals(tmp_path, "2025-06-06 10:30;1\n2025-06-30 11:00;2\n2025-07-30 11:00;3\n") == [4]


def opened_refusals(folder: Path, lines: str) -> list[int]:
    found = opened(folder, lines)
    taken(found)
    return [refused.line for refused in found.tally.refusals if "add one" in refused.reason]


def test_a_line_behind_the_last_may_have_a_nought_that_counts_as_missing(tmp_path: Path) -> None:
    lines = "2025-01-22;310\n2025-02-20;290\n2025-03-25;0\n"
    found = opened(tmp_path, lines, missing=("zero",))
    assert taken(found) == [("2025-02-20 00:00", 310_000), ("2025-03-25 00:00", 290_000)]
    assert (found.tally.refused, found.tally.missing) == (0, 1)
    measured = opened(tmp_path, lines)
    assert len(taken(measured)) == 2
    assert [refused.line for refused in measured.tally.refusals] == [4]


def test_two_lines_that_no_whole_months_part_tell_no_end(tmp_path: Path) -> None:
    found = opened(tmp_path, "2025-01-22;310\n2025-03-20;290\n")
    assert taken(found) == []
    assert [refused.line for refused in found.tally.refusals] == [2, 3]
    assert all("no line says where it ends" in refused.reason for refused in found.tally.refusals)
    # Of calendar months one is missing between these.
    assert taken(opened(tmp_path, "2025-01-01;1\n2025-03-01;3\n")) == [
        ("2025-02-01 00:00", 1_000),
        ("2025-04-01 00:00", 3_000),
    ]


def test_a_first_month_that_began_on_the_6th_makes_no_bills_of_the_months_after_it(tmp_path: Path) -> None:
    found = opened(tmp_path, "2025-01-06;310\n2025-02-01;290\n2025-03-01;291\n")
    assert [end for end, _ in taken(found)] == ["2025-02-01 00:00", "2025-03-01 00:00", "2025-04-01 00:00"]
    assert not found.tally.refusals
    # A gap behind it tells not where it ends.
    found = opened(tmp_path, "2025-01-06;310\n2025-03-01;290\n2025-04-01;291\n")
    assert [end for end, _ in taken(found)] == ["2025-04-01 00:00", "2025-05-01 00:00"]
    assert [refused.line for refused in found.tally.refusals] == [2]
    # One that fits by chance makes no calendar of bills.
    found = opened(tmp_path, "2025-01-22;310\n2025-02-20;290\n2025-03-20;291\n")
    assert len(taken(found)) == 2
    assert [refused.line for refused in found.tally.refusals] == [4]


def test_more_bills_than_can_be_held_are_refused_and_nothing_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bills, "MAX_HELD", 2)
    with pytest.raises(InvalidInput, match="has more than 2 amounts of months or years: give it in parts"):
        taken(opened(tmp_path, "2025-01-01;1\n2025-02-01;2\n2025-03-01;3\n"))


def mscons(begin: str, end: str, form: str) -> str:
    return mscons_of((begin, end), form=form)


def mscons_of(*periods: tuple[str, str], form: str = "102") -> str:
    """A message with an amount for each period, in the order of their numbers: 310 kWh, 311, ..."""
    told = [
        segment
        for number, (begin, end) in enumerate(periods)
        for segment in (f"QTY+220:{310 + number}:KWH", f"DTM+163:{begin}:{form}", f"DTM+164:{end}:{form}")
    ]
    body = [
        "UNB+UNOC:3+S:500+R:500+260102:1200+REF1", "UNH+1+MSCONS:D:04B:UN:2.4c", "BGM+7+DOC1+9",
        "DTM+137:202601021200?+00:303", "RFF+Z13:13002", "NAD+MS+9900000000001::293", "UNS+D", "NAD+DP",
        f"LOC+172+{LOCATION}", "LIN+1", "PIA+5+1-1?:1.29.0:SRW", *told,
        f"UNT+{11 + len(told)}+1", "UNZ+1+REF1",
    ]  # fmt: skip
    return "UNA:+.? '" + "".join(f"{segment}'" for segment in body)


@pytest.mark.parametrize(
    ("begin", "end", "form", "expected"),
    [
        ("202501220000?+01", "202502200000?+01", "303", ["2025-02-20 00:00"]),
        ("202501010000?+01", "202502010000?+01", "303", ["2025-02-01 00:00"]),
        # Of dates alone the last day is in it where that makes a month.
        ("20250101", "20250131", "102", ["2025-02-01 00:00"]),
        ("20250122", "20250221", "102", ["2025-02-22 00:00"]),
        ("20250101", "20250201", "102", ["2025-02-01 00:00"]),
    ],
)
def test_a_message_says_where_its_bill_ends(
    tmp_path: Path, begin: str, end: str, form: str, expected: list[str]
) -> None:
    file = tmp_path / "bill.edi"
    file.write_text(mscons(begin, end, form), encoding="latin-1")
    found = open_readings(file, Declared(), Directory([BILLED]), time_zone="Europe/Berlin")
    assert [end for end, _ in taken(found)] == expected
    assert not found.tally.refusals


@pytest.mark.parametrize(
    ("begin", "end", "form", "reason"),
    [
        ("20250122", "20250219", "102", "dates do not say whether the last day is in it"),
        ("202501220000?+01", "202503250000?+01", "303", "is an interval of 89280 minutes, not of 1mo"),
    ],
)
def test_a_message_whose_bill_could_end_anywhere_is_refused(
    tmp_path: Path, begin: str, end: str, form: str, reason: str
) -> None:
    file = tmp_path / "bill.edi"
    file.write_text(mscons(begin, end, form), encoding="latin-1")
    found = open_readings(file, Declared(), Directory([BILLED]), time_zone="Europe/Berlin")
    assert taken(found) == []
    assert reason in found.tally.refusals[0].reason


def read(folder: Path, text: str) -> ReadingsFile:
    file = folder / "bill.edi"
    file.write_text(text, encoding="latin-1")
    return open_readings(file, Declared(), Directory([BILLED]), time_zone="Europe/Berlin")


def test_a_date_on_which_the_next_bill_begins_is_not_in_the_one_before(tmp_path: Path) -> None:
    periods = [("20250122", "20250221"), ("20250221", "20250320"), ("20250320", "20250422")]
    expected = [("2025-02-21 00:00", 310_000), ("2025-03-20 00:00", 311_000), ("2025-04-22 00:00", 312_000)]
    found = read(tmp_path, mscons_of(*periods))
    assert taken(found) == expected
    assert not found.tally.refusals
    # In whichever order they come; the amounts have their numbers in the message.
    turned = taken(read(tmp_path, mscons_of(*reversed(periods))))
    assert sorted(end for end, _ in turned) == [end for end, _ in expected]


def test_dates_of_bills_that_begin_on_the_day_after_are_in_them(tmp_path: Path) -> None:
    found = read(tmp_path, mscons_of(("20250101", "20250131"), ("20250201", "20250228"), ("20250301", "20250331")))
    assert [end for end, _ in taken(found)] == ["2025-02-01 00:00", "2025-03-01 00:00", "2025-04-01 00:00"]
    assert not found.tally.refusals


def test_bills_that_begin_on_the_day_after_have_their_last_day_in_them_and_the_last_one_too(tmp_path: Path) -> None:
    periods = [("20250122", "20250219"), ("20250220", "20250321"), ("20250322", "20250420")]
    found = read(tmp_path, mscons_of(*periods))
    expected = [("2025-02-20 00:00", 310_000), ("2025-03-22 00:00", 311_000), ("2025-04-21 00:00", 312_000)]
    assert taken(found) == expected
    assert not found.tally.refusals
    turned = taken(read(tmp_path, mscons_of(*reversed(periods))))
    assert sorted(end for end, _ in turned) == [end for end, _ in expected]


def test_a_last_bill_that_would_be_whole_without_its_last_day_goes_as_the_others(tmp_path: Path) -> None:
    found = read(tmp_path, mscons_of(("20250122", "20250219"), ("20250220", "20250320")))
    assert [end for end, _ in taken(found)] == ["2025-02-20 00:00", "2025-03-21 00:00"]
    assert not found.tally.refusals


@pytest.mark.parametrize("day", ["20250131", "20250228"])
def test_the_value_of_a_day_shows_not_where_a_month_ends(tmp_path: Path, day: str) -> None:
    found = read(tmp_path, mscons_of(("20250101", "20250131"), ("20250201", "20250228"), (day, day)))
    assert [end for end, _ in taken(found)] == ["2025-02-01 00:00", "2025-03-01 00:00"]
    [refused] = found.tally.refusals
    assert "is an interval of" in refused.reason


def test_where_bills_begin_on_both_days_the_one_that_makes_the_month_whole_is_its_end(tmp_path: Path) -> None:
    # A second sender's bill begins on the last day of January.
    found = read(tmp_path, mscons_of(("20250101", "20250131"), ("20250131", "20250228"), ("20250201", "20250228")))
    assert taken(found)[0] == ("2025-02-01 00:00", 310_000)
    found = read(tmp_path, mscons_of(("20250122", "20250220"), ("20250220", "20250321"), ("20250221", "20250321")))
    assert taken(found)[0] == ("2025-02-20 00:00", 310_000)


def test_what_the_day_after_would_make_too_long_is_refused(tmp_path: Path) -> None:
    found = read(tmp_path, mscons_of(("20250101", "20250210"), ("20250211", "20250310")))
    assert [end for end, _ in taken(found)] == ["2025-03-11 00:00"]
    assert "is an interval of" in found.tally.refusals[0].reason


def test_where_senders_mean_both_only_the_day_on_which_another_begins_is_told(tmp_path: Path) -> None:
    # The second begins on the day after, so that nothing says what the last one means.
    found = read(tmp_path, mscons_of(("20250122", "20250221"), ("20250222", "20250320"), ("20250320", "20250422")))
    assert [end for end, _ in taken(found)] == ["2025-02-22 00:00", "2025-03-20 00:00"]
    assert ["dates do not say" in refused.reason for refused in found.tally.refusals] == [True]


def test_a_broken_message_still_gives_the_bills_that_it_has(tmp_path: Path) -> None:
    whole = mscons_of(("20250122", "20250221"), ("20250221", "20250320"))
    found = read(tmp_path, whole[: whole.index("UNT")])
    assert [end for end, _ in taken(found)] == ["2025-02-21 00:00", "2025-03-20 00:00"]
    assert any("broken off" in refused.reason for refused in found.tally.refusals)
