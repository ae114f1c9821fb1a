"""An inventory in columns: every line gets its values or its reasons."""

from math import nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InvalidInput
from services.lighting.inventory import ImportColumns, References, check_import

REFERENCES = References(
    models={"LED-23": "m1"},
    feeders={"F-1": "f1"},
    gateways={"G-1": "g1", "G-2": "g2"},
    addresses={("g1", 5): "L-5", ("g1", 6): "L-6"},
)


def lines(count: int, **columns) -> ImportColumns:
    given = {"luminaire_ids": [f"L-{n}" for n in range(count)]} | columns
    return ImportColumns(**given)


def refusals(columns: ImportColumns, references: References = REFERENCES):
    return [(r.source_line, r.column, r.reason) for r in check_import(columns, references).refusals]


def test_a_good_line_gets_its_values_with_references_resolved():
    columns = lines(
        1, latitudes_deg=[50.8], longitudes_deg=[9.7], model_ids=["LED-23"], feeder_ids=["F-1"], gateway_ids=["G-2"],
        gateway_addresses=[7], group_ids=[""], lighting_classes=["P4"], floors_permille=[400],
        installed_powers_w=[nan], installed_on_dates=["2024-05-31"],
    )  # fmt: skip
    checked = check_import(columns, REFERENCES)
    assert checked.accepted == [0]
    assert {name: values[0] for name, values in checked.values.items()} == {
        "luminaire_id": "L-0", "latitude_deg": 50.8, "longitude_deg": 9.7, "model_uid": "m1", "feeder_uid": "f1",
        "gateway_uid": "g2", "gateway_address": 7, "group_id": "", "lighting_class": "P4",
        "floor_permille": 400, "installed_power_w": 0.0, "installed_on": "2024-05-31",
    }  # fmt: skip


def test_columns_that_were_not_given_have_no_values():
    assert set(check_import(lines(2), REFERENCES).values) == {"luminaire_id"}
    assert check_import(lines(0), REFERENCES).accepted == []


@pytest.mark.parametrize(
    ("column", "value", "field", "reason"),
    [
        ("luminaire_ids", "", "luminaire_id", "is empty"),
        ("luminaire_ids", "a/b", "luminaire_id", "is not an id"),
        ("luminaire_ids", "x" * 64, "luminaire_id", "is not an id"),
        ("poles", "x" * 65, "pole", "longer than 64 bytes"),
        ("streets", "ß" * 101, "street", "longer than 200 bytes"),
        ("model_ids", "LED-99", "model", "no luminaire model"),
        ("feeder_ids", "F-9", "feeder", "no feeder"),
        ("gateway_ids", "G-9", "gateway", "no gateway"),
        ("group_ids", "a b", "group", "is not an id"),
        ("lighting_classes", "P9", "lighting_class", "EN 13201"),
        ("floors_permille", 1001, "floor_permille", "between 0 and 1000"),
        ("floors_permille", -1, "floor_permille", "between 0 and 1000"),
        ("installed_powers_w", float("inf"), "installed_power_w", "between 0 and 5000 W"),
        ("installed_powers_w", -1.0, "installed_power_w", "between 0 and 5000 W"),
        ("previous_ballast_powers_w", 1001.0, "previous_ballast_power_w", "between 0 and 1000 W"),
        ("installed_on_dates", "2024-02-30", "installed_on", "not a date"),
        ("installed_on_dates", "31.05.2024", "installed_on", "not a date"),
        ("installed_on_dates", "1800-01-01", "installed_on", "between 1900 and 2200"),
    ],
)
def test_a_bad_value_is_refused_with_line_column_and_reason(column, value, field, reason):
    (refusal,) = check_import(ImportColumns(**({"luminaire_ids": ["L-0"]} | {column: [value]})), REFERENCES).refusals
    assert (refusal.source_line, refusal.column) == (1, field)
    assert reason in refusal.reason
    assert refusal.value == str(value)[:100]


def test_positions_are_known_together_or_not_at_all():
    columns = lines(5, latitudes_deg=[nan, 0.0, 91.0, 50.0, nan], longitudes_deg=[nan, 0.0, 9.0, 181.0, 9.0])
    checked = check_import(columns, REFERENCES)
    assert checked.accepted == [0, 1]
    assert checked.values["latitude_deg"][:2] == [None, None]
    assert [(r.source_line, r.column) for r in checked.refusals] == [
        (3, "latitude_deg"), (4, "longitude_deg"), (5, "latitude_deg")
    ]  # fmt: skip


def test_several_faults_of_a_line_are_all_named_and_count_as_one_line():
    checked = check_import(lines(1, model_ids=["x"], floors_permille=[2000]), REFERENCES)
    assert len(checked.refusals) == 2
    assert checked.refused_lines == 1


def test_the_second_line_with_the_same_id_is_refused_and_names_the_first():
    columns = lines(3, luminaire_ids=["A", "B", "A"], source_lines=[2, 3, 4])
    assert refusals(columns) == [(4, "luminaire_id", "is in the file already, in line 2")]


def test_a_gateway_needs_an_address_and_an_address_a_gateway():
    assert refusals(lines(1, gateway_ids=["G-1"])) == [(1, "gateway_address", "is needed where there is a gateway")]
    assert refusals(lines(1, gateway_ids=["G-1"], gateway_addresses=[4096])) == [
        (1, "gateway_address", "is not between 0 and 4095")
    ]
    assert refusals(lines(1, gateway_ids=[""], gateway_addresses=[-1])) == []
    with pytest.raises(InvalidInput, match="addresses without gateway_ids"):
        check_import(lines(1, gateway_addresses=[3]), REFERENCES)


def test_two_lines_at_one_address_clash_and_so_does_one_with_what_is_stored():
    columns = lines(3, gateway_ids=["G-1"] * 3, gateway_addresses=[1, 1, 5])
    assert refusals(columns) == [
        (2, "gateway_address", "is the address of line 1 already"),
        (3, "gateway_address", "is the address of luminaire L-5 already"),
    ]


def test_luminaires_may_swap_their_addresses_in_one_import():
    columns = ImportColumns(luminaire_ids=["L-5", "L-6"], gateway_ids=["G-1"] * 2, gateway_addresses=[6, 5])
    assert refusals(columns) == []


def test_a_refused_line_keeps_its_luminaire_where_it_is_and_so_may_refuse_the_next():
    columns = ImportColumns(
        luminaire_ids=["L-5", "L-6"], gateway_ids=["G-1"] * 2, gateway_addresses=[6, 5], floors_permille=[400, 2000]
    )
    assert [line for line, _, _ in refusals(columns)] == [1, 2]


@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.sampled_from(["", "G-1", "G-2"]), st.integers(0, 6), st.booleans()), max_size=15
    )
)
@settings(max_examples=150, deadline=None)
def test_what_is_accepted_never_puts_two_luminaires_at_one_address(rows):
    columns = ImportColumns(
        luminaire_ids=[f"L-{n}" for n, *_ in rows],
        gateway_ids=[g for _, g, *_ in rows],
        gateway_addresses=[a for _, _, a, _ in rows],
        floors_permille=[2000 if bad else 0 for *_, bad in rows],
    )
    checked = check_import(columns, REFERENCES)
    after: dict[str, tuple[str, int] | None] = {name: place for place, name in REFERENCES.addresses.items()}
    for index in checked.accepted:
        uid = checked.values["gateway_uid"][index]
        after[columns.luminaire_ids[index]] = (uid, checked.values["gateway_address"][index]) if uid else None
    places = [place for place in after.values() if place is not None]
    assert len(places) == len(set(places))
    assert len(checked.accepted) + checked.refused_lines == len(rows)


def test_messages_of_one_import_have_the_same_columns_of_the_same_length():
    columns = lines(2, poles=["1", "2"])
    columns.extend(ImportColumns(luminaire_ids=["X"], poles=["3"]))
    assert columns.poles == ["1", "2", "3"]
    with pytest.raises(InvalidInput, match=r"columns\.poles: is given in some messages and not in others"):
        columns.extend(ImportColumns(luminaire_ids=["Y"]))
    with pytest.raises(InvalidInput, match=r"columns\.streets: 2 values for 1 luminaire ids"):
        columns.extend(ImportColumns(luminaire_ids=["Y"], poles=["4"], streets=["a", "b"]))
