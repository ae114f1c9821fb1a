"""OBIS codes: read as towns write them, written in one way, and what the register counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.obis import (
    Direction,
    ObisCode,
    ObisMedium,
    ObisQuantity,
    ValueKind,
    format_obis,
    parse_obis,
    tariff_of,
)

GROUPS = st.integers(0, 255)
CODES = st.builds(ObisCode, st.sampled_from(list(ObisMedium)), GROUPS, GROUPS, GROUPS, GROUPS, GROUPS)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1-1:1.8.1", "1-1:1.8.1"),
        ("1-0:2.8.0*255", "1-0:2.8.0"),
        ("1.8.0", "1-0:1.8.0"),
        ("1.8", "1-0:1.8.0"),
        (" 1-0 : 1.8.2 ", "1-0:1.8.2"),
        ("1-0:1.8.0*01", "1-0:1.8.0*1"),
        ("1-0:1.8.0&12", "1-0:1.8.0*12"),
        ("1.0.1.8.0.255", "1-0:1.8.0"),
        ("1-0:1.8.0.255", "1-0:1.8.0"),
        ("c.1.0", "1-0:96.1.0"),
        ("F.F", "1-0:97.97.0"),
        ("6-0:1.0.0", "6-0:1.0.0"),
        ("7-0:3.0.0", "7-0:3.0.0"),
        ("7-20:99.33.17", "7-20:99.33.17"),
        ("8-0:1.0.0", "8-0:1.0.0"),
    ],
)
def test_a_code_is_read_as_people_write_it_and_written_in_one_way(text: str, written: str) -> None:
    assert format_obis(parse_obis(text)) == written


@given(CODES)
def test_what_is_written_is_read_again(code: ObisCode) -> None:
    assert parse_obis(str(code)) == code
    assert parse_obis(str(code).lower()) == code
    dotted = f"{int(code.medium)}.{code.channel}.{code.short}.{code.stored}"
    assert parse_obis(dotted) == code


@given(st.text(max_size=60))
def test_any_text_is_a_code_or_refused_by_its_field(text: str) -> None:
    blamed: list[str] = []
    try:
        code = parse_obis(text, field="meter.obis_code")
    except InvalidInput as error:
        blamed = [violation.field for violation in error.violations]
    assert blamed == ["meter.obis_code"] or parse_obis(str(code)) == code


def test_a_short_code_is_of_the_medium_of_its_meter() -> None:
    assert str(parse_obis("3.0.0", medium=ObisMedium.GAS)) == "7-0:3.0.0"
    assert str(parse_obis("1-0:3.8.0", medium=ObisMedium.GAS)) == "1-0:3.8.0", "what is written out counts"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is needed"),
        ("strom", "A-B:C.D.E"),
        ("1-0:1.8.0.0.0.0", "A-B:C.D.E"),
        ("2-0:1.8.0", "group A .medium. is 2"),
        ("1-300:1.8.0", "group B .channel. is 300"),
        ("1-0:300.8.0", "group C .measured quantity. is 300"),
        ("1-0:1.300.0", "group D .type of value. is 300"),
        ("1-0:1.8.300", "group E .tariff. is 300"),
        ("1-0:1.8.0*300", "group F .stored value. is 300"),
        ("1-0:1,8,0", "A-B:C.D.E"),
        ("9" * 5000, "A-B:C.D.E"),
        ("\u0661.8.0", "A-B:C.D.E"),
    ],
)
def test_a_wrong_code_is_refused_by_field_and_group(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as caught:
        parse_obis(text, field="obis")
    assert caught.value.violations[0].field == "obis"
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "quantity", "direction", "kind", "tariff"),
    [
        ("1-0:1.8.0", ObisQuantity.ACTIVE, Direction.IMPORT, ValueKind.COUNTER, 0),
        ("1-0:1.8.2", ObisQuantity.ACTIVE, Direction.IMPORT, ValueKind.COUNTER, 2),
        ("1-0:2.8.0", ObisQuantity.ACTIVE, Direction.EXPORT, ValueKind.COUNTER, 0),
        ("1-0:3.8.1", ObisQuantity.REACTIVE, Direction.IMPORT, ValueKind.COUNTER, 1),
        ("1-0:16.7.0", ObisQuantity.ACTIVE, Direction.BOTH, ValueKind.INSTANT, 0),
        ("1-0:1.7.0", ObisQuantity.ACTIVE, Direction.IMPORT, ValueKind.INSTANT, 0),
        ("1-0:21.7.0", ObisQuantity.ACTIVE, Direction.IMPORT, ValueKind.INSTANT, 0),
        ("1-0:62.8.0", ObisQuantity.ACTIVE, Direction.EXPORT, ValueKind.COUNTER, 0),
        ("1-0:32.7.0", ObisQuantity.VOLTAGE, Direction.NONE, ValueKind.INSTANT, 0),
        ("1-0:51.7.0", ObisQuantity.CURRENT, Direction.NONE, ValueKind.INSTANT, 0),
        ("1-0:14.7.0", ObisQuantity.FREQUENCY, Direction.NONE, ValueKind.INSTANT, 0),
        ("1-1:1.29.0", ObisQuantity.ACTIVE, Direction.IMPORT, ValueKind.INTERVAL, 0),
        ("1-1:1.6.1", ObisQuantity.ACTIVE, Direction.IMPORT, ValueKind.MAXIMUM, 1),
        ("6-0:1.0.0", ObisQuantity.ENERGY, Direction.IMPORT, ValueKind.COUNTER, 0),
        ("6-0:1.2.0", ObisQuantity.ENERGY, Direction.IMPORT, ValueKind.STORED, 0),
        ("6-0:2.0.0", ObisQuantity.VOLUME, Direction.IMPORT, ValueKind.COUNTER, 0),
        ("6-0:10.0.0", ObisQuantity.FLOW_TEMPERATURE, Direction.NONE, ValueKind.INSTANT, 0),
        ("5-0:1.0.0", ObisQuantity.ENERGY, Direction.IMPORT, ValueKind.COUNTER, 0),
        ("7-0:3.0.0", ObisQuantity.VOLUME, Direction.IMPORT, ValueKind.COUNTER, 0),
        ("7-0:54.0.22", ObisQuantity.CALORIFIC_VALUE, Direction.NONE, ValueKind.OTHER, 22),
        ("8-0:1.0.0", ObisQuantity.VOLUME, Direction.IMPORT, ValueKind.COUNTER, 0),
        ("9-0:2.0.0", ObisQuantity.FLOW_RATE, Direction.NONE, ValueKind.INSTANT, 0),
        ("0-0:96.1.0", ObisQuantity.UNKNOWN, Direction.NONE, ValueKind.OTHER, 0),
    ],
)
def test_a_code_says_what_its_register_counts(
    text: str, quantity: ObisQuantity, direction: Direction, kind: ValueKind, tariff: int
) -> None:
    code = parse_obis(text)
    assert (code.quantity, code.direction, code.kind, tariff_of(code)) == (quantity, direction, kind, tariff)
    assert code.is_import is (direction is Direction.IMPORT)
    assert code.is_export is (direction is Direction.EXPORT)
    assert code.is_counter is (kind is ValueKind.COUNTER)
    assert code.is_instantaneous is (kind is ValueKind.INSTANT)


def test_tariffs_add_up_to_the_total_of_the_same_register() -> None:
    assert str(parse_obis("1-1:1.8.2").total) == "1-1:1.8.0"


def test_a_group_e_beyond_the_tariffs_is_no_tariff() -> None:
    with pytest.raises(InvalidInput, match=r"group E .tariff."):
        tariff_of(parse_obis("1-0:1.8.64"))


def test_a_volume_at_base_conditions_is_told_from_a_metered_one() -> None:
    assert not parse_obis("7-0:3.0.0").is_at_base_conditions
    assert not parse_obis("7-0:3.1.0").is_at_base_conditions
    assert parse_obis("7-0:3.2.0").is_at_base_conditions
    assert parse_obis("7-0:13.2.0").is_at_base_conditions
    assert not parse_obis("6-0:2.2.0").is_at_base_conditions


@given(CODES)
def test_every_code_has_an_answer(code: ObisCode) -> None:
    assert code.kind in ValueKind
    assert code.direction in Direction
    assert code.quantity in ObisQuantity
