"""Words, numbers and instants in both languages."""

import re
import string
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import services.admin
from services.admin.formats import Formats
from services.admin.texts import LANGUAGES, Texts, choose_language, words

BERLIN = ZoneInfo("Europe/Berlin")
SOURCES = Path(services.admin.__file__ or "").parent


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_say_the_same_things() -> None:
    german, english = words("de"), words("en")
    assert german.keys() == english.keys()
    assert {key: placeholders(text) for key, text in german.items()} == {
        key: placeholders(text) for key, text in english.items()
    }


def test_every_word_that_the_pages_use_is_there() -> None:
    used = {
        key
        for file in SOURCES.rglob("*.py")
        for key in re.findall(r'\b(?:t|texts|other)\(\s*"(\w+)"', file.read_text(encoding="utf-8"))
    }
    assert len(used) > 60
    assert used - words("de").keys() == set()


@pytest.mark.parametrize(
    ("accepted", "chosen", "language"),
    [
        ("de-DE,de;q=0.9,en;q=0.8", "", "de"),
        ("en-GB,en;q=0.9,de;q=0.1", "", "en"),
        ("fr-FR,en;q=0.5,de;q=0.7", "", "de"),
        ("en;q=0,de;q=0.1", "", "de"),
        ("en", "de", "de"),
        ("en", "klingon", "en"),
        ("fr", "", "de"),
        ("", "", "de"),
        ("en;q=much", "", "de"),
    ],
)
def test_the_browser_says_the_language_unless_somebody_chose_one(accepted: str, chosen: str, language: str) -> None:
    assert choose_language(accepted, chosen) == language


def test_a_language_that_nobody_wrote_is_the_default() -> None:
    assert Texts("xx").language == "de"
    assert {Texts(language).other for language in LANGUAGES} == set(LANGUAGES)


def test_german_numbers_have_points_and_commas_where_germans_expect_them() -> None:
    formats = Formats("de", BERLIN)
    assert formats.number(1234567.891, 2) == "1.234.567,89"
    assert formats.money(Decimal("12192.865")) == "12.192,87 €"
    assert formats.percent(350) == "35 %"
    assert formats.percent(125) == "12,5 %"
    assert formats.percent(-1) == "–"


def test_english_numbers_have_them_the_other_way_round() -> None:
    formats = Formats("en", BERLIN)
    assert formats.number(1234567.891, 2) == "1,234,567.89"
    assert formats.money(Decimal("-3.5")) == "−€3.50"


def test_energy_changes_its_unit_where_it_would_be_unreadable() -> None:
    formats = Formats("de", BERLIN)
    assert formats.energy(950) == "0,95 kWh"
    assert formats.energy(42_400) == "42,4 kWh"
    assert formats.energy(9_300_000) == "9.300 kWh"
    assert formats.energy(42_410_000) == "42,4 MWh"
    assert formats.energy(-1_500) == "−1,50 kWh"
    assert formats.mass(15_400_000) == "15,4 t"
    assert formats.mass(113_000) == "113 kg"


def test_instants_are_shown_on_the_towns_clocks() -> None:
    instant = datetime(2026, 6, 30, 22, 15, tzinfo=UTC)
    assert Formats("de", BERLIN).date_and_time(instant) == "Mi 1.7. 00:15"
    assert Formats("en", BERLIN).long_date(instant) == "Wed 01/07/2026"
    assert Formats("de", BERLIN).day(date(2026, 11, 22)) == "So 22.11."
