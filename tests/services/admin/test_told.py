"""Sentences of the services in the language of the page; those that metering says on its pages are all known."""

import ast
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import services.metering
from domain.errors import FailedPrecondition, InvalidInput, NotFound
from services.admin.findings import RULES
from services.admin.formats import Formats
from services.admin.pages.reading_form import KNOWN_RULES
from services.admin.pages.readings_card import SOURCES
from services.admin.texts import words
from services.admin.told import Told, reasons, told
from services.metering.meter import Kind, Unit
from services.metering.meter_rules import check_installation
from services.metering.validation.parameters import PARAMETERS
from services.metering.waste.findings import sentence
from services.metering.waste.watch import Rule, Waste

BERLIN = ZoneInfo("Europe/Berlin")
GERMAN, ENGLISH = Formats("de", BERLIN), Formats("en", BERLIN)
SAID_ON_PAGES = (
    "edit.py", "estimation.py", "batch.py", "reading.py", "api/edits.py", "api/findings.py", "api/values.py",
    "api/load.py", "api/deliveries.py", "api/housing.py", "life.py", "store/installations.py",
)  # fmt: skip
NEVER_SENT = (
    "columns have different lengths",
    "not a token of this method",
    "elements where there are",
    "a status known here",
    "is not in the list of meters",
    "status 7 is not known",
    "time source 7 is not known",
    "is less than the 7 read at",
    "no register lives at",
    "is recorded already",
    "it is no whole number with the new ratio",
    "it includes the transformer ratio",
)
"""What the pages do not do wrong: they exchange no meters."""


@pytest.mark.parametrize("unit", [Unit.WH, Unit.L])
@pytest.mark.parametrize("rule", list(Rule))
def test_what_the_watch_over_waste_has_seen_is_told_in_german(rule: Rule, unit: Unit) -> None:
    seen = told(GERMAN, sentence(Waste(rule, 0, 1, 123_456, 1000, 18_000, 24_500), unit))
    assert seen.language == ""
    assert any(number in seen.text for number in ("24.500", "123.456"))
    assert " the " not in seen.text


def test_every_rule_of_validation_and_of_the_watch_has_words() -> None:
    german = words("de")
    assert set(PARAMETERS) - set(KNOWN_RULES) == set()
    assert {f"doubt_{rule}" for rule in KNOWN_RULES} - german.keys() == set()
    assert {rule.value for rule in Rule} == set(RULES)
    assert {f"finding_rule_{rule}" for rule in RULES} - german.keys() == set()


def test_every_place_that_readings_come_from_has_words() -> None:
    assert {f"source_of_{source}" for source in SOURCES} - words("de").keys() == set()


def test_numbers_and_instants_are_written_as_people_write_them() -> None:
    said = "the slot 1793462400000 (Unix ms) lies in the future"
    assert told(GERMAN, said) == Told("Sa 31.10.2026, 17:00 MEZ liegt in der Zukunft.")
    assert told(ENGLISH, said) == Told("the slot Sat 31/10/2026, 17:00 CET (Unix ms) lies in the future")
    span = "2026-10-31T16:00Z to 2026-10-31T18:00Z"
    falls = f"{span}: the counter falls from 1000000 to 2: record the exchange or the reset first"
    assert told(GERMAN, falls).text == (
        "Sa 31.10.2026, 17:00 MEZ bis Sa 31.10.2026, 19:00 MEZ: der Stand fällt von 1.000.000 auf 2: tragen Sie zuerst"
        " den Zählertausch oder das Zurücksetzen ein"
    )


def test_numbers_of_a_counter_are_written_as_it_shows_them() -> None:
    said = "2000 is more than the 1500 read at 2026-10-31T16:00Z"
    as_shown = told(GERMAN, said, lambda value: f"{GERMAN.number(value / 1000, 1)} m³")
    assert as_shown == Told("2,0 m³ ist mehr als 1,5 m³, abgelesen Sa 31.10.2026, 17:00 MEZ.")
    assert told(ENGLISH, said, lambda value: f"{value // 500} l").text.startswith(
        "4 l is more than the 3 l read at Sat"
    )


def test_what_metering_says_of_a_kind_that_cannot_be_hung_up_has_a_german_sentence() -> None:
    asked = [(Kind.VIRTUAL, True, None), (Kind.INSTANT, True, 7), (Kind.COUNTER, True, None)]
    said = [violation.reason for each in asked for violation in check_installation(*each)]
    assert len(said) == len(asked)
    assert [reason for reason in said if told(GERMAN, reason).language] == []


def test_a_sentence_that_nobody_knows_stands_as_it_was_said_and_says_that_it_is_english() -> None:
    assert told(GERMAN, "the moon is full") == Told("the moon is full", "en")
    assert told(ENGLISH, "the moon is full") == Told("the moon is full")
    assert told(GERMAN, "it is needed; the moon is full") == Told("Das wird gebraucht.; the moon is full", "en")
    assert told(GERMAN, "") == Told("")


def test_an_error_says_what_is_wrong_without_the_names_of_fields() -> None:
    assert reasons(InvalidInput.of("delivery.amount", "9 fits into no store")) == ("9 fits into no store",)
    assert reasons(NotFound("municipalities/x")) == ("municipalities/x does not exist",)
    assert reasons(FailedPrecondition("all is lost")) == ("all is lost",)


@pytest.mark.parametrize("module", SAID_ON_PAGES)
def test_whatever_metering_refuses_on_its_pages_has_a_german_sentence(module: str) -> None:
    source = Path(services.metering.__file__ or "").parent / module
    said = {text for text in sentences_of(ast.parse(source.read_text(encoding="utf-8"))) if " " in text}
    assert said, f"{module} refuses nothing any more"
    foreign = sorted(text for text in said if told(GERMAN, text).language)
    assert [text for text in foreign if not any(part in text for part in NEVER_SENT)] == []


def sentences_of(tree: ast.AST) -> set[str]:
    """The reasons that a module gives, with 7 for what it fills in."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name) and len(node.args) >= 2:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if called in ("of", "Violation", "add", "leave"):
                found.add(_text(node.args[1]))
    return {text for text in found if text}


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.replace("{}", "7").strip()
    if not isinstance(node, ast.JoinedStr):
        return ""
    parts = [part.value if isinstance(part, ast.Constant) else _filled(part) for part in node.values]
    return "".join(map(str, parts))


def _filled(part: ast.expr) -> str:
    """Where an instant is filled in, an instant; where a part of the sentence is, what the service says there."""
    filled = ast.unparse(part.value) if isinstance(part, ast.FormattedValue) else ""
    return _PARTS.get(filled, "2026-10-31T16:00Z" if "slot_text" in filled else "7")


_PARTS = {"what": "the 7 read at 2026-10-31T16:00Z", "needed": "the first reading is"}
