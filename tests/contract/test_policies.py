"""What every contract has to say about itself: a permission on every method, rules on every reference."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, MethodDescriptor

from lichtbuch.type.v1 import options_pb2
from servicekit.access import Role, role_may

PROTO = Path(__file__).resolve().parents[2] / "proto"


def files() -> list[FileDescriptor]:
    names = sorted(path.relative_to(PROTO).with_suffix("") for path in (PROTO / "lichtbuch").rglob("*.proto"))
    return [importlib.import_module(".".join(name.parts) + "_pb2").DESCRIPTOR for name in names]


def methods() -> Iterator[MethodDescriptor]:
    for file in files():
        for service in file.services_by_name.values():
            yield from service.methods


def messages(file: FileDescriptor) -> Iterator[Descriptor]:
    pending = list(file.message_types_by_name.values())
    while pending:
        message = pending.pop()
        yield message
        pending.extend(message.nested_types)


def rules(field: FieldDescriptor) -> options_pb2.FieldRules:
    return field.GetOptions().Extensions[options_pb2.rules]


@pytest.mark.parametrize("method", list(methods()), ids=lambda method: method.full_name)
def test_every_method_declares_a_permission_of_its_own_service(method: MethodDescriptor) -> None:
    policy = method.GetOptions().Extensions[options_pb2.policy]
    package = method.full_name.split(".")[1]
    assert policy.permission, f"{method.full_name} declares no permission"
    assert policy.permission == "public" or policy.permission.split(".")[0] == package
    assert policy.permission == "public" or len(policy.permission.split(".")) == 3


@pytest.mark.parametrize("method", list(methods()), ids=lambda method: method.full_name)
def test_reading_methods_may_be_repeated(method: MethodDescriptor) -> None:
    policy = method.GetOptions().Extensions[options_pb2.policy]
    if method.name.startswith(("Get", "List", "Query", "Watch", "Export")):
        assert policy.idempotent


@pytest.mark.parametrize("method", list(methods()), ids=lambda method: method.full_name)
def test_every_tenant_method_says_where_its_tenant_stands(method: MethodDescriptor) -> None:
    policy = method.GetOptions().Extensions[options_pb2.policy]
    request = method.input_type
    if policy.tenantless or method.client_streaming:
        return
    named = [request.fields_by_name[name] for name in ("parent", "name") if name in request.fields_by_name]
    resources = [
        field for field in request.fields if field.message_type and "name" in field.message_type.fields_by_name
    ]
    assert named or resources, f"{method.full_name}: neither parent, name nor a resource with a name"
    for field in named:
        assert rules(field).required
        assert rules(field).reference


def test_lists_are_paged() -> None:
    # A list of hashes or of live states is one row per group or cabinet and is sent as one columnar answer.
    whole = {"ListPlanHashes", "ListCabinetStates"}
    for method in methods():
        if method.name.startswith("List") and method.name not in whole:
            assert {"page_size", "page_token"} <= set(method.input_type.fields_by_name), method.full_name
            assert "next_page_token" in method.output_type.fields_by_name, method.full_name


def test_numbers_carry_their_unit_in_the_name() -> None:
    units = (
        "_permille", "_w", "_wh", "_mwh", "_deg", "_s", "_seconds", "_ms", "_eur", "_per_kwh", "_g", "_lm", "_k",
        "_count", "_size", "_bytes", "_index", "_indexes", "_line", "_lines", "_ratio", "_version", "_year",
        "_month", "_hours", "_days", "_cents", "_centidegrees", "_degree_days_centi", "_exponent", "_e4", "_m2",
        "_wh_per_m3",
        # In the base unit of the meter that is named beside it; `_per_h`: of it in an hour.
        "_amount", "_amounts", "_per_h",
    )  # fmt: skip
    counts = {
        "page_size", "revision", "revisions", "channel", "phase", "gateway_address", "gateway_addresses", "created",
        "updated", "unchanged", "accepted", "outdated", "refused", "refused_by_reader", "equal", "put", "stored",
        "entries", "leaves", "index", "version", "parts_created", "parts_updated", "parts_unchanged",
        "first_leaf", "nights", "weekdays", "year", "month", "day", "faults", "schema_version", "max_bytes",
        "max_items", "min", "max",
        "position",
        # In thousandths of the unit of the sensor's kind, which stands beside them.
        "on_milli", "off_milli",
        # In the unit of the fault's kind: W, per mille, seconds or times an hour.
        "measured_value", "expected_value",
        "rank", "number", "addresses",
        # In the base unit that the meter names: `unit` stands beside them.
        "value", "values", "amount", "amounts", "latest_value", "first_reading", "final_reading", "rollover",
        "means", "minima", "maxima",
        # In thousandths of that unit for each degree day.
        "milli_amount_per_degree_day", "reference_milli_amount_per_degree_day",
        # Powers: of that unit in an hour.
        "peak", "base_load", "night_base_load", "mean",
        "seen_revisions", "days", "degree_days_centi", "corrected", "count", "total",
    }  # fmt: skip
    numeric = {
        FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_UINT64,
    }  # fmt: skip
    bare = [
        f"{message.full_name}.{field.name}"
        for file in files()
        for message in messages(file)
        for field in message.fields
        if field.type in numeric and field.name not in counts and not field.name.endswith(units)
        and not field.name.rstrip("s").endswith(units) and "_permille" not in field.name
    ]  # fmt: skip
    assert [name for name in bare if not name.endswith(("_w", "latitudes_deg", "longitudes_deg"))] == []


def test_who_may_import_luminaires_may_also_create_and_change_what_an_import_brings_along() -> None:
    wanted = [
        f"lighting.{kind}.{verb}"
        for kind in ("luminaireModels", "cabinets", "feeders", "groups")
        for verb in ("create", "update")
    ]
    for role in Role:
        if role_may(role, "lighting.luminaires.create"):
            assert [permission for permission in wanted if not role_may(role, permission)] == []
