"""A file of readings and a file of terms give the saving that the book would post, without a server."""

import csv
import os
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from services.ledger.assess import assess
from services.ledger.evaluate import Kind, evaluate, parse_terms
from services.ledger.terms import Method
from tests.services.ledger.helpers import day_of, metered, stated, terms

TOML = """
display_name = "Town hall"
[factors]
price_eur_per_kwh = "0.2875"
price_source = "contract"
co2_g_per_kwh = 363
co2_source = "2024, UBA"
[baseline]
weekday_wh = [96000, 96000, 96000, 96000, 96000, 96000, 96000, 96000, 96000, 96000, 96000, 96000]
weekend_wh = [48000, 48000, 48000, 48000, 48000, 48000, 48000, 48000, 48000, 48000, 48000, 48000]
uncertainty_permille = 100
source = "load profile 2025"
[[shares]]
party = "town"
share_permille = 600
[[shares]]
party = "contractor"
share_permille = 400
"""
TERMS = parse_terms(TOML, toml=True)
MONDAY, TUESDAY = day_of(date(2026, 3, 2))
HOUR = timedelta(hours=1)


def counter(*values: int, start: datetime = MONDAY, step: timedelta = HOUR) -> list[tuple[datetime, int]]:
    return [(start + n * step, value) for n, value in enumerate(values)]


def test_a_day_of_counter_readings() -> None:
    found = evaluate(TERMS, counter(*range(0, 25 * 2_000, 2_000)), Kind.CUMULATIVE)
    assert (found.start, found.end) == (MONDAY, TUESDAY)
    assert (found.figures.actual_wh, found.figures.baseline_wh, found.figures.saved_wh) == (48_000, 96_000, 48_000)
    assert found.figures.saved_eur == Decimal("13.80")
    assert found.figures.shares == (("town", Decimal("8.28")), ("contractor", Decimal("5.52")))
    assert (found.figures.coverage_permille, found.figures.estimated_permille) == (1000, 0)
    assert found.fractional_uncertainty_permille == 200
    assert "48000 Wh by the readings" in found.computation


def test_the_same_day_as_intervals_stamped_at_either_end() -> None:
    energies = [2_000] * 24
    by_start = evaluate(TERMS, counter(*energies), Kind.INTERVAL_START)
    by_end = evaluate(TERMS, counter(*energies, start=MONDAY + HOUR), Kind.INTERVAL_END)
    by_counter = evaluate(TERMS, counter(*range(0, 25 * 2_000, 2_000)), Kind.CUMULATIVE)
    assert by_start == by_end
    assert by_start.figures == by_counter.figures


def test_it_is_what_the_book_posts() -> None:
    frozen = terms(Method.OPTION_C)
    posted = assess(frozen, MONDAY, TUESDAY, metered(frozen, MONDAY, TUESDAY, 300_000)).figures
    text = TOML.replace("96000", "X").replace("48000", "Y")
    lines = [line for line in text.splitlines() if "X" not in line and "Y" not in line]
    place = lines.index("[baseline]") + 1
    lines[place:place] = [f"weekday_wh = {list(stated().weekday_wh)}", f"weekend_wh = {list(stated().weekend_wh)}"]
    same = parse_terms("\n".join(lines).replace("600", "700").replace("400", "300"), toml=True)
    found = evaluate(same, counter(0, 100_000, 300_000, step=12 * HOUR), Kind.CUMULATIVE).figures
    assert (found.saved_wh, found.saved_eur, found.uncertainty_wh) == (
        posted.saved_wh,
        posted.saved_eur,
        posted.uncertainty_wh,
    )


def test_a_period_beyond_the_readings_saves_nothing_there() -> None:
    found = evaluate(TERMS, counter(*range(0, 13 * 2_000, 2_000)), Kind.CUMULATIVE, start=MONDAY, end=TUESDAY)
    assert found.figures.actual_wh == 24_000 + 48_000
    assert found.figures.saved_wh == 24_000
    assert found.figures.coverage_permille == 500
    assert "48000 Wh of the baseline stand in for 43200 s" in found.computation


def test_missing_intervals_save_nothing_and_a_missing_reading_conserves_energy() -> None:
    hole = [pair for n, pair in enumerate(counter(*[2_000] * 24)) if n not in (5, 6)]
    found = evaluate(TERMS, hole, Kind.INTERVAL_START)
    assert found.actual.counted_wh == 22 * 2_000
    assert found.actual.filled_wh == 2 * 4_000
    assert found.figures.coverage_permille == 916
    gap = [pair for n, pair in enumerate(counter(*range(0, 25 * 2_000, 2_000))) if n not in (5, 6)]
    found = evaluate(TERMS, gap, Kind.CUMULATIVE)
    assert (found.actual.counted_wh, found.actual.filled_wh) == (48_000, 0)
    assert found.actual.estimated_wh == 3 * 2_000
    assert found.figures.coverage_permille == 875


def test_a_period_that_cuts_an_interval_takes_its_part_as_an_estimate() -> None:
    half = timedelta(minutes=30)
    found = evaluate(TERMS, counter(*[2_000] * 24), Kind.INTERVAL_START, start=MONDAY + half, end=TUESDAY - half)
    assert found.actual.counted_wh == 46_000
    assert found.actual.estimated_wh == 2_000


def test_a_counter_that_jumps_for_no_reason_saves_nothing_meanwhile() -> None:
    readings = counter(*range(1_000_000, 1_010_000, 2_000), 400_000, 402_000, 404_000)
    found = evaluate(TERMS, readings, Kind.CUMULATIVE)
    assert found.actual.filled_wh == 4_000
    assert found.actual.counted_wh == 4 * 2_000 + 2 * 2_000


@given(st.lists(st.integers(0, 10**7), min_size=2, max_size=30))
def test_intervals_lose_no_energy(energies: list[int]) -> None:
    found = evaluate(TERMS, counter(*energies), Kind.INTERVAL_START)
    assert found.actual.counted_wh == sum(energies)
    assert found.actual.filled_wh == 0


def test_more_use_than_before_is_a_negative_saving() -> None:
    found = evaluate(TERMS, counter(0, 200_000, step=24 * HOUR), Kind.CUMULATIVE)
    assert found.figures.saved_wh == -104_000
    assert found.figures.saved_eur == Decimal("-29.90")
    assert sum(amount for _, amount in found.figures.shares) == found.figures.saved_eur
    assert found.fractional_uncertainty_permille is None


@pytest.mark.parametrize(
    ("readings", "kind", "told"),
    [
        ([], Kind.CUMULATIVE, "0 readings are too few"),
        (counter(1), Kind.CUMULATIVE, "1 readings are too few"),
        ([(MONDAY, 1), (MONDAY, 2)], Kind.CUMULATIVE, "two readings at"),
        (counter(1, -2), Kind.CUMULATIVE, "a counter is negative"),
        (counter(1, -2), Kind.INTERVAL_START, "an energy is negative"),
        ([(datetime(2026, 3, 2), 1), (MONDAY, 2)], Kind.CUMULATIVE, "time zone"),
    ],
)
def test_readings_that_cannot_be_are_refused(readings: list[tuple[datetime, int]], kind: Kind, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        evaluate(TERMS, readings, kind)


def test_a_period_without_readings_is_refused() -> None:
    later = MONDAY + timedelta(days=9)
    with pytest.raises(InvalidInput, match="no reading lies in the period"):
        evaluate(TERMS, counter(1, 2), Kind.CUMULATIVE, start=later, end=later + HOUR)
    with pytest.raises(InvalidInput, match="ends before it begins"):
        evaluate(TERMS, counter(1, 2), Kind.CUMULATIVE, start=TUESDAY, end=MONDAY)
    with pytest.raises(InvalidInput, match="stated baseline"):
        evaluate(terms(Method.OPTION_B), counter(1, 2), Kind.CUMULATIVE)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"0.2875"', "0.2875", "price_eur_per_kwh: a string is needed"),
        ('"0.2875"', '"12,5"', "a decimal number is needed"),
        ("share_permille = 400", "share_permille = 300", "add up to 900"),
        ("[baseline]", "[baseline]\nmore = 1", "baseline.more: the field is not known"),
        ('source = "load profile 2025"', "", "baseline.source: the field is missing"),
        ("weekday_wh = [96000, ", "weekday_wh = [", "11 numbers, 12 are needed"),
        ("display_name", "time_zone", "not an IANA time zone"),
        ("[factors]", "[factors", "not TOML"),
    ],
)
def test_terms_that_cannot_be_are_refused_with_their_field(old: str, new: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        parse_terms(TOML.replace(old, new, 1), toml=True)


def test_terms_may_be_json_and_leave_the_shares_out() -> None:
    numbers = ", ".join(["1000"] * 12)
    text = (
        '{"factors": {"price_eur_per_kwh": "0.3", "price_source": "x", "co2_g_per_kwh": 380, "co2_source": "y"},'
        f'"baseline": {{"weekday_wh": [{numbers}], "weekend_wh": [{numbers}], "uncertainty_permille": 0,'
        '"source": "z"}}'
    )
    assert [share.party for share in parse_terms(text, toml=False).shares] == ["owner"]
    with pytest.raises(InvalidInput, match="an object is needed"):
        parse_terms("[]", toml=False)


def shared_data() -> Path:
    given = os.environ.get("LICHTBUCH_SHARED_DATA")
    return Path(given) if given else Path(__file__).resolve().parents[4] / "shared" / "data"


def test_a_real_building_year_against_the_year_before() -> None:
    """Two years of a university building: 2018 states the baseline, 2019 is evaluated against it."""
    file = shared_data() / "meters" / "cambridge" / "ucam_b4_hourly_2017_2020.csv"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    with file.open(encoding="utf-8") as lines:
        rows = [
            (datetime.fromisoformat(row["datetime_utc"]).replace(tzinfo=UTC), round(float(row["electricity"]) * 1000))
            for row in csv.DictReader(lines)
        ]
    sums: dict[tuple[bool, int], int] = {}
    days: dict[tuple[bool, int], set[date]] = {}
    for instant, energy in rows:
        if instant.year == 2018:
            key = (instant.weekday() >= 5, instant.month)
            sums[key] = sums.get(key, 0) + energy
            days.setdefault(key, set()).add(instant.date())
    use = {key: total // len(days[key]) for key, total in sums.items()}
    text = TOML.replace("[factors]", 'time_zone = "UTC"\n[factors]')
    for kind, weekend in (("weekday_wh", False), ("weekend_wh", True)):
        old = next(line for line in text.splitlines() if line.startswith(kind))
        text = text.replace(old, f"{kind} = {[use[weekend, month] for month in range(1, 13)]}")
    year = [pair for pair in rows if pair[0].year == 2019]
    found = evaluate(parse_terms(text, toml=True), year, Kind.INTERVAL_START)
    assert (found.start, found.end) == (datetime(2019, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC))
    assert found.figures.actual_wh == sum(energy for _, energy in year)
    assert found.figures.coverage_permille == 1000
    # A year like the one before: what differs is less than what the baseline is uncertain by.
    assert abs(found.figures.saved_wh) < 3 * found.figures.uncertainty_wh
