"""The rules of the contract: what each request may hold, for every message of every service."""

import time

import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from lichtbuch.ledger.v1 import ledger_pb2
from lichtbuch.lighting.v1 import control_pb2, inventory_pb2, lighting_pb2
from lichtbuch.metering.v1 import metering_pb2 as pb
from lichtbuch.registry.v1 import registry_pb2
from lichtbuch.scheduler.v1 import scheduler_pb2
from lichtbuch.type.v1 import types_pb2
from servicekit.interceptors.names import reference_form, references_in, sources_of
from servicekit.interceptors.rules import MAX_VIOLATIONS, validate
from servicekit.policy import find_method, method_of

HERE = "municipalities/bad-hersfeld"


def violations(message) -> dict[str, str]:
    try:
        validate(message)
    except InvalidInput as error:
        return {violation.field: violation.reason for violation in error.violations}
    return {}


def a_luminaire(**fields) -> lighting_pb2.CreateLuminaireRequest:
    return lighting_pb2.CreateLuminaireRequest(parent=HERE, luminaire=inventory_pb2.Luminaire(**fields))


def test_a_wrong_number_deep_inside_is_named_by_its_path():
    found = violations(a_luminaire(position=types_pb2.Position(latitude_deg=91, longitude_deg=float("nan"))))
    assert set(found) == {"luminaire.position.latitude_deg", "luminaire.position.longitude_deg"}
    assert found["luminaire.position.latitude_deg"] == "91 is not between -90 and 90"


def test_an_element_of_a_list_is_named_by_its_index():
    points = [scheduler_pb2.SwitchPoint(anchor=scheduler_pb2.ANCHOR_SUNSET, level_permille=n) for n in (0, 1001, 5, -1)]
    request = scheduler_pb2.CreateProfileRequest(parent=HERE, profile=scheduler_pb2.Profile(points=points))
    assert set(violations(request)) == {
        "profile.points[1].level_permille",
        "profile.points[3].level_permille",
    }


def test_what_is_required_must_be_there():
    override = control_pb2.Override(targets=[f"{HERE}/groups/g"], reason="storm")
    request = lighting_pb2.CreateOverrideRequest(parent=HERE, override=override)
    assert violations(request) == {"override.expire_time": "is required"}
    assert violations(lighting_pb2.CreateOverrideRequest()) == {"parent": "is required", "override": "is required"}


def test_a_pattern_must_match_in_full():
    request = registry_pb2.CreateMunicipalityRequest(
        municipality_id="Bad Hersfeld", municipality=registry_pb2.Municipality(display_name="Bad Hersfeld")
    )
    assert set(violations(request)) == {"municipality_id"}
    factors = ledger_pb2.Factors(price_eur_per_kwh="0.28\n", price_source="s", co2_source="c")
    assert set(violations(factors)) == {"price_eur_per_kwh"}


def test_control_characters_are_refused_in_single_texts_and_in_lists():
    assert violations(a_luminaire(street="Markt\x00", pole="1\n2")) == {
        "luminaire.street": "holds the control character U+0000"
    }
    columns = inventory_pb2.LuminaireColumns(luminaire_ids=["A", "B"], streets=["Markt", "\x1b[2J"])
    request = lighting_pb2.ImportLuminairesRequest(columns=columns)
    assert violations(request) == {"columns.streets[1]": "holds the control character U+001B"}


def test_a_length_is_counted_in_bytes():
    assert violations(pb.ExchangeMeterRequest(serial_number="ü" * 33))["serial_number"] == "is longer than 64 bytes"
    assert "serial_number" not in violations(pb.ExchangeMeterRequest(serial_number="ü" * 32))
    assert violations(pb.ListMetersRequest(parent="x", page_token="x" * 1025)) == {
        "page_token": "is longer than 1024 bytes"
    }


def test_an_unknown_value_of_an_enumeration_is_refused():
    meter = pb.Meter(medium=99, unit=pb.UNIT_WH)  # type: ignore[arg-type]  # what a newer client may send
    assert violations(pb.CreateMeterRequest(parent=HERE, meter=meter)) == {"meter.medium": "99 is not a known value"}
    columns = pb.ReadingColumns(statuses=[1, 77, 1])  # type: ignore[list-item]
    assert "statuses[1]" in violations(columns)


def test_too_many_elements_are_refused_before_they_are_looked_at():
    request = pb.ListReadingsRequest(parent=HERE, meters=[f"{HERE}/meters/{n}" for n in range(10_001)])
    assert violations(request)["meters"] == "has 10001 elements, at most 10000 are taken"


def test_a_hostile_list_does_not_become_a_hostile_answer():
    points = [scheduler_pb2.SwitchPoint(level_permille=5000, ramp_s=-1, earliest="x")] * 50
    with pytest.raises(InvalidInput) as caught:
        validate(scheduler_pb2.CreateProfileRequest(profile=scheduler_pb2.Profile(points=points)))
    assert len(caught.value.violations) <= MAX_VIOLATIONS + 1
    columns = pb.ReadingColumns(meter_indexes=[-1] * 50_000)
    assert len(violations(columns)) == 11
    assert violations(columns)["meter_indexes"] == "and 49990 more elements"


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=50))
def test_a_column_is_judged_like_its_elements(values):
    expected = {f"levels_permille[{i}]" for i, v in enumerate(values) if not 0 <= v <= 1000}
    found = set(violations(control_pb2.Plan(levels_permille=values)))
    if len(expected) <= 10:
        assert {field for field in found if field.startswith("levels_permille[")} == expected


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_number_is_in_range_or_refused(value):
    found = violations(types_pb2.Position(latitude_deg=value, longitude_deg=0))
    assert ("latitude_deg" in found) == (not -90 <= value <= 90)


def test_an_update_judges_what_its_mask_names_also_below():
    luminaire = inventory_pb2.Luminaire(
        name=f"{HERE}/luminaires/l", position=types_pb2.Position(latitude_deg=91), floor_permille=-5
    )
    for paths, expected in (
        (["floor_permille"], {"luminaire.floor_permille"}),
        (["position.latitude_deg"], {"luminaire.position.latitude_deg"}),
        (["position"], {"luminaire.position.latitude_deg"}),
        (["street"], set()),
        (["*"], {"luminaire.floor_permille", "luminaire.position.latitude_deg"}),
        ([], {"luminaire.floor_permille", "luminaire.position.latitude_deg"}),
    ):
        request = lighting_pb2.UpdateLuminaireRequest(luminaire=luminaire, update_mask=FieldMask(paths=paths))
        assert set(violations(request)) == expected, paths


def test_a_part_of_a_request_with_a_mask_of_its_own_is_judged_by_that():
    feeder = inventory_pb2.Feeder(name=f"{HERE}/feeders/f", channel=64, phase=4)
    for paths, expected in (
        (["channel"], {"part.feeder.channel"}),
        (["supply", "phase"], {"part.feeder.supply", "part.feeder.phase"}),
        ([], {"part.feeder." + name for name in ("channel", "phase", "cabinet", "supply")}),
    ):
        part = inventory_pb2.ImportedPart(feeder=feeder, fields=FieldMask(paths=paths))
        assert set(violations(lighting_pb2.ImportLuminairesRequest(part=part))) == expected, paths


def test_a_million_readings_are_judged_in_the_time_of_a_few_single_ones():
    count = 200_000
    columns = pb.ReadingColumns(
        meters=[f"{HERE}/meters/{n}" for n in range(10_000)],
        meter_indexes=np.arange(count) % 10_000,
        slots_unix_ms=np.arange(count),
        values=np.arange(count),
        statuses=[pb.READING_STATUS_MEASURED] * count,
    )
    request = pb.IngestReadingsRequest(parent=HERE, readings=columns, source="hand")
    singles = [
        pb.IngestReadingsRequest(
            parent=HERE,
            readings=pb.ReadingColumns(
                meters=[f"{HERE}/meters/1"],
                meter_indexes=[0],
                slots_unix_ms=[n],
                values=[n],
                statuses=[pb.READING_STATUS_MEASURED],
            ),
            source="hand",
        )
        for n in range(2000)
    ]

    def took(requests) -> float:
        began = time.process_time()
        for one in requests:
            validate(one)
            references_in(one)
        return time.process_time() - began

    took(singles[:10])
    together, apart = min(took([request]) for _ in range(3)), min(took(singles) for _ in range(3))
    # A hundred times as many readings, and still less work.
    assert together < 3 * apart


def test_every_method_says_what_it_is_about_or_that_it_does_not():
    for proto in (lighting_pb2, scheduler_pb2, pb, ledger_pb2, registry_pb2):
        for service in proto.DESCRIPTOR.services_by_name.values():
            for descriptor in service.methods:
                method = method_of(descriptor)
                assert method.tenantless or method.is_public or sources_of(method.request), method.full_name


def test_methods_are_found_by_their_path():
    method = find_method("/lichtbuch.metering.v1.MeteringService/UpdateMeter")
    assert method is not None
    assert (method.permission, method.idempotent, method.is_read) == ("metering.meters.update", False, False)
    assert find_method("/grpc.health.v1.Health/Check") is None
    assert find_method("/nothing.Service/Method") is None


@pytest.mark.parametrize(
    ("reference", "wildcard", "name", "fits"),
    [
        ("municipalities", False, HERE, True),
        ("municipalities", False, "municipalities/-", False),
        ("municipalities", True, "municipalities/-", True),
        ("municipalities", True, f"{HERE}/meters/m", False),
        ("meters", False, f"{HERE}/meters/M-1.a~b", True),
        ("meters", False, f"{HERE}/meters/m\n", False),
        ("meters", False, f"{HERE}/meters/-", False),
        ("measures", True, f"{HERE}/measures/-", True),
        ("measures/entries", False, f"{HERE}/measures/led/entries/e1", True),
        ("measures/entries", False, f"{HERE}/measures/led", False),
        ("groups/plan", False, f"{HERE}/groups/g/plan", True),
        ("groups/plan", False, f"{HERE}/groups/g", False),
        ("*", False, HERE, True),
        ("*", False, f"{HERE}/cabinets/c", True),
        ("*", False, "unions/u", False),
    ],
)
def test_names_have_the_form_of_their_collection(reference, wildcard, name, fits):
    assert (reference_form(reference, wildcard).fullmatch(name) is not None) == fits


def test_references_are_found_wherever_they_stand():
    override = control_pb2.Override(targets=[f"{HERE}/groups/g", HERE])
    request = lighting_pb2.CreateOverrideRequest(parent=HERE, override=override)
    assert [reference.path for reference in references_in(request)] == [
        "parent",
        "override.targets[0]",
        "override.targets[1]",
    ]
    calendar = scheduler_pb2.Calendar(
        rules=[scheduler_pb2.CalendarRule(profile=f"{HERE}/profiles/p")], default_profile="nonsense"
    )
    with pytest.raises(InvalidInput) as caught:
        references_in(scheduler_pb2.CreateCalendarRequest(parent=HERE, calendar=calendar))
    assert [violation.field for violation in caught.value.violations] == ["calendar.default_profile"]
