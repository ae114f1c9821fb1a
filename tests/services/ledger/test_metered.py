"""Meters conserve energy; where a counter was not read before and after, nothing is saved."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from domain.errors import InvalidInput
from domain.night import unix_ms
from services.ledger.assess import MeteredInputs, assess
from services.ledger.metered import (
    Consumption,
    Readings,
    consumption_bytes,
    contradictions,
    metered_actual,
    read_consumption,
    read_readings,
    readings_bytes,
)
from services.ledger.terms import Method
from tests.services.ledger.helpers import HASH, day_of, metered, meters, night_of, readings_of, terms

B, C = terms(Method.OPTION_B), terms(Method.OPTION_C)
START, END = night_of(date(2026, 3, 1))
HOUR = timedelta(hours=1)


def test_consumption_and_readings_come_back_from_their_bytes() -> None:
    inputs = metered(B, START, END)
    assert read_consumption(consumption_bytes(inputs.consumption)) == inputs.consumption
    assert read_readings(readings_bytes(inputs.readings)) == inputs.readings


def test_what_meters_counted_is_the_actual_energy() -> None:
    found = assess(B, START, END, metered(B, START, END, 900, 800))
    assert found.figures.actual_wh == 1_700
    assert found.figures.coverage_permille == 1000
    assert found.figures.estimated_permille == 0
    assert "1700 Wh counted by 2 meters." in found.computation
    assert "4 luminaires with 332 W of lamps and ballasts" in found.computation
    assert "2 of them dark from 22:30 on" in found.computation


def test_a_night_without_a_last_reading_claims_nothing_for_what_is_not_known() -> None:
    # The meter of the first cabinet was last read at 23:00; what its lamps used before stands in for the rest.
    last = START + 11 * HOUR
    readings = readings_of([[(START, 100), (last, 700)], [(START, 100), (END, 900)]])
    consumption = Consumption(START, END, (600, 800), (0, 0), (478, 1000), (1, 1), HASH)
    found = assess(B, START, END, MeteredInputs(consumption, readings))
    assert found.actual.counted_wh == 1_400
    assert 0 < found.actual.filled_wh < found.figures.baseline_wh / 2
    assert found.figures.actual_wh == 1_400 + found.actual.filled_wh
    assert found.figures.coverage_permille == 739
    assert f"{found.actual.filled_wh} Wh of the baseline stand in for {13 * 3600} s" in found.computation
    assert found.figures.uncertainty_wh > assess(B, START, END, metered(B, START, END, 600, 800)).figures.uncertainty_wh


def test_a_dead_meter_saves_nothing_while_its_neighbour_does() -> None:
    readings = readings_of([[], [(START, 100), (END, 900)]])
    consumption = Consumption(START, END, (0, 800), (0, 0), (0, 1000), (1, 1), HASH)
    found = assess(B, START, END, MeteredInputs(consumption, readings))
    # Both cabinets feed equal lamps, so half of the baseline stands in.
    assert abs(2 * found.actual.filled_wh - found.figures.baseline_wh) <= 2
    assert found.figures.saved_wh == found.figures.baseline_wh - 800 - found.actual.filled_wh
    assert found.figures.saved_wh > 0


def test_meters_that_were_not_read_at_all_give_no_entry() -> None:
    nothing: list[list[tuple[datetime, int]]] = [[], []]
    for series in (nothing, [[(START, 5)], [(END, 7)]]):
        consumption = Consumption(START, END, (0, 0), (0, 0), (0, 0), (1, 1), HASH)
        with pytest.raises(InvalidInput, match="no meter was read"):
            assess(B, START, END, MeteredInputs(consumption, readings_of(series)))


def test_readings_around_the_period_enclose_it() -> None:
    series = [[(START - HOUR, 0), (END + HOUR, 2_500)], [(START, 0), (END, 10)]]
    consumption = Consumption(START, END, (2_300, 10), (2_300, 0), (0, 1000), (1, 1), HASH)
    found = metered_actual(B, consumption, readings_of(series))
    assert found.uncounted_s == (0, 0)
    assert found.actual.filled_wh == 0
    assert found.actual.estimated_permille == 996


def test_gaps_and_doubtful_readings_count_nothing() -> None:
    usable = readings_of([[(START, 100), (START + HOUR, 700), (END, 900)]])
    doubtful = replace(usable, statuses=(1, 3, 2))
    assert usable.usable(1)[0] == [(unix_ms(START), 100), (unix_ms(START + HOUR), 700), (unix_ms(END), 900)]
    assert doubtful.usable(1)[0] == [(unix_ms(START), 100)]


def test_of_revisions_the_last_one_counts() -> None:
    at = unix_ms(START)
    edited = Readings((0, 0), (at, at), (100, 120), (1, 1), (at, at), (2, 2), (0, 1))
    assert edited.usable(1)[0] == [(unix_ms(START), 120)]
    withdrawn = replace(edited, statuses=(1, 3))
    assert withdrawn.usable(1)[0] == []


def test_an_amount_that_the_counters_do_not_show_is_told() -> None:
    inputs = metered(B, START, END, 900, 800)
    assert contradictions(B, inputs.consumption, inputs.readings) == []
    wrong = replace(inputs.consumption, amounts_wh=(900, 700))
    assert contradictions(B, wrong, inputs.readings) == [
        f"{B.meters[1].name}: the counter went from 5000 to 5800 Wh, the consumption says 700 Wh"
    ]


def test_a_counter_that_stepped_back_is_for_metering_to_interpret() -> None:
    readings = readings_of([[(START, 900), (END, 100)], [(START, 0), (END, 10)]])
    consumption = Consumption(START, END, (200, 10), (0, 0), (1000, 1000), (1, 1), HASH)
    assert contradictions(B, consumption, readings) == []


def test_an_exchanged_meter_is_for_metering_to_interpret_though_it_only_rises() -> None:
    inputs = metered(B, START, END, 900, 800)
    exchanged = replace(inputs.consumption, amounts_wh=(900, 300), registers=(1, 2))
    assert contradictions(B, exchanged, inputs.readings) == []


def test_a_buildings_dead_meter_is_filled_with_its_part_of_the_stated_use() -> None:
    start, end = day_of(date(2026, 3, 2))
    two = replace(C, meters=meters("", ""))
    readings = readings_of([[(start, 0), (end, 50_000)], []])
    consumption = Consumption(start, end, (50_000, 0), (0, 0), (1000, 0), (1, 1), HASH)
    found = assess(two, start, end, MeteredInputs(consumption, readings))
    assert found.actual.filled_wh == found.figures.baseline_wh // 2
    assert found.figures.coverage_permille == 500


def test_evidence_that_does_not_fit_is_refused() -> None:
    inputs = metered(B, START, END)
    with pytest.raises(InvalidInput, match="another period"):
        assess(B, START, END + timedelta(days=1), inputs)
    with pytest.raises(InvalidInput, match="does not belong to the 1 meters"):
        assess(C, START, END, inputs)
    with pytest.raises(InvalidInput, match="option A computes from levels"):
        assess(terms(Method.OPTION_A), START, END, inputs)
    with pytest.raises(InvalidInput, match="different lengths"):
        replace(inputs.readings, values=())
    with pytest.raises(InvalidInput, match="not in order"):
        Readings((0, 0), (2, 1), (0, 0), (1, 1), (1, 1), (2, 2), (0, 0))
