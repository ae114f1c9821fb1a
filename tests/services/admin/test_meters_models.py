"""What the pages of meters work out by themselves: numbers that people type, trees of meters, periods, doubts."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichtbuch.metering.v1 import metering_pb2
from services.admin.consumption import (
    Consumption,
    Part,
    losses_from_proto,
    share_permille,
    since_first,
    values_from_proto,
)
from services.admin.findings import finding_from_proto, findings_csv, matching
from services.admin.formats import Formats
from services.admin.meters import MeterItem, behind, by_place, chosen, is_late, meter_from_proto
from services.admin.periods import Period, Span
from services.admin.quantities import (
    amount_text,
    counter_text,
    digits_before,
    faces_of,
    load_text,
    on_face,
    parsed,
    scale_of,
    stored_value,
    value_text,
)
from services.admin.readings import Reading, Trial, all_doubts, since_last

BERLIN = ZoneInfo("Europe/Berlin")
DE, EN = Formats("de", BERLIN), Formats("en", BERLIN)
WH, L, KG, CELSIUS = metering_pb2.UNIT_WH, metering_pb2.UNIT_L, metering_pb2.UNIT_KG, metering_pb2.UNIT_CELSIUS
NOON = datetime(2026, 11, 22, 11, 0, tzinfo=UTC)


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_a_counter_is_told_to_its_last_digit_in_the_unit_of_its_medium() -> None:
    assert counter_text(DE, 1_234_500, WH) == "1.234,5 kWh"
    assert counter_text(DE, 1_234_567, WH) == "1.234,567 kWh"
    assert counter_text(EN, 1_500, L) == "1.5 m³"
    assert counter_text(DE, 1_500, L, 0, metering_pb2.MEDIUM_OIL) == "1.500 l"
    assert counter_text(DE, 12_345, WH, 2) == "1.234,5 kWh"
    assert counter_text(DE, 1_234_500, WH, in_columns=True) == "1.234,500 kWh"
    assert counter_text(DE, 4_711, metering_pb2.UNIT_COUNT) == "4.711"


def test_amounts_change_their_unit_where_they_would_be_unreadable() -> None:
    assert amount_text(DE, 950, WH) == "0,95 kWh"
    assert amount_text(DE, 42_410_000, WH) == "42,4 MWh"
    assert amount_text(DE, 12_500, KG) == "12,5 t"
    assert amount_text(DE, 5_769, L, metering_pb2.MEDIUM_WATER, -3) == "0,01 m³"
    assert amount_text(EN, -1_500, WH) == "−1.50 kWh"


def test_powers_and_values_of_sensors_have_their_units() -> None:
    assert load_text(DE, 36_000, WH) == "36,0 kW"
    assert load_text(DE, 42, L, metering_pb2.MEDIUM_WATER) == "42 l/h"
    assert load_text(DE, 2_600, L, metering_pb2.MEDIUM_GAS) == "2,60 m³/h"
    assert value_text(DE, -35, CELSIUS, -1) == "−3,5 °C"
    assert value_text(EN, 63, metering_pb2.UNIT_PERCENT) == "63 %"


@pytest.mark.parametrize(
    ("text", "language", "number"),
    [
        ("12345,6", "de", "12345.6"),
        ("12.345,6", "de", "12345.6"),
        ("12345.6", "de", "12345.6"),
        ("12.345", "de", "12345"),
        ("1.844,250", "de", "1844.25"),
        ("12,345.6", "en", "12345.6"),
        ("12,345", "en", "12345"),
        ("12345,6", "en", "12345.6"),
        (" 0 815 ", "de", "815"),
        ("-3,5", "de", "-3.5"),
        (",5", "de", "0.5"),
    ],
)
def test_numbers_are_read_as_people_of_the_language_type_them(text: str, language: str, number: str) -> None:
    assert parsed(text, language) == Decimal(number)


@pytest.mark.parametrize(
    "text", ["", "zwölf", "1,2,3", "1.23.4", "12,34.5", "1e5", "NaN", "٣", ",", "--1", "1-1", "0x1"]
)
def test_what_is_no_number_is_none(text: str) -> None:
    assert parsed(text, "de") is None


@given(
    value=st.integers(min_value=0, max_value=10**12),
    unit=st.sampled_from([WH, L, KG, CELSIUS]),
    exponent=st.integers(min_value=-3, max_value=3),
    ratio=st.integers(min_value=1, max_value=1_000),
)
def test_what_stands_on_a_meter_is_what_is_stored(value: int, unit: Any, exponent: int, ratio: int) -> None:
    for scale in faces_of(unit):
        assert stored_value(on_face(value * ratio, scale, exponent, ratio), scale, exponent, ratio) == value * ratio


def test_more_decimals_than_can_be_stored_are_none() -> None:
    scale = scale_of(WH)
    assert stored_value(Decimal("1.2345"), scale, 0) is None
    assert stored_value(Decimal("1.25"), scale, 2) is None
    assert stored_value(Decimal("1.5"), scale, 2) == 15
    assert stored_value(Decimal(10) ** 30, scale, 0) is None


def test_digits_before_the_comma_follow_from_where_the_register_rolls_over() -> None:
    assert digits_before(100_000_000, 1, scale_of(L), 0) == 5
    assert digits_before(4_000_000_000, 40, scale_of(WH), 0) == 5
    assert digits_before(1_000_000, 1, scale_of(WH), 2) == 5
    assert digits_before(0, 1, scale_of(WH), 0) == 0


# --- meters ----------------------------------------------------------------------------------------------------------


def meter(identity: str, **values: Any) -> MeterItem:
    message = metering_pb2.Meter(
        name=f"municipalities/t/meters/{identity}", unit=WH, medium=metering_pb2.MEDIUM_ELECTRICITY
    )
    for key, value in values.items():
        setattr(message, key, f"municipalities/t/meters/{value}" if key in ("device", "main_meter") else value)
    return meter_from_proto(message)


def layout(*meters: MeterItem) -> list[tuple[str, list[tuple[str, int]]]]:
    return [(place.name, [(row.meter.id, row.depth) for row in place.rows]) for place in by_place(meters)]


def test_registers_follow_their_device_and_sub_meters_their_main_meter() -> None:
    found = layout(
        meter("S2", building="B", main_meter="S1"), meter("M", building="B"), meter("S1", building="B", main_meter="M"),
        meter("R", building="B", device="M"), meter("A", building="A"), meter("X"),
        meter("far", building="A", main_meter="M"),
    )  # fmt: skip
    assert found == [
        ("A", [("A", 0)]),
        ("B", [("M", 0), ("R", 1), ("S1", 1), ("S2", 2), ("far", 1)]),
        ("", [("X", 0)]),
    ]


def test_meters_that_hang_on_each_other_or_on_nothing_known_are_all_there() -> None:
    found = layout(meter("A", main_meter="B"), meter("B", main_meter="A"), meter("C", device="gone"))
    assert sorted(row for _, rows in found for row in rows) == [("A", 0), ("B", 0), ("C", 0)]


def test_every_word_of_a_filter_has_to_fit() -> None:
    meters = (
        meter("E-1", building="Rathaus", serial_number="1EMH99"),
        meter("W-1", building="Rathaus", market_location="51238696780"),
    )
    assert [each.id for each in chosen(meters, text="rathaus emh")] == ["E-1"]
    assert [each.id for each in chosen(meters, text="5123")] == ["W-1"]
    assert chosen(meters, text="rathaus schule") == ()
    assert [each.id for each in chosen(meters, names=frozenset({meters[1].name}))] == ["W-1"]


@pytest.mark.parametrize(
    ("cycle", "endpoint", "hours", "late"),
    [
        (metering_pb2.READING_CYCLE_QUARTER_HOUR, "", 1, False),
        (metering_pb2.READING_CYCLE_QUARTER_HOUR, "", 3, True),
        (metering_pb2.READING_CYCLE_YEAR, "", 380 * 24, False),
        (metering_pb2.READING_CYCLE_YEAR, "", 410 * 24, True),
        (metering_pb2.READING_CYCLE_IRREGULAR, "", 9_999, False),
        (metering_pb2.READING_CYCLE_UNSPECIFIED, "", 9_999, False),
        (metering_pb2.READING_CYCLE_UNSPECIFIED, "municipalities/t/endpoints/e", 3, True),
    ],
)
def test_a_reading_is_late_by_the_cycle_of_its_meter(cycle: int, endpoint: str, hours: int, late: bool) -> None:
    message = metering_pb2.Meter(name="municipalities/t/meters/M", reading_cycle=cycle, endpoint=endpoint)  # type: ignore[arg-type]
    message.latest_slot.FromDatetime(NOON - timedelta(hours=hours))
    assert is_late(meter_from_proto(message), NOON) is late


# --- periods ---------------------------------------------------------------------------------------------------------


def hours(period: Period) -> float:
    start, end = period.bounds(BERLIN)
    return (end - start).total_seconds() / 3600


def test_local_days_have_as_many_hours_as_the_clocks_give_them() -> None:
    assert hours(Period.around(Span.DAY, date(2026, 3, 29))) == 23
    assert hours(Period.around(Span.DAY, date(2026, 10, 25))) == 25
    assert hours(Period.around(Span.MONTH, date(2026, 10, 25))) == 31 * 24 + 1
    assert hours(Period.around(Span.YEAR, date(2026, 10, 25))) == 365 * 24


@given(day=st.dates(date(1960, 1, 1), date(2140, 12, 31)), span=st.sampled_from(list(Span)))
def test_walking_back_and_on_leads_to_the_same_period(day: date, span: Span) -> None:
    period = Period.around(span, day)
    assert period.first <= day < period.end
    assert period.before().end in (period.first, date(period.end.year - 1, 1, 1))
    if span is not Span.YEARS:
        assert period.after().before() == period


def test_what_is_to_come_counts_for_no_gap() -> None:
    day = Period.around(Span.DAY, date(2026, 11, 22))
    start, end = day.until(NOON + timedelta(minutes=20), BERLIN)
    assert (end - start).total_seconds() == 12.25 * 3600
    later = Period.around(Span.DAY, date(2026, 11, 24))
    assert later.until(NOON, BERLIN)[1] > later.until(NOON, BERLIN)[0]


def test_only_days_that_are_over_are_compared() -> None:
    month = Period.around(Span.MONTH, date(2026, 11, 22))
    assert month.whole_days(NOON, BERLIN) == (date(2026, 11, 1), date(2026, 11, 22))
    assert month.whole_days(NOON + timedelta(days=60), BERLIN) == (date(2026, 11, 1), date(2026, 12, 1))
    assert Period.around(Span.DAY, date(2026, 11, 22)).whole_days(NOON, BERLIN) is None


# --- figures ---------------------------------------------------------------------------------------------------------


def part(hour: int, amount: int, estimated: int = 0, coverage: int = 1000, hours: int = 1) -> Part:
    start = NOON + timedelta(hours=hour)
    return Part(start, start + timedelta(hours=hours), amount, estimated, coverage)


def test_a_sum_weighs_coverage_by_time_and_keeps_the_estimated_part() -> None:
    total = Consumption(WH, (part(0, 10, 4, 0), part(1, 30, hours=3))).total
    assert total is not None
    assert (total.amount, total.estimated, total.measured, total.coverage, total.seconds) == (40, 4, 36, 750, 14_400)
    assert share_permille(4, 40) == 100
    assert share_permille(0, 0) == 0
    assert Consumption(WH, ()).total is None


def test_years_before_a_meter_was_there_are_left_out() -> None:
    found = Consumption(WH, (part(0, 0, coverage=0), part(1, 5, 5, 0), part(2, 0, coverage=0)))
    assert [each.amount for each in since_first(found).parts] == [5, 0]


def test_what_a_service_does_not_tell_of_estimates_is_unknown_and_not_nothing() -> None:
    losses = metering_pb2.QueryLossesResponse(
        starts_unix_ms=[0],
        main_amounts=[5],
        sub_amounts=[4],
        verdicts=[metering_pb2.LOSS_VERDICT_WITHIN],
        coverages_permille=[1000],
    )
    assert losses_from_proto(losses).rows[0].estimated is None
    losses.estimated_amounts.append(0)
    assert losses_from_proto(losses).rows[0].estimated == 0
    values = metering_pb2.QueryValuesResponse(
        starts_unix_ms=[0], means=[5], minima=[4], maxima=[6], coverages_permille=[1000]
    )
    assert values_from_proto(values, CELSIUS, -1).steps[0].estimated is None
    values.estimated_permille.append(0)
    assert values_from_proto(values, CELSIUS, -1).steps[0].estimated == 0


# --- readings by hand ------------------------------------------------------------------------------------------------


def reading(value: int, at: datetime = NOON) -> Reading:
    return Reading(at, value, 1, 0, "", "", "", None)


def test_less_than_last_time_is_doubted_though_the_service_says_nothing() -> None:
    counter = meter("M")
    assert [each.rule for each in all_doubts(counter, reading(100), 99, Trial((), ()))] == ["negative_step"]
    assert all_doubts(counter, reading(100), 100, Trial((), ())) == ()
    assert all_doubts(meter("T", kind=3), reading(100), 99, Trial((), ())) == ()


def test_the_step_since_the_last_reading_is_told_per_day() -> None:
    step = since_last(meter("M"), reading(100), 400, NOON + timedelta(days=3))
    assert step is not None
    assert (step.amount, step.per_day) == (300, 100)
    assert since_last(meter("M"), reading(100), 400, NOON) is None
    assert since_last(meter("M"), None, 400, NOON) is None


# --- findings --------------------------------------------------------------------------------------------------------


def test_findings_stand_by_what_they_cost_and_formulas_in_notes_are_texts() -> None:
    made = [
        metering_pb2.Finding(
            name=f"municipalities/t/findings/{key}", meter="municipalities/t/meters/M", rule="weekend_use", unit=WH,
            cost_cents=cents, state=metering_pb2.FindingState.ValueType(state), note=note,
        )
        for key, cents, state, note in (("a", 100, 1, ""), ("b", 900, 4, ""), ("c", 500, 2, "=1+1"))
    ]  # fmt: skip
    found = matching(map(finding_from_proto, made), places={})
    assert [each.name[-1] for each in found] == ["c", "a", "b"]
    assert [each.name[-1] for each in matching(found, new_only=True, places={})] == ["a"]
    assert matching(found, text="rathaus", places={"municipalities/t/meters/M": "Schule"}) == ()
    assert "'=1+1" in findings_csv(found, {}, BERLIN)


def test_behind_a_meter_are_sub_meters_and_what_is_added_to_a_sum_to_any_depth() -> None:
    electricity = {"display_name": "", "medium": 1, "unit": 1, "kind": 1, "place": "", "is_cabinet": False}
    main, floor, kitchen, other = (
        MeterItem(name=f"m/{identity}", main_meter=above, **electricity)  # type: ignore[arg-type]
        for identity, above in (("main", ""), ("floor", "m/main"), ("kitchen", "m/floor"), ("other", ""))
    )
    terms = (("m/main", False), ("m/other", True), ("m/none", False))
    virtual = MeterItem(name="m/sum", terms=terms, **electricity)  # type: ignore[arg-type]
    every = (main, floor, kitchen, other, virtual)
    assert {each.id for each in behind(virtual, every)} == {"main", "floor", "kitchen"}
    assert [each.id for each in behind(floor, every)] == ["kitchen"]
    assert behind(kitchen, every) == ()


@pytest.mark.parametrize(
    ("kind", "cycle", "endpoint", "is_estimable"),
    [
        (metering_pb2.READING_KIND_COUNTER, metering_pb2.READING_CYCLE_QUARTER_HOUR, "", True),
        (metering_pb2.READING_KIND_INTERVAL, metering_pb2.READING_CYCLE_MONTH, "", True),
        (metering_pb2.READING_KIND_COUNTER, metering_pb2.READING_CYCLE_UNSPECIFIED, "em-1", True),
        (metering_pb2.READING_KIND_COUNTER, metering_pb2.READING_CYCLE_UNSPECIFIED, "", False),
        (metering_pb2.READING_KIND_COUNTER, metering_pb2.READING_CYCLE_YEAR, "", False),
        (metering_pb2.READING_KIND_STOCK, metering_pb2.READING_CYCLE_DAY, "", False),
        (metering_pb2.READING_KIND_VIRTUAL, metering_pb2.READING_CYCLE_DAY, "", False),
    ],
)
def test_gaps_are_filled_only_where_readings_are_expected(
    kind: int, cycle: int, endpoint: str, is_estimable: bool
) -> None:
    meter = MeterItem("m/1", "", 1, 1, kind, "", False, cycle=cycle, endpoint=endpoint)
    assert meter.is_estimable is is_estimable
