"""Kinds of meters over gRPC: what goes together, registers in one housing, trees and sums of meters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from domain.errors import AlreadyExists, FailedPrecondition, InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.database import Database
from services.metering.store import relations
from tests.services.metering.making import NOON_MS
from tests.services.metering.running import PARENT, Metering, columns, name_of, running_metering, stamp
from tests.support.issuer import Issuer

MALO = "41373559241"
MELO = "DE0002116366500000000000001234567"
GAS = {"medium": pb.MEDIUM_GAS, "unit": pb.UNIT_L}
OUTDOORS = {"medium": pb.MEDIUM_TEMPERATURE, "unit": pb.UNIT_CELSIUS}
OIL = {"medium": pb.MEDIUM_OIL, "unit": pb.UNIT_L}


@pytest.fixture
async def metering(issuer: Issuer, database: Database) -> AsyncIterator[Metering]:
    async with running_metering(issuer, database) as running:
        yield running


sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def factor(day: str, calorific: int = 11_350, state: int = 9_524) -> pb.GasFactor:
    return pb.GasFactor(valid_from=day, calorific_value_wh_per_m3=calorific, state_number_e4=state)


async def change(metering: Metering, meter_id: str, **values: Any) -> pb.Meter:
    """Changes some fields of a meter."""
    changed: pb.Meter = await metering.as_().UpdateMeter(
        pb.UpdateMeterRequest(
            meter=pb.Meter(name=name_of(meter_id), **values), update_mask=FieldMask(paths=list(values))
        )
    )
    return changed


async def test_every_field_is_kept_and_may_be_changed(metering: Metering) -> None:
    await metering.meter("main", **GAS)
    values: dict[str, Any] = {
        **GAS,
        "display_name": "boiler house",
        "building": "Rathaus",
        "obis_code": "7-0:3.0.0",
        "scale_exponent": 1,
        "reading_cycle": pb.READING_CYCLE_MONTH,
        "flow": pb.FLOW_CONSUMPTION,
        "main_meter": name_of("main"),
        "loss_tolerance_permille": 50,
        "purpose": pb.METER_PURPOSE_BILLING,
        "market_location": MALO,
        "metering_location": MELO,
        "metering_operator": "Stadtwerke",
        "floor_area_m2": 1_200,
        "max_flow_per_h": 25_000,
        "gas_factors": [factor("2025-10-01"), factor("2026-01-01", 11_280, 9_530)],
        "avoidable_price_micro_eur": 81_000,
        "rests_on_weekends": True,
        "kind": pb.READING_KIND_COUNTER,
        "rollover": 100_000,
    }
    created = await metering.meter("gas", **values)
    for name, value in values.items():
        assert getattr(created, name) == value, name
    stub = metering.as_()
    assert await stub.GetMeter(pb.GetMeterRequest(name=name_of("gas"))) == created
    assert created.lives[0].obis_code == "7-0:3.0.0"
    assert (created.lives[0].unit, created.lives[0].scale_exponent, created.lives[0].rollover) == (2, 1, 100_000)
    created.display_name = "boilers"
    del created.gas_factors[1]
    changed = await stub.UpdateMeter(pb.UpdateMeterRequest(meter=created))
    created.etag = changed.etag
    assert changed == created
    less = await change(metering, "gas", main_meter="", market_location="", floor_area_m2=0)
    assert (less.main_meter, less.market_location, less.floor_area_m2) == ("", "", 0)
    assert less.metering_location == MELO


async def test_codes_and_ids_are_stored_in_one_way_of_writing(metering: Metering) -> None:
    meter = await metering.meter(
        obis_code=" 1.8.1 ", market_location="4137 3559 241", metering_location="de 000211 63665 00000000000001234567"
    )
    assert (meter.obis_code, meter.market_location, meter.metering_location) == ("1-0:1.8.1", MALO, MELO)


@sqlite_only
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({**OUTDOORS}, "meter.kind"),
        ({**OUTDOORS, "kind": pb.READING_KIND_INSTANT, "rollover": 1000}, "meter.rollover"),
        ({"unit": pb.UNIT_W}, "meter.kind"),
        ({"kind": pb.READING_KIND_INSTANT}, "meter.kind"),
        ({"kind": pb.READING_KIND_STOCK}, "meter.kind"),
        ({"kind": 77}, "meter.kind"),
        ({**OIL, "kind": pb.READING_KIND_INTERVAL}, "meter.kind"),
        ({"medium": pb.MEDIUM_OIL, "unit": pb.UNIT_PERCENT, "kind": pb.READING_KIND_STOCK}, "meter.kind"),
        ({"medium": pb.MEDIUM_TRAFFIC, "unit": pb.UNIT_COUNT, "kind": pb.READING_KIND_INSTANT}, "meter.kind"),
        ({"kind": pb.READING_KIND_INTERVAL}, "meter.reading_cycle"),
        (
            {"kind": pb.READING_KIND_INTERVAL, "reading_cycle": pb.READING_CYCLE_IRREGULAR},
            "meter.reading_cycle",
        ),
        ({"obis_code": "8-0:1.0.0"}, "meter.obis_code"),
        ({"obis_code": "nonsense"}, "meter.obis_code"),
        ({"obis_code": "1-0:3.8.0"}, "meter.obis_code"),
        ({"market_location": "41373559242"}, "meter.market_location"),
        ({"metering_location": MALO}, "meter.metering_location"),
        ({"gas_factors": [factor("2026-01-01")]}, "meter.gas_factors"),
        ({**GAS, "gas_factors": [factor("2026-01-01"), factor("2026-01-01")]}, "meter.gas_factors[1].valid_from"),
        ({**GAS, "gas_factors": [factor("2026-02-30")]}, "meter.gas_factors[0].valid_from"),
        ({"acquisition": pb.ACQUISITION_SUBSCRIBE}, "meter.acquisition"),
        ({"kind": pb.READING_KIND_VIRTUAL}, "meter.terms"),
        ({"terms": [pb.MeterTerm(meter=name_of("there"))]}, "meter.terms"),
        ({"kind": pb.READING_KIND_VIRTUAL, "terms": [pb.MeterTerm(meter=name_of("no"))]}, "meter.terms[0].meter"),
        ({"device": name_of("nobody")}, "meter.device"),
        ({"main_meter": name_of("nobody")}, "meter.main_meter"),
        ({"main_meter": name_of("water")}, "meter.main_meter"),
        ({"scale_exponent": 7}, "meter.scale_exponent"),
    ],
)
async def test_what_does_not_go_together_is_refused_by_field(
    metering: Metering, changes: dict[str, Any], field: str
) -> None:
    await metering.meter("there")
    await metering.meter("water", medium=pb.MEDIUM_WATER, unit=pb.UNIT_L)
    with pytest.raises(InvalidInput) as refused:
        await metering.meter(**changes)
    assert field in [violation.field for violation in refused.value.violations]


@sqlite_only
async def test_a_sensor_a_stock_and_a_load_profile_are_meters(metering: Metering) -> None:
    await metering.meter("outdoors", **OUTDOORS, kind=pb.READING_KIND_INSTANT, scale_exponent=-1)
    await metering.meter("tank", **OIL, kind=pb.READING_KIND_STOCK, reading_cycle=pb.READING_CYCLE_MONTH)
    await metering.meter("burner", **OIL)
    await metering.meter("rlm", kind=pb.READING_KIND_INTERVAL, reading_cycle=pb.READING_CYCLE_QUARTER_HOUR)
    await metering.meter("cars", medium=pb.MEDIUM_TRAFFIC, unit=pb.UNIT_COUNT)
    listed = await metering.as_().ListMeters(pb.ListMetersRequest(parent=PARENT, medium=pb.MEDIUM_OIL))
    assert [meter.name for meter in listed.meters] == [name_of("burner"), name_of("tank")]


@sqlite_only
async def test_a_sensor_is_read_at_a_point_that_measures_in_its_unit(metering: Metering) -> None:
    endpoint = metering.registry.add("E-1")
    light: dict[str, Any] = {"medium": pb.MEDIUM_LIGHT, "unit": pb.UNIT_LX, "kind": pb.READING_KIND_INSTANT}
    await metering.meter("light", **light, endpoint=endpoint, point="illuminance")
    for meter, values, point in (
        ("warm", {**OUTDOORS, "kind": pb.READING_KIND_INSTANT, "scale_exponent": -1}, "temperature_outdoor"),
        (
            "loud",
            {"medium": pb.MEDIUM_NOISE, "unit": pb.UNIT_DBA, "kind": pb.READING_KIND_INSTANT},
            "sound_level",
        ),
        ("cars", {"medium": pb.MEDIUM_TRAFFIC, "unit": pb.UNIT_COUNT}, "vehicles_passed"),
        ("tank", {**OIL, "kind": pb.READING_KIND_STOCK}, "tank_volume"),
        ("full", {**OIL, "unit": pb.UNIT_PERCENT, "kind": pb.READING_KIND_INSTANT}, "tank_level"),
    ):
        await metering.meter(meter, **values, endpoint=endpoint, point=point)
    power: dict[str, Any] = {"unit": pb.UNIT_W, "kind": pb.READING_KIND_INSTANT, "endpoint": endpoint}
    await metering.meter("power", **power, point="power_active_total")
    for wrong in (
        {**light, "endpoint": endpoint, "point": "energy_active_import"},
        {**light, "endpoint": endpoint, "point": "temperature_forward"},
        {**light, "endpoint": endpoint, "point": "room_illuminance"},
        {"endpoint": endpoint, "point": "power_active_total"},
    ):
        with pytest.raises(InvalidInput, match=r"meter\.point"):
            await metering.meter("wrong", **wrong)


async def test_a_register_has_endpoint_ratio_and_serial_number_from_its_housing(metering: Metering) -> None:
    first, second = metering.registry.add("E-1"), metering.registry.add("E-2")
    await metering.meter("whole", endpoint=first, transformer_ratio=40, serial_number="4711")
    housed: dict[str, Any] = {"device": name_of("whole"), "point": "energy_active_import_t1"}
    low = await metering.meter("low", **housed, obis_code="1-0:1.8.2", display_name="night")
    assert (low.endpoint, low.transformer_ratio, low.serial_number) == (first, 40, "4711")
    assert [(life.serial_number, life.transformer_ratio) for life in low.lives] == [("4711", 40)]
    changed = await change(metering, "whole", endpoint=second, serial_number="4712", transformer_ratio=50)
    assert changed.endpoint == second
    low = await metering.as_().GetMeter(pb.GetMeterRequest(name=low.name))
    assert (low.endpoint, low.transformer_ratio, low.serial_number) == (second, 50, "4712")
    assert [(life.serial_number, life.transformer_ratio) for life in low.lives] == [("4712", 50)]
    low.display_name = "NT"
    again = await metering.as_().UpdateMeter(pb.UpdateMeterRequest(meter=low))
    assert (again.display_name, again.serial_number) == ("NT", "4712")
    listed = await metering.as_().ListMeters(pb.ListMetersRequest(parent=PARENT, main_meter=name_of("whole")))
    assert [meter.name for meter in listed.meters] == [low.name]
    with pytest.raises(AlreadyExists, match=low.name):  # not: its point is taken, by itself
        await metering.meter("low", **housed)


@sqlite_only
async def test_what_a_register_has_from_its_housing_is_not_said_otherwise(metering: Metering) -> None:
    endpoint = metering.registry.add("E-1")
    await metering.meter("whole", endpoint=endpoint, serial_number="4711")
    await metering.meter("low", device=name_of("whole"), point="energy_active_import_t2")
    for changes, field in (
        ({"serial_number": "4712"}, "meter.serial_number"),
        ({"transformer_ratio": 40}, "meter.transformer_ratio"),
        ({"endpoint": metering.registry.add("E-2")}, "meter.endpoint"),
        ({"device": name_of("low")}, "meter.device"),
        ({"point": "energy_active_import_t2"}, "meter.point"),
        ({"point": "power_active_total"}, "meter.point"),
    ):
        values = {"device": name_of("whole"), "point": "energy_active_import_t1", **changes}
        with pytest.raises(InvalidInput) as refused:
            await metering.meter("another", **values)
        assert [violation.field for violation in refused.value.violations] == [field]
    await metering.meter("elsewhere")
    await change(metering, "low", rollover=1_000_001)
    with pytest.raises(InvalidInput, match="rollover of register low"):
        await change(metering, "whole", transformer_ratio=40)
    with pytest.raises(InvalidInput, match="low"):
        await change(metering, "whole", device=name_of("elsewhere"))
    with pytest.raises(FailedPrecondition, match="low"):
        await metering.as_().DeleteMeter(pb.DeleteMeterRequest(name=name_of("whole")))


@sqlite_only
async def test_a_register_counts_in_units_of_its_own(metering: Metering) -> None:
    await metering.meter("heat", medium=pb.MEDIUM_HEAT, unit=pb.UNIT_WH, obis_code="6-0:1.0.0")
    volume = {"medium": pb.MEDIUM_HEAT, "unit": pb.UNIT_L, "obis_code": "6-0:2.0.0", "device": name_of("heat")}
    created = await metering.meter("volume", **volume)
    assert (created.unit, created.device) == (pb.UNIT_L, name_of("heat"))


async def test_sub_meters_never_measure_behind_themselves(metering: Metering) -> None:
    await metering.meter("a")
    await metering.meter("b", main_meter=name_of("a"))
    await metering.meter("c", main_meter=name_of("b"))
    with pytest.raises(InvalidInput, match="behind itself"):
        await change(metering, "a", main_meter=name_of("c"))
    with pytest.raises(FailedPrecondition, match="main meter of b"):
        await metering.as_().DeleteMeter(pb.DeleteMeterRequest(name=name_of("a")))
    with pytest.raises(InvalidInput, match="b measures behind it"):
        await change(metering, "a", medium=pb.MEDIUM_HEAT)


async def test_a_virtual_meter_is_a_sum_that_is_never_its_own_part(metering: Metering) -> None:
    for meter in ("import", "generation", "feed-in"):
        await metering.meter(meter)
    terms = [pb.MeterTerm(meter=name_of("import")), pb.MeterTerm(meter=name_of("generation"))]
    terms.append(pb.MeterTerm(meter=name_of("feed-in"), is_subtracted=True))
    use = await metering.meter("use", kind=pb.READING_KIND_VIRTUAL, terms=terms)
    assert list(use.terms) == terms
    await metering.meter("twice", kind=pb.READING_KIND_VIRTUAL, terms=[pb.MeterTerm(meter=name_of("use"))])
    with pytest.raises(InvalidInput, match="part of itself"):
        await change(metering, "use", terms=[pb.MeterTerm(meter=name_of("twice"))])
    with pytest.raises(InvalidInput, match="use is in the sum more than once"):
        await change(metering, "twice", terms=[pb.MeterTerm(meter=name_of("use")), pb.MeterTerm(meter=name_of("use"))])
    with pytest.raises(FailedPrecondition, match="sum use"):
        await metering.as_().DeleteMeter(pb.DeleteMeterRequest(name=name_of("import")))
    with pytest.raises(InvalidInput, match="another unit"):
        await change(metering, "import", unit=pb.UNIT_VARH)
    await metering.meter("water", medium=pb.MEDIUM_WATER, unit=pb.UNIT_L)
    with pytest.raises(InvalidInput, match="water is in L"):
        await change(metering, "use", terms=[pb.MeterTerm(meter=name_of("water"))])


@sqlite_only
async def test_sums_of_sums_do_not_double_without_end(metering: Metering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relations, "MOST_PARTS", 13)
    parts = [(await metering.meter(name)).name for name in ("a", "b")]
    for level in range(1, 4):
        terms = [pb.MeterTerm(meter=part) for part in parts]
        if level == 3:
            with pytest.raises(FailedPrecondition, match="more than 13 parts"):
                await metering.meter("top", kind=pb.READING_KIND_VIRTUAL, terms=terms)
            break
        kind = pb.READING_KIND_VIRTUAL
        parts = [(await metering.meter(f"{name}{level}", kind=kind, terms=terms)).name for name in ("a", "b")]
    # What grew from below after it was made is refused when it is asked for.
    monkeypatch.setattr(relations, "MOST_PARTS", 3)
    ask = pb.QueryConsumptionRequest(
        parent=PARENT, meters=parts[:1], start_time=stamp(-8), end_time=stamp(0), step=pb.STEP_TOTAL
    )
    with pytest.raises(FailedPrecondition, match="more than 3 parts"):
        await metering.as_().QueryConsumption(ask)


@sqlite_only
async def test_meters_are_found_by_building_and_by_what_stands_on_them(metering: Metering) -> None:
    await metering.meter("a", building="Rathaus", serial_number="4711")
    await metering.meter("b", building="Rathaus", market_location=MALO)
    await metering.meter("c", metering_location=MELO, main_meter=name_of("a"))
    cases: tuple[tuple[dict[str, Any], list[str]], ...] = (
        ({"building": "Rathaus"}, ["a", "b"]),
        ({"identity": "4711"}, ["a"]),
        ({"identity": MALO}, ["b"]),
        ({"identity": MELO.lower()}, ["c"]),
        ({"main_meter": name_of("a")}, ["c"]),
        ({"building": "Rathaus", "identity": MALO}, ["b"]),
        ({"identity": "nothing"}, []),
    )
    for wanted, found in cases:
        listed = await metering.as_().ListMeters(pb.ListMetersRequest(parent=PARENT, **wanted))
        assert [meter.name.rsplit("/", 1)[-1] for meter in listed.meters] == found


@sqlite_only
async def test_kind_unit_and_scale_stay_once_there_are_readings(metering: Metering) -> None:
    await metering.meter("whole")
    await metering.meter("low", device=name_of("whole"))
    await metering.ingest(columns([5_000], meter_id="low"))
    for changes in ({"unit": pb.UNIT_VARH}, {"scale_exponent": 3}, {"medium": pb.MEDIUM_HEAT}):
        with pytest.raises(FailedPrecondition, match=next(iter(changes))):
            await change(metering, "low", **changes)
    with pytest.raises(FailedPrecondition, match="kind"):
        await change(metering, "low", kind=pb.READING_KIND_INTERVAL, reading_cycle=pb.READING_CYCLE_HOUR)
    with pytest.raises(FailedPrecondition, match="register low"):
        await change(metering, "whole", transformer_ratio=40)


async def test_amounts_and_sensors_may_fall_and_are_not_judged_as_counters(metering: Metering) -> None:
    cycle = pb.READING_CYCLE_QUARTER_HOUR
    await metering.meter("rlm", kind=pb.READING_KIND_INTERVAL, reading_cycle=cycle, connected_load_w=10)
    await metering.meter("outdoors", **OUTDOORS, kind=pb.READING_KIND_INSTANT, scale_exponent=-1)
    await metering.meter("tank", **OIL, kind=pb.READING_KIND_STOCK)
    for meter, values in (("rlm", [9_000, 20, 8_000]), ("outdoors", [35, -105, 12]), ("tank", [4_000, 3_000, 9_000])):
        answer = await metering.ingest(columns(values, meter_id=meter))
        assert (answer.stored, answer.refused) == (3, 0)
        late = await metering.ingest(columns([50_000], first=-9, meter_id=meter))
        assert late.stored == 1
    period: dict[str, Any] = {"parent": PARENT, "start_time": stamp(-10), "end_time": stamp(0)}
    listed = (await metering.as_().ListReadings(pb.ListReadingsRequest(**period))).readings
    assert set(listed.statuses) == {pb.READING_STATUS_MEASURED}
    assert min(listed.values) == -105


@sqlite_only
async def test_only_sensors_have_negative_values_and_nothing_is_stored_for_a_sum(metering: Metering) -> None:
    await metering.meter("rlm", kind=pb.READING_KIND_INTERVAL, reading_cycle=pb.READING_CYCLE_HOUR)
    await metering.meter("tank", **OIL, kind=pb.READING_KIND_STOCK)
    await metering.meter("sum", kind=pb.READING_KIND_VIRTUAL, terms=[pb.MeterTerm(meter=name_of("rlm"))])
    for meter, words in (("rlm", "negative"), ("tank", "negative"), ("sum", "sum of others")):
        answer = await metering.ingest(columns([-1], meter_id=meter))
        assert answer.refused == 1
        assert words in answer.refusals[0]


@sqlite_only
async def test_people_read_at_any_minute_and_services_at_quarter_hours(metering: Metering) -> None:
    await metering.meter()
    read_at = NOON_MS - 7 * 60_000
    for slot, status, refused in (
        (read_at, pb.READING_STATUS_HAND, ""),
        (read_at - 60_000, pb.READING_STATUS_SUBSTITUTED, ""),
        (read_at + 500, pb.READING_STATUS_HAND, "whole minute"),
        (read_at, pb.READING_STATUS_MEASURED, "quarter hour"),
        (read_at, pb.READING_STATUS_ESTIMATED, "quarter hour"),
    ):
        given = pb.ReadingColumns(
            meters=[name_of()], meter_indexes=[0], slots_unix_ms=[slot], values=[7], statuses=[status]
        )
        answer = await metering.ingest(given)
        assert answer.stored == (not refused)
        assert refused in "".join(answer.refusals)


@sqlite_only
async def test_a_counter_in_kilowatt_hours_is_judged_by_the_load_in_its_own_numbers(metering: Metering) -> None:
    await metering.meter(scale_exponent=3, connected_load_w=20_000)
    await metering.ingest(columns([100, 105, 400, 110]))
    period: dict[str, Any] = {"parent": PARENT, "start_time": stamp(-10), "end_time": stamp(0)}
    listed = (await metering.as_().ListReadings(pb.ListReadingsRequest(**period))).readings
    assert list(listed.statuses) == [1, 1, 3, 1]
